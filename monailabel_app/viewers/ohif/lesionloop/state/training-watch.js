// SPDX-License-Identifier: Apache-2.0
/** Follows a training until it has ended. */
import { parseTraining } from './training.js';

const KEY = 'lesionloop.training';
const EVERY_MS = 2000;
const LATER_MS = 10000;

export class TrainingWatch {
  #server;
  #timer = null;
  #storage;
  #changed;
  #ended;
  /** @type {import('./training.js').TrainingState|null} */
  state = null;

  /**
   * @param {import('./server.js').Server} server
   * @param {Storage|null} storage remembers that a training is under way
   * @param {{changed: () => void, ended: (state: import('./training.js').TrainingState) => void}} handlers
   */
  constructor(server, storage, { changed, ended }) {
    this.#server = server;
    this.#storage = storage;
    this.#changed = changed;
    this.#ended = ended;
  }

  /** Takes up the training that was under way when the page was left. */
  async resume() {
    if (!this.#storage?.getItem(KEY)) return;
    const task = await this.#server.trainStatus();
    if (parseTraining(task)?.running) this.follow(task);
    else this.#storage.removeItem(KEY);
  }

  /** @param {Object} task answer of /train/ */
  follow(task) {
    this.stop();
    this.#take(task);
  }

  /** Looks at once, and not only when the time has come. */
  async look() {
    this.stop();
    try {
      this.#take(await this.#server.trainStatus());
    } catch {
      this.#plan(LATER_MS); // the training goes on without us
    }
  }

  /** Stops looking; the training goes on. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #plan(delay) {
    this.#timer = setTimeout(() => this.look(), delay);
  }

  #take(task) {
    const state = parseTraining(task, this.state);
    const over = !state?.running && this.state?.running;
    this.state = state;
    this.#changed();
    if (state?.running) {
      this.#storage?.setItem(KEY, state.id);
      this.#plan(EVERY_MS);
    } else {
      this.#storage?.removeItem(KEY);
      if (state && over) this.#ended(state);
    }
  }
}

/**
 * @param {import('./training.js').TrainingState} state of a training that has ended
 * @param {Object|null} record of its version, from /info/ or the log
 * @returns {import('../types.js').Notice}
 */
export function outcomeNotice(state, record) {
  if (state.error) return { kind: 'error', text: state.error };
  if (state.stopped) return { kind: 'info', text: 'The training was stopped. The version in service stays.' };
  if (!record) return { kind: 'info', text: `The training of ${state.model} is done.` };
  const reason = record.reason.replace(/^(not )?published:\s*/i, '');
  if (record.published) {
    return { kind: 'success', text: `The training is done: ${record.version} is in service (${reason}).` };
  }
  return { kind: 'info', text: `The training is done. ${record.version} did not go into service: ${reason}.` };
}
