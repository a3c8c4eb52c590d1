// An upload with several series: which of them is meant.

import { find, make, several } from "./dom.js";

// series: as the API describes them; choose(number) searches again with one
export function offerSeries(series, choose) {
  find("status").append(make("ul", { class: "series", "aria-label": "Series of the upload" }, series.map((one) =>
    make("li", {}, make("button", { type: "button", "data-series": one.series, onclick: () => choose(one.series) }, describe(one))))));
}

const describe = ({ description, modality, slices, kernel, thickness_mm: thickness }) => [description || "no description", modality,
  several(slices, "slice"), kernel && `kernel ${kernel}`, thickness && `${Number(thickness)} mm`].filter(Boolean).join(" · ");
