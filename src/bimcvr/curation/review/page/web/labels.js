// The labels of an answer: none given (null), no finding ([]), or some.

import { fill, find, make } from "./dom.js";

let labels = null;
let suggested = [];
let known = [];
let unknown = "";
let onChange = () => {};

export const labelsNow = () => labels;

export function setUpLabels(changed) {
  onChange = changed;
}

export function setKnownLabels(all) {
  known = all;
  renderLabels();
}

// value: the labels of the reviewer's answer; suggestions: those of the report and of the archive
export function showLabels(value, suggestions) {
  [labels, suggested, unknown] = [value, suggestions, ""];
  renderLabels();
}

function set(value) {
  labels = value;
  unknown = "";
  renderLabels();
  onChange();
}

function toggle(label) {
  const chosen = labels ?? [];
  set(chosen.includes(label) ? chosen.filter((one) => one !== label) : [...chosen, label].sort());
}

function add(input) {
  const label = input.value.trim();
  if (!label || label.includes(";")) return;
  if (!known.includes(label) && unknown !== label) {
    unknown = label;
    fill(find("status"), `“${label}” is no label of the library or of the manifest. Enter again adds it.`);
    return;
  }
  if (!(labels ?? []).includes(label)) toggle(label);
  find("label-input").focus();
}

function renderLabels() {
  const shown = [...new Set([...suggested, ...(labels ?? [])])];
  const input = make("input", { id: "label-input", type: "text", list: "known-labels", placeholder: "add a label", "aria-label": "Add a label", autocomplete: "off", maxlength: 100 });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") add(input); });
  fill(find("label-editor"),
    make("span", {}, "Labels"),
    shown.map((label) => make("button", { type: "button", "aria-pressed": Boolean(labels?.includes(label)), onclick: () => toggle(label) }, label)),
    make("button", { type: "button", "aria-pressed": labels?.length === 0, onclick: () => set(labels?.length === 0 ? null : []) }, "no finding"),
    input, make("datalist", { id: "known-labels" }, known.map((label) => make("option", { value: label }))),
    labels === null
      ? make("span", { class: "soft" }, suggested.length ? "none given: those of the report count" : "none given")
      : make("button", { type: "button", onclick: () => set(null) }, "give none"),
    labels === null && suggested.length > 1 ? make("button", { type: "button", onclick: () => set([...suggested].sort()) }, "all of these") : null);
}
