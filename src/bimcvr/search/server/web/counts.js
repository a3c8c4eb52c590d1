// How many cases are left under the filters: on the chips, beside the labels, in the lists of values.

import { call } from "./api.js";
import { count, fill, find } from "./dom.js";
import { showFilterCounts } from "./filters.js";

let counting = null;

// filters: {where, condition}; facts: of the index, whose counts hold where nothing is filtered
export async function showCounts({ where, condition }, facts) {
  counting?.abort();
  counting = new AbortController();
  const { signal } = counting;
  if (!where.length && !condition) return show(null, facts);
  try {
    show(await call("api/counts", { json: { where, condition }, signal }), facts);
  } catch (error) {
    // no number rather than one of other filters; what is wrong with a condition the search says
    if (error.name !== "AbortError") show({ studies: null, labels: {}, columns: {} }, facts);
  }
  return undefined;
}

function show(counts, facts) {
  for (const chip of find("chips").children) {
    const all = facts.keywords.find(({ value }) => value === chip.dataset.label).count;
    const left = counts ? counts.labels[chip.dataset.label] : all;
    fill(chip.querySelector(".number"), left === undefined ? "" : count(left));
    chip.classList.toggle("none-left", left === 0);
  }
  showFilterCounts(counts, facts);
  fill(find("left"), counts?.studies === undefined || counts?.studies === null ? "" : `${count(counts.studies)} of ${count(facts.studies)} cases pass`);
}
