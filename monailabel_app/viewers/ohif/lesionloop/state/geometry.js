// SPDX-License-Identifier: Apache-2.0
/**
 * Places and sizes of boxes and pixels in mm and ml; as lib/transforms/geometry.py and lib/measure.py compute them.
 *
 * @typedef {import('../types.js').Box} Box
 * @typedef {import('../types.js').Frames} Frames
 */

const MICROLITRES_PER_ML = 1000;
const WHOLE_FROM = 9.95;

/** @param {Frames} frames @returns {boolean} whether the frames are slices of one volume */
export function isVolume(frames) {
  return frames.position_unit === 'mm';
}

/**
 * @param {Frames} frames with `affine_lps` (4x4) and, where the slices are uneven, `origins_lps_mm`
 * @param {number} x frame indices; pixel centres at whole numbers
 * @param {number} y
 * @param {number} t
 * @returns {number[]} (x, y, z) in LPS mm
 */
export function pointLps(frames, x, y, t) {
  const { affine_lps: affine, origins_lps_mm: origins } = frames;
  if (!origins) return [0, 1, 2].map(i => affine[i][0] * x + affine[i][1] * y + affine[i][2] * t + affine[i][3]);
  return [0, 1, 2].map(i => interpolated(origins.map(origin => origin[i]), t) + affine[i][0] * x + affine[i][1] * y);
}

/** Linear, and going on beyond both ends. */
function interpolated(values, t) {
  if (values.length < 2) return values[0];
  const left = Math.min(Math.max(Math.floor(t), 0), values.length - 2);
  return values[left] + (t - left) * (values[left + 1] - values[left]);
}

/**
 * The box in space around boxes on frames, outer voxel edges.
 *
 * @param {Frames} frames
 * @param {Map<number, Box>} boxes at least one
 * @returns {number[]} (x0, y0, z0, x1, y1, z1) in LPS mm
 */
export function boxLps(frames, boxes) {
  const { x0, y0, x1, y1, first, last } = outline(boxes);
  const corners = [];
  for (const x of [x0 - 0.5, x1 - 0.5]) {
    for (const y of [y0 - 0.5, y1 - 0.5]) {
      for (const t of [first - 0.5, last + 0.5]) corners.push(pointLps(frames, x, y, t));
    }
  }
  const axis = i => corners.map(corner => corner[i]);
  return [0, 1, 2].map(i => Math.min(...axis(i))).concat([0, 1, 2].map(i => Math.max(...axis(i))));
}

function outline(boxes) {
  const all = [...boxes.values()];
  const indices = [...boxes.keys()];
  return {
    x0: Math.min(...all.map(box => box[0])), y0: Math.min(...all.map(box => box[1])),
    x1: Math.max(...all.map(box => box[2])), y1: Math.max(...all.map(box => box[3])),
    first: Math.min(...indices), last: Math.max(...indices),
  };
}

/**
 * Where slices end along the stack: half way to their neighbours, the outer ones as far.
 *
 * @param {Frames} frames
 * @returns {number[]} in mm, one more than there are frames
 */
export function sliceEdges(frames) {
  const centres = frames.positions;
  if (centres.length < 2) {
    const step = Math.hypot(...[0, 1, 2].map(i => frames.affine_lps[i][2]));
    return [centres[0] - step / 2, centres[0] + step / 2];
  }
  const between = centres.slice(1).map((centre, i) => (centres[i] + centre) / 2);
  return [2 * centres[0] - between[0], ...between, 2 * centres.at(-1) - between.at(-1)];
}

/**
 * Measures the box around boxes on frames.
 *
 * @param {Frames} frames
 * @param {Map<number, Box>} boxes at least one
 * @returns {Object<string, {value: number, unit: string}>} width, height and, in a volume, depth in mm
 */
export function measureBoxes(frames, boxes) {
  const { x0, y0, x1, y1, first, last } = outline(boxes);
  const measured = { width: mm((x1 - x0) * frames.spacing_mm[0]), height: mm((y1 - y0) * frames.spacing_mm[1]) };
  if (!isVolume(frames)) return measured;
  const edges = sliceEdges(frames);
  return { ...measured, depth: mm(edges[last + 1] - edges[first]) };
}

/**
 * The volume of pixels.
 *
 * @param {Frames} frames
 * @param {Map<number, number>} counts pixels by frame index
 * @returns {{value: number, unit: string}|null} in ml; null where the frames are not slices of one volume
 */
export function measureVolume(frames, counts) {
  if (!isVolume(frames)) return null;
  const edges = sliceEdges(frames);
  const area = frames.spacing_mm[0] * frames.spacing_mm[1];
  let total = 0;
  for (const [t, count] of counts) total += (count * area * Math.abs(edges[t + 1] - edges[t])) / MICROLITRES_PER_ML;
  return { value: round(total, 4), unit: 'ml' };
}

/**
 * The size of a lesion in words: the outline's axes and volume where there is one, else the box.
 *
 * @param {Object<string, {value: number, unit: string}>} measurements
 * @returns {string} "53 x 34 mm, 28.9 ml", "46 x 47 x 45 mm" or ''
 */
export function sizeText(measurements) {
  const lengths = ['long_axis', 'short_axis'].every(name => measurements[name])
    ? ['long_axis', 'short_axis'] : ['width', 'height', 'depth'];
  const sides = lengths.filter(name => measurements[name]).map(name => amount(measurements[name].value));
  const size = sides.length ? `${sides.join(' x ')} mm` : '';
  const volume = measurements.volume ? `${millilitres(measurements.volume.value)} ml` : '';
  return [size, volume].filter(Boolean).join(', ');
}

function amount(value) {
  return value >= WHOLE_FROM ? String(Math.round(value)) : value.toFixed(1);
}

function millilitres(value) {
  if (value >= 1) return value.toFixed(1);
  return value < 0.01 ? '<0.01' : value.toFixed(2);
}

function mm(value) {
  return { value: round(value, 3), unit: 'mm' };
}

/** @param {number} value @param {number} digits after the point @returns {number} */
export function round(value, digits) {
  return Number(value.toFixed(digits)) || 0;
}
