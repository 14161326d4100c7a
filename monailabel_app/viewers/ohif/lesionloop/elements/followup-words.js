// SPDX-License-Identifier: Apache-2.0
/**
 * How a comparison of two visits is put into words; pairs and visits are as the server's /followup/ gives them.
 *
 * @typedef {import('../types.js').Growth} Growth
 */
import { days, plural, signedPercent } from './dom.js';

const CHANGES = ['grown', 'shrunk', 'stable', 'new', 'gone'];
const KINDS = { grown: 'll-bad', new: 'll-bad', shrunk: 'll-good', gone: 'll-good', stable: '' };

/** @param {string} date YYYY-MM-DD @returns {string} "15 Jan 2024"; "no date" where a study does not say */
export function dateText(date) {
  const moment = new Date(`${date}T00:00:00Z`);
  if (!date || Number.isNaN(moment.getTime())) return date || 'no date';
  return moment.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });
}

/**
 * @param {{days: number|null}} visit
 * @param {{days: number|null}} open the visit that is open
 * @returns {string} "120 days earlier", "on the same day", '' where it is not known
 */
export function apartText(visit, open) {
  if (typeof visit?.days !== 'number' || typeof open?.days !== 'number') return '';
  const apart = visit.days - open.days;
  if (Math.abs(apart) < 0.5) return 'on the same day';
  return `${days(Math.abs(apart))} ${apart < 0 ? 'earlier' : 'later'}`;
}

/** @param {{baseline: number|null, followup: number|null}} pair @returns {string} "2 → 1", "new 3", "2 gone" */
export function numberText({ baseline, followup }) {
  if (baseline === null) return `new ${followup}`;
  return followup === null ? `${baseline} gone` : `${baseline} → ${followup}`;
}

/** @param {Growth} change @returns {string} "1.08 → 1.73 ml", "– → 0.42 ml" */
export function sizesText({ before, after, unit }) {
  return `${sizeText(before, unit)} → ${sizeText(after, unit)} ${unit}`;
}

function sizeText(value, unit) {
  if (typeof value !== 'number') return '–';
  return value.toFixed(unit === 'mm' || value >= 10 ? 1 : 2);
}

/** @param {Growth} change @returns {string} "+60 %"; '' for what is new or gone */
export function percentText({ percent }) {
  return typeof percent === 'number' ? signedPercent(percent) : '';
}

/** @param {Growth} change @returns {string} class of its badge */
export function changeClass({ change }) {
  return `ll-badge ${KINDS[change] ?? ''}`;
}

/**
 * @param {Object} pair
 * @param {string} label of its lesion
 * @returns {string[]} what else is known: label, basis, tolerance, doubling time, displacement
 */
export function detailTexts({ change, displacement }, label) {
  const { tolerance, unit, doubling_time_days: doubling } = change;
  return [
    label,
    change.basis === 'diameter' && 'longest diameter',
    typeof tolerance === 'number' && `change known to ±${sizeText(tolerance, unit)} ${unit}`,
    typeof doubling === 'number' && `doubles in ${days(doubling)}`,
    displacement && `centre moved ${displacement}`,
  ].filter(Boolean);
}

/** @param {Object[]} pairs @returns {string} "2 grown, 1 new"; "No lesions at either visit." */
export function summaryText(pairs) {
  const counts = CHANGES.map(name => [pairs.filter(({ change }) => change.change === name).length, name]);
  const said = counts.filter(([count]) => count).map(([count, name]) => `${count} ${name}`);
  return said.length ? `${plural(pairs.length, 'lesion')}: ${said.join(', ')}` : 'No lesions at either visit.';
}

/** @param {Object} answer of POST /followup/ @returns {string} where the lesions of both visits come from */
export function sourcesText({ baseline, followup }) {
  const words = ({ source }) => (source === 'model' ? 'found by the model' : source);
  if (baseline.source === followup.source) return `Lesions ${words(baseline)} at both visits.`;
  return `Lesions ${words(baseline)}, then ${words(followup)}.`;
}
