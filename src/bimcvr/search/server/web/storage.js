// Saved searches and the collection: kept by this browser alone, as fragments of addresses and names of cases.

const PREFIX = "bimcvr-lists ";
const NONE = { searches: [], cases: [] };
let [store, key] = [null, null];
let changed = () => {};

// facts: of the index; told(): called when a list has changed, in another tab too
export function openLists(facts, told) {
  changed = told;
  key = PREFIX + facts.lists;
  try {
    // names that hold until the server ends are not kept beyond this tab
    store = facts.anonymous ? sessionStorage : localStorage;
  } catch {
    store = null;
  }
  addEventListener("storage", (event) => { if (event.key === key || event.key === null) changed(); });
  changed();
}

const texts = (list) => (Array.isArray(list) ? [...new Set(list.filter((one) => typeof one === "string"))] : []);

// → {searches: [fragment, …], cases: [name, …]}, in the order in which they were kept
export function lists() {
  try {
    const { searches, cases } = JSON.parse(store.getItem(key)) ?? NONE;
    return { searches: texts(searches), cases: texts(cases) };
  } catch {
    return NONE;
  }
}

// → why it could not be kept, or ""
function put(kept) {
  let problem = "";
  try {
    if (kept.searches.length || kept.cases.length) store.setItem(key, JSON.stringify(kept));
    else store.removeItem(key);
  } catch {
    problem = "This browser keeps nothing for this page, or has no more room for it.";
  }
  changed(problem);
}

export const isKept = (list, entry) => lists()[list].includes(entry);

export function keep(list, entry, wanted) {
  const kept = lists();
  const others = kept[list].filter((one) => one !== entry);
  put({ ...kept, [list]: wanted ? [...others, entry] : others });
}

export const forget = (list) => put({ ...lists(), [list]: [] });
