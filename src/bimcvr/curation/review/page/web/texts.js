// A question's flags with their evidence, and its texts with the places that the flags are about.

import { fill, find, make } from "./dom.js";
import { marked } from "./marks.js";

const words = (name) => name.replaceAll("_", " ");

export function showTexts(details, superseded) {
  fill(find("flags"),
    superseded ? make("li", { class: "asked" }, "The queue has a newer text of this study: an answer to this one does not count.") : null,
    details.flags.filter((flag, place, all) => all.findIndex((one) => one.name === flag.name) === place).map((flag) => {
      const evidence = details.flags.filter((one) => one.name === flag.name).map((one) => one.evidence).filter(Boolean).join(" · ");
      return make("li", { class: flag.asked ? "asked" : null },
        make("b", {}, words(flag.name)), evidence || flag.what, evidence ? make("span", { class: "soft" }, ` (${flag.what})`) : null,
        flag.asked ? null : make("span", { class: "soft" }, " · noted on the row, not asked"));
    }));
  const titles = Object.fromEntries(details.flags.map((flag) => [flag.name, words(flag.name)]));
  const text = (title, { text, marks }) => make("section", { "aria-label": title },
    make("h3", {}, title), make("p", { class: "report" }, text ? marked(text, marks, titles) : make("span", { class: "soft" }, "There is no text.")));
  fill(find("texts"), text(details.original ? "Text in question" : "Report in question", details.report),
    details.original ? text("Original text", details.original) : null);
  find("texts").classList.toggle("two", Boolean(details.original));
}
