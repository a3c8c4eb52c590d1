// Where the model looks for the query in the case that is open: the map over it, and its place in words.

import { call } from "./api.js";
import { fill, find } from "./dom.js";

const MADE_OF = { maps: "maps of the encoder's stages", tokens: "the encoder's tokens", gradients: "gradients of its input" };

let canLocate = false;
let shownOver = null;

// whether the server has a model
export const allowAttention = (can) => { canLocate = can; };

const strength = () => (find("show-map").checked ? Number(find("map-strength").value) / 100 : 0);

export function setUpAttention() {
  for (const control of ["show-map", "map-strength"]) find(control).addEventListener("input", () => shownOver?.setStrength(strength()));
}

// a query by words or by an uploaded volume has no vector on the server, and a case says nothing about itself
export function canBeLocated(request, name) {
  const itself = request.mode === "study" && request.query === name;
  return canLocate && !itself && ["text", "keyword", "study"].includes(request.mode);
}

// loaded: that the viewer has its volume → what the server found, or null
export async function showAttention(viewer, loaded, name, request, signal) {
  shownOver = viewer;
  find("attention").hidden = true;
  let found = null;
  try {
    if (!canBeLocated(request, name)) return null;
    const json = { case: name, mode: request.mode, query: request.query };
    [found] = await Promise.all([call("api/relevance", { json, signal }), loaded]);
    if (signal.aborted) return null;
    await viewer.overlay(found, strength());
    const size = found.token_mm.map((mm) => mm.toFixed(0)).join(" × ");
    fill(find("map-facts"), `The model's attention, no diagnosis: ${found.speaks ? `parts of ${size} mm, by ${MADE_OF[found.made_of]}` : "no part of the volume speaks for the query"}.`, found.note ? ` ${found.note}` : null);
    find("attention").hidden = false;
    return found;
  } catch (error) {
    // a case without a map is read all the same
    if (error.name !== "AbortError") console.warn(`No map: ${error.message}`);
    return null;
  } finally {
    viewer.element.dataset.map = found && !signal.aborted ? "shown" : "none";
  }
}
