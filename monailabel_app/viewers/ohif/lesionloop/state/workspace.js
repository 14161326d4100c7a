// SPDX-License-Identifier: Apache-2.0
/** What the elements of the panel talk to: what is open (desk.js), the loop (learning.js), and the work on lesions. */
import { Comparison, inOrder } from './compare.js';
import { finders } from './fitting.js';
import { LearningDesk } from './learning.js';
import { bestFrame } from './merge.js';
import { partsToStore, store } from './storing.js';
import { placeOf } from './timeline.js';

const plural = (count, one) => `${count} ${one}${count === 1 ? '' : 's'}`;

/**
 * Emits 'change' with detail.what: 'image', 'session', 'selection', 'frame', 'info', 'busy', 'notice', 'training',
 * 'pair', 'timeline', 'drawing' or 'report'.
 */
export class Workspace extends LearningDesk {
  #comparison = null;
  #beforePair = null;
  /** @type {Object|null} of the comparison that is shown */
  selectedPair = null;

  // --- finding lesions

  /** Runs all models that find lesions in images like this one, one after the other. */
  findLesions() {
    return this.#runModels('Finding lesions', finders(this.models));
  }

  /** @param {string} name of a model */
  run(name) {
    if (this.reports.models.some(model => model.name === name)) return this.reports.draft(name);
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
    this.clearNotice();
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

  /** Follows the lesions of the patient over all visits that show the same as the open image. */
  async followAll() {
    const { image, session } = this;
    const model = finders(this.models).at(-1);
    if (!session || !model) {
      this.say('warning', 'No model of this server fits this image, so there is nothing to follow.');
      return;
    }
    await this.perform('Following all visits', async (signal, report) => {
      report(null, model.name);
      const timeline = await this.server.timeline(model.name, image.id, { signal });
      if (!timeline.visits.some(visit => visit.image === this.image?.id)) return;
      this.timeline = timeline;
      this.emit('timeline');
    }, 'infer');
  }

  /** @param {Object} track of the timeline; shown on the open image where it was found there */
  async showTracked(track) {
    const frame = this.timeline && placeOf(this.timeline, track, this.image?.id);
    if (frame) await this.viewer.jumpTo(this.image.id, frame);
    else this.say('info', `Lesion ${track.id} was not found on this image.`);
  }

  async #showPair(answer, ...visits) {
    await this.viewer.showPair(...visits.map(visit => ({ studyUid: visit.study_instance_uid, imageId: visit.image })));
    const later = this.sessions.get(answer.followup.image);
    this.#comparison = new Comparison(answer, later?.lesions ?? []);
    later?.setGrowth(this.#comparison.growth);
    this.#beforePair ??= this.image.id;
    this.pair = answer;
    this.selectedPair = null;
    this.sessions.link(this.#comparison.boxSets(), answer.followup.image);
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
