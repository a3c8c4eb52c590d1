// Parts of a case in a list: thumbnails, labels, report.

import { fetchPicture } from "./api.js";
import { make } from "./dom.js";
import { marked } from "./marks.js";

const PLANES = ["axial", "coronal", "sagittal"];
const TITLES = { word: "a word of the query", present: "the finding, reported as present", absent: "the finding, reported as absent",
  uncertain: "the finding, reported as uncertain", history: "the finding, reported as in the past" };

const visibility = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((item) => item.isIntersecting)) {
    visibility.unobserve(entry.target);
    showPicture(entry.target);
  }
}, { rootMargin: "400px" });

async function showPicture(image) {
  try {
    const address = await fetchPicture("api/thumbnail", { query: { case: image.dataset.case, plane: image.dataset.plane } });
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    if (image.dataset.peak) URL.revokeObjectURL(address);
    else image.src = address;
  } catch {
    if (image.dataset.peak) return;
    image.classList.add("none");
    image.alt = `no ${image.dataset.plane} picture`;
  }
}

export function thumbnails(hit, planes = PLANES) {
  if (!hit.thumbnails) return make("div", { class: "thumbs soft none" }, "no pictures");
  const images = planes.map((plane) => {
    const image = make("img", { class: "thumb", alt: `${plane} slice through the middle`, "data-case": hit.case, "data-plane": plane });
    visibility.observe(image);
    return make("span", { class: "slice" }, image);
  });
  return make("div", { class: "thumbs" }, images);
}

export function labelList(labels, searched = []) {
  if (!labels.length) return make("p", { class: "soft" }, "no labels");
  return make("ul", { class: "labels", "aria-label": "Labels" },
    labels.map((label) => make("li", { class: searched.includes(label) ? "searched-for" : null }, label)));
}

export function reportText(report, spans = []) {
  return make("p", { class: "report" }, report ? marked(report, spans, TITLES) : make("span", { class: "soft" }, "This case has no report."));
}

// a score is a cosine, or a sum of reciprocal ranks, where only the order means something
export const scoreText = (score) => score.toFixed(score < 0.1 && score > 0 ? 4 : 3);
