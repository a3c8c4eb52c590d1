// Why a case is among the results: sentences of its report, shared labels, and what speaks against it.

import { call } from "./api.js";
import { labelList } from "./cards.js";
import { fill, make } from "./dom.js";

const EXPLAINED = ["text", "keyword", "words", "study"];

// → an element that fills itself; null for a query without a text or case, and for a case that is its own query
export function reasons(details, request, signal) {
  if (!EXPLAINED.includes(request.mode) || (request.mode === "study" && request.query === details.case)) return null;
  const section = make("section", { class: "reasons", "aria-label": "Why this case" });
  show(section, details.case, request, signal);
  return section;
}

async function show(section, name, { mode, query }, signal) {
  try {
    const found = await call("api/reasons", { json: { case: name, mode, query }, signal });
    fill(section, make("h3", {}, "Why this case"),
      found.labels.length ? labelList(found.labels, found.labels) : make("p", { class: "soft" }, "no label shared with the query"),
      make("ul", {}, found.matching.map(({ text, score }) => make("li", {}, text, " ", make("span", { class: "soft", title: found.score_is }, Number(score.toFixed(2))))),
        found.contrary.map(({ text }) => make("li", { class: "contrary", title: "says otherwise than the query" }, make("s", {}, text)))));
  } catch (error) {
    // the case is read all the same
    if (error.name !== "AbortError") console.warn(`No reasons: ${error.message}`);
  }
}
