// The page: searching, history, keys and dropped files.

import { addressOf, fromAddress } from "./address.js";
import { call } from "./api.js";
import { allowAttention } from "./attention.js";
import { caseIsOpen, caseKey, closeCase, openCase, setUpCase } from "./case.js";
import { count, fill, find, make, several } from "./dom.js";
import { showCounts } from "./counts.js";
import { showKeywords } from "./keywords.js";
import { setUpLists } from "./lists.js";
import { likeRequest } from "./feedback.js";
import { chosenFilters, chosenLabels, setFilters, showFilters } from "./filters.js";
import { setUpPeaks } from "./peaks.js";
import { offerSeries } from "./series.js";
import { clearResults, focusResult, neighbour, reveal, showCards, showError, showProgress, showResults, walk } from "./results.js";
import { setUpView } from "./view.js";

const FIRST = 20;
// modes that can be fused with the ranking by words
const HAS_WORDS = ["text", "keyword"];
let facts = null;
// the last search: {mode, query, into, hybrid, where, condition, labels, top, file}; an uploaded file stays in this tab's memory
let request = null;
let results = null;
let pending = null;
// key → a volume that was dropped in this tab; lost when the page is reloaded
const files = new Map();
let openedCase = null;
// how the user wants to rank; the two lists show how the last search was ranked, which may leave no choice
// by "": the server chooses, until the user has
const preferred = { by: "", into: "image" };

async function start() {
  setUpCase();
  setUpPeaks();
  try {
    facts = await call("api/index");
  } catch (error) {
    fill(find("facts"));
    return showError(error.message);
  }
  setUpView(facts, showCards);
  const parts = [several(facts.studies, "study", "studies")];
  if (facts.patients) parts.push(several(facts.patients, "patient"));
  if (facts.model) parts.push(facts.model);
  fill(find("facts"), parts.join(" · "), facts.anonymous ? " · without ids" : "");
  if (facts.phantom) {
    fill(find("banner"), facts.has_patients ? "Contains patient data. Some studies are phantoms: synthetic volumes and reports."
      : "Phantom: synthetic volumes and reports of no patient. Nothing here is a real finding.");
    find("banner").hidden = false;
  }
  showKeywords(facts.keywords, (value) => search({ mode: "keyword", query: value }));
  showFilters(facts, () => {
    const chosen = chosenFilters();
    showCounts(chosen, facts);
    if (request) search({ ...request, ...chosen, labels: chosenLabels(), top: FIRST });
  });
  setUpLists(facts, (saved) => { setFilters(saved); showCounts(saved, facts); search(saved); }, openOrSearch);
  if (innerWidth > 900) find("filters").open = true;
  allowAttention(facts.can_embed);
  if (!facts.can_embed) {
    find("query").placeholder = "Words that occur in reports";
    preferred.by = "words";
    find("file").disabled = true;
    find("file-label").hidden = true;
  }
  showRanking();
  // who has searched while the index was loading is not led away from it
  if (request) return undefined;
  showStart();
  const last = history.state?.request || history.state?.openedCase ? history.state : fromAddress(FIRST);
  if (last.request || last.openedCase) {
    if (last !== history.state) followed(last);
    restore(last);
  } else find("query").focus();
  return undefined;
}

// a link to a case: the way back leads to its results, not to where the link was
function followed({ request: linked, openedCase: name }) {
  history.replaceState({ request: linked }, "", addressOf(linked));
  if (name) history.pushState({ request: linked, openedCase: name }, "", addressOf(linked, name));
}

function showStart() {
  clearResults();
  find("more").hidden = true;
  fill(find("status"), make("div", { class: "start" },
    make("p", {}, facts.studies ? "Describe findings, choose a keyword, or drop a volume here." : "This index is empty."),
    facts.can_embed ? null : make("p", { class: "warning" }, facts.why_not),
    make("p", { class: "soft" }, "Results are the nearest cases of the index, best first. There are always some, even if nothing fits: read the report and look at the volume.")));
}

