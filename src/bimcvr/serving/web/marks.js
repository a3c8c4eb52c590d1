// Marking places in a text.

import { make } from "./dom.js";

// spans: [{start, end, kind}] in Unicode characters, not in UTF-16 units → text nodes and <mark> elements
// titles: by kind, what a mark means
export function marked(text, spans, titles = {}) {
  const letters = [...text];
  const parts = [];
  let done = 0;
  for (const { start, end, kind } of spans) {
    if (start < done) continue;
    parts.push(document.createTextNode(letters.slice(done, start).join("")));
    parts.push(make("mark", { class: kind, title: titles[kind] }, letters.slice(start, end).join("")));
    done = end;
  }
  parts.push(document.createTextNode(letters.slice(done).join("")));
  return parts;
}
