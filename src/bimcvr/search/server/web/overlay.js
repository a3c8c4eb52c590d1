// What is written and drawn over the slices: orientation letters, crosshair, ruler, ellipse. An SVG, sharp at any spacing.

import { ellipseFacts, millimetres, sidesOf, toScreen } from "./geometry.js";

const RULER_LABEL = 14;

function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

export class Overlay {
  constructor() {
    this.element = svg("svg", { class: "over", "aria-hidden": "true" });
  }

  // marks: [{kind, plane, slice, from, to}] in mm; those of other slices stay out; slab: whether voxels are largest values of a slab
  draw(nv, tiles, { crosshair, marks, slab }) {
    const parts = [];
    for (const tile of tiles) {
      parts.push(...letters(tile));
      if (crosshair) parts.push(...cross(tile, nv));
      for (const mark of marks) if (mark.plane === tile.plane && mark.shown) parts.push(...measured(nv, tile, mark, slab));
    }
    this.element.replaceChildren(...parts);
  }
}

// where the patient's sides lie, at the four edges of a slice
function letters(tile) {
  const [left, right, top, bottom] = sidesOf(tile);
  const [middleX, middleY] = [tile.left + tile.width / 2, tile.top + tile.height / 2];
  return [
    [left, tile.left + 6, middleY, "start"], [right, tile.left + tile.width - 6, middleY, "end"],
    [top, middleX, tile.top + 13, "middle"], [bottom, middleX, tile.top + tile.height - 13, "middle"],
  ].map(([text, x, y, anchor]) => svg("text", { class: "letter", x, y, "text-anchor": anchor, "dominant-baseline": "middle" }, text));
}

function cross(tile, nv) {
  const [x, y] = toScreen(tile, [...nv.frac2mm(nv.scene.crosshairPos)]);
  const [right, bottom] = [tile.left + tile.width, tile.top + tile.height];
  // open in the middle: what it points at is seen
  const lines = [[tile.left, y, x - 8, y], [x + 8, y, right, y], [x, tile.top, x, y - 8], [x, y + 8, x, bottom]];
  return lines.filter(([x1, y1, x2, y2]) => x2 > x1 || y2 > y1)
    .flatMap(([x1, y1, x2, y2]) => ["halo", "line"].map((kind) => svg("line", { class: `cross ${kind}`, x1, y1, x2, y2 })));
}

function measured(nv, tile, mark, slab) {
  const [first, second] = [toScreen(tile, mark.from), toScreen(tile, mark.to)];
  const shape = mark.kind === "ruler"
    ? ["line", { x1: first[0], y1: first[1], x2: second[0], y2: second[1] }]
    : ["ellipse", { cx: (first[0] + second[0]) / 2, cy: (first[1] + second[1]) / 2, rx: Math.abs(first[0] - second[0]) / 2, ry: Math.abs(first[1] - second[1]) / 2 }];
  const [x, y] = [Math.max(first[0], second[0]) + 6, Math.max(RULER_LABEL, Math.min(first[1], second[1]) - 6)];
  const drawn = ["halo", "line"].map((kind) => svg(shape[0], { class: `mark ${kind}`, ...shape[1] }));
  return [...drawn, svg("text", { class: "reading-mark", x, y }, readingOf(nv, tile, mark, slab))];
}

function readingOf(nv, tile, { kind, from, to }, slab) {
  if (kind === "ruler") return `${millimetres(from, to).toFixed(1)} mm`;
  const { number, mean, deviation, area } = ellipseFacts(nv, tile, from, to);
  if (!number) return "no voxel";
  return `${slab ? "slab: " : ""}${mean.toFixed(0)} ± ${deviation.toFixed(0)} HU, ${(area / 100).toFixed(2)} cm² (${number} voxels)`;
}
