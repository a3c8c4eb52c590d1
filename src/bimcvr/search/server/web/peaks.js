// The pictures of hits, drawn through the place where the model looks for the query: one case after another, as they come into view.

import { call } from "./api.js";
import { canBeLocated } from "./attention.js";
import { find, make } from "./dom.js";

let request = null;
let leaving = new AbortController();
let waiting = [];
let busy = false;

const visibility = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((item) => item.isIntersecting)) {
    visibility.unobserve(target);
    waiting.push(target);
  }
  next();
}, { rootMargin: "100px" });

export function setUpPeaks() {
  const apply = () => find("results").style.setProperty("--map", find("show-peaks").checked ? find("peak-strength").value / 100 : 0);
  for (const control of ["show-peaks", "peak-strength"]) find(control).addEventListener("input", apply);
  apply();
}

// another search: what the earlier one still waits for is given up
export function forgetPeaks(asked) {
  leaving.abort();
  leaving = new AbortController();
  [request, waiting, busy] = [asked, [], false];
  visibility.disconnect();
  find("peaks").hidden = true;
}

// pictures: the element that `thumbnails` made of a hit
export function awaitPeak(pictures, name) {
  if (pictures.classList.contains("none") || !canBeLocated(request, name)) return;
  pictures.dataset.of = name;
  visibility.observe(pictures);
}

async function next() {
  if (busy || !waiting.length) return;
  busy = true;
  const { signal } = leaving;
  const pictures = waiting.shift();
  try {
    const json = { case: pictures.dataset.of, mode: request.mode, query: request.query };
    const { slices } = await call("api/relevance/slices", { json, signal });
    for (const slice of slices) show(pictures.querySelector(`[data-plane=${slice.plane}]`), slice);
    pictures.dataset.peak = slices.length ? "shown" : "none";
    if (slices.length) find("peaks").hidden = false;
  } catch (error) {
    if (error.name === "AbortError") return;
    // a case without a map keeps its middle slices
    console.warn(`No map: ${error.message}`);
    pictures.dataset.peak = "none";
  }
  if (signal.aborted) return;
  busy = false;
  next();
}

function show(image, { plane, number, slices, picture, map }) {
  const over = make("img", { class: "map", alt: "" });
  for (const [element, content, type] of [[image, picture, "image/jpeg"], [over, map, "image/png"]]) {
    const address = URL.createObjectURL(new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], { type }));
    element.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    element.src = address;
  }
  image.classList.remove("none");
  image.dataset.peak = "shown";
  image.alt = image.title = `${plane} slice ${number} of ${slices}, where the model looks most`;
  image.after(over, make("span", { class: "at", "aria-hidden": "true" }, `${number}/${slices}`));
}
