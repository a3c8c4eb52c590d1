// Filters by labels and by any column of few values.

import { count, fill, find, make } from "./dom.js";

// facts: of the index; changed() is called when the user has chosen
export function showFilters(facts, changed) {
  const fields = facts.columns.map((column) => make("fieldset", { "data-column": column.name },
    make("legend", {}, column.name === "labels" ? "labels (all of the chosen)" : column.name),
    column.values.map(({ value, count: number }) => make("label", {},
      make("input", { type: "checkbox", value, "data-column": column.name, onchange: changed }),
      make("span", {}, value || "(none)"), make("span", { class: "number" }, count(number))))));
  fields.push(make("button", { type: "button", id: "clear", hidden: true, onclick: () => { setFilters({}); changed(); } }, "Clear filters"));
  fill(find("filter-fields"), fields);
  find("filters").hidden = !facts.columns.length;
}

export function chosenFilters() {
  const where = {};
  for (const box of find("filter-fields").querySelectorAll("input:checked")) (where[box.dataset.column] ??= []).push(box.value);
  const number = Object.values(where).flat().length;
  fill(find("filters").querySelector("summary"), number ? `Filters (${number})` : "Filters");
  find("clear").hidden = !number;
  return where;
}

export function setFilters(where) {
  for (const box of find("filter-fields").querySelectorAll("input[type=checkbox]")) {
    box.checked = (where[box.dataset.column] ?? []).includes(box.value);
  }
}
