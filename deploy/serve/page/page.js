// The page: it sends each image to the chosen model, again whenever model or budget change.

import { describe, listModels, predict, Refused, useToken } from "./api.js";
import { budgetSteps } from "./budget.js";
import { clearAnswer, part, showAnswer, showError } from "./view.js";

const LOADING_MILLISECONDS = 1000;
// A moving slider sends a request only where it rests.
const REST_MILLISECONDS = 120;

let image = null;
let description = null;
let steps = [];
let running = null;
let resting = 0;

function failed(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) {
    part("sign-in").hidden = false;
    part("bench").hidden = true;
    part("token").focus();
    showError(part("token").value ? "The server does not know this token." : "");
  } else {
    showError(error.message);
  }
}

/** Fills the list of models, again and again while some are being loaded. */
async function start() {
  try {
    const models = await listModels();
    part("sign-in").hidden = true;
    part("bench").hidden = false;
    showError("");
    const select = part("model");
    const wanted = select.value || decodeURIComponent(location.hash.slice(1));
    select.replaceChildren(...models.map(option));
    select.disabled = false;
    const ready = models.filter((model) => model.state === "READY").map((model) => model.name);
    if (models.some((model) => model.state === "LOADING")) setTimeout(start, LOADING_MILLISECONDS);
    else if (!ready.length) showError(`No model is ready. ${models.map(({ name, reason }) => `${name}: ${reason}`).join("; ")}`);
    if (!ready.length) return;
    select.value = ready.includes(wanted) ? wanted : ready[0];
    if (select.value !== description?.model_name) await choose();
  } catch (error) {
    failed(error);
  }
}

function option({ name, state, reason }) {
  const entry = new Option(state === "READY" ? name : `${name} (${state === "LOADING" ? "loading" : "not ready"})`, name);
  entry.disabled = state !== "READY";
  entry.title = reason;
  return entry;
}

async function choose() {
  const name = part("model").value;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  running?.abort();
  description = null; // no request goes to the model before
  clearAnswer();
  try {
    const received = await describe(name);
    if (name !== part("model").value) return;
    description = received;
    steps = budgetSteps(received);
    document.body.classList.toggle("gated", received.gated);
    part("budget").hidden = !received.gated;
    part("slider").max = Math.max(0, steps.length - 1);
    part("slider").value = part("slider").max;
    showBudget();
    await request();
  } catch (error) {
    failed(error);
  }
}

function showBudget() {
  const step = steps[part("slider").value];
  part("amount").textContent = step?.amount ?? "";
  part("meaning").textContent = step?.meaning ?? "";
  part("slider").setAttribute("aria-valuetext", step?.amount ?? "");
}

/** @param {File} file */
async function take(file) {
  if (file.type && !file.type.startsWith("image/")) {
    showError(`${file.name} is no image. PNG, JPEG, WebP and BMP are read.`);
    return;
  }
  image = file;
  const photo = part("photo");
  URL.revokeObjectURL(photo.src);
  photo.src = URL.createObjectURL(file);
  photo.alt = `The image ${file.name}`;
  photo.onload = () => {
    const { naturalWidth: width, naturalHeight: height } = photo;
    photo.classList.toggle("small", width < 200);
    part("frame").style.maxWidth = `${(75 * width) / height}vh`;
  };
  part("frame").hidden = false;
  document.body.classList.add("answered");
  clearAnswer();
  await request();
}

/** Sends a new request; an older one is dropped, here and in the server's queue. */
async function request() {
  if (!image || !description) return;
  running?.abort();
  const mine = (running = new AbortController());
  document.body.classList.add("busy");
  try {
    const segmentation = description.task === "segmentation" ? { map: true } : {};
    const route = description.routed ? { route: true } : {};
    const query = { ...segmentation, ...route, ...steps[part("slider").value]?.query };
    const { answer, times } = await predict(description.model_name, image, query, mine.signal);
    if (mine !== running) return;
    showError("");
    await showAnswer(answer, times, description.labels);
  } catch (error) {
    if (mine === running && error.name !== "AbortError") clearAnswer();
    failed(error);
  } finally {
    if (mine === running) document.body.classList.remove("busy");
  }
}

part("model").addEventListener("change", choose);
part("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(target.files[0]);
  target.value = ""; // the same file may be chosen again
});
part("slider").addEventListener("input", () => {
  showBudget();
  clearTimeout(resting);
  resting = setTimeout(request, REST_MILLISECONDS);
});
const cover = () => (part("overlay").style.opacity = part("opacity").value / 100);
part("opacity").addEventListener("input", cover);
cover();
part("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(part("token").value.trim());
  start();
});

addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData.files.length) take(clipboardData.files[0]);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  else showError("That was no file. Save the image first, or paste it.");
});

start();
