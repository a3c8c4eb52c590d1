// One volume, shown by NiiVue on its source grid: slices, windows, planes. Always in radiological convention.

import { fill, make } from "./dom.js";
import { hounsfield, sidesOf, tilesOf, voxelAt } from "./geometry.js";
import { middleOfLungs } from "./lungs.js";
import { Overlay } from "./overlay.js";
import { Pointer } from "./pointer.js";
import { slabMaximum, slabSlices } from "./slab.js";
import { PLANES, windowOf, WINDOWS } from "./windows.js";

let loading = null;

// loaded when the first case is opened: 2 MB
function loadNiivue() {
  loading ??= new Promise((resolve, reject) => {
    const script = make("script", { src: "page/niivue.umd.js" });
    script.addEventListener("load", () => resolve(window.niivue));
    script.addEventListener("error", () => { loading = null; reject(new Error("The viewer cannot be loaded.")); });
    document.head.append(script);
  });
  return loading;
}

// read from the drawn slice
function convention(tile) {
  if (!tile) return "";
  const side = sidesOf(tile)[0];
  return `${side === "L" ? "not " : ""}radiological: ${{ A: "the front", P: "the back" }[side] ?? side} is on the left`;
}

export class Viewer {
  constructor(title) {
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.over = new Overlay();
    this.label = make("p", { class: "slice-label" });
    this.pointed = make("p", { class: "pointed" });
    this.wait = make("p", { class: "wait" }, "Loading the volume …");
    this.slider = make("input", { type: "range", min: 1, max: 1, value: 1, class: "slices", disabled: true, "aria-label": `Slice of ${title}` });
    this.title = make("figcaption", {}, title);
    this.stage = make("div", { class: "stage" }, this.canvas, this.over.element, this.wait);
    // beside the picture, never over it: the letters at its edges stay readable
    this.caption = make("div", { class: "caption" }, this.label, this.pointed);
    this.element = make("figure", { class: "viewer" }, this.title, this.stage, this.caption, this.slider);
    [this.plane, this.window, this.slabMm, this.marks] = [PLANES[0], WINDOWS[0], 0, []];
    this.slider.addEventListener("input", () => { this.moved = true; this.show(Number(this.slider.value) - 1); });
    this.pointer = new Pointer(this, this.stage);
    // replaced by the caller: called with mm from the anchor when the user has scrolled, with level and width, and when marks change
    this.onscroll = () => {};
    this.onwindow = () => {};
    this.onmarks = () => {};
  }

  ready() {
    return Boolean(this.nv?.volumes[0]);
  }

  // bytes: a promise of a NIfTI file; grid: {size, spacing_mm, obliquity}, or null
  async load(bytes, grid) {
    this.grid = grid;
    try {
      const [content, library] = await Promise.all([bytes, loadNiivue()]);
      if (!this.nv) await this.attach(library);
      await this.nv.loadFromArrayBuffer(content, "volume.nii.gz");
      this.source = this.nv.volumes[0].img;
      this.lungs = middleOfLungs(this.nv);
      this.anchor = this.lungs ?? [...this.nv.frac2mm([0.5, 0.5, 0.5])];
      this.wait.hidden = true;
      this.slider.disabled = false;
      this.set(this.plane, this.window, this.slabMm);
      this.show(Math.floor(this.slices() / 2), true);
      this.element.dataset.ready = "yes";
    } catch (error) {
      fill(this.wait, error.name === "AbortError" ? "" : error.message || "The volume cannot be shown.");
      this.wait.classList.add("error");
      this.wait.hidden = false;
    }
  }