// → whether no other search came between; query: {mode: text | keyword | study | volume | words, query, file?, into?, hybrid?, where?, condition?, labels?, top?}
async function search(query, remember = true) {
  pending?.abort();
  pending = new AbortController();
  const { signal } = pending;
  request = { ...chosenFilters(), labels: chosenLabels(), top: FIRST, into: preferred.into, hybrid: wantsFusion(query.mode), ...query };
  if (request.mode === "words") request.into = "report";
  if (caseIsOpen()) {
    leaveCase();
    find("results").focus({ preventScroll: true });
    // the query and the notes are above the list
    scrollTo(0, 0);
  }
  showQuery();
  showProgress(request.mode === "volume" ? "Sending and reading the volume …" : "Searching …");
  find("results").setAttribute("aria-busy", "true");
  try {
    results = await send(request, signal);
    showResults(results, request, openOrSearch);
    if (remember) history.pushState({ request: storable(request) }, "", addressOf(request));
  } catch (error) {
    if (error.name === "AbortError") return false;
    results = null;
    showError(error.message);
    if (error.series) offerSeries(error.series, (series) => search({ ...request, series }, remember));
  } finally {
    if (!signal.aborted) find("results").removeAttribute("aria-busy");
  }
  return true;
}

// null: the server fuses where the query names a finding
const wantsFusion = (mode) => (HAS_WORDS.includes(mode) ? { both: true, meaning: false }[preferred.by] ?? null : false);

function send({ mode, query, into, hybrid, where, condition, top, file, series }, signal) {
  if (mode === "like") return call("api/search/like", { json: likeRequest(request), signal });
  if (mode !== "volume") return call("api/search", { json: { mode, query, into, hybrid, where, condition, top }, signal });
  return call("api/search/volume", { file, query: { name: file.name, into, top, where: JSON.stringify(where), condition, ...(series && { series }) }, signal });
}

// as the history of the tab keeps it
const storable = (search) => ({ ...search, file: search.file && fileKey(search.file) });

// an entry of the history that holds a File comes back empty, so entries hold a key of it
function fileKey(file) {
  const entry = [...files].find(([, known]) => known === file);
  const key = entry?.[0] ?? `${Date.now()} ${files.size}`;
  files.set(key, file);
  return key;
}

// the same query after a change of how to rank
function searchAgain() {
  if (!request) return;
  const { query, file, series, about, relevant, not_relevant } = request;
  const mode = request.mode === "text" || request.mode === "words" ? (preferred.by === "words" ? "words" : "text") : request.mode;
  search({ mode, query, file, series, about, relevant, not_relevant });
}

function showQuery() {
  const { mode, query } = request;
  if (mode === "text" || mode === "words") find("query").value = query;
  else find("query").value = "";
  for (const chip of find("chips").children) chip.setAttribute("aria-pressed", mode === "keyword" && chip.dataset.label === query);
  const kinds = { keyword: "Cases of", study: "Cases like", volume: "Cases like the volume", like: "More like the cases that fit" };
  showRanking();
  find("query-summary").hidden = mode === "text" || mode === "words";
  fill(find("query-summary"), kinds[mode] === undefined ? null : [`${kinds[mode]} `, make("b", {}, query), make("button", { type: "button", onclick: clearQuery, "aria-label": "Clear the query" }, "×")]);
}

const rankingOf = ({ mode, hybrid }) => (mode === "words" ? "words" : hybrid === null ? "" : hybrid ? "both" : "meaning");

function showRanking() {
  const [by, into] = [find("by"), find("into")];
  const mode = request?.mode;
  const wordless = ["study", "volume", "like"].includes(mode);
  by.value = request ? rankingOf(request) : preferred.by;
  by.disabled = !facts?.can_embed || wordless;
  by.querySelector("[value=words]").disabled = mode === "keyword";
  by.title = wordless ? "A case is ranked by meaning: it has no words to rank by." : mode === "keyword" ? "A keyword is ranked by meaning, alone or with its words. Type it into the search box to rank by words alone." : "";
  into.value = (request ?? preferred).into;
  into.disabled = mode === "words";
  into.title = mode === "words" ? "Words are searched in reports only." : "";
}

function resetQuery() {
  pending?.abort();
  [request, results] = [null, null];
  find("query").value = "";
  find("query-summary").hidden = true;
  for (const chip of find("chips").children) chip.setAttribute("aria-pressed", "false");
  showRanking();
  showStart();
}

