// The mouse and the fingers over a volume: window, pan, zoom, ruler, ellipse, the HU under the pointer.

import { millimetres, tileAt, toMm } from "./geometry.js";

// [name, key, what a drag with the left button does]
export const TOOLS = [
  ["window", "w", "drag: contrast sideways, brightness up and down (the right button always does)"],
  ["pan", "p", "drag moves the picture (the middle button, or Shift, always does)"],
  ["ruler", "r", "drag from end to end: mm"],
  ["ellipse", "e", "drag from corner to corner: mean and standard deviation in HU"],
];
// pixels below which a drag is a click
const CLICK = 4;
// pixels of a scroll that are one slice on a touchpad; a mouse wheel's notch is more than NOTCH at once
const [TOUCHPAD, NOTCH] = [40, 45];

export class Pointer {
  constructor(viewer, stage) {
    Object.assign(this, { viewer, stage, tool: "window", drag: null, scrolled: 0 });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    stage.addEventListener("pointerup", (event) => this.up(event));
    stage.addEventListener("pointercancel", () => { this.drag = null; });
    stage.addEventListener("pointerleave", () => viewer.point(null));
    stage.addEventListener("dblclick", () => viewer.resetView());
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", (event) => this.wheel(event), { capture: true, passive: false });
  }

  // → the place in the stage, the slice there, and its mm
  place(event) {
    const box = this.stage.getBoundingClientRect();
    const point = [event.clientX - box.left - this.stage.clientLeft, event.clientY - box.top - this.stage.clientTop];
    const tile = tileAt(this.viewer.tiles(), point);
    return { point, tile, mm: tile ? toMm(tile, point, this.viewer.depth(tile)) : null };
  }

  down(event) {
    if (!this.viewer.ready() || event.button > 2) return;
    const { point, tile, mm } = this.place(event);
    if (!tile) return;
    const tool = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : this.tool;
    if (event.button === 1) event.preventDefault();
    // a finger on the picture scrolls the page unless it measures
    if (event.pointerType === "touch" && tool === "window") return;
    this.drag = { tool, tile, start: point, last: point, from: mm, window: this.viewer.windowValues(), pan: this.viewer.panned() };
    this.stage.setPointerCapture?.(event.pointerId);
  }

  move(event) {
    if (!this.viewer.ready()) return;
    const { point, tile, mm } = this.place(event);
    this.viewer.point(tile ? mm : null);
    const { drag, viewer } = this;
    if (!drag || millimetres(drag.start, point) < CLICK) return;
    drag.moved = true;
    if (drag.tool === "window") {
      const [level, width] = drag.window;
      // a wide window changes faster
      const speed = Math.max(1, width / 300);
      viewer.onwindow(Math.round(level + (point[1] - drag.start[1]) * speed), Math.max(1, Math.round(width + (point[0] - drag.start[0]) * speed)));
    } else if (drag.tool === "pan") {
      const depth = viewer.depth(drag.tile);
      const [here, before] = [toMm(drag.tile, point, depth), toMm(drag.tile, drag.start, depth)];
      viewer.pan(drag.pan, here.map((value, axis) => value - before[axis]));
    } else {
      viewer.measure({ kind: drag.tool, plane: drag.tile.plane, from: drag.from, to: toMm(drag.tile, point, viewer.depth(drag.tile)) }, drag);
    }
  }

  up(event) {
    const { drag, viewer } = this;
    this.drag = null;
    // a click: the point that the other planes go through
    if (drag && !drag.moved && event.button === 0) viewer.goTo(drag.from);
  }

  wheel(event) {
    if (!this.viewer.ready()) return;
    event.preventDefault();
    event.stopPropagation();
    const { tile } = this.place(event);
    const delta = event.deltaY * (event.deltaMode === 1 ? TOUCHPAD : 1);
    // Ctrl and wheel, and pinching on a touchpad
    if (event.ctrlKey) return this.viewer.zoom(Math.exp(-delta / 300));
    // one notch of a mouse wheel is one slice, however far the system says it goes; a touchpad sends many small steps
    this.scrolled = event.deltaMode === 1 || Math.abs(delta) > NOTCH ? Math.sign(delta) * TOUCHPAD : this.scrolled + delta;
    const steps = Math.trunc(this.scrolled / TOUCHPAD);
    this.scrolled -= steps * TOUCHPAD;
    if (steps) this.viewer.step(-steps, tile?.axes[2]);
    return undefined;
  }
}
