// SPDX-License-Identifier: Apache-2.0
/**
 * The pixels of lesions in the mask of their image.
 *
 * @typedef {import('../types.js').Frames} Frames
 * @typedef {import('../types.js').FrameMask} FrameMask
 * @typedef {import('../types.js').Lesion} Lesion
 * @typedef {import('../types.js').MaskPart} MaskPart
 */
import { measureBoxes, measureVolume } from './geometry.js';
import { boxesOf, components, count, intersect, onFrames, repaint, size, subtract, unite } from './runs.js';

const OF_PIXELS = ['long_axis', 'short_axis', 'volume', 'mean_intensity'];

/**
 * @param {Frames} frames
 * @param {Object<string, number>} labels label -> value
 * @returns {FrameMask} without a pixel inside
 */
export function emptyMask(frames, labels) {
  const { rows, columns, sop_instance_uids, frame_numbers } = frames;
  return { rows, columns, sop_instance_uids, frame_numbers, labels: { ...labels }, parts: [] };
}

/**
 * @param {FrameMask} mask
 * @returns {{part: MaskPart, boxes: Map<number, import('../types.js').Box>}[]} its connected pieces, per label the
 *     largest first
 */
export function piecesOf(mask) {
  return mask.parts.flatMap(({ label, frames }) => components(frames, mask.columns).map(piece => ({
    part: { label, finding: null, frames: piece }, boxes: boxesOf(piece, mask.columns) })));
}

/**
 * What can be measured of pixels.
 *
 * @param {Frames} frames
 * @param {MaskPart} part
 * @param {Map<number, import('../types.js').Box>} boxes of the lesion
 * @returns {Object<string, {value: number, unit: string}>} size of the boxes, and the pixels' volume
 */
export function measurePart(frames, part, boxes) {
  const counts = new Map(Object.entries(part.frames).map(([t, runs]) => [Number(t), count(runs)]));
  const volume = measureVolume(frames, counts);
  return { ...measureBoxes(frames, boxes), ...(volume && { volume }) };
}

/**
 * Lesions after a person has painted in the mask: one whose pixels changed has the connected pieces that it touches
 * now (what is left of its own where they reach into another lesion), their volume and no axes. Its boxes follow, but
 * not those that a detection model or a person set.
 *
 * @param {Lesion[]} lesions
 * @param {FrameMask} mask as it is now
 * @param {Frames} frames
 * @returns {Lesion[]} lesions that did not change are the same objects
 */
export function followMask(lesions, mask, frames) {
  const pieces = piecesOf(mask).map(({ part }) => part);
  const shown = lesions.filter(({ part, status }) => part && status !== 'deleted');
  const touched = new Map(shown.map(lesion => [lesion, pieces.filter(piece => meet(piece, lesion.part))]));
  const isShared = piece => shown.filter(lesion => touched.get(lesion).includes(piece)).length > 1;
  return lesions.map(lesion => {
    const own = touched.get(lesion);
    if (!own) return lesion;
    const all = own.reduce((sum, piece) => onFrames(sum, piece.frames, unite), {});
    const now = own.some(isShared) ? onFrames(lesion.part.frames, all, intersect) : all;
    const kept = size(onFrames(now, lesion.part.frames, intersect));
    const same = kept === size(now) && kept === size(lesion.part.frames);
    return same ? lesion : withPixels(lesion, now, frames);
  });
}

function meet(a, b) {
  return a.label === b.label && Object.keys(b.frames).some(t => intersect(a.frames[t] ?? [], b.frames[t]).length);
}

function withPixels(lesion, pixels, frames) {
  const kept = Object.entries(lesion.measurements).filter(([name]) => !OF_PIXELS.includes(name));
  const changed = (boxes, part, measured) => ({ ...lesion, boxes, part, edited: true,
    measurements: { ...Object.fromEntries(kept), ...measured } });
  if (!Object.keys(pixels).length) return changed(lesion.boxes, null, measureBoxes(frames, lesion.boxes));
  const part = { ...lesion.part, frames: pixels };
  const follows = lesion.finding === lesion.outline && !lesion.edited;
  const boxes = follows ? boxesOf(pixels, frames.columns) : lesion.boxes;
  return changed(boxes, part, measurePart(frames, part, boxes));
}

/**
 * The mask without lesions that nobody has accepted, as it is stored.
 *
 * @param {FrameMask} mask
 * @param {Lesion[]} lesions
 * @returns {FrameMask}
 */
export function reviewedMask(mask, lesions) {
  const pixelsOf = status => lesions.filter(lesion => lesion.part && lesion.status === status).map(({ part }) => part);
  const accepted = pixelsOf('accepted').reduce((sum, { frames }) => onFrames(sum, frames, unite), {});
  const erase = pixelsOf('proposed').map(part => ({ ...part, frames: onFrames(part.frames, accepted, subtract) }));
  return repaint(mask, { erase });
}
