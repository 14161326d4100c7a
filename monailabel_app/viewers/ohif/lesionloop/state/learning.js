// SPDX-License-Identifier: Apache-2.0
/** The loop: the next image, training, and the versions that it leads to. */
import { Desk } from './desk.js';
import { TrainingWatch, outcomeNotice } from './training-watch.js';

/** What one can do so that the models learn. */
export class LearningDesk extends Desk {
  #training;
  #isLeaving = false;

  /** @param {Object} parts see Desk */
  constructor(parts) {
    super(parts);
    this.#training = new TrainingWatch(parts.server, this.storage, {
      changed: () => this.emit('training'), ended: state => this.#trainingEnded(state) });
  }

  /** @returns {import('./training.js').TrainingState|null} */
  get training() {
    return this.#training.state;
  }

  /** Whether an image has work that is not stored and that nobody has agreed to lose. */
  get dirty() {
    return !this.#isLeaving && super.dirty;
  }

  async start() {
    await Promise.all([super.start(), this.quietly(() => this.#training.resume())]);
  }

  stop() {
    super.stop();
    this.#training.stop();
  }

  /** Goes to the image that a strategy chooses; asks before unsaved work is left. */
  async nextImage(strategy) {
    const agreed = this.dirty && this.ask;
    if (agreed && !(await this.mayLose('Leave this image?'))) return;
    await this.perform('Choosing the next image', async signal => {
      const sample = await this.server.nextImage(strategy, this.user, { signal });
      const studyUid = sample?.study_instance_uid;
      if (!sample) this.say('success', 'Every image has been labelled. Nothing is left to do for this strategy.');
      else if (sample.id === this.image?.id) this.say('info', 'The strategy chose the image that is open.');
      else if (!studyUid) this.say('error', `${sample.id} is no DICOM image: it cannot be opened in this viewer.`);
      else await this.#leaveFor({ studyUid, imageId: sample.id }, Boolean(agreed));
    });
  }

  async #leaveFor(target, agreed) {
    this.#isLeaving = agreed;
    try {
      await this.viewer.openImage(target);
    } finally {
      this.#isLeaving = false;
    }
  }

  /**
   * @param {string} model
   * @param {Object} [params] of the run, as /info/ lists them
   */
  async train(model, params = {}) {
    if (this.training?.running) {
      this.say('warning', 'A training is running. Wait until it has ended, or stop it.');
      return;
    }
    await this.perform(`Starting to train ${model}`, async signal => {
      try {
        this.#training.follow(await this.server.train(model, params, { signal }));
      } catch (error) {
        if (error.status === 429) await this.#training.look(); // somebody else's
        throw error;
      }
    }, 'train');
  }

  async stopTraining() {
    await this.perform('Stopping the training', signal => this.server.stopTraining({ signal }), 'stop');
    await this.#training.look();
  }

  async #trainingEnded(state) {
    await this.refreshInfo();
    const record = state.record ?? this.info?.train_stats?.[state.model]?.last_training ?? null;
    const { kind, text } = outcomeNotice(state, record);
    this.say(kind, text);
  }

  /** @param {string} model @param {string|null} version null for the one that was in service before */
  async rollBack(model, version = null) {
    await this.perform(`Changing the version of ${model}`, async signal => {
      const now = await this.server.rollBack(model, version, this.user, { signal });
      this.say('success', `${model} now uses ${now.version}.`);
    });
    await this.refreshInfo();
  }
}
