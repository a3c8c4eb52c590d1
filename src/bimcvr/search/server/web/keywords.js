// The chips: labels that can be searched for, with how well the model finds each by the volumes alone.

import { count, fill, find, make } from "./dom.js";

// keywords: of the index; choose(label) searches for one
export function showKeywords(keywords, choose) {
  fill(find("chips"), keywords.map((keyword) => chip(keyword, choose)));
}

function chip({ value, count: number, measured, better_than_chance: better }, choose) {
  const doubt = better === false;
  return make("button", { type: "button", class: doubt ? "chip doubtful" : "chip", "data-label": value, title: measured || null, onclick: () => choose(value) },
    value, make("span", { class: "number" }, count(number)), doubt ? make("span", { class: "doubt" }, "≈ chance") : null);
}
