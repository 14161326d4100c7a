// SPDX-License-Identifier: Apache-2.0
/** What the elements of the panel talk to: what is open (desk.js), and all that one can do with it. */
import { Comparison, inOrder } from './compare.js';
import { Desk } from './desk.js';
import { finders } from './fitting.js';
import { bestFrame } from './merge.js';
import { partsToStore, store } from './storing.js';
import { TrainingWatch, outcomeNotice } from './training-watch.js';

const plural = (count, one) => `${count} ${one}${count === 1 ? '' : 's'}`;

/**
 * Emits 'change' with detail.what: 'image', 'session', 'selection', 'frame', 'info', 'busy', 'notice', 'training' or
 * 'pair'.
 */
export class Workspace extends Desk {
  #training;
  #isLeaving = false;
  #comparison = null;
  #beforePair = null;
  /** @type {Object|null} of the comparison that is shown */
  selectedPair = null;

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

  // --- finding lesions

  /** Runs all models that find lesions in images like this one, one after the other. */
  findLesions() {
    return this.#runModels('Finding lesions', finders(this.models));
  }

  /** @param {string} name of a model */
  run(name) {
    return this.#runModels(`Running ${name}`, this.models.filter(model => model.name === name));
  }

  /** The answers go to the image that was open when it began, whatever is open when they arrive. */
  #runModels(title, models) {
    const { session } = this;
    if (!session) return this.say('warning', 'No image is open. Open an image series first.');
    if (!models.length) return this.say('warning', 'No model of this server fits this image. "Models" says why.');
    return this.perform(title, async (signal, report) => {
      await this.#applyModels(session, models, signal, report);
      this.say('success', foundText(session));
    }, 'infer');
  }

  async #applyModels(session, models, signal, report) {
    const { time_point: timePoint } = session.frames;
    const params = { frame_mask: true, ...(timePoint !== null && { time_point: timePoint }) };
    for (const [i, { name }] of models.entries()) {
      if (models.length > 1) report(i / models.length, `${i + 1} of ${models.length}: ${name}`);
      else report(null, name);
      const answer = await this.server.infer(name, session.imageId, params, { signal });
      if (this.sessions.get(session.imageId) !== session) return;
      this.sessions.readMask(session);
      const masked = session.applyAnswer(answer);
      this.sessions.drawBoxes(session);
      if (masked) await this.sessions.showMask(session);
      if (session === this.session) this.emit('session');
    }
  }

  // --- the lesions of the open image

  accept(key) {
    this.#edit(session => session.accept(key));
  }

  reject(key) {
    this.#edit(session => session.reject(key));
  }

  restore(key) {
    this.#edit(session => session.restore(key));
  }

  relabel(key, label) {
    this.#edit(session => session.relabel(key, label));
  }

  acceptAll() {
    this.#edit(session => session.acceptAll());
  }

  #edit(change) {
    const { session } = this;
    if (!session) return;
    this.sessions.readMask(session);
    this.sessions.redraw(session, change(session));
    this.emit('session');
  }

  /** Goes to a lesion: to the frame where the model is surest, else to its middle; in a comparison on both sides. */
  async select(key) {
    const lesion = this.session?.lesion(key);
    if (!lesion) return;
    const pair = this.#comparison?.pairOf(key) ?? null;
    if (pair) {
      await this.selectPair(pair);
      return;
    }
    this.#mark(key);
    await this.showFrame(bestFrame(lesion));
  }

  /** @param {Object} pair of the comparison that is shown */
  async selectPair(pair) {
    const key = this.#comparison.keyOf(pair);
    this.selectedPair = pair;
    this.#mark(key);
    this.emit('pair');
    for (const { imageId, frame } of this.#comparison.placesOf(pair)) await this.viewer.jumpTo(imageId, frame);
  }

  #mark(key) {
    const { session } = this;
    if (session?.lesion(key)) session.selected = key;
    const images = new Set([session?.imageId, ...this.sessions.linked.keys()]);
    images.forEach(imageId => imageId && this.viewer.highlight(imageId, key));
    this.emit('selection');
  }

  /** @param {1|-1} step through the list, past the deleted ones and around its ends */
  async selectNext(step) {
    const { session } = this;
    const keys = session?.order().filter(key => session.lesion(key).status !== 'deleted') ?? [];
    if (!keys.length) return;
    const at = keys.indexOf(session.selected);
    const next = at < 0 ? (step > 0 ? 0 : keys.length - 1) : (at + step + keys.length) % keys.length;
    await this.select(keys[next]);
  }

  /** Lets a person draw a box. */
  startDrawing() {
    if (this.session) this.viewer.startDrawing();
  }

  // --- storing

  /**
   * Stores the accepted findings, and the mask where there is one; what is stored already and has not changed is left
   * alone. An image whose lesions were all deleted is stored as one without lesions.
   *
   * @param {{unreviewed?: 'accept'|'leave'}} [choice] what becomes of proposals that nobody has looked at
   */
  async submit({ unreviewed = 'leave' } = {}) {
    const { session } = this;
    if (!session) return;
    if (unreviewed === 'accept') this.acceptAll();
    this.sessions.readMask(session);
    const parts = partsToStore(session);
    if (!parts.length) {
      this.say('info', 'Nothing has changed since it was stored.');
      return;
    }
    await this.perform('Storing', async (signal, report) => {
      this.say('success', await store(this.server, session, { parts, user: this.user, signal, report }));
    }, 'store');
    if (session === this.session) this.emit('session');
    await this.refreshInfo();
  }

  // --- the loop

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

  // --- two visits

  /**
   * Compares the open image with another visit of the patient, and shows both side by side.
   *
   * @param {{image: string, study_instance_uid: string, date: string, days: number}} visit one of `visits`
   */
  async compareWith(visit) {
    const { image, session } = this;
    const model = finders(this.models).at(-1);
    if (!session || !model) {
      this.say('warning', 'No model of this server fits this image, so there is nothing to compare with.');
      return;
    }
    const known = this.visits?.find(one => one.image === image.id);
    const own = known ?? { image: image.id, study_instance_uid: image.studyUid, date: image.date };
    const [baseline, followup] = inOrder(visit, own);
    await this.perform(`Comparing with ${visit.date || 'the other visit'}`, async (signal, report) => {
      if (!session.searched && !session.lesions.length) {
        await this.#applyModels(session, finders(this.models), signal, report);
      }
      report(null, model.name);
      const answer = await this.server.followUp(model.name, baseline.image, followup.image, { signal });
      await this.#showPair(answer, baseline, followup);
    }, 'infer');
  }

  async #showPair(answer, ...visits) {
    const later = this.sessions.get(answer.followup.image);
    this.#comparison = new Comparison(answer, later?.lesions ?? []);
    later?.setGrowth(this.#comparison.growth);
    this.#beforePair ??= this.image.id;
    this.pair = answer;
    this.selectedPair = null;
    await this.viewer.showPair(...visits.map(visit => ({ studyUid: visit.study_instance_uid, imageId: visit.image })));
    this.sessions.link(this.#comparison.boxSets());
    this.emit('session');
    this.emit('pair');
  }

  /** Shows the image alone again that was open before. */
  async endCompare() {
    if (!this.pair) return;
    this.pair = this.selectedPair = this.#comparison = null;
    this.sessions.link(new Map());
    const imageId = this.#beforePair;
    this.#beforePair = null;
    await this.viewer.showSingle(imageId);
    this.emit('pair');
  }
}

function foundText(session) {
  const open = session.unreviewed().length;
  if (open) return `${plural(open, 'lesion')} to review. Accept or delete each, then submit.`;
  const kept = session.lesions.some(({ status }) => status !== 'deleted');
  return kept ? 'Nothing was found but the lesions you have reviewed.'
    : 'No lesions were found. Draw a box where one was missed.';
}
