// How the hits are shown: their order, patients together, near-duplicates folded, as a list or a grid. Ranks stay as they are.

import { fill, find } from "./dom.js";

const KEY = "bimcvr-view";
const view = { sort: "rank", patients: false, fold: true, layout: "list", ...kept() };

// what was chosen last, in this browser; nothing of any case
function kept() {
  try {
    const { sort, patients, fold, layout } = JSON.parse(localStorage.getItem(KEY)) ?? {};
    return { ...(["rank", "day", "case"].includes(sort) && { sort }), ...(typeof patients === "boolean" && { patients }),
      ...(typeof fold === "boolean" && { fold }), ...(["list", "grid"].includes(layout) && { layout }) };
  } catch {
    return {};
  }
}

// facts: of the index; changed(): the hits are to be shown again
export function setUpView(facts, changed) {
  if (facts.anonymous) find("sort").querySelector("[value=case]").textContent = "case name";
  const choose = (chosen) => {
    Object.assign(view, chosen);
    try {
      localStorage.setItem(KEY, JSON.stringify(view));
    } catch {
      // the choice then holds until the page is closed
    }
    changed();
  };
  find("sort").addEventListener("change", () => choose({ sort: find("sort").value }));
  find("patients").addEventListener("change", () => choose({ patients: find("patients").checked }));
  find("fold").addEventListener("change", () => choose({ fold: find("fold").checked }));
  for (const layout of ["list", "grid"]) find(`as-${layout}`).addEventListener("click", () => choose({ layout }));
}

const day = (hit) => hit.day || "0";
const ORDERS = {
  rank: () => 0,
  // the newest first, those without a date last
  day: (a, b) => (day(a.hit) < day(b.hit) ? 1 : day(a.hit) > day(b.hit) ? -1 : 0),
  case: (a, b) => a.hit.case.localeCompare(b.hit.case, "en", { numeric: true }),
};

// → {layout, groups: [{patient, cases: [{hit, position, repeats: [{hit, position}, …]}, …]}, …]}; position: in the hits, by rank
export function arrange({ hits, candidates }) {
  const can = { day: hits.some((hit) => hit.day), patients: hits.some((hit) => hit.patient), fold: hits.some((hit) => hit.repeats) };
  const sort = view.sort === "day" && !can.day ? "rank" : view.sort;
  showChoices(hits, candidates, can, sort);
  const byPatient = view.patients && can.patients;
  const shown = hits.map((hit, position) => ({ hit, position, repeats: [] }));
  const named = new Map(shown.map((one) => [one.hit.case, one]));
  const folded = (one) => {
    const above = view.fold && named.get(one.hit.repeats);
    // under the heading of a patient stands nothing of another
    return above && (!byPatient || above.hit.patient === one.hit.patient) ? above : null;
  };
  for (const one of shown) folded(one)?.repeats.push(one);
  const cases = shown.filter((one) => !folded(one)).sort(ORDERS[sort]);
  if (!byPatient) return { layout: view.layout, groups: [{ patient: "", cases }] };
  const groups = new Map();
  for (const one of cases) {
    const key = one.hit.patient || one;
    if (!groups.has(key)) groups.set(key, { patient: one.hit.patient, cases: [] });
    groups.get(key).cases.push(one);
  }
  return { layout: view.layout, groups: [...groups.values()] };
}

function showChoices(hits, candidates, can, sort) {
  find("view").hidden = !hits.length;
  find("sort").querySelector("[value=day]").disabled = !can.day;
  find("sort").value = sort;
  fill(find("sorted"), sort !== "rank" && hits.length < candidates ? `among the best ${hits.length}` : "");
  for (const name of ["patients", "fold"]) {
    find(name).checked = view[name];
    find(name).parentElement.hidden = !can[name];
  }
  for (const layout of ["list", "grid"]) find(`as-${layout}`).setAttribute("aria-pressed", String(view.layout === layout));
}
