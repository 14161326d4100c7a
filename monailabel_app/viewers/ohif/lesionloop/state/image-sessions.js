// SPDX-License-Identifier: Apache-2.0
/**
 * The sessions of the images that were opened, and what the viewer shows of them.
 *
 * @typedef {import('./session.js').Session} SessionType
 * @typedef {import('./session.js').Paint} Paint
 * @typedef {import('../types.js').BoxSet} BoxSet
 */
import { Session } from './session.js';

const READ_AFTER_MS = 400;
const DEFAULT_LABEL = 'lesion';

export class ImageSessions {
  #server;
  #viewer;
  #changed;
  #sessions = new Map();
  #loading = new Map();
  #timers = new Map();
  #unshown = new Set();
  #linked = new Map();
  #later = null;

  /**
   * @param {import('./server.js').Server} server
   * @param {import('../ohif/viewer.js').Viewer} viewer
   * @param {(session: SessionType) => void} changed called after a person has changed one in the viewer
   */
  constructor(server, viewer, changed) {
    this.#server = server;
    this.#viewer = viewer;
    this.#changed = changed;
  }

  /** @returns {SessionType|null} */
  get(imageId) {
    return this.#sessions.get(imageId) ?? null;
  }

  /** Whether something is not stored in any of them. */
  get dirty() {
    return [...this.#sessions.values()].some(({ dirty }) => dirty.boxes || dirty.mask);
  }

  /**
   * Opens an image with what is stored of it; a load under way is waited for.
   *
   * @param {string} imageId
   * @param {number|null} timePoint volume of a dynamic image
   * @param {AbortSignal} [signal]
   * @returns {Promise<SessionType>}
   */
  open(imageId, timePoint = null, signal = undefined) {
    if (!this.#loading.has(imageId)) {
      const load = this.#load(imageId, timePoint, signal).finally(() => this.#loading.delete(imageId));
      this.#loading.set(imageId, load);
    }
    return this.#loading.get(imageId);
  }

  /** @returns {boolean} whether an image is being opened */
  isOpening(imageId) {
    return this.#loading.has(imageId);
  }

  async #load(imageId, timePoint, signal) {
    const frames = await this.#server.frames(imageId, { timePoint, signal });
    const time = { timePoint: frames.time_point, signal };
    const [boxes, mask] = await Promise.all([
      this.#stored(imageId, 'boxes', () => this.#server.storedBoxes(imageId, { signal }), signal),
      this.#stored(imageId, 'final', () => this.#server.storedMask(imageId, time), signal),
    ]);
    const session = new Session(imageId, frames);
    session.loadStored(boxes.content, mask.content, { boxes: boxes.info, mask: mask.info });
    this.#sessions.set(imageId, session);
    this.#unshown.add(imageId);
    return session;
  }

  /** A label and who stored it; asked for only where there is one, as browsers complain of every 404. */
  async #stored(imageId, tag, load, signal) {
    const info = await this.#server.labelInfo(imageId, tag, { signal });
    const content = info && await load();
    return { content, info: content && info };
  }

  /** Shows boxes and, where the viewer does not have it yet, the mask. */
  async show(session) {
    this.drawBoxes(session);
    const { imageId, mask } = session;
    const missing = this.#unshown.has(imageId) || !this.#viewer.readMask(imageId, session.frameRefs(), session.labels);
    this.#unshown.delete(imageId);
    if (mask && missing) await this.#viewer.showMask(imageId, mask);
  }

  /** Shows a mask that has changed: at once where the image is in the viewer, else when it is there again. */
  async showMask(session) {
    if (this.#viewer.image?.id === session.imageId) await this.#viewer.showMask(session.imageId, session.mask);
    else this.#unshown.add(session.imageId);
  }

  /** @param {SessionType} session @param {Paint|null} [paint] to do in the mask too */
  redraw(session, paint = null) {
    const { part, from, to } = paint ?? {};
    if (part) this.#viewer.paintPart(session.imageId, session.frameRefs(), part, from, to);
    this.drawBoxes(session);
  }

  /** Draws the boxes of a session, or those of the comparison that its image is part of. */
  drawBoxes(session) {
    this.#viewer.showBoxes(session.imageId, this.#setsOf(session));
    this.#viewer.highlight(session.imageId, session.selected);
  }

  /** In a comparison the later visit can be worked on: its linked boxes are where the session has them now. */
  #setsOf(session) {
    const linked = this.#linked.get(session.imageId);
    const own = session.boxSets();
    if (!linked) return own;
    if (session.imageId !== this.#later) return linked;
    const words = new Map(linked.map(({ key, text, style }) => [key, { text, style }]));
    const unlinked = linked.filter(({ key }) => !session.lesion(key));
    return [...unlinked, ...own.map(set => ({ ...set, ...words.get(set.key) }))];
  }

  /**
   * @param {Map<string, BoxSet[]>} sets by image: drawn in place of the sessions' own until they are taken back
   * @param {string|null} [later] the image of the later visit
   */
  link(sets, later = null) {
    const before = [...this.#linked.keys()];
    this.#linked = sets;
    this.#later = later;
    for (const imageId of new Set([...sets.keys(), ...before])) {
      const session = this.get(imageId);
      if (session) this.drawBoxes(session);
      else if (sets.has(imageId)) this.#viewer.showBoxes(imageId, sets.get(imageId));
      else this.#viewer.clear(imageId);
    }
  }

  /** @returns {Map<string, BoxSet[]>} what is drawn on the images of a comparison */
  get linked() {
    return this.#linked;
  }

  /**
   * A person drew, changed or removed a box.
   *
   * @param {Object} detail of the viewer's 'box' event
   * @returns {boolean} whether it could be taken
   */
  boxChanged({ imageId, key, kind, frame, box, assign }) {
    const session = this.get(imageId);
    const index = session?.frameIndexOf(frame) ?? null;
    if (index === null || this.#isReference(imageId)) return false;
    let paint = null;
    if (kind === 'drawn') assign(this.#draw(session, index, box));
    else if (kind === 'changed') session.setBox(key, index, box);
    else paint = session.removeBox(key, index);
    this.redraw(session, paint);
    this.#changed(session);
    return true;
  }

  /** Whether an image is there to compare with only; its boxes go back to where they were. */
  #isReference(imageId) {
    const linked = imageId !== this.#later && this.#linked.get(imageId);
    if (linked) this.#viewer.showBoxes(imageId, linked);
    return Boolean(linked);
  }

  #draw(session, index, box) {
    const label = session.lesion(session.selected)?.label ?? Object.keys(session.labels)[0] ?? DEFAULT_LABEL;
    session.selected = session.addDrawn(index, box, label);
    return session.selected;
  }

  /** A person painted in a mask; it is read when they have stopped for a moment. */
  maskChanged(imageId) {
    const session = this.get(imageId);
    if (!session) return;
    session.painted();
    clearTimeout(this.#timers.get(imageId));
    this.#timers.set(imageId, setTimeout(() => this.readMask(session), READ_AFTER_MS));
    this.#changed(session);
  }

  /** Reads what a person has painted, where that has not been done yet. */
  readMask(session) {
    if (!this.#timers.has(session.imageId)) return;
    clearTimeout(this.#timers.get(session.imageId));
    this.#timers.delete(session.imageId);
    const mask = this.#viewer.readMask(session.imageId, session.frameRefs(), session.labels);
    if (!mask) return;
    session.readBack(mask);
    this.drawBoxes(session);
    this.#changed(session);
  }

  /** Forgets what is planned. */
  stop() {
    this.#timers.forEach(timer => clearTimeout(timer));
    this.#timers.clear();
  }
}
