// SPDX-License-Identifier: Apache-2.0
/**
 * How lesions over many visits are put into words; tracks and responses are as the server's timeline gives them.
 *
 * @typedef {import('../state/timeline.js').TimelineLesion} TimelineLesion
 * @typedef {import('../state/timeline.js').TimelinePoint} TimelinePoint
 */
import { days, signedPercent } from './dom.js';
import { dateText } from './followup-words.js';

const RESPONSES = { CR: 'complete response', PR: 'partial response', SD: 'stable disease', PD: 'progressive disease',
  'non-CR/non-PD': 'neither complete response nor progression', NE: 'not evaluable' };
const MOST_SIDES = 3;

/** @param {string} name CR, PR, SD, PD ... @returns {string} "progressive disease (PD)" */
export function responseText(name) {
  return RESPONSES[name] ? `${RESPONSES[name]} (${name})` : name;
}

/** @param {TimelinePoint} point @param {string} unit @returns {string} "2.39 ± 0.21 ml", "not found" */
export function valueText({ value, uncertainty, unseen }, unit) {
  if (value === null) return unseen ? 'outside the images' : 'not found';
  const digits = unit === 'mm' || value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ± ${uncertainty.toFixed(digits)} ${unit}`;
}

/** @param {TimelineLesion} lesion @returns {string} what a chart shows, for those who do not see it */
export function chartText({ points, unit }) {
  return points.map(point => `${dateText(point.date)}: ${valueText(point, unit)}`).join('; ');
}

/** @param {Object} track @returns {string} "+202 % ± 100", '' where it was seen once */
export function changeText({ trend }) {
  if (typeof trend.overall?.percent !== 'number') return '';
  return `${signedPercent(trend.overall.percent)} ± ${Math.round(trend.percent_uncertainty)}`;
}

/** @param {Object} track @returns {string} what has become of it: "new", "gone", "merged with lesion 2", "grown" ... */
export function fateText(track) {
  if (track.merged_into !== null) return `merged with lesion ${track.merged_into}`;
  if (track.ending === 'gone') return 'gone';
  if (track.split_from !== null) return `split from lesion ${track.split_from}`;
  if (track.beginning === 'new') return 'new';
  return track.trend.overall?.change ?? 'seen once';
}

/** @param {Object} track @returns {string} class of the badge with its fate */
export function fateClass(track) {
  const fate = fateText(track);
  const bad = ['new', 'grown'].includes(fate);
  return `ll-badge ${bad ? 'll-bad' : ['gone', 'shrunk'].includes(fate) ? 'll-good' : ''}`;
}

/** @param {Object} track @returns {string[]} spread, doubling time and how often it has grown */
export function growthTexts({ spread, trend }) {
  const { doubling_time_days: doubling, growth_frequency: frequency, intervals } = trend;
  const grown = Math.round((frequency ?? 0) * intervals.length);
  return [
    spread && spreadText(spread),
    typeof doubling === 'number' && (doubling > 0 ? `doubles in ${days(doubling)}` : `halves in ${days(-doubling)}`),
    typeof frequency === 'number' && `grew in ${grown} of ${intervals.length} intervals`,
  ].filter(Boolean);
}

function spreadText({ directions, sides_mm: sides }) {
  if (!directions.length) return 'no side has moved outwards';
  const said = directions.slice(0, MOST_SIDES).map(side => `${side} ${sides[side].toFixed(1)} mm`);
  return `spreads ${said.join(', ')}`;
}
