// SPDX-License-Identifier: Apache-2.0
/** Wishes that come faster than they can be met, such as frames to go to. */

/** One at a time; while one is being met, only the latest counts. */
export class LatestWish {
  #meet;
  #busy = false;
  /** @type {any} what is being met or comes next; null for nothing */
  wanted = null;

  /** @param {(wish: any) => Promise<void>} meet */
  constructor(meet) {
    this.#meet = meet;
  }

  /** @param {any} wish not null */
  async wish(wish) {
    this.wanted = wish;
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let done = null; this.wanted !== done;) {
        done = this.wanted;
        await this.#meet(done);
      }
    } finally {
      this.#busy = false;
      this.wanted = null;
    }
  }
}
