// SPDX-License-Identifier: Apache-2.0
/**
 * Two visits side by side: which lesions belong together, what the viewer draws on both, how they have grown.
 *
 * @typedef {import('../types.js').BoxSet} BoxSet
 * @typedef {import('../types.js').FrameRef} FrameRef
 * @typedef {import('../types.js').Growth} Growth
 * @typedef {import('../types.js').Lesion} Lesion
 */
import { bestFrame, fromFinding, pairs } from './merge.js';

const SIDES = ['baseline', 'followup'];

/** An answer of POST /followup/ beside the lesions of the later visit, as its session has them. */
export class Comparison {
  #linked;

  /**
   * @param {Object} answer
   * @param {Lesion[]} lesions of the later visit
   */
  constructor(answer, lesions) {
    this.answer = answer;
    const later = answer.pairs.filter(pair => pair.followup !== null)
      .map(pair => ({ pair, ...this.#finding(pair, 'followup') }));
    const shown = lesions.filter(({ status }) => status !== 'deleted');
    this.#linked = new Map(pairs(later, shown).map(([{ pair }, lesion]) => [pair, lesion.key]));
  }

  #finding(pair, side) {
    return fromFinding(this.answer[side].findings.find(({ id }) => id === pair[side]));
  }

  /** @returns {Map<string, Growth>} by key of the later visit's lesion */
  get growth() {
    return new Map([...this.#linked].map(([{ change }, key]) => [key, change]));
  }

  /** @param {Object} pair of the answer @returns {string} key of its boxes on both sides, of the lesion if there is one */
  keyOf(pair) {
    return this.#linked.get(pair) ?? `pair-${this.answer.pairs.indexOf(pair) + 1}`;
  }

  /** @param {string|null} key @returns {Object|null} */
  pairOf(key) {
    return this.answer.pairs.find(pair => this.keyOf(pair) === key) ?? null;
  }

  /** @returns {Map<string, BoxSet[]>} what is drawn, by image; the numbers are the answer's */
  boxSets() {
    return new Map(SIDES.map(side => [this.answer[side].image, this.#pairsOn(side).map(pair => ({
      key: this.keyOf(pair), style: 'linked',
      text: side === 'baseline' ? String(pair.baseline) : `${pair.followup}: ${changeText(pair.change)}`,
      boxes: [...this.#finding(pair, side).boxes].map(([t, box]) => ({ frame: this.#frame(side, t), box })),
    }))]));
  }

  /**
   * @param {Object} pair
   * @returns {{imageId: string, frame: FrameRef}[]} where the lesion is best seen, per visit; at a visit where it was not
   *     found, where it would be
   */
  placesOf(pair) {
    const indexOn = side => (pair[side] === null ? pair.elsewhere_frame ?? null : bestFrame(this.#finding(pair, side)));
    return SIDES.map(side => [side, indexOn(side)]).filter(([, index]) => index !== null)
      .map(([side, index]) => ({ imageId: this.answer[side].image, frame: this.#frame(side, index) }));
  }

  #pairsOn(side) {
    return this.answer.pairs.filter(pair => pair[side] !== null);
  }

  #frame(side, t) {
    const { sop_instance_uids: uids, frame_numbers: numbers } = this.answer[side];
    return { sopUid: uids[t], frameNumber: numbers[t] };
  }
}

function changeText({ change, percent }) {
  if (typeof percent !== 'number') return change;
  const rounded = Math.round(percent);
  return `${rounded > 0 ? '+' : ''}${rounded} %`;
}

/**
 * @param {Object} visit one of the server's
 * @param {Object} own the visit that is open
 * @returns {[Object, Object]} the earlier one first
 */
export function inOrder(visit, own) {
  const isEarlier = typeof own.days === 'number' ? visit.days < own.days : visit.date < own.date;
  return isEarlier ? [visit, own] : [own, visit];
}