  async attach(library) {
    const probe = document.createElement("canvas").getContext("webgl2");
    if (!probe) throw new Error("This browser has no WebGL 2, which the viewer needs. Report and thumbnails do not need it.");
    probe.getExtension("WEBGL_lose_context")?.loseContext();
    // not interactive: what NiiVue itself does on a drag (another window, by its own rules) would be said by no caption
    this.nv = new library.Niivue({
      interactive: false, isRadiologicalConvention: true, sagittalNoseLeft: true, backColor: [0, 0, 0, 1], crosshairWidth: 0,
      show3Dcrosshair: false, isColorbar: false, isOrientCube: false, loadingText: "", dragAndDropEnabled: false, clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "", viewModeHotKey: "", multiplanarShowRender: library.SHOW_RENDER?.NEVER ?? 0, isOrientationTextVisible: false,
      isNearestInterpolation: false, logLevel: "error", multiplanarPadPixels: 4,
    });
    // whatever makes it draw, the caption is read from what was drawn
    const draw = this.nv.drawScene.bind(this.nv);
    this.nv.drawScene = () => { const drawn = draw(); this.update(); return drawn; };
    await this.nv.attachToCanvas(this.canvas, false);
  }

  set(plane, window, slabMm) {
    const volume = this.nv?.volumes[0];
    const otherSlab = volume && (slabMm !== this.slabMm || (slabMm && plane !== this.plane) || volume.img !== this.source);
    [this.plane, this.window, this.slabMm] = [plane, window, slabMm];
    if (!volume) return;
    const [, level, width] = window;
    volume.cal_min = level - width / 2;
    volume.cal_max = level + width / 2;
    if (otherSlab) volume.img = this.thick() > 1 ? slabMaximum(this.source, volume.hdr.dims.slice(1, 4), plane[2], this.thick()) : this.source;
    this.nv.updateGLVolume();
    this.nv.setSliceType(plane[1]);
  }

  // slices of a slab; the three planes at once have none
  thick() {
    return this.plane[0] === "all" ? 1 : slabSlices(this.slabMm, this.spacing());
  }

  spacing(axis = this.plane[2]) {
    return this.grid ? this.grid.spacing_mm[axis] : this.nv.volumes[0].pixDimsRAS[axis + 1];
  }

  // lay a map over the volume and go to its highest place; map: {map, peak_mm} as api/relevance gives it
  async overlay({ map, peak_mm: peak, speaks }, opacity) {
    if (!this.ready()) return;
    const bytes = Uint8Array.from(atob(map), (letter) => letter.charCodeAt(0));
    await this.nv.addVolumeFromUrl({ url: "map.nii.gz", name: "map.nii.gz", buffer: bytes.buffer, colormap: "inferno", opacity, cal_min: 25, cal_max: 255 });
    // below cal_min nothing is painted
    this.nv.volumes[1].colorbarVisible = false;
    this.setStrength(opacity);
    // who has scrolled already is left where they are
    if (speaks && !this.moved) this.goTo(peak);
  }

  // 0: the map is not shown
  setStrength(opacity) {
    if (this.nv?.volumes[1]) this.nv.setOpacity(1, opacity);
    this.element.dataset.strength = opacity;
  }

  slices(axis = this.plane[2]) {
    return this.nv?.volumes[0]?.dimsRAS[axis + 1] ?? 1;
  }

  slice(axis = this.plane[2]) {
    return Math.min(this.slices(axis) - 1, Math.floor(this.nv.scene.crosshairPos[axis] * this.slices(axis)));
  }

  // mm of the middle of the slice that is shown
  depth({ axes }) {
    return this.nv.frac2mm(this.nv.scene.crosshairPos)[axes[2]];
  }

  show(slice, quietly = false, axis = this.plane[2]) {
    if (!this.ready()) return;
    const last = this.slices(axis) - 1;
    this.nv.scene.crosshairPos[axis] = (Math.max(0, Math.min(last, slice)) + 0.5) / (last + 1);
    this.nv.drawScene();
    if (!quietly) this.announce(axis);
  }

  announce(axis = this.plane[2]) {
    if (this.ready()) this.onscroll(this.nv.frac2mm(this.nv.scene.crosshairPos)[axis] - this.anchor[axis], axis);
  }

  // go to the place as many mm from this volume's own anchor, for scrolling two volumes together
  follow(offset, axis) {
    if (!this.ready()) return;
    const mm = [...this.anchor];
    mm[axis] += offset;
    this.show(Math.floor(this.nv.mm2frac(mm)[axis] * this.slices(axis)), true, axis);
  }

  // where both stand is what they have in common from now on
  anchorHere() {
    if (this.ready()) this.anchor = [...this.nv.frac2mm(this.nv.scene.crosshairPos)];
  }

