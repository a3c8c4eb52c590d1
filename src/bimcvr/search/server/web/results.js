// The ranked list.

import { labelList, reportText, scoreText, thumbnails } from "./cards.js";
import { judgeButtons, showMoreLike } from "./feedback.js";
import { count, fill, find, make, several } from "./dom.js";
import { downloadCsv } from "./export.js";
import { awaitPeak, forgetPeaks } from "./peaks.js";

// results: what the API returned; request: the search; open(position) opens a case
export function showResults(results, request, open) {
  const list = find("results");
  forgetPeaks(request);
  const labels = [...request.labels, ...(request.mode === "keyword" ? [request.query] : [])];
  fill(list, results.hits.map((hit, position) => card(hit, position, results, labels, open, request)));
  fill(find("status"), ...summary(results, request));
  showMoreLike(request, open);
  find("more").hidden = results.hits.length >= Math.min(results.candidates, 200) || results.hits.length < request.top;
}

function card(hit, position, results, labels, open, request) {
  const button = make("button", { type: "button", class: "open", onclick: () => open(position), "aria-label": `${hit.rank} ${hit.case}: open the case` },
    make("span", { class: "rank" }, `${hit.rank}`), " ", make("span", { class: "name" }, hit.case));
  const score = make("span", { class: "score", title: results.score_is }, scoreText(hit.score));
  const pictures = thumbnails(hit);
  awaitPeak(pictures, hit.case);
  const facts = Object.entries(hit.columns).map(([name, value]) => make("span", { class: "fact" }, `${name} ${value}`));
  return make("li", { class: "card", "data-case": hit.case, onclick: (event) => { if (event.target.closest("img")) open(position); } },
    make("div", { class: "card-head" }, button, score, judgeButtons(hit, request, open), facts),
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
  parts.push(make("p", {}, make("button", { type: "button", id: "export", onclick: () => downloadCsv(results, request) }, "CSV of these cases")));
  return parts;
}

const duration = (seconds) => (seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`);

export function showError(message) {
  forgetPeaks(null);
  fill(find("results"));
  fill(find("status"), make("p", { class: "error", role: "alert" }, message));
  find("more").hidden = true;
}

export function showProgress(message) {
  forgetPeaks(null);
  fill(find("status"), make("p", { class: "waiting" }, message));
}

// move the focus through the list; → whether it moved
export function walk(by) {
  const buttons = [...find("results").querySelectorAll("button.open")];
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
  const card = [...find("results").children].find((item) => item.dataset.case === name);
  card?.querySelector("button.open").focus();
}
