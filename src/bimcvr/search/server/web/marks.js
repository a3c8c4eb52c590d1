// Marking in a report what was asked for.

import { make } from "./dom.js";

const SAYS = { word: "a word of the query", present: "the finding, said to be there", absent: "the finding, said to be absent",
  uncertain: "the finding, said to be uncertain", history: "the finding, said to be in the past" };

// spans: [{start, end, kind}] in Unicode characters, not in UTF-16 units → text nodes and <mark> elements
export function marked(text, spans) {
  const letters = [...text];
  const parts = [];
  let done = 0;
  for (const { start, end, kind } of spans) {
    if (start < done) continue;
    parts.push(document.createTextNode(letters.slice(done, start).join("")));
    parts.push(make("mark", { class: kind, title: SAYS[kind] }, letters.slice(start, end).join("")));
    done = end;
  }
  parts.push(document.createTextNode(letters.slice(done).join("")));
  return parts;
}
