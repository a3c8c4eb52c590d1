// Relevant or not: judgements of hits, and more cases like those that fit.

import { call } from "./api.js";
import { find, make } from "./dom.js";

// queries that a judgement can be about; the text or case stays with "more like these"
const JUDGED = ["text", "keyword", "study"];
// "mode query" → Map(case → true | false); kept by the server, and in this tab
const judged = new Map();

const about = (request) => request.about ?? request;
const keyOf = (request) => `${about(request).mode} ${about(request).query}`;
const known = (request) => judged.get(keyOf(request)) ?? new Map();

// → two buttons for a hit, or null where the query has no words or case of its own
export function judgeButtons(hit, request, search) {
  if (!JUDGED.includes(about(request).mode)) return null;
  const buttons = [[true, "fits"], [false, "does not fit"]].map(([value, title]) => make("button", { type: "button", class: "judge", "data-fits": value,
    "aria-label": `${hit.case} ${title}`, "aria-pressed": known(request).get(hit.case) === value, title: `This case ${title}`,
    onclick: () => judge(hit.case, value, request, buttons, search) }, value ? "✓" : "✗"));
  return make("span", { class: "judging", role: "group", "aria-label": "Does it fit?" }, buttons);
}

async function judge(name, value, request, buttons, search) {
  const studies = known(request);
  const relevant = studies.get(name) === value ? null : value;
  const { mode, query } = about(request);
  try {
    await call("api/judgements", { json: { mode, query, case: name, relevant } });
  } catch (error) {
    buttons[0].parentElement.title = error.message;
    buttons[0].parentElement.classList.add("error");
    return;
  }
  if (relevant === null) studies.delete(name);
  else studies.set(name, relevant);
  judged.set(keyOf(request), studies);
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.fits === String(relevant)));
  showMoreLike(request, search);
}

// the button that searches for more, as soon as a case fits
export function showMoreLike(request, search) {
  find("more-like")?.remove();
  const [fits, others] = [true, false].map((value) => [...known(request)].filter(([, fit]) => fit === value).map(([name]) => name));
  if (!fits.length) return;
  const query = about(request);
  find("status").append(make("button", { type: "button", id: "more-like", onclick: () => search({ mode: "like", about: { mode: query.mode, query: query.query },
    query: query.query, relevant: fits, not_relevant: others }) }, `More like these (${fits.length} fit${others.length ? `, ${others.length} do not` : ""})`));
}

// the body of a request for more
export const likeRequest = ({ about: query, relevant, not_relevant, into, where, condition, top }) => ({
  relevant, not_relevant, into, where, condition, top, text: query.mode === "study" ? "" : query.query });
