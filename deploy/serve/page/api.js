// The page's requests to the server. URLs are relative, so that they work behind a proxy's prefix too.

let token = "";

/** An error to be shown in its own words. `status` is 0 where no answer came. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** @param {string} text the bearer token of every later request; kept nowhere but in this page. */
export function useToken(text) {
  token = text;
}

/** @returns {Promise<{name: string, state: string, reason: string}[]>} */
export async function listModels() {
  return (await send("v2/repository/index", { method: "POST" })).json();
}

/** What a client can request of a model: its task, labels and budget table. */
export async function describe(model) {
  return (await send(`v2/models/${encodeURIComponent(model)}/predict`)).json();
}

/**
 * @param {Object<string, string|number|boolean>} query
 * @returns {Promise<{answer: object, times: Object<string, number>}>} times in milliseconds, "way" being what
 *     was spent outside the server.
 */
export async function predict(model, file, query, signal) {
  const started = performance.now();
  const url = `v2/models/${encodeURIComponent(model)}/predict?${new URLSearchParams(query)}`;
  const response = await send(url, { method: "POST", body: file, signal });
  const answer = await response.json();
  const times = {};
  for (const [, part, spent] of (response.headers.get("server-timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g)) {
    times[part] = Number(spent);
  }
  const inside = Object.values(times).reduce((sum, spent) => sum + spent, 0);
  times.way = Math.max(0, performance.now() - started - inside);
  return { answer, times };
}

async function send(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { ...options, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response;
}

async function reason(response) {
  try {
    return `The server refused: ${(await response.json()).error}`;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}
