// SPDX-License-Identifier: Apache-2.0
/** Long work: one of each kind at a time, with what the busy bar shows, and a way to cancel it. */

/** Work of this kind is under way already. */
export class AlreadyBusy extends Error {}

export class Jobs {
  #running = new Map();
  #changed;

  /** @param {() => void} changed called when `busy` is another */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @returns {import('../types.js').Busy|null} the latest of the jobs under way */
  get busy() {
    return [...this.#running.values()].at(-1) ?? null;
  }

  /**
   * @template T
   * @param {string} kind
   * @param {string} title
   * @param {(signal: AbortSignal, report: (progress: number|null, detail?: string) => void) => Promise<T>} work
   * @returns {Promise<T>}
   * @throws {AlreadyBusy}
   */
  async run(kind, title, work) {
    const other = this.#running.get(kind);
    if (other) throw new AlreadyBusy(`Still busy: ${other.title}. Wait until it is done, or cancel it.`);
    const controller = new AbortController();
    const show = changes => {
      this.#running.set(kind, { ...this.#running.get(kind), ...changes });
      this.#changed();
    };
    show({ title, startedAt: performance.now(), progress: null, detail: '', cancel: () => controller.abort() });
    try {
      const result = await work(controller.signal, (progress, detail = '') => show({ progress, detail }));
      controller.signal.throwIfAborted();
      return result;
    } finally {
      this.#running.delete(kind);
      this.#changed();
    }
  }

  /** Cancels all. */
  cancelAll() {
    [...this.#running.values()].forEach(busy => busy.cancel());
  }
}
