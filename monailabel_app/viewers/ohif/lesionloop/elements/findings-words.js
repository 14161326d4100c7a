// SPDX-License-Identifier: Apache-2.0
/**
 * How findings and frames are put into words.
 *
 * @typedef {import('../state/session.js').Session} Session
 * @typedef {import('../types.js').Growth} Growth
 * @typedef {import('../types.js').Lesion} Lesion
 * @typedef {import('../state/workspace.js').Workspace} Workspace
 */
import { days, percent, signedPercent } from './dom.js';

/**
 * @param {Session|null} session
 * @returns {'slice'|'frame'} what one frame of its image is called
 */
export function frameWord(session) {
  const kind = session?.frames?.kind ?? 'cine';
  return kind === 'cine' ? 'frame' : 'slice';
}

/** @param {Lesion} lesion @returns {string} "83 %", "drawn by hand" */
export function scoreText({ score, origin }) {
  if (origin === 'person') return 'drawn by hand';
  return score === null ? '' : percent(score);
}

/**
 * @param {Workspace} workspace
 * @param {Lesion} lesion
 * @returns {string[]} size, frames, growth once visits were compared, and whether a person has changed it
 */
export function detailsOf(workspace, lesion) {
  const { session } = workspace;
  const compared = session.lesions.some(({ growth }) => growth);
  return [session.sizeText(lesion), framesText(workspace, lesion), compared && growthText(lesion.growth),
    lesion.edited && 'edited'].filter(Boolean);
}

/**
 * @param {Growth|null} growth
 * @returns {string} "+34 % in 120 days", "new in 120 days", "growth unknown"
 */
function growthText(growth) {
  if (!growth) return 'growth unknown';
  const since = ` in ${days(growth.days)}`;
  return (growth.percent ?? null) === null ? growth.change + since : signedPercent(growth.percent) + since;
}

/**
 * Where a lesion is, in the numbers that the viewport shows.
 *
 * @param {Workspace} workspace
 * @param {Lesion} lesion
 * @returns {string} "slices 3-11", "frame 4", "slices 3-5, 9"
 */
export function framesText(workspace, lesion) {
  const indices = lesion.boxes.size ? [...lesion.boxes.keys()] : Object.keys(lesion.part?.frames ?? {}).map(Number);
  const shown = indices.map(index => shownFrame(workspace, index)).sort((a, b) => a - b);
  if (!shown.length) return '';
  const ranges = [];
  for (const number of shown) {
    const last = ranges.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const text = ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(', ');
  return `${frameWord(workspace.session)}${shown.length > 1 ? 's' : ''} ${text}`;
}

/**
 * @param {Workspace} workspace
 * @param {number} index of a frame in the server's order
 * @returns {number} the number that the viewport shows for it, from 1
 */
export function shownFrame(workspace, index) {
  return workspace.shownFrame?.(index) ?? index + 1;
}
