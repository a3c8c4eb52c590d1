// The volume in three planes. A caption says what was drawn: it is written when the picture has arrived.

import { call, fetchPicture } from "./api.js";
import { fill, find, make } from "./dom.js";

// [name, the side on the left of the picture]
const PLANES = [["axial", "R"], ["coronal", "R"], ["sagittal", "A"]];
const WINDOWS = ["chest", "lung", "mediastinum"];
const frames = new Map();
let volume = null;
let windowName = WINDOWS[0];
let leaving = null;

export function setUpPictures() {
  fill(find("windows"), WINDOWS.map((name, place) =>
    make("button", { type: "button", "aria-pressed": name === windowName, title: `key ${place + 1}`, onclick: () => setWindow(name) }, name)));
  fill(find("planes"), PLANES.map(([plane, side], axis) => {
    const frame = { plane, axis, busy: false, at: 0 };
    frame.image = make("img", { alt: "", hidden: true });
    frame.wait = make("p", { class: "wait" });
    frame.side = make("span", { class: "side", hidden: true, title: side === "R" ? "the patient's right" : "the patient's front" }, side);
    frame.caption = make("figcaption");
    frame.slider = make("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": `${plane} slice`, oninput: () => moveTo(frame, Number(frame.slider.value)) });
    frame.box = make("div", { class: "frame" }, frame.image, frame.wait, frame.side);
    let turned = 0;
    frame.box.addEventListener("wheel", (event) => {
      if (!volume || event.ctrlKey) return;
      event.preventDefault();
      turned += event.deltaMode === 0 ? event.deltaY : event.deltaY * 40;
      const notches = Math.trunc(turned / 50);
      if (!notches) return;
      turned -= notches * 50;
      moveTo(frame, frame.at - Math.sign(notches));
      turned = 0;
    }, { passive: false });
    frames.set(plane, frame);
    return make("figure", { class: "plane", "data-plane": plane }, frame.box, frame.slider, frame.caption);
  }));
}

export async function showVolume(question) {
  leaving?.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  volume = null;
  for (const frame of frames.values()) clear(frame, "Reading the volume …");
  fill(find("volume-facts"));
  try {
    const facts = await call("api/volume", { query: { question }, signal });
    volume = { question, ...facts };
  } catch (error) {
    if (error.name === "AbortError") return;
    for (const frame of frames.values()) clear(frame, frame.plane === "axial" ? error.message : "no picture");
    return;
  }
  const [depth, height, width] = volume.source_size;
  fill(find("volume-facts"), `${depth} slices of ${height} × ${width}, ${volume.source_spacing_mm.map((mm) => mm.toFixed(2)).join(" × ")} mm; the patient's right is on the left of axial and coronal pictures`);
  for (const frame of frames.values()) {
    const count = volume.slices[frame.plane];
    frame.slider.max = count - 1;
    frame.slider.disabled = false;
    moveTo(frame, Math.floor(count / 2));
  }
}

// lets the server read a volume that will be asked for next
export function warm(question) {
  call("api/volume", { query: { question } }).catch(() => {});
}

export function windowKey(key) {
  const name = WINDOWS[Number(key) - 1];
  if (name) setWindow(name);
  return Boolean(name);
}

function setWindow(name) {
  windowName = name;
  for (const button of find("windows").children) button.setAttribute("aria-pressed", String(button.textContent === name));
  for (const frame of frames.values()) draw(frame);
}

function moveTo(frame, number) {
  if (!volume) return;
  frame.at = Math.min(Math.max(number, 0), volume.slices[frame.plane] - 1);
  frame.slider.value = frame.at;
  draw(frame);
}

// one request a plane at a time; the newest wish is drawn next
async function draw(frame) {
  if (!volume || frame.busy) return;
  frame.busy = true;
  const wanted = { question: volume.question, at: frame.at, window: windowName };
  const current = () => volume?.question === wanted.question;
  const limits = volume.windows[wanted.window], count = volume.source_size[frame.axis];
  // the drawn stack may have more or fewer slices than the source, over the same extent
  const slice = Math.floor((wanted.at + 0.5) / volume.slices[frame.plane] * count) + 1;
  try {
    const address = await fetchPicture("api/picture", { query: { question: wanted.question, plane: frame.plane, number: wanted.at, window: wanted.window } });
    const picture = await decoded(address);
    if (current()) put(frame, picture, `${frame.plane} · ${slice} of ${count} · ${wanted.window} window, ${limits[0]} to ${limits[1]} HU`.replaceAll("-", "−"));
    URL.revokeObjectURL(address);
  } catch (error) {
    if (current()) clear(frame, error.message);
  }
  frame.busy = false;
  if (volume && (!current() || frame.at !== wanted.at || windowName !== wanted.window)) draw(frame);
}

// in an element of its own: a picture whose address is taken away while it is decoded may never be done
async function decoded(address) {
  const picture = make("img", { src: address });
  await picture.decode();
  return picture;
}

function put(frame, picture, caption) {
  frame.image.replaceWith(picture);
  frame.image = picture;
  frame.side.hidden = false;
  picture.alt = caption;
  frame.wait.hidden = true;
  fill(frame.caption, caption);
}

function clear(frame, message) {
  frame.image.hidden = frame.side.hidden = true;
  frame.image.removeAttribute("src");
  frame.slider.disabled = true;
  frame.wait.hidden = false;
  fill(frame.wait, message);
  fill(frame.caption);
}
