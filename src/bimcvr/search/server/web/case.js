// One case: its volume, report and nearest cases; beside it the query's volume, if there is one.

import { call, fetchBytes } from "./api.js";
import { labelList, reportText, scoreText, thumbnails } from "./cards.js";
import { count, fill, find, make } from "./dom.js";
import { reasons } from "./reasons.js";
import { PLANES, Viewer, WINDOWS } from "./viewer.js";

let viewers = [];
// File → its bytes as a promise, converted by the server: sent once, however many cases it is compared with
const converted = new WeakMap();
let leaving = null;
let plane = PLANES[0];
let chosenWindow = WINDOWS[0];

// request: the search; results: its results; position: of the case in them, or null; open(position, name or query) goes on
export async function openCase(name, { request, results, position, open }) {
  closeViewers();
  leaving = new AbortController();
  const { signal } = leaving;
  showAsOverlay(true);
  fill(find("case-title"), position === null ? name : `${position + 1}. ${name}`);
  find("previous").disabled = position === null || position === 0;
  find("next").disabled = position === null || position >= results.hits.length - 1;
  fill(find("reading"), make("p", { class: "soft" }, "Loading …"));
  fill(find("viewers"));
  find("case-title").focus({ preventScroll: true });
  find("case").scrollTop = 0;
  let details;
  try {
    details = await call("api/case", { query: { case: name }, signal });
  } catch (error) {
    if (error.name !== "AbortError") fill(find("reading"), make("p", { class: "error", role: "alert" }, error.message));
    return;
  }
  fill(find("reading"), reading(details, request, results, position, open));
  const why = reasons(details, request, signal);
  if (why) find("reading").prepend(why);
  showVolumes(details, request, signal);
}

export function closeCase() {
  leaving?.abort();
  closeViewers();
  showAsOverlay(false);
}

// while a case is open, what is behind it cannot be reached by Tab
function showAsOverlay(open) {
  find("case").hidden = !open;
  document.body.classList.toggle("in-case", open);
  for (const behind of document.querySelectorAll(".skip, header, #search-form, .columns")) behind.inert = open;
}

export const caseIsOpen = () => !find("case").hidden;

function closeViewers() {
  leaving?.abort();
  for (const viewer of viewers) viewer.close();
  viewers = [];
}

function showVolumes(details, request, signal) {
  const query = queryVolume(request, details, signal);
  const caseViewer = new Viewer(query ? `Case ${details.case}` : "Source volume");
  viewers = query ? [query.viewer, caseViewer] : [caseViewer];
  fill(find("viewers"), viewers.map((viewer) => viewer.element));
  find("viewers").classList.toggle("two", viewers.length === 2);
  find("linked").hidden = viewers.length < 2;
  for (const viewer of viewers) {
    [viewer.plane, viewer.window] = [plane, chosenWindow];
    viewer.onscroll = (fraction) => {
      if (find("link").checked) for (const other of viewers) if (other !== viewer) other.follow(fraction);
    };
  }
  query?.load();
  find("attention").hidden = true;
  const loaded = caseViewer.load(fetchBytes("api/volume", { query: { case: details.case }, signal }), details.grid);
  showAttention(caseViewer, loaded, details, request, signal);
}

const strength = () => (find("show-map").checked ? Number(find("map-strength").value) / 100 : 0);

// where the model looks for the query in the case; a query by words or by an uploaded volume has no vector on the server
async function showAttention(viewer, loaded, details, request, signal) {
  try {
    const itself = request.mode === "study" && request.query === details.case;
    if (!canLocate || itself || !["text", "keyword", "study"].includes(request.mode)) return;
    const json = { case: details.case, mode: request.mode, query: request.query };
    const [found] = await Promise.all([call("api/relevance", { json, signal }), loaded]);
    if (signal.aborted) return;
    await viewer.overlay(found, strength());
    const size = found.token_mm.map((mm) => mm.toFixed(0)).join(" × ");
    fill(find("map-facts"), `The model's attention, no diagnosis: ${found.speaks ? `parts of ${size} mm, by ${found.made_of}` : "no part of the volume speaks for the query"}.`, found.note ? ` ${found.note}` : null);
    find("attention").hidden = false;
  } catch (error) {
    // a case without a map is read all the same
    if (error.name !== "AbortError") console.warn(`No map: ${error.message}`);
  } finally {
    viewer.element.dataset.map = find("attention").hidden ? "none" : "shown";
  }
}

let canLocate = false;
// whether the server has a model
export const allowAttention = (can) => { canLocate = can; };

