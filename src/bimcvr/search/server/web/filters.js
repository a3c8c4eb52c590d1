// Filters: labels, columns with few values, and a condition on any other column.

import { count, fill, find, make } from "./dom.js";

const LABELS_FIRST = 12;

// facts: of the index; changed() is called when the user has changed a filter
export function showFilters(facts, changed) {
  const fields = [make("p", { id: "left", class: "soft", role: "status" })];
  if (facts.labels.length) fields.push(labelField(facts.labels, changed));
  for (const { name, values } of facts.columns) {
    const any = make("option", { value: "" }, "any");
    const options = values.map(({ value, count: number }) => make("option", { value: `${name} = ${value}`, "data-value": value }, valueText(value, number)));
    fields.push(make("fieldset", {}, make("label", { class: "column" }, make("span", { class: "legend" }, name),
      make("select", { onchange: changed, "data-column": name }, any, options))));
  }
  const others = facts.all_columns.filter((name) => name !== "labels" && name !== "report");
  fields.push(make("fieldset", {}, make("label", { class: "column" }, make("span", { class: "legend" }, "condition"),
    make("input", { type: "text", id: "condition", placeholder: example(facts), maxlength: 300, autocomplete: "off", spellcheck: "false", onchange: changed,
      title: `COLUMN = VALUE; also != < <= > >=, several joined by and, for one of: ${others.join(", ")}` }))));
  fields.push(make("button", { type: "button", id: "clear", hidden: true, onclick: () => { setFilters({ where: [], condition: "" }); changed(); } }, "Clear filters"));
  fill(find("filter-fields"), fields);
}

const valueText = (value, number) => `${value || "(empty)"}${number === undefined ? "" : ` (${count(number)})`}`;

// counts: what is left under the filters, as the API returns it; null where nothing is filtered
export function showFilterCounts(counts, { labels, columns }) {
  const known = (values) => Object.fromEntries(values.map(({ value, count: number }) => [value, number]));
  const left = counts ? counts.labels : known(labels);
  for (const box of boxes()) fill(box.parentElement.querySelector(".number"), left[box.value] === undefined ? "" : count(left[box.value]));
  for (const list of lists()) {
    const { column } = list.dataset;
    const numbers = counts ? (counts.columns[column] ?? {}) : known(columns.find(({ name }) => name === column).values);
    for (const option of list.options) if (option.value) option.textContent = valueText(option.dataset.value, numbers[option.dataset.value]);
  }
}

// a condition that holds for some case of this index, so that it may be typed as it stands
function example({ columns, labels }) {
  const plain = ({ value }) => value && !/[<>=!'"]| and /.test(value);
  const column = columns.find(({ values }) => values.some(plain));
  if (column) return `${column.name} = ${column.values.find(plain).value}`;
  return labels.length ? `labels = ${labels[0].value}` : "";
}

function labelField(labels, changed) {
  const boxes = labels.map(({ value, count: number }, index) => make("label", { class: index < LABELS_FIRST ? null : "later" },
    make("input", { type: "checkbox", value, onchange: changed }), make("span", {}, value), make("span", { class: "number" }, count(number))));
  const field = make("fieldset", { class: "short" }, make("legend", {}, "labels, all of"), boxes);
  if (labels.length > LABELS_FIRST) field.append(make("button", { type: "button", class: "rest", onclick: (event) => {
    field.classList.remove("short");
    event.target.remove();
  } }, `${labels.length - LABELS_FIRST} more`));
  return field;
}

const boxes = () => [...find("filter-fields").querySelectorAll("input[type=checkbox]")];
const lists = () => [...find("filter-fields").querySelectorAll("select")];

export const chosenLabels = () => boxes().filter((box) => box.checked).map((box) => box.value);

// → {where: the chosen conditions, condition: the typed text}; all must hold
export function chosenFilters() {
  const condition = find("condition")?.value.trim() ?? "";
  const where = [...chosenLabels().map((label) => `labels = ${label}`), ...lists().map((list) => list.value).filter(Boolean)];
  const number = where.length + (condition ? 1 : 0);
  fill(find("filters").querySelector("summary"), number ? `Filters (${number})` : "Filters");
  if (find("clear")) find("clear").hidden = !number;
  return { where, condition };
}

export function setFilters({ where, condition }) {
  const remaining = new Set(where);
  for (const box of boxes()) box.checked = remaining.delete(`labels = ${box.value}`);
  for (const list of lists()) list.value = [...list.options].find((option) => option.value && remaining.delete(option.value))?.value ?? "";
  find("condition").value = condition ?? "";
  chosenFilters();
}
