// SPDX-License-Identifier: Apache-2.0
/**
 * What of a session is not stored yet.
 *
 * @typedef {import('../types.js').Lesion} Lesion
 * @typedef {{user: string, time: string}} Stored Who stored something, and when.
 * @typedef {{boxes: string, mask: string, keys: string[], strokes: number}} Snapshot What a submit stores.
 */

const NOTHING = '[]';

/**
 * What counts as unsaved work:
 * - `boxes`, nothing stored yet: a lesion that a person accepted, changed, deleted or drew. Proposals that nobody has
 *   looked at are none: the model can be run again.
 * - `boxes`, findings stored: the accepted lesions are others than the stored ones, in label or boxes. Taking back what
 *   one did leaves nothing unsaved.
 * - `mask`: a person painted in it; or the accepted lesions that have pixels are others than when it was stored
 *   (nothing stored yet: any accepted or deleted lesion that has pixels).
 */
export class Unsaved {
  #saved = { boxes: NOTHING, mask: NOTHING, strokes: 0 };
  #inStore = new Set();
  #strokes = 0;
  /** @type {{boxes: Stored|null, mask: Stored|null}} */
  stored = { boxes: null, mask: null };

  /**
   * Begins anew from what is stored.
   *
   * @param {Lesion[]} lesions that are stored
   * @param {{boxes: Stored|null, mask: Stored|null}} stored
   */
  begin(lesions, stored) {
    this.stored = stored;
    this.#inStore = new Set(lesions.map(({ key }) => key));
    this.#saved = { ...this.#now(lesions), strokes: this.#strokes };
  }

  /** A person has painted in the mask. */
  painted() {
    this.#strokes += 1;
  }

  /** @param {Lesion[]} lesions @returns {{boxes: boolean, mask: boolean}} */
  dirty(lesions) {
    const now = this.#now(lesions);
    const painted = this.#strokes !== this.#saved.strokes;
    return { boxes: now.boxes !== this.#saved.boxes, mask: painted || now.mask !== this.#saved.mask };
  }

  #now(lesions) {
    const counting = what => lesions.filter(({ key, status }) => status === 'accepted'
      || (this.stored[what] ? this.#inStore.has(key) && status === 'proposed' : status === 'deleted'));
    const pixels = counting('mask').filter(hasPixels);
    return { boxes: written(counting('boxes'), describe), mask: written(pixels, describePixels) };
  }

  /** @param {Lesion[]} lesions @returns {Snapshot} to hand to `markSaved` once it is stored */
  snapshot(lesions) {
    const accepted = lesions.filter(({ status }) => status === 'accepted');
    return {
      boxes: written(accepted, describe), mask: written(accepted.filter(hasPixels), describePixels),
      keys: accepted.map(({ key }) => key), strokes: this.#strokes,
    };
  }

  /**
   * @param {'boxes'|'mask'} what has been stored
   * @param {Snapshot} snapshot taken when it was sent: what changed since then stays unsaved
   * @param {Stored} stored
   */
  markSaved(what, snapshot, stored) {
    this.stored = { ...this.stored, [what]: stored };
    this.#saved[what] = snapshot[what];
    if (what === 'mask') this.#saved.strokes = snapshot.strokes;
    else this.#inStore = new Set(snapshot.keys);
  }
}

const hasPixels = ({ part }) => Boolean(part);

const describe = ({ label, status, boxes }) => [label, status, [...boxes].sort(([a], [b]) => a - b)];

const describePixels = ({ label, status }) => [label, status];

function written(lesions, words) {
  const sorted = [...lesions].sort((a, b) => a.key.localeCompare(b.key, 'en', { numeric: true }));
  return JSON.stringify(sorted.map(lesion => [lesion.key, ...words(lesion)]));
}