  // all three planes through the voxel at a place
  goTo(mm) {
    const voxel = mm && voxelAt(this.nv, mm);
    if (!voxel) return;
    voxel.forEach((index, axis) => { this.nv.scene.crosshairPos[axis] = (index + 0.5) / this.slices(axis); });
    this.nv.drawScene();
    for (const axis of this.plane[0] === "all" ? [0, 1, 2] : [this.plane[2]]) this.announce(axis);
  }

  step(by, axis = this.plane[2]) {
    this.moved = true;
    if (this.ready()) this.show(this.slice(axis) + by, false, axis);
  }

  zoom(factor) {
    if (!this.ready()) return;
    const [x, y, z, before] = this.nv.scene.pan2Dxyzmm;
    const after = Math.max(1, Math.min(12, before * factor));
    // the crosshair's place stays where it is on the screen
    const still = this.nv.frac2mm(this.nv.scene.crosshairPos);
    this.nv.setPan2Dxyzmm(after === 1 ? [0, 0, 0, 1] : [x, y, z].map((value, axis) => value + (before - after) * still[axis]).concat(after));
  }

  panned() {
    return [...this.nv.scene.pan2Dxyzmm];
  }

  pan([x, y, z, zoom], mm) {
    this.nv.setPan2Dxyzmm([x + zoom * mm[0], y + zoom * mm[1], z + zoom * mm[2], zoom]);
  }

  resetView() {
    if (this.ready()) this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
  }

  tiles() {
    return tilesOf(this.nv);
  }

  // → [level, width] in HU of what is drawn
  windowValues() {
    const { cal_min: low, cal_max: high } = this.nv.volumes[0];
    return [(low + high) / 2, high - low];
  }

  // a ruler or an ellipse; while it is drawn, `drag` is the same object
  measure(mark, drag) {
    const axis = PLANES[mark.plane][2];
    if (drag.mark) this.marks = this.marks.filter((other) => other !== drag.mark);
    drag.mark = { ...mark, axis, slice: this.slice(axis) };
    this.marks.push(drag.mark);
    this.update();
    this.onmarks();
  }

  clearMarks() {
    this.marks = [];
    this.update();
    this.onmarks();
  }

  // mm, or null where the pointer is not over the picture
  point(mm) {
    this.pointedAt = mm;
    this.updatePointed();
  }

  update() {
    if (!this.ready()) return;
    const axis = this.plane[2];
    const slice = this.slice() + 1;
    const [name, , , low] = this.plane;
    this.slider.max = this.slices();
    this.slider.value = slice;
    const plane = name === "all" ? "axial" : name;
    this.slider.setAttribute("aria-valuetext", `${plane} slice ${slice} of ${this.slices()}`);
    const values = this.windowValues().map(Math.round);
    const window = windowOf(...values)[0];
    const slab = this.nv.volumes[0].img === this.source ? "" : ` · MIP of ${this.thick()} slices, ${(this.thick() * this.spacing()).toFixed(1)} mm`;
    fill(this.label,
      make("b", {}, `${plane} ${slice} / ${this.slices()}`), ` from the ${low} · ${this.spacing(axis).toFixed(2)} mm${slab}`, make("br"),
      `${window} L ${values[0]} W ${values[1]} HU · ${convention(this.tiles()[0])}`);
    Object.assign(this.element.dataset, { slice, window, level: values[0], width: values[1], zoom: this.nv.scene.pan2Dxyzmm[3].toFixed(2) });
    const marks = this.marks.map((mark) => ({ ...mark, shown: mark.slice === this.slice(mark.axis) }));
    this.over.draw(this.nv, this.tiles(), { crosshair: name === "all", marks, slab: slab !== "" });
    this.updatePointed();
  }

  updatePointed() {
    const voxel = this.ready() && this.pointedAt ? voxelAt(this.nv, this.pointedAt) : null;
    fill(this.pointed, voxel ? `${hounsfield(this.nv, voxel)} HU` : "");
  }

  close() {
    for (const volume of [...(this.nv?.volumes ?? [])]) this.nv.removeVolume(volume);
    this.nv?.cleanup?.();
    this.canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
    this.nv = null;
    this.element.remove();
  }
}
