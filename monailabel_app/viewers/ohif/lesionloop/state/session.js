// SPDX-License-Identifier: Apache-2.0
/**
 * The findings of one image: what models proposed, what a person makes of it, and what of that is not stored yet.
 *
 * @typedef {import('../types.js').Box} Box
 * @typedef {import('../types.js').BoxSet} BoxSet
 * @typedef {import('../types.js').Frames} Frames
 * @typedef {import('../types.js').FrameMask} FrameMask
 * @typedef {import('../types.js').Growth} Growth
 * @typedef {import('../types.js').Lesion} Lesion
 * @typedef {import('../types.js').MaskPart} MaskPart
 * @typedef {import('./unsaved.js').Snapshot} Snapshot
 * @typedef {import('./unsaved.js').Stored} Stored
 * @typedef {{part: MaskPart, from: number[], to: number}} Paint What to do to the mask in the viewer: pixels of the
 *     part with a value in `from` become `to`.
 */
import { FramedImage } from './framed-image.js';
import { measureBoxes, sizeText } from './geometry.js';
import { continuedBy, drawnLesion, listOrder, mergeAnswer } from './merge.js';
import { emptyMask, followMask, reviewedMask } from './outlines.js';
import { repaint } from './runs.js';
import { documentOf, findingOf, lesionsOf, splitByTime } from './stored.js';
import { Unsaved } from './unsaved.js';

/**
 * Pure state: no network, no viewer, no DOM. Lesions are replaced when they change, never changed in place. Changing a
 * proposal's box or label accepts it. What counts as unsaved work is told in unsaved.js.
 */
export class Session extends FramedImage {
  #count = 0;
  #statusBefore = new Map();
  #touched = new Set();
  #unsaved = new Unsaved();
  #otherTimes = [];

  /**
   * @param {string} imageId
   * @param {Frames} frames
   */
  constructor(imageId, frames) {
    super(imageId, frames);
    /** @type {Lesion[]} */
    this.lesions = [];
    /** @type {string|null} key */
    this.selected = null;
    /** @type {number[]|null} per frame the probability that it holds a lesion, and how much the model looked at it */
    this.presence = null;
    this.attention = null;
    this.warnings = [];
    /** @type {Object<string, number>} label -> value in the mask */
    this.labels = {};
    /** @type {FrameMask|null} the mask as it was last known */
    this.mask = null;
    /** Whether a model has looked at the image since it was opened. */
    this.searched = false;
  }

  /** @returns {boolean} whether there is a mask, be it empty */
  get hasMask() {
    return this.mask !== null;
  }

  /** @returns {{boxes: Stored|null, mask: Stored|null}} who stored what, and when */
  get stored() {
    return this.#unsaved.stored;
  }

  /** @returns {{boxes: boolean, mask: boolean}} what is not stored yet */
  get dirty() {
    return this.#unsaved.dirty(this.lesions);
  }

  /** @returns {Snapshot} what a submit would store now; `markSaved` takes it once it is stored */
  snapshot() {
    return this.#unsaved.snapshot(this.lesions);
  }

  /**
   * @param {'boxes'|'mask'} what has been stored
   * @param {Snapshot} snapshot taken when it was sent: what changed since then stays unsaved
   * @param {Stored} stored
   */
  markSaved(what, snapshot, stored) {
    this.#unsaved.markSaved(what, snapshot, stored);
  }

