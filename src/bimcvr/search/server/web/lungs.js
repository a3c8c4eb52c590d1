// A point that two chests have in common: the middle of the air inside the body.

// HU of aerated lung, and of the tissue that encloses it
const [AIR_LOW, AIR_HIGH, TISSUE] = [-980, -500, -300];
// millilitres below which it is taken for something else
const LEAST_ML = 200;

// volume: of NiiVue → mm [x, y, z], or null where there are no lungs; every third voxel or so is looked at
export function middleOfLungs(nv) {
  const volume = nv.volumes[0];
  const [, width, height, depth] = volume.dimsRAS;
  const stride = [width, height, depth].map((size) => Math.max(1, Math.floor(size / 128)));
  const sums = [0, 0, 0];
  let number = 0;
  for (let z = 0; z < depth; z += stride[2]) {
    const rows = [];
    for (let y = 0; y < height; y += stride[1]) {
      const row = [];
      for (let x = 0; x < width; x += stride[0]) row.push(volume.getValue(x, y, z));
      rows.push(row);
    }
    const enclosed = enclosedInRows(rows);
    const byColumns = enclosedInRows(rows[0].map((_, x) => rows.map((row) => row[x])));
    rows.forEach((row, y) => row.forEach((value, x) => {
      if (value < AIR_LOW || value > AIR_HIGH || !enclosed[y][x] || !byColumns[x][y]) return;
      number += 1;
      [x * stride[0], y * stride[1], z].forEach((index, axis) => { sums[axis] += index; });
    }));
  }
  const [a, b, c] = volume.pixDimsRAS.slice(1, 4).map((mm, axis) => mm * stride[axis]);
  if (number * a * b * c < LEAST_ML * 1000) return null;
  return [...nv.frac2mm(sums.map((sum, axis) => (sum / number + 0.5) / volume.dimsRAS[axis + 1]))].slice(0, 3);
}

// whether there is tissue on both sides in the same row
function enclosedInRows(rows) {
  return rows.map((row) => {
    const first = row.findIndex((value) => value > TISSUE);
    const last = row.findLastIndex((value) => value > TISSUE);
    return row.map((_, index) => first >= 0 && index > first && index < last);
  });
}
