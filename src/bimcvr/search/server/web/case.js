// One case: the volume, and beside it the report and the nearest cases. With the query's volume, if it has one.

import { call, fetchBytes } from "./api.js";
import { labelList, reportText, scoreText, thumbnails } from "./cards.js";
import { count, fill, find, make } from "./dom.js";
import { PLANES, Viewer, WINDOWS } from "./viewer.js";

let viewers = [];
// File → its bytes as a promise, converted by the server: sent once, however many cases it is compared with
const converted = new WeakMap();
let leaving = null;
let plane = PLANES[0];
let window_ = WINDOWS[0];

// asked: the query; answer: its results; place: in them, or a case's name; open(place or name) goes to another case
export async function openCase(name, { asked, answer, position, open }) {
  closeViewers();
  leaving = new AbortController();
  const { signal } = leaving;
  showOver(true);
  fill(find("case-title"), position === null ? name : `${position + 1}. ${name}`);
  find("previous").disabled = position === null || position === 0;
  find("next").disabled = position === null || position >= answer.hits.length - 1;
  fill(find("reading"), make("p", { class: "soft" }, "Loading …"));
  fill(find("viewers"));
  find("case-title").focus({ preventScroll: true });
  find("case").scrollTop = 0;
  let found;
  try {
    found = await call("api/case", { query: { case: name }, signal });
  } catch (error) {
    if (error.name !== "AbortError") fill(find("reading"), make("p", { class: "fault", role: "alert" }, error.message));
    return;
  }
  fill(find("reading"), reading(found, asked, answer, position, open));
  showVolumes(found, asked, signal);
}

export function closeCase() {
  leaving?.abort();
  closeViewers();
  showOver(false);
}

// what lies behind an open case cannot be reached by Tab
function showOver(open) {
  find("case").hidden = !open;
  document.body.classList.toggle("in-case", open);
  for (const behind of document.querySelectorAll(".skip, header, #ask, .columns")) behind.inert = open;
}

export const caseIsOpen = () => !find("case").hidden;

function closeViewers() {
  leaving?.abort();
  for (const viewer of viewers) viewer.close();
  viewers = [];
}

function showVolumes(found, asked, signal) {
  const query = queryVolume(asked, found, signal);
  const own = new Viewer(query ? `Case ${found.case}` : "Source volume");
  viewers = query ? [query.viewer, own] : [own];
  fill(find("viewers"), viewers.map((viewer) => viewer.element));
  find("viewers").classList.toggle("two", viewers.length === 2);
  find("linked").hidden = viewers.length < 2;
  for (const viewer of viewers) {
    [viewer.plane, viewer.window] = [plane, window_];
    viewer.onscroll = (fraction) => {
      if (find("link").checked) for (const other of viewers) if (other !== viewer) other.follow(fraction);
    };
  }
  query?.load();
  own.load(fetchBytes("api/volume", { query: { case: found.case }, signal }), found.grid);
}

// what the query looks like, if it is a volume; one that was uploaded is sent again to be converted, since the server keeps nothing of it
function queryVolume(asked, found, signal) {
  if (asked.mode === "volume") {
    const viewer = new Viewer(`Query: ${asked.query}`);
    return { viewer, load: () => viewer.load(convert(asked.file), null) };
  }
  if (asked.mode === "study" && asked.query !== found.case) {
    const viewer = new Viewer(`Query: case ${asked.query}`);
    return { viewer, load: () => viewer.load(fetchBytes("api/volume", { query: { case: asked.query }, signal }), null) };
  }
  return null;
}

// goes on when the case is left: the next one needs it too
function convert(file) {
  if (!converted.has(file)) {
    const bytes = fetchBytes("api/convert", { file, query: { name: file.name } });
    converted.set(file, bytes);
    bytes.catch(() => converted.delete(file));
  }
  return converted.get(file);
}

function reading(found, asked, answer, position, open) {
  const hit = position === null ? null : answer.hits[position];
  const facts = [
    hit ? ["score", `${scoreText(hit.score)}, rank ${hit.rank} of ${count(answer.among)}`] : null,
    ...gridFacts(found.grid),
    ...Object.entries(found.columns).filter(([, value]) => value !== ""),
  ].filter(Boolean);
  return [
    make("h3", {}, "Report"), reportText(found.report, hit?.spans),
    make("h3", {}, "Labels"), labelList(found.labels, asked.labels),
    make("h3", {}, "Facts"), make("dl", { class: "facts" }, facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    make("div", { class: "near-head" }, make("h3", {}, "Nearest cases"),
      make("button", { type: "button", onclick: () => open({ mode: "study", query: found.case }) }, "Search with this case")),
    make("ol", { class: "near" }, found.nearest.map((near) => make("li", {},
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

// buttons of the tool bar, and the same by keys
export function setUpTools() {
  const windows = WINDOWS.map((one, place) => make("button", {
    type: "button", "data-window": one[0], "aria-pressed": one === window_, title: `level ${one[1]}, width ${one[2]} HU (key ${place + 1})`,
    onclick: () => choose(plane, one) }, one[0]));
  const planes = PLANES.map((one) => make("button", {
    type: "button", "data-plane": one[0], "aria-pressed": one === plane, title: `key ${one[0] === "all" ? "m" : one[0][0]}`,
    onclick: () => choose(one, window_) }, one[0]));
  fill(find("windows"), windows);
  fill(find("planes"), planes);
}

function choose(newPlane, newWindow) {
  [plane, window_] = [newPlane, newWindow];
  for (const button of find("windows").children) button.setAttribute("aria-pressed", button.dataset.window === window_[0]);
  for (const button of find("planes").children) button.setAttribute("aria-pressed", button.dataset.plane === plane[0]);
  for (const viewer of viewers) viewer.set(plane, window_);
}

// → whether the key meant something here
export function caseKey(key) {
  if (["1", "2", "3"].includes(key)) choose(plane, WINDOWS[Number(key) - 1]);
  else if ("acsm".includes(key)) choose(PLANES["acsm".indexOf(key)], window_);
  else if (key === "ArrowUp" || key === "ArrowDown") viewers.at(-1)?.step(key === "ArrowUp" ? 1 : -1);
  else if (key === "PageUp" || key === "PageDown") viewers.at(-1)?.step(key === "PageUp" ? 10 : -10);
  else if (key === "ArrowLeft") find("previous").click();
  else if (key === "ArrowRight") find("next").click();
  else return false;
  return true;
}
