// Marking the query's words in a report.

import { make } from "./dom.js";

const LETTERS = /[\p{L}\p{N}]+/gu;
const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

// a word matches the query's if one begins with the other's stem: effusion, effusions; nodule, nodular does not
const stem = (word) => (word.length > 4 ? word.replace(/(es|s)$/u, "") : word);

// → text nodes and <mark> elements
export function marked(text, words) {
  const stems = new Set(words.map((word) => stem(fold(word))));
  if (!stems.size) return [document.createTextNode(text)];
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(LETTERS)) {
    if (!stems.has(stem(fold(match[0])))) continue;
    parts.push(document.createTextNode(text.slice(end, match.index)), make("mark", {}, match[0]));
    end = match.index + match[0].length;
  }
  parts.push(document.createTextNode(text.slice(end)));
  return parts;
}
