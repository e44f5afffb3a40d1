// Answers as elements. Text from anywhere enters as text, never as markup.

import { figure, percent } from "./budget.js";
import { color, draw, readMap, shares } from "./segmentation.js";

const PARTS = {
  image: "reading the image",
  queue: "waiting in the queue",
  network: "the network",
  answer: "writing the answer",
  way: "on the way",
};

export const part = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function showError(text) {
  part("error").textContent = text;
  part("error").hidden = !text;
}

export function clearAnswer() {
  part("headline").textContent = "";
  part("classes").replaceChildren();
  for (const id of ["overlay", "cover", "time", "route"]) part(id).hidden = true;
}

export async function showAnswer(answer, times, labels) {
  if (answer.predictions) showPredictions(answer.predictions);
  else await showSegmentation(answer, labels);
  showTimes(times);
  showRoute(answer);
}

function showPredictions(predictions) {
  const [best] = predictions;
  part("overlay").hidden = part("cover").hidden = true;
  part("headline").textContent = `${best.label}, ${percent(best.probability)}`;
  part("classes").replaceChildren(
    ...predictions.map(({ label, probability }) => {
      const bar = make("i");
      bar.style.width = `${100 * probability}%`;
      return make("li", {}, make("span", {}, label), make("output", {}, percent(probability)), make("div", { className: "share" }, bar));
    }),
  );
}

async function showSegmentation(answer, labels) {
  const map = await readMap(answer.map);
  const found = shares(map).map((each) => ({ ...each, label: labels[each.index] ?? `class ${each.index}` }));
  const overlay = part("overlay");
  draw(overlay, map, null);
  overlay.setAttribute("aria-label", `Classes: ${found.map(({ label, share }) => `${label} ${percent(share)}`).join(", ")}`);
  overlay.hidden = part("cover").hidden = false;
  part("headline").textContent = `Mostly ${found.slice(0, 3).map(({ label }) => label).join(", ")}`;
  part("classes").replaceChildren(...found.map((each) => make("li", {}, legendButton(each, map))));
}

/** Shows its class alone, and all of them again. */
function legendButton({ index, share, label }, map) {
  const swatch = make("i");
  swatch.style.background = color(index);
  const button = make("button", { type: "button" }, swatch, make("span", {}, label), make("output", {}, percent(share)));
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const only = button.getAttribute("aria-pressed") === "true" ? null : index;
    for (const other of part("classes").querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button && only !== null));
    }
    draw(part("overlay"), map, only);
  });
  return button;
}

function showTimes(times) {
  const known = Object.keys(PARTS).filter((name) => name in times);
  part("total").textContent = `${figure(known.reduce((sum, name) => sum + times[name], 0))} ms`;
  part("bar").replaceChildren(
    ...known.map((name) => {
      const piece = make("i", { className: name });
      piece.style.flexGrow = times[name];
      return piece;
    }),
  );
  part("parts").replaceChildren(
    ...known.map((name) =>
      make("li", {}, make("i", { className: name }), make("span", {}, PARTS[name]), make("output", {}, `${figure(times[name])} ms`)),
    ),
  );
  part("time").hidden = false;
}

/** The server's SVG, without its white ground, so that it has the page's colors. */
function showRoute({ route }) {
  part("route").hidden = !route;
  if (!route) return;
  const diagram = new DOMParser().parseFromString(route, "image/svg+xml").documentElement;
  diagram.querySelector("rect")?.remove();
  const shown = document.importNode(diagram, true);
  const width = Number(shown.getAttribute("width"));
  Object.assign(shown.style, { minWidth: `${0.6 * width}px`, maxWidth: `${1.5 * width}px` });
  part("route-diagram").replaceChildren(shown);
}
