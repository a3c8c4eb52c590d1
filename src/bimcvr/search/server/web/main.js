// The page: what is asked, what is shown, and the keys.

import { call } from "./api.js";
import { caseIsOpen, caseKey, closeCase, openCase, setUpTools } from "./case.js";
import { count, fill, find, make, several } from "./dom.js";
import { chosenFilters, chosenLabels, setFilters, showFilters } from "./filters.js";
import { focusResult, showFault, showResults, showWaiting, walk } from "./results.js";

const FIRST = 20;
// queries that can be fused with the ranking by words
const HAS_WORDS = ["text", "keyword"];
let facts = null;
// what was last asked: {mode, query, into, hybrid, where, condition, labels, top, file}; an uploaded file stays in this tab's memory
let asked = null;
let answer = null;
let running = null;
// key → a volume that was dropped in this tab, until it is loaded anew
const files = new Map();
let opened = null;
// how the user wants to rank; the two lists show how the query was ranked, which may leave no choice
const wish = { by: "meaning", into: "image" };

async function begin() {
  setUpTools();
  try {
    facts = await call("api/index");
  } catch (error) {
    fill(find("facts"));
    return showFault(error.message);
  }
  const parts = [several(facts.studies, "study", "studies")];
  if (facts.patients) parts.push(several(facts.patients, "patient"));
  if (facts.model) parts.push(facts.model);
  fill(find("facts"), parts.join(" · "), facts.anonymous ? " · without ids" : "");
  if (facts.phantom) {
    fill(find("banner"), facts.has_patients ? "Contains patient data. Part is phantom: synthetic volumes and reports of nobody."
      : "Phantom: synthetic volumes and reports of nobody. Nothing here is a finding.");
    find("banner").hidden = false;
  }
  fill(find("chips"), facts.keywords.map(({ value, count: number }) => make("button", {
    type: "button", class: "chip", "data-label": value, onclick: () => ask({ mode: "keyword", query: value }) }, value, make("span", { class: "number" }, count(number)))));
  showFilters(facts, () => { const chosen = chosenFilters(); if (asked) ask({ ...asked, ...chosen, labels: chosenLabels(), top: FIRST }); });
  if (innerWidth > 900) find("filters").open = true;
  if (!facts.can_embed) {
    find("query").placeholder = "Words that stand in reports";
    wish.by = "words";
    find("file").disabled = true;
    find("file-label").hidden = true;
  }
  showHow();
  showStart();
  if (history.state?.asked) restore(history.state);
  else find("query").focus();
}

function showStart() {
  fill(find("results"));
  find("more").hidden = true;
  fill(find("status"), make("div", { class: "start" },
    make("p", {}, facts.studies ? "Ask in words, choose a keyword, or drop a volume here." : "This index is empty."),
    facts.can_embed ? null : make("p", { class: "warning" }, facts.why_not),
    make("p", { class: "soft" }, "Results are the nearest cases that the model knows of, best first. They are always there, even where nothing fits: read the report and look at the volume.")));
}

// what: {mode: text | keyword | study | volume | words, query, file?, into?, hybrid?, where?, condition?, labels?, top?}
async function ask(what, remember = true) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  asked = { ...chosenFilters(), labels: chosenLabels(), top: FIRST, into: wish.into, hybrid: wish.by === "both" && HAS_WORDS.includes(what.mode), ...what };
  if (asked.mode === "words") asked.into = "report";
  if (caseIsOpen()) {
    leaveCase();
    find("results").focus({ preventScroll: true });
    // what was asked, and what to doubt, stands above the list
    scrollTo(0, 0);
  }
  showAsked();
  showWaiting(asked.mode === "volume" ? "Sending and reading the volume …" : "Searching …");
  find("results").setAttribute("aria-busy", "true");
  try {
    answer = await send(asked, signal);
    showResults(answer, asked, openPlace);
    if (remember) history.pushState({ asked: kept(asked) }, "");
  } catch (error) {
    if (error.name === "AbortError") return;
    answer = null;
    showFault(error.message);
  } finally {
    find("results").removeAttribute("aria-busy");
  }
}

function send({ mode, query, into, hybrid, where, condition, top, file }, signal) {
  if (mode !== "volume") return call("api/search", { json: { mode, query, into, hybrid, where, condition, top }, signal });
  return call("api/search/volume", { file, query: { name: file.name, into, top, where: JSON.stringify(where), condition }, signal });
}

// queries and ids stay out of addresses: the tab's own history holds them
const kept = (one) => ({ ...one, file: one.file && keyOf(one.file) });

// the browser gives an entry with a File in it back as nothing, so that entries hold a key of it
function keyOf(file) {
  const known = [...files].find(([, one]) => one === file);
  const key = known?.[0] ?? `${Date.now()} ${files.size}`;
  files.set(key, file);
  return key;
}

// the same question after a choice of how to rank
function again() {
  if (!asked) return;
  const { query, file } = asked;
  const mode = asked.mode === "text" || asked.mode === "words" ? (wish.by === "words" ? "words" : "text") : asked.mode;
  ask({ mode, query, file });
}

function showAsked() {
  const { mode, query } = asked;
  if (mode === "text" || mode === "words") find("query").value = query;
  else find("query").value = "";
  for (const chip of find("chips").children) chip.setAttribute("aria-pressed", mode === "keyword" && chip.dataset.label === query);
  const kinds = { keyword: "Cases of", study: "Cases like", volume: "Cases like the volume" };
  showHow();
  find("asked").hidden = mode === "text" || mode === "words";
  fill(find("asked"), kinds[mode] === undefined ? null : [`${kinds[mode]} `, make("b", {}, query), make("button", { type: "button", onclick: clear, "aria-label": "Clear the query" }, "×")]);
}

