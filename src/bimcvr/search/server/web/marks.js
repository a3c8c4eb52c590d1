// Highlighting what matches the query in a report.

import { make } from "./dom.js";

const TITLES = { word: "a word of the query", present: "the finding, reported as present", absent: "the finding, reported as absent",
  uncertain: "the finding, reported as uncertain", history: "the finding, reported as in the past" };

// spans: [{start, end, kind}] in Unicode characters, not in UTF-16 units → text nodes and <mark> elements
export function marked(text, spans) {
  const letters = [...text];
  const parts = [];
  let done = 0;
  for (const { start, end, kind } of spans) {
    if (start < done) continue;
    parts.push(document.createTextNode(letters.slice(done, start).join("")));
    parts.push(make("mark", { class: kind, title: TITLES[kind] }, letters.slice(start, end).join("")));
    done = end;
  }
  parts.push(document.createTextNode(letters.slice(done).join("")));
  return parts;
}
