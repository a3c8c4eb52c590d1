// The tool bar: how all volumes that are open are shown. It is kept from case to case.

import { fill, find, make } from "./dom.js";
import { TOOLS } from "./pointer.js";
import { PLANES, windowOf, WINDOWS } from "./windows.js";

// mm; 0: single slices
const SLABS = [0, 5, 10, 20, 40];
const shown = { plane: PLANES[0], window: WINDOWS[0], slab: 0, tool: "window" };
let viewers = [];

export function setUpTools() {
  fill(find("windows"), WINDOWS.map((window, index) => button(window[0], { "data-window": window[0], title: `level ${window[1]}, width ${window[2]} HU (key ${index + 1})` }, () => choose({ window }))));
  fill(find("planes"), PLANES.map((plane) => button(plane[0], { "data-plane": plane[0], title: `key ${keyOf(plane)}` }, () => choose({ plane }))));
  fill(find("drags"), TOOLS.map(([name, key, what]) => button(name, { "data-tool": name, title: `${what} (key ${key})` }, () => choose({ tool: name }))));
  fill(find("slab"), SLABS.map((mm) => make("option", { value: mm }, mm ? `MIP of ${mm} mm` : "single slices")));
  find("slab").addEventListener("change", () => choose({ slab: Number(find("slab").value) }));
  find("zoom-in").addEventListener("click", () => zoom(1.25));
  find("zoom-out").addEventListener("click", () => zoom(0.8));
  find("fit").addEventListener("click", fit);
  find("clear-marks").addEventListener("click", clearMarks);
  find("link").addEventListener("change", () => {
    if (!find("link").checked) return;
    for (const viewer of viewers) viewer.anchorHere();
    fill(find("link-facts"), "by mm from where both stood");
  });
  press();
}

const keyOf = (plane) => (plane[0] === "all" ? "m" : plane[0][0]);
const button = (name, attributes, onclick) => make("button", { type: "button", "aria-pressed": false, onclick, ...attributes }, name);

// the viewers of a case that was opened
export function useTools(opened) {
  viewers = opened;
  for (const viewer of viewers) {
    Object.assign(viewer, { plane: shown.plane, window: shown.window, slabMm: shown.slab });
    viewer.pointer.tool = shown.tool;
    viewer.onscroll = (mm, axis) => {
      if (find("link").checked) for (const other of viewers) if (other !== viewer) other.follow(mm, axis);
    };
    viewer.onwindow = (level, width) => choose({ window: windowOf(level, width) });
    viewer.onmarks = () => { find("clear-marks").hidden = viewers.every((one) => !one.marks.length); };
  }
  find("clear-marks").hidden = true;
  find("linked").hidden = viewers.length < 2;
  fill(find("link-facts"));
}

// both volumes are there: they start at the same place of the chest, if each shows lungs
export function linkAnatomy() {
  if (viewers.length < 2 || !viewers.every((viewer) => viewer.ready())) return;
  const known = viewers.every((viewer) => viewer.lungs);
  if (!known) for (const viewer of viewers) viewer.anchor = [...viewer.nv.frac2mm([0.5, 0.5, 0.5])];
  fill(find("link-facts"), known ? "by mm from the middle of the lungs" : "by mm from the middle of the stacks: no lungs were found");
  for (const axis of [0, 1, 2]) viewers.at(-1).announce(axis);
}

function choose(changed) {
  Object.assign(shown, changed);
  press();
  for (const viewer of viewers) {
    viewer.pointer.tool = shown.tool;
    if (!("tool" in changed)) viewer.set(shown.plane, shown.window, shown.slab);
  }
}

function press() {
  for (const [group, chosen] of [["windows", shown.window[0]], ["planes", shown.plane[0]], ["drags", shown.tool]]) {
    for (const one of find(group).children) one.setAttribute("aria-pressed", Object.values(one.dataset)[0] === chosen);
  }
  find("slab").value = shown.slab;
  find("slab").disabled = shown.plane[0] === "all";
  find("viewers").dataset.tool = shown.tool;
}

const zoom = (factor) => { for (const viewer of viewers) viewer.zoom(factor); };
const fit = () => { for (const viewer of viewers) viewer.resetView(); };
const clearMarks = () => { for (const viewer of viewers) viewer.clearMarks(); };
const step = (by) => viewers.at(-1)?.step(by);

// → whether the key was used
export function toolKey(key) {
  const tool = TOOLS.find((one) => one[1] === key);
  const actions = {
    ArrowUp: () => step(1), ArrowDown: () => step(-1), PageUp: () => step(10), PageDown: () => step(-10),
    Home: () => step(-Infinity), End: () => step(Infinity), "+": () => zoom(1.25), "-": () => zoom(0.8), 0: fit,
    Delete: clearMarks, Backspace: clearMarks,
  };
  if (["1", "2", "3"].includes(key)) choose({ window: WINDOWS[Number(key) - 1] });
  else if (PLANES.some((plane) => keyOf(plane) === key)) choose({ plane: PLANES.find((plane) => keyOf(plane) === key) });
  else if (tool) choose({ tool: tool[0] });
  else if (actions[key]) actions[key]();
  else return false;
  return true;
}
