// SPDX-License-Identifier: Apache-2.0
/**
 * The viewer as the panel sees it (ohif/viewer.js), on one plain picture: it knows which image is open, which frame is
 * shown, and what is drawn. The element that shows it follows its event 'view'. Masks are not drawn, and nothing can be
 * drawn by hand.
 *
 * @typedef {import('/ohif/lesionloop/types.js').BoxSet} BoxSet
 * @typedef {import('/ohif/lesionloop/types.js').Frames} Frames
 * @typedef {import('/ohif/lesionloop/types.js').FrameRef} FrameRef
 * @typedef {import('/ohif/lesionloop/types.js').ImageRef} ImageRef
 */

const keyOf = ({ sopUid, frameNumber }) => `${sopUid}/${frameNumber}`;

export class FrameViewer extends EventTarget {
  #server;
  #boxes = new Map();
  #highlighted = new Map();
  #wanted = null;
  /** @type {ImageRef|null} */
  image = null;
  /** @type {Frames|null} */
  frames = null;
  /** Index of the frame that is shown. */
  index = 0;

  /** @param {import('/ohif/lesionloop/state/server.js').Server} server */
  constructor(server) {
    super();
    this.#server = server;
  }

  /**
   * Opens an image of the store, at its middle.
   *
   * @param {ImageRef} image
   * @throws {ServerError} where its frames cannot be read
   */
  async open(image) {
    this.#wanted = image.id;
    const frames = await this.#server.frames(image.id);
    if (this.#wanted !== image.id) return;
    this.frames = frames;
    this.index = Math.floor(frames.sop_instance_uids.length / 2);
    this.image = { ...image, frameCount: frames.sop_instance_uids.length };
    this.dispatchEvent(new CustomEvent('image'));
    this.#shown();
  }

  /** @param {number} index of a frame; beyond the ends the first or last */
  show(index) {
    const last = (this.frames?.sop_instance_uids.length ?? 1) - 1;
    const next = Math.min(Math.max(index, 0), last);
    if (!this.frames || next === this.index) return;
    this.index = next;
    this.#shown();
  }

  #shown() {
    const detail = { imageId: this.image.id, frame: this.frameOrder()[this.index], index: this.index };
    this.dispatchEvent(new CustomEvent('frame', { detail }));
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent('view'));
  }

  /** @returns {{text: string, style: string, box: number[], isThick: boolean}[]} what is drawn on the shown frame */
  drawn() {
    const shown = this.frames && keyOf(this.frameOrder()[this.index]);
    const thick = this.#highlighted.get(this.image?.id);
    return (this.#boxes.get(this.image?.id) ?? []).flatMap(({ key, text, style, boxes }) => boxes
      .filter(({ frame }) => keyOf(frame) === shown).map(({ box }) => ({ text, style, box, isThick: key === thick })));
  }

  // --- what the workspace asks for

  currentFrame() {
    return this.frames && { frame: this.frameOrder()[this.index], index: this.index };
  }

  /** @returns {FrameRef[]} */
  frameOrder() {
    const { sop_instance_uids: uids = [], frame_numbers: numbers = [] } = this.frames ?? {};
    return uids.map((sopUid, index) => ({ sopUid, frameNumber: numbers[index] }));
  }

  async jumpTo(imageId, frame) {
    if (imageId === this.image?.id) this.show(this.frameOrder().findIndex(one => keyOf(one) === keyOf(frame)));
  }

  /** @param {string} imageId @param {BoxSet[]} sets */
  showBoxes(imageId, sets) {
    this.#boxes.set(imageId, sets);
    this.#changed();
  }

  clear(imageId) {
    this.showBoxes(imageId, []);
  }

  highlight(imageId, key) {
    this.#highlighted.set(imageId, key);
    this.#changed();
  }

  async showMask() {}

  readMask() {
    return null;
  }

  paintPart() {}

  startDrawing() {}
}