  /**
   * Begins with what the store has of the image.
   *
   * @param {{findings: Object[], time_point?: number, time_points?: number[]}|null} boxes null when none are stored
   * @param {FrameMask|null} mask
   * @param {{boxes: Stored|null, mask: Stored|null}} stored
   */
  loadStored(boxes, mask = null, stored = { boxes: null, mask: null }) {
    this.addLabels(mask?.labels ?? {});
    const reviewed = Boolean(stored.boxes?.user);
    const { own, others } = boxes ? splitByTime(boxes, this.frames.time_point) : { own: null, others: [] };
    this.#otherTimes = others;
    this.lesions = lesionsOf({ findings: own, mask, reviewed }, this.frames, () => this.#newKey());
    this.mask = mask && { ...mask, labels: { ...this.labels } };
    this.#unsaved.begin(this.lesions, stored);
  }

  /**
   * Gives labels that are new a value, the wanted one where it is free.
   *
   * @param {Object<string, number>} wanted label -> value
   */
  addLabels(wanted) {
    for (const [label, value] of Object.entries(wanted)) {
      if (label in this.labels) continue;
      const taken = Object.values(this.labels);
      this.labels = { ...this.labels, [label]: taken.includes(value) ? Math.max(...taken) + 1 : value };
    }
    if (this.mask) this.mask = { ...this.mask, labels: { ...this.labels } };
  }

  /**
   * Takes in a model's answer.
   *
   * @param {Object} answer of /infer/
   * @returns {boolean} whether the mask has changed
   */
  applyAnswer(answer) {
    this.addLabels(answer.label_names ?? {});
    const { lesions, erase, add } = mergeAnswer(this.lesions, answer, () => this.#newKey());
    this.lesions = lesions;
    this.searched = true;
    const count = this.frames.sop_instance_uids.length;
    if (answer.presence?.length === count) this.presence = answer.presence;
    if (answer.attention?.length === count) this.attention = answer.attention;
    this.warnings = [...new Set([...this.warnings, ...(answer.warnings ?? [])])];
    if (!this.lesions.some(({ key }) => key === this.selected)) this.selected = null;
    if (!answer.mask) return false;
    this.mask = repaint(this.mask ?? emptyMask(this.frames, this.labels), { erase, add });
    return true;
  }

  /** @param {string} key @returns {Lesion|null} */
  lesion(key) {
    return this.lesions.find(lesion => lesion.key === key) ?? null;
  }

  /** @returns {Paint|null} what to do to the mask in the viewer; so do the next ones */
  accept(key) {
    return this.#setStatus(key, 'accepted');
  }

  reject(key) {
    return this.#setStatus(key, 'deleted');
  }

  /** Takes back the last decision: a deleted lesion is what it was before, an accepted one a proposal. */
  restore(key) {
    const deleted = this.lesion(key)?.status === 'deleted';
    return this.#setStatus(key, deleted ? this.#statusBefore.get(key) ?? 'proposed' : 'proposed');
  }

  /** Accepts all proposals. */
  acceptAll() {
    this.unreviewed().forEach(({ key }) => this.accept(key));
  }

  #setStatus(key, status) {
    const lesion = this.lesion(key);
    if (!lesion || lesion.status === status) return null;
    if (status === 'deleted') this.#statusBefore.set(key, lesion.status);
    this.#change(key, { status });
    const value = this.labels[lesion.label];
    if (!lesion.part || (status !== 'deleted' && lesion.status !== 'deleted')) return null;
    const gone = status === 'deleted';
    if (this.mask) this.mask = repaint(this.mask, gone ? { erase: [lesion.part] } : { add: [lesion.part] });
    return gone ? { part: lesion.part, from: [value], to: 0 } : { part: lesion.part, from: [0], to: value };
  }

  #change(key, changes) {
    this.#touched.add(key);
    this.lesions = this.lesions.map(lesion => (lesion.key === key ? { ...lesion, ...changes } : lesion));
  }

  /** @returns {Paint|null} */
  relabel(key, label) {
    const lesion = this.lesion(key);
    if (!lesion || lesion.label === label) return null;
    const from = this.labels[lesion.label];
    this.addLabels({ [label]: 1 });
    const part = lesion.part && { ...lesion.part, label };
    this.#change(key, { label, part, edited: true, status: 'accepted' });
    if (!part) return null;
    if (this.mask) this.mask = repaint(this.mask, { erase: [lesion.part], add: [part] });
    return { part, from: [from], to: this.labels[label] };
  }

  /** Puts a lesion's box on a frame, and accepts the lesion. */
  setBox(key, frameIndex, box) {
    const lesion = this.lesion(key);
    if (lesion) this.#setBoxes(lesion, new Map([...lesion.boxes, [frameIndex, [...box]]]));
  }

