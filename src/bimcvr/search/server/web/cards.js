// What is seen of a case in a list: thumbnails, labels, report.

import { fetchPicture } from "./api.js";
import { make } from "./dom.js";
import { marked } from "./marks.js";

const PLANES = ["axial", "coronal", "sagittal"];

const arriving = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    arriving.unobserve(entry.target);
    showPicture(entry.target);
  }
}, { rootMargin: "400px" });

async function showPicture(image) {
  try {
    const address = await fetchPicture("api/thumbnail", { query: { case: image.dataset.case, plane: image.dataset.plane } });
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    image.src = address;
  } catch {
    image.classList.add("none");
    image.alt = `no ${image.dataset.plane} picture`;
  }
}

export function thumbnails(found, planes = PLANES) {
  if (!found.thumbnails) return make("div", { class: "thumbs soft none" }, "no pictures");
  const images = planes.map((plane) => {
    const image = make("img", { class: "thumb", alt: `${plane} slice through the middle`, "data-case": found.case, "data-plane": plane });
    arriving.observe(image);
    return image;
  });
  return make("div", { class: "thumbs" }, images);
}

export function labelList(labels, asked = []) {
  if (!labels.length) return make("p", { class: "soft" }, "no labels");
  return make("ul", { class: "labels", "aria-label": "Labels" },
    labels.map((label) => make("li", { class: asked.includes(label) ? "asked-for" : null }, label)));
}

export function reportText(report, spans = []) {
  return make("p", { class: "report" }, report ? marked(report, spans) : make("span", { class: "soft" }, "This case has no report."));
}

// a score is a cosine, or a rank's worth where two rankings were joined: only its order means something
export const scoreText = (score) => score.toFixed(score < 0.1 && score > 0 ? 4 : 3);
