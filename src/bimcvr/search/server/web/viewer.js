// One volume, shown by NiiVue on its source grid: slices, windows, planes. Always in radiological convention.

import { fill, make } from "./dom.js";

export const WINDOWS = [
  // [name, level, width] in HU
  ["lung", -600, 1500],
  ["mediastinum", 40, 400],
  ["bone", 400, 1800],
];
// [name, NiiVue's slice type, axis of the volume (left-right, front-back, bottom-top), the side of the first slice]
export const PLANES = [
  ["axial", 0, 2, "feet"],
  ["coronal", 1, 1, "back"],
  ["sagittal", 2, 0, "right"],
  ["all", 3, 2, "feet"],
];

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

export class Viewer {
  constructor(title) {
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.label = make("span", { class: "slice-label" });
    this.wait = make("p", { class: "wait" }, "Loading the volume …");
    this.slider = make("input", { type: "range", min: 1, max: 1, value: 1, class: "slices", disabled: true, "aria-label": `Slice of ${title}` });
    this.title = make("figcaption", {}, title);
    this.stage = make("div", { class: "stage" }, this.canvas, this.wait, this.label);
    this.element = make("figure", { class: "viewer" }, this.title, this.stage, this.slider);
    this.plane = PLANES[0];
    this.window = WINDOWS[0];
    this.slider.addEventListener("input", () => { this.moved = true; this.show(Number(this.slider.value) - 1); });
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { capture: true, passive: false });
    // replaced by the caller: called with the position in the volume, 0 to 1, when the user has scrolled
    this.onscroll = () => {};
  }

  // bytes: a promise of a NIfTI file; grid: {size, spacing_mm, obliquity}, or null
  async load(bytes, grid) {
    this.grid = grid;
    try {
      const [content, library] = await Promise.all([bytes, loadNiivue()]);
      if (!this.nv) await this.attach(library);
      await this.nv.loadFromArrayBuffer(content, "volume.nii.gz");
      this.wait.hidden = true;
      this.slider.disabled = false;
      this.set(this.plane, this.window);
      this.show(Math.floor(this.slices() / 2));
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
    this.nv = new library.Niivue({
      isRadiologicalConvention: true, sagittalNoseLeft: true, backColor: [0, 0, 0, 1], crosshairColor: [0.95, 0.75, 0.3, 0.6], crosshairWidth: 0,
      show3Dcrosshair: false, isColorbar: false, isOrientCube: false, loadingText: "", dragAndDropEnabled: false, clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "", viewModeHotKey: "", multiplanarShowRender: library.SHOW_RENDER?.NEVER ?? 0, fontColor: [0.8, 0.8, 0.8, 1],
      fontMinPx: 11, fontSizeScaling: 0.3, isNearestInterpolation: false, logLevel: "error", multiplanarPadPixels: 4, showAllOrientationMarkers: true,
    });
    this.nv.onLocationChange = () => this.updateLabel();
    await this.nv.attachToCanvas(this.canvas, false);
  }

  set(plane, window) {
    this.plane = plane;
    this.window = window;
    const volume = this.nv?.volumes[0];
    if (!volume) return;
    const [, level, width] = window;
    volume.cal_min = level - width / 2;
    volume.cal_max = level + width / 2;
    this.nv.updateGLVolume();
    this.nv.opts.crosshairWidth = plane[0] === "all" ? 0.3 : 0;
    this.nv.setSliceType(plane[1]);
    this.updateLabel();
  }

  // lay a map over the volume and go to its highest place; map: {map, peak_mm} as api/relevance gives it
  async overlay({ map, peak_mm: peak, speaks }, opacity) {
    if (!this.nv?.volumes[0]) return;
    const bytes = Uint8Array.from(atob(map), (letter) => letter.charCodeAt(0));
    await this.nv.addVolumeFromUrl({ url: "map.nii.gz", name: "map.nii.gz", buffer: bytes.buffer, colormap: "inferno", opacity, cal_min: 25, cal_max: 255 });
    // below cal_min nothing is painted
    this.nv.volumes[1].colorbarVisible = false;
    this.setStrength(opacity);
    // who has scrolled already is left where they are
    if (!speaks || this.moved) return;
    const place = this.nv.mm2frac(peak);
    for (const axis of [0, 1, 2]) this.nv.scene.crosshairPos[axis] = place[axis];
    this.show(this.slice());
  }

  // 0: the map is not shown
  setStrength(opacity) {
    if (this.nv?.volumes[1]) this.nv.setOpacity(1, opacity);
    this.element.dataset.strength = opacity;
  }

  slices() {
    return this.nv?.volumes[0]?.dimsRAS[this.plane[2] + 1] ?? 1;
  }

  slice() {
    return Math.min(this.slices() - 1, Math.floor(this.nv.scene.crosshairPos[this.plane[2]] * this.slices()));
  }

  show(slice, quietly = false) {
    if (!this.nv?.volumes[0]) return;
    const last = this.slices() - 1;
    const chosen = Math.max(0, Math.min(last, slice));
    this.nv.scene.crosshairPos[this.plane[2]] = (chosen + 0.5) / (last + 1);
    this.nv.drawScene();
    this.updateLabel();
    if (!quietly) this.onscroll((chosen + 0.5) / (last + 1));
  }

  // go to the same relative position, for scrolling two volumes together
  follow(fraction) {
    this.show(Math.floor(fraction * this.slices()), true);
  }

  step(by) {
    this.moved = true;
    if (this.nv?.volumes[0]) this.show(this.slice() + by);
  }

  wheel(event) {
    if (this.plane[0] === "all") return;
    event.preventDefault();
    event.stopPropagation();
    // one notch of a mouse wheel is one slice; a touchpad sends many small steps
    this.wheelDelta = (this.wheelDelta ?? 0) + event.deltaY * (event.deltaMode === 1 ? 30 : 1);
    const steps = Math.trunc(this.wheelDelta / 30);
    if (!steps) return;
    this.wheelDelta = 0;
    this.step(-Math.sign(steps) * Math.min(Math.abs(steps), 3));
  }

  updateLabel() {
    if (!this.nv?.volumes[0]) return;
    const slice = this.slice() + 1;
    const [name, , axis, low] = this.plane;
    const mm = this.grid ? this.grid.spacing_mm[axis] : this.nv.volumes[0].pixDimsRAS[axis + 1];
    this.slider.max = this.slices();
    this.slider.value = slice;
    const plane = name === "all" ? "axial" : name;
    this.slider.setAttribute("aria-valuetext", `${plane} slice ${slice} of ${this.slices()}`);
    const [window, level, width] = this.window;
    fill(this.label,
      make("b", {}, `${plane} ${slice} / ${this.slices()}`), ` from the ${low} · ${mm.toFixed(2)} mm`, make("br"),
      `${window} L ${level} W ${width} HU · radiological: ${plane === "sagittal" ? "the front" : "R"} is on the left`);
    Object.assign(this.element.dataset, { slice, window });
  }

  close() {
    for (const volume of [...(this.nv?.volumes ?? [])]) this.nv.removeVolume(volume);
    this.nv?.cleanup?.();
    this.canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
    this.nv = null;
    this.element.remove();
  }
}
