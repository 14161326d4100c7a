// SPDX-License-Identifier: Apache-2.0
/**
 * An image whose frames have an index on the server and a UID and number in the viewer.
 *
 * @typedef {import('../types.js').Frames} Frames
 * @typedef {import('../types.js').FrameRef} FrameRef
 */

/** What a session knows of its image. */
export class FramedImage {
  #indices;

  /**
   * @param {string} imageId
   * @param {Frames} frames
   */
  constructor(imageId, frames) {
    this.imageId = imageId;
    this.frames = frames;
    this.#indices = new Map(this.frameRefs().map(({ sopUid, frameNumber }, i) => [`${sopUid}/${frameNumber}`, i]));
  }

  /** @param {FrameRef} frame @returns {number|null} its index in the server's order */
  frameIndexOf({ sopUid, frameNumber }) {
    return this.#indices.get(`${sopUid}/${frameNumber}`) ?? null;
  }

  /** @param {number} index @returns {FrameRef} */
  frameRef(index) {
    return { sopUid: this.frames.sop_instance_uids[index], frameNumber: this.frames.frame_numbers[index] };
  }

  /** @returns {FrameRef[]} all frames in the server's order */
  frameRefs() {
    return this.frames.sop_instance_uids.map((_, index) => this.frameRef(index));
  }
}
