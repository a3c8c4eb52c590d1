// Maximum intensity projection of a slab: each slice shows the largest values of itself and its neighbours.

// an odd number of slices, so that a slab has a middle; 1: no slab
export const slabSlices = (mm, spacing) => (mm ? 2 * Math.max(0, Math.round((mm / spacing - 1) / 2)) + 1 : 1);

// values: a volume; size: [columns, rows, slices]; axis: the one across the slab → a new array of the same kind
export function slabMaximum(values, size, axis, slices) {
  const reach = (slices - 1) / 2;
  const step = size.slice(0, axis).reduce((product, length) => product * length, 1);
  const [length, block] = [size[axis], step * size[axis]];
  const largest = values.slice();
  for (let start = 0; start < values.length; start += block) {
    for (let index = 0; index < length; index += 1) {
      const to = start + index * step;
      for (let other = Math.max(0, index - reach); other <= Math.min(length - 1, index + reach); other += 1) {
        if (other === index) continue;
        const from = start + other * step;
        for (let inside = 0; inside < step; inside += 1) if (values[from + inside] > largest[to + inside]) largest[to + inside] = values[from + inside];
      }
    }
  }
  return largest;
}
