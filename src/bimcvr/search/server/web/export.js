// Taking results along: a CSV of the hits, a report on the clipboard. Both are made in the browser.

import { make } from "./dom.js";

// what a spreadsheet would take for a formula is text
const cell = (value) => {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

// results: what the API returned to a request → a CSV with a header; numbers as they are, reports in full
export function csvOf({ hits, score_is: scoreIs }, { mode, query }) {
  const columns = [...new Set(hits.flatMap((hit) => Object.keys(hit.columns)))];
  const rows = hits.map((hit) => [mode, query, hit.rank, hit.case, hit.score, scoreIs, hit.labels.join(";"), ...columns.map((name) => hit.columns[name] ?? ""), hit.report]);
  return csvText([["mode", "query", "rank", "case", "score", "score_is", "labels", ...columns, "report"], ...rows]);
}

const csvText = (rows) => rows.map((row) => row.map(cell).join(",")).join("\r\n").concat("\r\n");

export const downloadHits = (results, request) => download(csvOf(results, request), "cases.csv");
export const downloadCsv = (rows, name) => download(csvText(rows), name);

function download(csv, name) {
  // with a mark of its encoding, which spreadsheets look for
  const address = URL.createObjectURL(new Blob(["\ufeff", csv], { type: "text/csv" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

export function copyButton(report) {
  const button = make("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(report);
      button.textContent = "Copied";
    } catch {
      // browsers allow it on this machine and over https only
      button.textContent = "This browser does not allow it here";
    }
  });
  return button;
}