const byOf = ({ mode, hybrid }) => (mode === "words" ? "words" : hybrid ? "both" : "meaning");

function showHow() {
  const [by, into] = [find("by"), find("into")];
  const mode = asked?.mode;
  const wordless = mode === "study" || mode === "volume";
  by.value = asked ? byOf(asked) : wish.by;
  by.disabled = !facts?.can_embed || wordless;
  by.querySelector("[value=words]").disabled = mode === "keyword";
  by.title = wordless ? "A case is compared by meaning: it has no words to rank by." : mode === "keyword" ? "A keyword has a meaning, alone or with its words. Type it to look for the words alone." : "";
  into.value = (asked ?? wish).into;
  into.disabled = mode === "words";
  into.title = mode === "words" ? "Words stand in reports: nothing is compared." : "";
}

function forget() {
  running?.abort();
  [asked, answer] = [null, null];
  find("query").value = "";
  find("asked").hidden = true;
  for (const chip of find("chips").children) chip.setAttribute("aria-pressed", "false");
  showHow();
  showStart();
}

function clear() {
  forget();
  history.pushState({}, "");
  find("query").focus();
}

// where: a place in the results, a case's name, or a new query
function openPlace(where) {
  if (typeof where === "object") return ask(where);
  const name = typeof where === "number" ? answer.hits[where].case : where;
  history.pushState({ asked: asked && kept(asked), opened: name }, "");
  return showCase(name);
}

function showCase(name) {
  opened = name;
  const place = answer ? answer.hits.findIndex((hit) => hit.case === name) : -1;
  return openCase(name, { asked: asked ?? { labels: [] }, answer, position: place < 0 ? null : place, open: openPlace });
}

function turn(by) {
  const place = answer?.hits.findIndex((hit) => hit.case === opened) ?? -1;
  const next = answer?.hits[place + by];
  if (place < 0 || !next) return;
  history.replaceState({ asked: kept(asked), opened: next.case }, "");
  showCase(next.case);
}

function leaveCase() {
  closeCase();
  if (opened) focusResult(opened);
  opened = null;
}

async function restore(state) {
  if (!state.asked) {
    if (caseIsOpen()) leaveCase();
    return forget();
  }
  if (JSON.stringify(state.asked) !== JSON.stringify(asked && kept(asked))) {
    setFilters(state.asked);
    if (state.asked.mode !== "words") wish.into = state.asked.into;
    if (facts.can_embed && ["words", ...HAS_WORDS].includes(state.asked.mode)) wish.by = byOf(state.asked);
    const file = files.get(state.asked.file);
    if (state.asked.mode === "volume" && !file) {
      forget();
      return showFault(`${state.asked.query} is no longer in this tab. Drop it again to search with it.`);
    }
    await ask({ ...state.asked, file }, false);
  }
  if (state.opened) showCase(state.opened);
  else if (caseIsOpen()) leaveCase();
}

function keys(event) {
  if (find("ask-token").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=search], input[type=password], input[type=text], select");
  if (event.key === "Escape") {
    if (caseIsOpen()) history.back();
    else if (typing) event.target.blur();
    else return;
    event.preventDefault();
  } else if (caseIsOpen()) {
    // the slices' own slider moves by itself
    if (!event.target.matches("input[type=range]") && caseKey(event.key)) event.preventDefault();
  } else if (event.key === "/" && !typing) {
    event.preventDefault();
    find("query").focus();
    find("query").select();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !event.target.matches("#filters *, #chips *")) {
    if (walk(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
  }
}

function setUpDrop() {
  const hide = () => { find("drop").hidden = true; };
  addEventListener("dragover", (event) => {
    event.preventDefault();
    if ([...event.dataTransfer.types].includes("Files") && facts?.can_embed) find("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) hide(); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    hide();
    take(event.dataTransfer.files);
  });
  find("file").addEventListener("change", () => { take(find("file").files); find("file").value = ""; });
}

function take(files) {
  if (!files.length) return;
  if (!facts?.can_embed) return showFault(facts?.why_not ?? "The index is not loaded.");
  if (files.length > 1) return showFault("One volume at a time: a file, or a zip of one DICOM series.");
  const [file] = files;
  if (file.size > facts.upload_mb * 2 ** 20) return showFault(`${file.name} is larger than the ${count(facts.upload_mb)} MiB that this server takes.`);
  return ask({ mode: "volume", query: file.name, file });
}

find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = find("query").value.trim();
  if (query) ask({ mode: wish.by === "words" ? "words" : "text", query });
});
for (const name of ["by", "into"]) find(name).addEventListener("change", () => {
  wish[name] = find(name).value;
  again();
});
find("more").addEventListener("click", () => {
  const more = { ...asked, top: Math.min(200, asked.top * 3) };
  // the list's own entry, so that a case that is opened from it leads back to all of it
  history.replaceState({ asked: kept(more) }, "");
  ask(more, false);
});
find("back").addEventListener("click", () => history.back());
find("previous").addEventListener("click", () => turn(-1));
find("next").addEventListener("click", () => turn(1));
addEventListener("keydown", keys);
addEventListener("popstate", (event) => restore(event.state ?? {}));
setUpDrop();
begin();
