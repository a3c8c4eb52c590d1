// The panel of what this browser keeps: searches and a collection of cases.

import { fragmentOf, requestOf } from "./address.js";
import { count, fill, find, make } from "./dom.js";
import { downloadCsv } from "./export.js";
import { forget, isKept, keep, lists, openLists } from "./storage.js";

let [search, open, caseColumn] = [null, null, "study_id"];

// search(request) asks again; open(name) opens a case
export function setUpLists(facts, searchAgain, openCase) {
  [search, open] = [searchAgain, openCase];
  caseColumn = facts.anonymous ? "case" : "study_id";
  openLists(facts, showLists);
}

function showLists(problem = "") {
  const kept = lists();
  const number = kept.searches.length + kept.cases.length;
  fill(find("kept").querySelector("summary"), number ? `Kept here (${count(number)})` : "Kept here");
  fill(find("kept-lists"),
    problem && make("p", { class: "error", role: "alert" }, problem),
    section("searches", "Saved searches", kept.searches, savedSearch, searchRows),
    section("cases", "Collection", kept.cases, keptCase, (cases) => [[caseColumn], ...cases.map((name) => [name])]),
    make("p", { class: "soft" }, caseColumn === "case" ? "In this tab only, until it is closed: nothing of it is on the server." : "In this browser only: nothing of it is on the server."));
  for (const button of document.querySelectorAll("[data-keeps]")) press(button);
}

function section(list, title, entries, item, rows) {
  return make("section", { "data-list": list, "aria-label": title }, make("h3", {}, title),
    entries.length ? make("ul", {}, entries.map(item)) : make("p", { class: "soft" }, list === "cases" ? "☆ on a case puts it here." : "“Save this search” above the results puts it here."),
    entries.length ? make("p", { class: "list-buttons" },
      make("button", { type: "button", class: "list-csv", "aria-label": `${title} as CSV`, onclick: () => downloadCsv(rows(entries), `${list}.csv`) }, "CSV"),
      make("button", { type: "button", class: "list-clear", "aria-label": `${title}: delete all`, onclick: () => { forget(list); focusPanel(); } }, "Delete all")) : null);
}

const removal = (list, entry, what) => make("button", { type: "button", class: "list-remove", "aria-label": `Delete ${what}`, onclick: () => { keep(list, entry, false); focusPanel(); } }, "×");

// what had the focus is gone
const focusPanel = () => find("kept").querySelector("summary").focus();

const keptCase = (name) => make("li", {}, make("button", { type: "button", class: "kept", onclick: () => open(name) }, name), removal("cases", name, name));

function savedSearch(fragment) {
  const request = requestOf(fragment);
  const what = request ? describe(request) : "not readable";
  return make("li", {}, make("button", { type: "button", class: "kept", disabled: !request, onclick: () => search(request) }, what), removal("searches", fragment, what));
}

function describe({ mode, query, into, where, condition }) {
  const kinds = { keyword: "cases of ", study: "cases like ", words: "words " };
  const filters = [...where, condition].filter(Boolean).join(", ");
  return `${kinds[mode] ?? ""}${query}${into === "report" && mode !== "words" ? ", reports" : ""}${filters ? ` (${filters})` : ""}`;
}

function searchRows(fragments) {
  const requests = fragments.map((fragment) => requestOf(fragment)).filter(Boolean);
  return [["mode", "query", "into", "hybrid", "where"], ...requests.map(({ mode, query, into, hybrid, where, condition }) =>
    [mode, query, into, hybrid ?? "", [...where, condition].filter(Boolean).join(" and ")])];
}

// a star that puts a case into the collection, or takes it out
export function keepButton(name) {
  const button = make("button", { type: "button", class: "keep", "data-keeps": name, "aria-label": `${name}: in the collection`,
    onclick: () => keep("cases", name, !isKept("cases", name)) });
  press(button);
  return button;
}

// a button that saves the search that is shown, or null: an upload and judgements have no address
export function saveButton(request) {
  const fragment = fragmentOf(request);
  if (!fragment) return null;
  const button = make("button", { type: "button", id: "save-search", "data-keeps": fragment, "data-list": "searches",
    onclick: () => keep("searches", fragment, !isKept("searches", fragment)) });
  press(button);
  return button;
}

function press(button) {
  const isSearch = button.dataset.list === "searches";
  const kept = isKept(isSearch ? "searches" : "cases", button.dataset.keeps);
  button.setAttribute("aria-pressed", String(kept));
  button.textContent = isSearch ? (kept ? "Saved" : "Save this search") : kept ? "★" : "☆";
}
