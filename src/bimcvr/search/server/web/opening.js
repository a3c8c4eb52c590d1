// Where a case opens if the model says nothing of the query: the slice that differs most from the mean of the index's volumes.

import { call } from "./api.js";

// loaded: that the viewer has its volume → {slice, volumes}, or null; who has scrolled by then is left where they are
export async function openAtDifference(viewer, loaded, name, signal) {
  try {
    const [found] = await Promise.all([call("api/opening", { query: { case: name }, signal }), loaded]);
    if (signal.aborted || found.slice === null || !viewer.ready()) return null;
    if (!viewer.moved) viewer.show(found.slice, false, 2);
    return found;
  } catch (error) {
    // a case opens at its middle then
    if (error.name !== "AbortError") console.warn(`No slice to open at: ${error.message}`);
    return null;
  }
}
