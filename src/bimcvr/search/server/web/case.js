// One case: its volume, report and nearest cases; beside it the query's volume, if there is one.

import { call, fetchBytes } from "./api.js";
import { setUpAttention, showAttention } from "./attention.js";
import { labelList, reportText, scoreText, thumbnails } from "./cards.js";
import { count, fill, find, make } from "./dom.js";
import { copyButton } from "./export.js";
import { keepButton } from "./lists.js";
import { openAtDifference } from "./opening.js";
import { samePatient, seriesFacts } from "./patient.js";
import { reasons } from "./reasons.js";
import { linkAnatomy, setUpTools, toolKey, useTools } from "./tools.js";
import { Viewer } from "./viewer.js";

let viewers = [];
// File → its bytes as a promise, converted by the server: sent once, however many cases it is compared with
const converted = new WeakMap();
let leaving = null;

// request: the search; results: its results; position: of the case in them, or null; beside: [the case before, after] as they
// are listed; open(position, name or query) goes on
export async function openCase(name, { request, results, position, beside, open }) {
  closeViewers();
  leaving = new AbortController();
  const { signal } = leaving;
  showAsOverlay(true);
  fill(find("case-title"), position === null ? name : `${position + 1}. ${name}`);
  find("keeping").replaceChildren(keepButton(name));
  find("previous").disabled = !beside[0];
  find("next").disabled = !beside[1];
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
  useTools(viewers);
  const other = query?.load();
  const loaded = caseViewer.load(fetchBytes("api/volume", { query: { case: details.case }, signal }), details.grid);
  Promise.all([other, loaded]).then(linkAnatomy);
  explainOpening(caseViewer, loaded, details, request, signal);
}

// the place that matched, or why another slice is shown
async function explainOpening(viewer, loaded, { case: name, grid }, request, signal) {
  const found = await showAttention(viewer, loaded, name, request, signal);
  // beside an uploaded volume a case starts at the same place of the chest
  const other = found?.speaks || !grid || request.mode === "volume" ? null : await openAtDifference(viewer, loaded, name, signal);
  if (signal.aborted) return;
  fill(find("region"), found ? region(viewer, found) : null, other ? difference(viewer, other) : null);
  viewer.element.dataset.opened = "yes";
}

const difference = (viewer, { slice, volumes }) => [" Of all slices, ", make("button", { type: "button", onclick: () => viewer.show(slice, false, 2) }, `axial slice ${slice + 1}`),
  ` differs most from the mean of ${count(volumes)} volumes of this index, in standard deviations: the volume opens there. That is no finding.`];

// the place that matched, in words, and a way back to it
function region(viewer, found) {
  if (!found.speaks) return ["No part of the volume speaks for the query."];
  const [right, front] = found.peak_mm.map(Math.round);
  const sides = [`${Math.abs(right)} mm to the patient's ${right < 0 ? "left" : "right"}`, `${Math.abs(front)} mm to the ${front < 0 ? "back" : "front"}`];
  const slice = Math.floor(viewer.nv.mm2frac(found.peak_mm)[2] * viewer.slices(2)) + 1;
  return ["The model looks most at ", make("button", { type: "button", onclick: () => viewer.goTo(found.peak_mm) }, `axial slice ${slice}`),
    `, ${sides.join(" and ")} of the volume's middle. Its attention, no diagnosis.`];
}

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
    ...seriesFacts(details.series),
    ...gridFacts(details.grid),
    ...Object.entries(details.columns).filter(([, value]) => value !== ""),
  ].filter(Boolean);
  return [
    make("div", { class: "near-head" }, make("h3", {}, "Report"), details.report ? copyButton(details.report) : null), reportText(details.report, hit?.spans),
    make("p", { id: "region", class: "soft", "aria-live": "polite" }),
    make("h3", {}, "Labels"), labelList(details.labels, request.labels),
    make("h3", {}, "Facts"), make("dl", { class: "facts" }, facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    samePatient(details, open),
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

export function setUpCase() {
  setUpTools();
  setUpAttention();
}

// → whether the key was used
export function caseKey(key) {
  if (key === "ArrowLeft") find("previous").click();
  else if (key === "ArrowRight") find("next").click();
  else return toolKey(key);
  return true;
}
