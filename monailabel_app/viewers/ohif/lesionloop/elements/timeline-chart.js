// SPDX-License-Identifier: Apache-2.0
/** A lesion's size over the visits as a small line chart. */
import { svg } from './dom.js';

const WIDTH = 240;
const HEIGHT = 56;
const EDGE = 6; // room for a mark and for the end of an error bar

/**
 * @param {import('../state/timeline.js').TimelinePoint[]} points of every visit
 * @param {string} text says the same in words
 * @returns {SVGElement} size from 0 up over the days, a bar of one standard uncertainty to each side; visits at which
 *     the lesion was not found have a tick at the bottom only
 */
export function growthChart(points, text) {
  const x = placesOf(points);
  const most = Math.max(...points.map(({ value, uncertainty }) => (value ?? 0) + (uncertainty ?? 0)), 1e-6);
  const y = value => HEIGHT - EDGE - (Math.max(value, 0) / most) * (HEIGHT - 2 * EDGE);
  const found = points.map((point, i) => ({ ...point, x: x[i] })).filter(({ value }) => value !== null);
  const line = found.map((point, i) => `${i ? 'L' : 'M'}${point.x} ${y(point.value)}`).join('');
  const bars = found.map(({ x: at, value, uncertainty }) =>
    `M${at} ${y(value - uncertainty)}V${y(value + uncertainty)}`).join('');
  const ticks = x.map(at => `M${at} ${HEIGHT - EDGE}v4`).join('');
  return svg('svg', { class: 'll-growth', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': text },
    svg('path', { class: 'll-growth-axis', d: `M${EDGE} ${HEIGHT - EDGE}H${WIDTH - EDGE}${ticks}` }),
    svg('path', { class: 'll-growth-bars', d: bars }), svg('path', { class: 'll-growth-line', d: line }),
    found.map(({ x: at, value }) => svg('circle', { cx: at, cy: y(value), r: 2 })));
}

/** Where the visits are: by their days, or one after the other where a day is not known. */
function placesOf(points) {
  const known = points.every(({ days }) => typeof days === 'number');
  const places = points.map(({ days }, i) => (known ? days : i));
  const reach = Math.max(...places) - places[0] || 1;
  return places.map(place => EDGE + ((place - places[0]) / reach) * (WIDTH - 2 * EDGE));
}
