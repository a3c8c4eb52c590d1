// What the manifest says of a case's series, and the other cases of its patient.

import { make } from "./dom.js";

const MM = /^\d+(\.\d+)?$/;

// → [[name, value], …]; what the manifest does not say is left out
export const seriesFacts = ({ date, day, kernel, thickness, contrast }) => [
  ["date", day || date], ["kernel", kernel], ["slice thickness", MM.test(thickness) ? `${thickness} mm` : thickness], ["contrast", contrast],
].filter(([, value]) => value);

function distance(days) {
  if (days === null) return "";
  if (days === 0) return "the same day";
  return `${Math.abs(days).toLocaleString("en")} ${Math.abs(days) === 1 ? "day" : "days"} ${days < 0 ? "earlier" : "later"}`;
}

// → the section, or null where patients are unknown or hidden
export function samePatient({ patient, same_patient: others }, open) {
  if (!patient) return null;
  return make("section", { id: "same-patient", "aria-label": "Same patient" }, make("h3", {}, `Same patient: ${patient}`),
    others.length ? make("ul", {}, others.map((other) => entry(other, open))) : make("p", { class: "soft" }, "No other case of this patient is in the index."));
}

function entry({ case: name, series, days_later: days, labels }, open) {
  const facts = [distance(days), ...seriesFacts(series).map(([fact, value]) => (fact === "date" ? value : `${fact} ${value}`))].filter(Boolean);
  return make("li", {}, make("button", { type: "button", "data-case": name, onclick: () => open(name) }, make("b", {}, name), facts.length ? make("br") : null, facts.join(" · "), make("br"),
    make("span", { class: "soft" }, labels.join(", ") || "no labels")));
}