// the query's volume, if it has one; an uploaded one is sent again to be converted, since the server keeps nothing of it
function queryVolume(request, details, signal) {
  if (request.mode === "volume") {
    const viewer = new Viewer(`Query: ${request.query}`);
    return { viewer, load: () => viewer.load(convert(request), null) };
  }
  if (request.mode === "study" && request.query !== details.case) {
    const viewer = new Viewer(`Query: case ${request.query}`);
    return { viewer, load: () => viewer.load(fetchBytes("api/volume", { query: { case: request.query }, signal }), null) };
  }
  return null;
}

// not aborted when the case is closed: the next one needs it too
function convert({ file, series }) {
  if (converted.get(file)?.series !== series || !converted.has(file)) {
    const bytes = fetchBytes("api/convert", { file, query: { name: file.name, ...(series && { series }) } });
    converted.set(file, { bytes, series });
    bytes.catch(() => converted.delete(file));
  }
  return converted.get(file).bytes;
}

function reading(details, request, results, position, open) {
  const hit = position === null ? null : results.hits[position];
  const facts = [
    hit ? ["score", `${scoreText(hit.score)}, rank ${hit.rank} of ${count(results.candidates)}`] : null,
    ...gridFacts(details.grid),
    ...Object.entries(details.columns).filter(([, value]) => value !== ""),
  ].filter(Boolean);
  return [
    make("h3", {}, "Report"), reportText(details.report, hit?.spans),
    make("h3", {}, "Labels"), labelList(details.labels, request.labels),
    make("h3", {}, "Facts"), make("dl", { class: "facts" }, facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    make("div", { class: "near-head" }, make("h3", {}, "Nearest cases"),
      make("button", { type: "button", onclick: () => open({ mode: "study", query: details.case }) }, "Search with this case")),
    make("ol", { class: "near" }, details.nearest.map((near) => make("li", {},
      make("button", { type: "button", onclick: () => open(near.case) }, thumbnails(near, ["axial", "coronal"]),
        make("span", { class: "near-text" }, make("b", {}, near.case), ` ${scoreText(near.score)}`, make("br"),
          make("span", { class: "soft" }, near.labels.join(", ") || "no labels")))))),
  ];
}

function gridFacts(grid) {
  if (!grid) return [];
  const facts = [
    ["voxels", grid.size.join(" × ")],
    ["spacing", `${grid.spacing_mm.map((mm) => mm.toFixed(2)).join(" × ")} mm (left–right, front–back, bottom–top)`],
    ["convention", "radiological: the patient's right is on the left of the picture"],
  ];
  if (grid.obliquity >= 1) facts.push(["oblique", `the slices lie at ${grid.obliquity.toFixed(1)}° to the patient's axes, as scanned`]);
  return facts;
}

// the buttons of the tool bar; `caseKey` does the same by keys
export function setUpTools() {
  const windows = WINDOWS.map((window, index) => make("button", {
    type: "button", "data-window": window[0], "aria-pressed": window === chosenWindow, title: `level ${window[1]}, width ${window[2]} HU (key ${index + 1})`,
    onclick: () => choose(plane, window) }, window[0]));
  const planes = PLANES.map((one) => make("button", {
    type: "button", "data-plane": one[0], "aria-pressed": one === plane, title: `key ${one[0] === "all" ? "m" : one[0][0]}`,
    onclick: () => choose(one, chosenWindow) }, one[0]));
  fill(find("windows"), windows);
  fill(find("planes"), planes);
  for (const control of ["show-map", "map-strength"]) find(control).addEventListener("input", () => viewers.at(-1)?.setStrength(strength()));
}

function choose(newPlane, newWindow) {
  [plane, chosenWindow] = [newPlane, newWindow];
  for (const button of find("windows").children) button.setAttribute("aria-pressed", button.dataset.window === chosenWindow[0]);
  for (const button of find("planes").children) button.setAttribute("aria-pressed", button.dataset.plane === plane[0]);
  for (const viewer of viewers) viewer.set(plane, chosenWindow);
}

// → whether the key was used
export function caseKey(key) {
  if (["1", "2", "3"].includes(key)) choose(plane, WINDOWS[Number(key) - 1]);
  else if ("acsm".includes(key)) choose(PLANES["acsm".indexOf(key)], chosenWindow);
  else if (key === "ArrowUp" || key === "ArrowDown") viewers.at(-1)?.step(key === "ArrowUp" ? 1 : -1);
  else if (key === "PageUp" || key === "PageDown") viewers.at(-1)?.step(key === "PageUp" ? 10 : -10);
  else if (key === "ArrowLeft") find("previous").click();
  else if (key === "ArrowRight") find("next").click();
  else return false;
  return true;
}
