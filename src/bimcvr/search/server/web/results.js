// The ranked list.

import { labelList, reportText, scoreText, thumbnails } from "./cards.js";
import { judgeButtons, showMoreLike } from "./feedback.js";
import { count, fill, find, make, several } from "./dom.js";
import { downloadHits } from "./export.js";
import { keepButton, saveButton } from "./lists.js";
import { awaitPeak, forgetPeaks } from "./peaks.js";
import { arrange } from "./view.js";

let shown = null;

// results: what the API returned; request: the search; open(position) opens a case
export function showResults(results, request, open) {
  // made once: pictures that are there already are not fetched again when the order changes
  shown = { results, request, open, cards: new Map() };
  forgetPeaks(request);
  showCards();
  fill(find("status"), ...summary(results, request));
  showMoreLike(request, open);
  find("more").hidden = results.hits.length >= Math.min(results.candidates, 200) || results.hits.length < request.top;
}

// after a change of how the hits are shown, too
export function showCards() {
  if (!shown) return;
  const { layout, groups } = arrange(shown.results);
  const list = find("results");
  list.classList.toggle("grid", layout === "grid");
  fill(list, groups.flatMap(({ patient, cases }) => (patient ? patientGroup(patient, cases) : cases.map(card))));
}

const patientGroup = (patient, cases) => make("li", { class: "patient", "data-patient": patient },
  make("h3", {}, `Patient ${patient}`, make("span", { class: "soft" }, `, ${several(cases.length, "case")}`)), make("ol", { class: "cases" }, cases.map(card)));

const WHY = { report: "the same report", volume: "the same volume" };

function repeats(cases) {
  if (!cases.length) return null;
  const why = [...new Set(cases.map(({ hit }) => WHY[hit.repeats_why]))].join(", or ");
  return make("details", { class: "repeats" }, make("summary", {}, `${several(cases.length, "near-duplicate")}: ${why}`), make("ol", { class: "cases" }, cases.map(card)));
}

function card({ hit, position, repeats: folded }) {
  if (!shown.cards.has(position)) shown.cards.set(position, makeCard(hit, position));
  const made = shown.cards.get(position);
  made.querySelector(":scope > .repeats")?.remove();
  const below = repeats(folded);
  if (below) made.append(below);
  return made;
}

function makeCard(hit, position) {
  const { results, request, open } = shown;
  const labels = [...request.labels, ...(request.mode === "keyword" ? [request.query] : [])];
  const button = make("button", { type: "button", class: "open", onclick: () => open(position), "aria-label": `${hit.rank} ${hit.case}: open the case` },
    make("span", { class: "rank" }, `${hit.rank}`), " ", make("span", { class: "name" }, hit.case));
  const score = make("span", { class: "score", title: results.score_is }, scoreText(hit.score));
  const pictures = thumbnails(hit);
  awaitPeak(pictures, hit.case);
  const digits = (text) => text.replaceAll("-", "");
  const columns = Object.entries(hit.columns).filter(([, value]) => !hit.day || !digits(value).startsWith(digits(hit.day)));
  if (hit.day) columns.unshift(["date", hit.day]);
  const facts = columns.map(([name, value]) => make("span", { class: "fact" }, `${name} ${value}`));
  return make("li", { class: "card", "data-case": hit.case, onclick: (event) => { if (event.target.closest("img")?.dataset.case === hit.case) open(position); } },
    make("div", { class: "card-head" }, button, score, judgeButtons(hit, request, open), keepButton(hit.case), facts),
    pictures,
    make("div", { class: "card-text" }, labelList(hit.labels, labels), reportText(hit.report, hit.spans)));
}

function summary(results, request) {
  const parts = [];
  if (!results.hits.length) {
    parts.push(make("p", { class: "nothing" }, results.candidates === 0 ? "No case passes these filters. Remove one." : "No case was found."));
    for (const note of results.candidates ? results.notes : []) parts.push(make("p", { class: "warning" }, note));
    return parts;
  }
  const scope = `${several(results.candidates, "case")}${request.where.length || request.condition ? (results.candidates === 1 ? " that passes the filters" : " that pass the filters") : ""}`;
  const what = request.mode === "words" ? "The first" : request.into === "report" ? "The nearest reports:" : "The nearest volumes:";
  parts.push(make("p", {}, `${what} ${count(results.hits.length)} of ${scope}, in ${duration(results.seconds)}. Score: ${results.score_is}.`,
    results.query_parts.length > 1 || request.mode === "keyword" ? ` Encoded as: ${results.query_parts.slice(0, 4).join(" · ")}${results.query_parts.length > 4 ? " …" : ""}` : null));
  if (results.measured) parts.push(make("p", { class: "soft measured" }, results.measured));
  for (const note of results.notes) parts.push(make("p", { class: "warning" }, note));
  parts.push(make("p", {}, make("button", { type: "button", id: "export", onclick: () => downloadHits(results, request) }, "CSV of these cases"), " ", saveButton(request)));
  return parts;
}

const duration = (seconds) => (seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`);

export function clearResults() {
  shown = null;
  forgetPeaks(null);
  fill(find("results"));
  find("view").hidden = true;
}

export function showError(message) {
  clearResults();
  fill(find("status"), make("p", { class: "error", role: "alert" }, message));
  find("more").hidden = true;
}

export function showProgress(message) {
  forgetPeaks(null);
  fill(find("status"), make("p", { class: "waiting" }, message));
}

// without what is folded away
const openButtons = () => [...find("results").querySelectorAll("button.open")].filter((button) => !button.closest("details:not([open])"));
const nameOf = (button) => button.closest(".card").dataset.case;

// the case beside another as the list shows them, or undefined
export function neighbour(name, by) {
  const names = openButtons().map(nameOf);
  return names.includes(name) ? names[names.indexOf(name) + by] : undefined;
}

// unfold a case that is folded away
export function reveal(name) {
  const folded = [...find("results").querySelectorAll(".card")].find((item) => item.dataset.case === name)?.closest("details");
  if (folded) folded.open = true;
}

// move the focus through the list; → whether it moved
export function walk(by) {
  const buttons = openButtons();
  if (!buttons.length) return false;
  const current = buttons.indexOf(document.activeElement);
  if (current < 0 && by < 0) return false;
  if (current === 0 && by < 0) find("query").focus();
  else {
    const next = buttons[Math.min(buttons.length - 1, current + by)];
    next.focus({ preventScroll: true });
    next.closest("li").scrollIntoView({ block: "nearest" });
  }
  return true;
}

export function focusResult(name) {
  openButtons().find((button) => nameOf(button) === name)?.focus();
}
