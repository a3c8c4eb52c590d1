// The query and the open case in the address's fragment, which a browser never sends to a server: a link leads back to them.

const LISTS = ["where"];
const TEXTS = ["mode", "query", "into", "condition"];

// an uploaded volume is in no address: whoever follows the link does not have it; judgements of cases are not either
export function fragmentOf(request, openedCase) {
  const fragment = new URLSearchParams();
  if (request && !["volume", "like"].includes(request.mode)) {
    for (const name of TEXTS) if (request[name]) fragment.set(name, request[name]);
    for (const name of LISTS) for (const value of request[name]) fragment.append(name, value);
    if (typeof request.hybrid === "boolean") fragment.set("hybrid", request.hybrid);
  }
  if (openedCase && (!request || fragment.size)) fragment.set("case", openedCase);
  return String(fragment);
}

export function addressOf(request, openedCase) {
  const fragment = fragmentOf(request, openedCase);
  return `${location.pathname}${location.search}${fragment ? `#${fragment}` : ""}`;
}

// → the search that a fragment names, without how many hits are wanted, or null; what is not known is left out
export function requestOf(text) {
  const fragment = new URLSearchParams(text);
  const mode = fragment.get("mode");
  const query = fragment.get("query");
  if (!["text", "keyword", "study", "words"].includes(mode) || !query) return null;
  const where = fragment.getAll("where");
  const labels = where.filter((one) => one.startsWith("labels = ")).map((one) => one.slice("labels = ".length));
  const request = {
    where, condition: fragment.get("condition") ?? "", labels, into: fragment.get("into") === "report" ? "report" : "image",
    hybrid: { true: true, false: false }[fragment.get("hybrid")] ?? null, mode, query,
  };
  if (!["text", "keyword"].includes(mode)) request.hybrid = false;
  if (mode === "words") request.into = "report";
  return request;
}

// → {request, openedCase} as they are kept in the history, or {} where the address has none
export function fromAddress(first) {
  const request = requestOf(location.hash.slice(1));
  const openedCase = new URLSearchParams(location.hash.slice(1)).get("case");
  return { ...(request && { request: { ...request, top: first } }), ...(openedCase && { openedCase }) };
}
