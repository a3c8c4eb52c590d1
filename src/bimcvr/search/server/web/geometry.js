// From the mm of a volume to the pixels of a drawn slice, and back. Axes: 0 to the right, 1 to the front, 2 to the head.

// the axes of a slice's columns and rows, and the one across it, by NiiVue's number of the plane
const AXES = [[0, 1, 2], [0, 2, 1], [1, 2, 0]];
// the patient's side at the lower and the upper end of an axis
const SIDES = [["L", "R"], ["P", "A"], ["F", "H"]];

// the slices that a NiiVue draws: [{axes, left, top, width, height (CSS pixels), low, extent (mm), mirrored}]; mm fall from left to right
// where the extent is negative or the slice mirrored
export function tilesOf(nv) {
  const ratio = nv.uiData.dpr || 1;
  return nv.screenSlices.filter((slice) => slice.axCorSag <= 2 && slice.AxyzMxy.length >= 4).map((slice) => {
    const [left, top, width, height] = slice.leftTopWidthHeight;
    return {
      plane: slice.axCorSag, axes: AXES[slice.axCorSag], mirrored: width < 0,
      left: Math.min(left, left + width) / ratio, top: top / ratio, width: Math.abs(width) / ratio, height: height / ratio,
      low: [slice.leftTopMM[0], slice.leftTopMM[1]], extent: [slice.fovMM[0], slice.fovMM[1]],
    };
  });
}

// the patient's sides at the left, right, upper and lower edge of a slice as it is drawn
export function sidesOf({ axes, extent, mirrored }) {
  const ends = ([low, high], falls) => (falls ? [high, low] : [low, high]);
  return [...ends(SIDES[axes[0]], (extent[0] < 0) !== mirrored), ...ends(SIDES[axes[1]], extent[1] > 0)];
}

export const tileAt = (tiles, [x, y]) => tiles.find((tile) => x >= tile.left && x <= tile.left + tile.width && y >= tile.top && y <= tile.top + tile.height);

// mm: [x, y, z] → [x, y] in CSS pixels of the canvas
export function toScreen(tile, mm) {
  const across = (mm[tile.axes[0]] - tile.low[0]) / tile.extent[0];
  const up = (mm[tile.axes[1]] - tile.low[1]) / tile.extent[1];
  return [tile.left + (tile.mirrored ? 1 - across : across) * tile.width, tile.top + (1 - up) * tile.height];
}

// depth: mm across the slice
export function toMm(tile, [x, y], depth) {
  const across = (x - tile.left) / tile.width;
  const mm = [depth, depth, depth];
  mm[tile.axes[0]] = tile.low[0] + (tile.mirrored ? 1 - across : across) * tile.extent[0];
  mm[tile.axes[1]] = tile.low[1] + (1 - (y - tile.top) / tile.height) * tile.extent[1];
  return mm;
}

// the voxel that contains a place, or null outside of the volume
export function voxelAt(nv, mm) {
  const size = nv.volumes[0].dimsRAS;
  const voxel = [...nv.mm2frac(mm)].map((part, axis) => Math.floor(part * size[axis + 1]));
  return voxel.every((index, axis) => index >= 0 && index < size[axis + 1]) ? voxel : null;
}

export const hounsfield = (nv, [x, y, z]) => nv.volumes[0].getValue(x, y, z);

export const millimetres = (from, to) => Math.hypot(...from.map((value, axis) => value - to[axis]));

// mean, standard deviation (of the voxels, n - 1), count and mm² of the voxels whose middle lies in the ellipse between two corners
export function ellipseFacts(nv, tile, first, second) {
  const [across, up, through] = tile.axes;
  const volume = nv.volumes[0];
  const place = [...nv.mm2frac(first)];
  const size = volume.dimsRAS.slice(1);
  const depth = Math.min(size[through] - 1, Math.max(0, Math.floor(place[through] * size[through])));
  const corners = [place, [...nv.mm2frac(second)]];
  // in voxels, whose middles are at …5
  const middle = (axis) => (corners[0][axis] + corners[1][axis]) / 2 * size[axis];
  const radius = (axis) => Math.abs(corners[0][axis] - corners[1][axis]) / 2 * size[axis];
  const range = (axis) => [Math.max(0, Math.floor(middle(axis) - radius(axis))), Math.min(size[axis] - 1, Math.ceil(middle(axis) + radius(axis)))];
  const values = [];
  const [left, right] = range(across);
  const [bottom, top] = range(up);
  for (let i = left; i <= right; i += 1) for (let j = bottom; j <= top; j += 1) {
    const [dx, dy] = [(i + 0.5 - middle(across)) / radius(across), (j + 0.5 - middle(up)) / radius(up)];
    if (!(dx * dx + dy * dy <= 1)) continue;
    const voxel = [0, 0, 0];
    [voxel[across], voxel[up], voxel[through]] = [i, j, depth];
    values.push(hounsfield(nv, voxel));
  }
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const area = Math.PI * Math.abs(first[across] - second[across]) * Math.abs(first[up] - second[up]) / 4;
  return { number: values.length, mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0, area };
}