function clearQuery() {
  resetQuery();
  history.pushState({}, "", addressOf(null));
  find("query").focus();
}

// target: a position in the results, a case's name, or a new query
function openOrSearch(target) {
  if (typeof target === "object") return search(target);
  const name = typeof target === "number" ? results.hits[target].case : target;
  history.pushState({ request: request && storable(request), openedCase: name }, "", addressOf(request, name));
  return showCase(name);
}

function showCase(name) {
  openedCase = name;
  reveal(name);
  const position = results ? results.hits.findIndex((hit) => hit.case === name) : -1;
  return openCase(name, { request: request ?? { labels: [] }, results, position: position < 0 ? null : position, beside: [-1, 1].map((by) => neighbour(name, by)), open: openOrSearch });
}

function openNeighbour(by) {
  const next = neighbour(openedCase, by);
  if (!next) return;
  history.replaceState({ request: storable(request), openedCase: next }, "", addressOf(request, next));
  showCase(next);
}

function leaveCase() {
  closeCase();
  if (openedCase) focusResult(openedCase);
  openedCase = null;
}

async function restore(state) {
  if (!state.request) {
    if (!state.openedCase && caseIsOpen()) leaveCase();
    resetQuery();
    return state.openedCase && showCase(state.openedCase);
  }
  if (JSON.stringify(state.request) !== JSON.stringify(request && storable(request))) {
    setFilters(state.request);
    showCounts(state.request, facts);
    if (state.request.mode !== "words") preferred.into = state.request.into;
    if (facts.can_embed && ["words", ...HAS_WORDS].includes(state.request.mode)) preferred.by = rankingOf(state.request);
    const file = files.get(state.request.file);
    if (state.request.mode === "volume" && !file) {
      resetQuery();
      return showError(`${state.request.query} is no longer in this tab. Drop it again to search with it.`);
    }
    // a search that came between has its results here: no case of the older one lies over them
    if (!(await search({ ...state.request, file }, false))) return undefined;
  }
  if (state.openedCase) showCase(state.openedCase);
  else if (caseIsOpen()) leaveCase();
}

function onKey(event) {
  if (find("token-dialog").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=search], input[type=password], input[type=text], select");
  if (event.key === "Escape") {
    if (caseIsOpen()) history.back();
    else if (typing) event.target.blur();
    else return;
    event.preventDefault();
  } else if (caseIsOpen()) {
    // the slice slider handles its own keys
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
    searchByFiles(event.dataTransfer.files);
  });
  find("file").addEventListener("change", () => { searchByFiles(find("file").files); find("file").value = ""; });
}

function searchByFiles(chosen) {
  if (!chosen.length) return;
  if (!facts?.can_embed) return showError(facts?.why_not ?? "The index is not loaded.");
  if (chosen.length > 1) return showError("One volume at a time: a file, or a zip of one DICOM series.");
  const [file] = chosen;
  if (file.size > facts.max_upload_mib * 2 ** 20) return showError(`${file.name} is larger than the ${count(facts.max_upload_mib)} MiB that this server accepts.`);
  return search({ mode: "volume", query: file.name, file });
}

find("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = find("query").value.trim();
  if (query) search({ mode: preferred.by === "words" ? "words" : "text", query });
  // an emptied query has no results; one by keyword, case or volume has nothing in the box
  else if (["text", "words"].includes(request?.mode)) clearQuery();
});
for (const name of ["by", "into"]) find(name).addEventListener("change", () => {
  preferred[name] = find(name).value;
  searchAgain();
});
find("more").addEventListener("click", () => {
  const more = { ...request, top: Math.min(200, request.top * 3) };
  // instead of the list's own history entry, so that going back from a case leads to all of it
  history.replaceState({ request: storable(more) }, "", addressOf(more));
  search(more, false);
});
find("back").addEventListener("click", () => history.back());
find("previous").addEventListener("click", () => openNeighbour(-1));
find("next").addEventListener("click", () => openNeighbour(1));
addEventListener("keydown", onKey);
// an address that was typed or followed in this tab has no state yet
addEventListener("popstate", (event) => restore(event.state ?? fromAddress(FIRST)));
setUpDrop();
start();
