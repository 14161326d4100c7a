// SPDX-License-Identifier: Apache-2.0
/**
 * Lesions as the store keeps them: findings JSON (lib/types.py `Finding`) and masks, and back.
 *
 * @typedef {import('../types.js').Frames} Frames
 * @typedef {import('../types.js').FrameMask} FrameMask
 * @typedef {import('../types.js').Lesion} Lesion
 */
import { boxLps, round } from './geometry.js';
import { fromFinding, pairs } from './merge.js';
import { measurePart, piecesOf } from './outlines.js';

/** Of a mask without findings only this many pieces, the largest, become lesions; more are noise. */
export const MAX_PIECES = 100;
const DRAWN_SCORE = 1;

/**
 * A lesion as a finding.
 *
 * @param {Lesion} lesion
 * @param {number} id unique in the document
 * @param {Frames} frames
 * @param {string|null} author who has had a say in it; null leaves its source as it was
 * @returns {Object}
 */
export function findingOf(lesion, id, frames, author) {
  const known = lesion.finding ?? {};
  const place = lesion.edited || !known.box_lps_mm ? placeOf(frames, lesion.boxes) : known;
  const scores = Object.entries(known.frame_scores ?? {}).filter(([t]) => lesion.boxes.has(Number(t)));
  return {
    id, label: lesion.label, score: lesion.score ?? DRAWN_SCORE,
    boxes: Object.fromEntries([...lesion.boxes].sort(([a], [b]) => a - b).map(([t, box]) => [
      String(t), box.map(value => round(value, 2))])),
    box_lps_mm: place.box_lps_mm, center_lps_mm: place.center_lps_mm, frame_scores: Object.fromEntries(scores),
    measurements: lesion.measurements,
    source: author === null ? lesion.source : { ...lesion.source, author },
    score_std: known.score_std ?? null, track_id: known.track_id ?? null,
  };
}

function placeOf(frames, boxes) {
  const box = boxLps(frames, boxes).map(value => round(value, 3));
  return { box_lps_mm: box, center_lps_mm: [0, 1, 2].map(i => round((box[i] + box[i + 3]) / 2, 3)) };
}

/**
 * Lesions from what is stored of an image. Each connected piece of the mask belongs to the stored lesion whose boxes it
 * lies in; where no findings are stored, each piece is a lesion.
 *
 * @param {Object} stored
 * @param {Object[]|null} stored.findings null when none are stored
 * @param {FrameMask|null} stored.mask
 * @param {boolean} stored.reviewed whether a person stored them
 * @param {Frames} frames
 * @param {() => string} newKey
 * @returns {Lesion[]}
 */
export function lesionsOf({ findings, mask, reviewed }, frames, newKey) {
  const pieces = mask ? piecesOf(mask) : [];
  if (!findings) return pieces.slice(0, MAX_PIECES).map(piece => lesionOfPiece(piece, frames, newKey()));
  const lesions = findings.filter(finding => Object.keys(finding.boxes).length).map(finding => ({
    ...fromFinding(finding), key: newKey(), edited: false, outline: null, part: null, growth: null,
    status: reviewed || finding.source?.author ? 'accepted' : 'proposed',
    origin: finding.source?.model ? 'model' : 'person',
  }));
  const linked = new Map(pairs(lesions, pieces, (lesion, { part }) => lesion.label === part.label));
  return lesions.map(lesion => ({ ...lesion, part: linked.get(lesion)?.part ?? null }));
}

function lesionOfPiece({ part, boxes }, frames, key) {
  return {
    key, label: part.label, score: null, status: 'accepted', edited: false, origin: 'person', boxes, part,
    measurements: measurePart(frames, part, boxes), growth: null, source: {}, finding: null, outline: null,
  };
}

/**
 * The findings of one volume of a dynamic image, and those of the others, which are kept to be stored again.
 *
 * @param {{findings: Object[], time_point?: number, time_points?: number[]}} document
 * @param {number|null} timePoint null for an image that is no series of volumes
 * @returns {{own: Object[], others: {finding: Object, time: number}[]}}
 */
export function splitByTime({ findings, time_point: one, time_points: each }, timePoint) {
  const times = each ?? findings.map(() => one ?? timePoint);
  const all = findings.map((finding, i) => ({ finding, time: times[i] }));
  return {
    own: all.filter(({ time }) => time === timePoint || timePoint === null).map(({ finding }) => finding),
    others: timePoint === null ? [] : all.filter(({ time }) => time !== timePoint),
  };
}

/**
 * The inverse of `splitByTime`: what PUT /datastore/label takes.
 *
 * @param {Object[]} own findings of this volume
 * @param {{finding: Object, time: number}[]} others
 * @param {number|null} timePoint
 * @returns {Object}
 */
export function documentOf(own, others, timePoint) {
  if (timePoint === null) return { findings: own };
  const kept = others.map(({ finding }, i) => ({ ...finding, id: own.length + i + 1 }));
  return { findings: [...own, ...kept], time_points: [...own.map(() => timePoint), ...others.map(({ time }) => time)] };
}
