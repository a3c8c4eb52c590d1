// Windows of HU, and the slices' planes.

export const WINDOWS = [
  // [name, level, width] in HU
  ["lung", -600, 1500],
  ["mediastinum", 40, 400],
  ["bone", 400, 1800],
];

// a drag sets any level and width; a name is only that of exactly its values
export const windowOf = (level, width) => WINDOWS.find((one) => one[1] === level && one[2] === width) ?? ["own window", level, width];

// [name, NiiVue's slice type, axis of the volume (left-right, front-back, bottom-top), the side of the first slice]
export const PLANES = [
  ["axial", 0, 2, "feet"],
  ["coronal", 1, 1, "back"],
  ["sagittal", 2, 0, "right"],
  ["all", 3, 2, "feet"],
];
