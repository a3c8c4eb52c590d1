// The ranked list.

import { labelList, reportText, scoreText, thumbnails } from "./cards.js";
import { count, fill, find, make, several } from "./dom.js";

// answer: what the API returned; open(place) opens a case
export function showResults(answer, asked, open) {
  const list = find("results");
  const labels = [...asked.labels, ...(asked.mode === "keyword" ? [asked.query] : [])];
  fill(list, answer.hits.map((hit, place) => card(hit, place, answer, labels, open)));
  fill(find("status"), ...summary(answer, asked));
  find("more").hidden = answer.hits.length >= Math.min(answer.among, 200) || answer.hits.length < asked.top;
}

function card(hit, place, answer, labels, open) {
  const title = `${hit.rank}. ${hit.case}`;
  const button = make("button", { type: "button", class: "open", onclick: () => open(place), "aria-label": `Open case ${title}` },
    make("span", { class: "rank" }, `${hit.rank}`), make("span", { class: "name" }, hit.case));
  const score = make("span", { class: "score", title: answer.score_is }, scoreText(hit.score));
  const facts = Object.entries(hit.columns).map(([name, value]) => make("span", { class: "fact" }, `${name} ${value}`));
  return make("li", { class: "card", "data-case": hit.case, onclick: (event) => { if (event.target.closest("img")) open(place); } },
    make("div", { class: "card-head" }, button, score, facts),
    thumbnails(hit),
    make("div", { class: "card-text" }, labelList(hit.labels, labels), reportText(hit.report, hit.spans)));
}

function summary(answer, asked) {
  const parts = [];
  if (!answer.hits.length) {
    parts.push(make("p", { class: "nothing" }, answer.among === 0 ? "No case passes these filters. Take one away." : "No case was found."));
    for (const note of answer.among ? answer.notes : []) parts.push(make("p", { class: "warning" }, note));
    return parts;
  }
  const scope = `${several(answer.among, "case")}${asked.where.length || asked.condition ? (answer.among === 1 ? " that passes the filters" : " that pass the filters") : ""}`;
  const what = asked.mode === "words" ? "The first" : asked.into === "report" ? "The nearest reports:" : "The nearest volumes:";
  parts.push(make("p", {}, `${what} ${count(answer.hits.length)} of ${scope}, in ${duration(answer.seconds)}. Score: ${answer.score_is}.`,
    answer.asked.length > 1 || asked.mode === "keyword" ? ` Asked as: ${answer.asked.slice(0, 4).join(" · ")}${answer.asked.length > 4 ? " …" : ""}` : null));
  for (const note of answer.notes) parts.push(make("p", { class: "warning" }, note));
  return parts;
}

const duration = (seconds) => (seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`);

export function showFault(message) {
  fill(find("results"));
  fill(find("status"), make("p", { class: "fault", role: "alert" }, message));
  find("more").hidden = true;
}

export function showWaiting(what) {
  fill(find("status"), make("p", { class: "waiting" }, what));
}

// arrow keys walk through the list; → whether there was somewhere to go
export function walk(by) {
  const buttons = [...find("results").querySelectorAll("button.open")];
  if (!buttons.length) return false;
  const at = buttons.indexOf(document.activeElement);
  if (at < 0 && by < 0) return false;
  if (at === 0 && by < 0) find("query").focus();
  else {
    const next = buttons[Math.min(buttons.length - 1, at + by)];
    next.focus({ preventScroll: true });
    next.closest("li").scrollIntoView({ block: "nearest" });
  }
  return true;
}

export function focusResult(name) {
  const card = [...find("results").children].find((one) => one.dataset.case === name);
  card?.querySelector("button.open").focus();
}