  /** Takes a lesion's box off a frame; without its last box the lesion is deleted. @returns {Paint|null} */
  removeBox(key, frameIndex) {
    const lesion = this.lesion(key);
    if (!lesion?.boxes.has(frameIndex)) return null;
    const left = new Map([...lesion.boxes].filter(([t]) => t !== frameIndex));
    if (!left.size) return this.reject(key);
    this.#setBoxes(lesion, left);
    return null;
  }

  /** The boxes are measured anew; an outline keeps its volume, not the axes that no longer go with the boxes. */
  #setBoxes({ key, measurements }, boxes) {
    const { long_axis: _, short_axis: __, ...rest } = measurements;
    const ordered = new Map([...boxes].sort(([a], [b]) => a - b));
    this.#change(key, { boxes: ordered, edited: true, status: 'accepted',
      measurements: { ...rest, ...measureBoxes(this.frames, ordered) } });
  }

  /**
   * Adds a box that a person drew; beside a lesion's box on a neighbouring frame it continues that lesion.
   *
   * @returns {string} key of the lesion
   */
  addDrawn(frameIndex, box, label) {
    const continued = continuedBy(this.lesions, frameIndex, box);
    if (continued) {
      this.setBox(continued.key, frameIndex, box);
      return continued.key;
    }
    const key = this.#newKey();
    this.addLabels({ [label]: 1 });
    const boxes = new Map([[frameIndex, [...box]]]);
    const drawn = drawnLesion({ key, label, boxes, measurements: measureBoxes(this.frames, boxes) });
    this.lesions = [...this.lesions, drawn];
    this.#touched.add(key);
    return key;
  }

  /** A person has painted in the mask; `readBack` follows. */
  painted() {
    this.#unsaved.painted();
  }

  /** @param {FrameMask} mask as it is in the viewer now */
  readBack(mask) {
    this.mask = mask;
    const lesions = followMask(this.lesions, mask, this.frames);
    lesions.forEach((lesion, i) => lesion !== this.lesions[i] && this.#touched.add(lesion.key));
    this.lesions = lesions;
  }

  /** @returns {FrameMask|null} to store: without lesions that nobody has accepted */
  maskToStore() {
    return this.mask && reviewedMask(this.mask, this.lesions);
  }

  /**
   * @param {string} author who has reviewed what was changed in this session
   * @returns {Object} the accepted lesions as PUT /datastore/label takes them
   */
  toFindings(author) {
    const accepted = this.order().map(key => this.lesion(key)).filter(({ status }) => status === 'accepted');
    const own = accepted.map((lesion, i) => findingOf(lesion, i + 1, this.frames,
      this.#touched.has(lesion.key) ? author : null));
    return documentOf(own, this.#otherTimes, this.frames.time_point);
  }

  /** @returns {Lesion[]} proposals that nobody has accepted or deleted */
  unreviewed() {
    return this.lesions.filter(({ status }) => status === 'proposed');
  }

  /** @returns {string[]} keys in the order of the list */
  order() {
    return listOrder(this.lesions);
  }

  /** @returns {BoxSet[]} what the viewer draws: all but the deleted */
  boxSets() {
    const textOf = ({ label, score }) => (score === null ? label : `${label} ${Math.round(score * 100)} %`);
    return this.lesions.filter(({ status }) => status !== 'deleted').map(lesion => ({
      key: lesion.key, text: textOf(lesion), style: lesion.status,
      boxes: [...lesion.boxes].map(([t, box]) => ({ frame: this.frameRef(t), box: [...box] })),
    }));
  }

  /** @param {Map<string, Growth>} growth by key; the others have none */
  setGrowth(growth) {
    this.lesions = this.lesions.map(lesion => ({ ...lesion, growth: growth.get(lesion.key) ?? null }));
  }

  /** @param {Lesion} lesion @returns {string} "53 x 34 mm, 28.9 ml" */
  sizeText(lesion) {
    return sizeText(lesion.measurements);
  }

  #newKey() {
    this.#count += 1;
    return `lesion-${this.#count}`;
  }
}
