// SPDX-License-Identifier: Apache-2.0
/**
 * What is open: the image of the active viewport with its session, what the server offers, who works, what runs.
 *
 * @typedef {import('../types.js').Busy} Busy
 * @typedef {import('../types.js').ImageRef} ImageRef
 * @typedef {import('../types.js').ModelChoice} ModelChoice
 * @typedef {import('../types.js').Notice} Notice
 */
import { finders, modelChoices } from './fitting.js';
import { ImageSessions } from './image-sessions.js';
import { AlreadyBusy, Jobs } from './jobs.js';
import { Reports } from './reports.js';
import { ServerError } from './server.js';

const USER_KEY = 'lesionloop.user';

/**
 * The state behind the panel; workspace.js has what one can do with it. Sessions are kept per image, so that going to
 * another series and back loses nothing.
 */
export class Desk extends EventTarget {
  #jobs = new Jobs(() => this.emit('busy'));
  #shownFrame = null;
  #frameNumbers = new Map();
  #listening = [];
  /** @type {Object|null} the server's answer of /info/ */
  info = null;
  /** @type {ImageRef|null} */
  image = null;
  /** @type {import('./session.js').Session|null} null while the image is being opened */
  session = null;
  /** @type {ModelChoice[]} */
  models = [];
  /** @type {Notice|null} */
  notice = null;
  user = '';
  /** Whether the tool that draws boxes is in hand. */
  drawing = false;
  /** Whether the server knows the user, who then cannot choose a name. */
  loggedIn = false;
  /** @type {Object[]|null} visits of the patient that show the same, oldest first; null until they are known */
  visits = null;
  /** @type {Object|null} the server's answer of a comparison that is shown */
  pair = null;
  /** @type {Object|null} the server's timeline of the open image's patient */
  timeline = null;

  /**
   * @param {Object} parts
   * @param {import('./server.js').Server} parts.server
   * @param {import('../ohif/viewer.js').Viewer} parts.viewer
   * @param {Storage} [parts.storage] keeps the user's name
   * @param {(question: {title: string, text: string, choices: Object[]}) => Promise<string|null>} [parts.ask] as
   *     `choose`; asked before unsaved work would be lost. Without it the viewer's own question must do.
   */
  constructor({ server, viewer, storage = globalThis.localStorage, ask = null }) {
    super();
    this.server = server;
    this.viewer = viewer;
    this.storage = storage;
    this.ask = ask;
    this.sessions = new ImageSessions(server, viewer, session => this.#sessionChanged(session));
    this.reports = new Reports(this);
  }

  /** @returns {Busy|null} */
  get busy() {
    return this.#jobs.busy;
  }

  /** Whether an image has work that is not stored. */
  get dirty() {
    return this.sessions.dirty || this.reports.dirty;
  }

  /** @returns {{imageId: string, frame: Object, index: number|null}|null} the frame that the active viewport shows */
  get frame() {
    const shown = this.#shownFrame;
    if (!shown || shown.imageId !== this.image?.id) return null;
    return { ...shown, index: this.session?.frameIndexOf(shown.frame) ?? null };
  }

  /** Begins to follow the viewer, and asks the server what it offers. */
  async start() {
    this.#listen('image', () => this.#imageChanged());
    this.#listen('frame', ({ detail }) => this.#frameChanged(detail));
    this.#listen('box', ({ detail }) => this.#boxChanged(detail));
    this.#listen('mask', ({ detail }) => this.sessions.maskChanged(detail.imageId));
    this.#listen('drawing', ({ detail }) => this.#drawingChanged(detail.active));
    const known = this.refreshInfo();
    this.#imageChanged();
    await Promise.all([known, this.#findUser()]);
  }

  /** Ends all work and stops following the viewer. */
  stop() {
    this.#listening.splice(0).forEach(([type, listener]) => this.viewer.removeEventListener(type, listener));
    this.#jobs.cancelAll();
    this.sessions.stop();
  }

  #listen(type, listener) {
    this.viewer.addEventListener(type, listener);
    this.#listening.push([type, listener]);
  }

  /** @param {string} what has changed */
  emit(what) {
    this.dispatchEvent(new CustomEvent('change', { detail: { what } }));
  }

  /** @param {Notice['kind']} kind @param {string} text '' takes the notice away */
  say(kind, text) {
    this.notice = text ? { kind, text } : null;
    this.emit('notice');
  }

  dismissNotice() {
    this.say('info', '');
  }

  /** Takes away a notice that tells of what was done before: something new begins. Errors and warnings stay. */
  clearNotice() {
    if (['success', 'info'].includes(this.notice?.kind)) this.dismissNotice();
  }

  /**
   * Does long work with the busy bar, Cancel, and errors as notices.
   *
   * @template T
   * @param {string} title
   * @param {(signal: AbortSignal, report: (progress: number|null, detail?: string) => void) => Promise<T>} work
   * @param {string} [kind] only one of each kind at a time
   * @returns {Promise<T|undefined>} undefined when it failed or was cancelled
   */
  async perform(title, work, kind = 'work') {
    this.clearNotice();
    try {
      return await this.#jobs.run(kind, title, work);
    } catch (error) {
      this.failed(error);
      return undefined;
    }
  }

  /** Says what went wrong and what to do. */
  failed(error) {
    if (error.name === 'AbortError') this.say('info', 'Cancelled.');
    else if (error instanceof AlreadyBusy) this.say('warning', error.message);
    else if (error instanceof ServerError) this.say('error', error.text);
    else {
      console.error(error);
      this.say('error', `The panel could not do this (${error.message}). Reload the page after submitting your work.`);
    }
  }

  /** For what is not worth a notice. */
  async quietly(work) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ServerError) && error.name !== 'AbortError') throw error;
      return undefined;
    }
  }

  /** Asks the server again what it offers. */
  async refreshInfo() {
    try {
      this.info = await this.server.info();
    } catch (error) {
      this.failed(error);
    }
    this.#updateModels();
    this.emit('info');
  }

  #updateModels() {
    this.models = modelChoices(this.info, this.image, this.session?.frames.kind ?? null);
    finders(this.models).forEach(({ labels }) => this.session?.addLabels(labels));
  }

  async #findUser() {
    const known = await this.quietly(() => this.server.user());
    this.loggedIn = Boolean(known);
    this.user = known || (this.storage?.getItem(USER_KEY) ?? '');
    this.emit('info');
  }

  /** @param {string} name kept with what is submitted; ignored where the server knows who it is */
  setUser(name) {
    if (this.loggedIn) return;
    this.user = name.trim();
    this.storage?.setItem(USER_KEY, this.user);
    this.emit('info');
  }

  #imageChanged() {
    this.image = this.viewer.image;
    this.session = this.image && this.sessions.get(this.image.id);
    this.visits = null;
    if (!this.timeline?.visits.some(({ image }) => image === this.image?.id)) this.timeline = null;
    this.#frameNumbers.clear();
    const current = this.image && this.viewer.currentFrame();
    this.#shownFrame = current ? { imageId: this.image.id, frame: current.frame } : null;
    this.#updateModels();
    this.emit('image');
    if (this.session) this.opened(this.session).catch(error => this.failed(error));
    else if (this.image) this.#open(this.image.id);
  }

  async #open(imageId, timePoint = null) {
    if (this.sessions.isOpening(imageId)) return;
    await this.perform('Opening the image', async signal => {
      const session = await this.sessions.open(imageId, timePoint, signal);
      if (this.image?.id === imageId) await this.opened(session);
    }, `open ${imageId}`);
  }

  /** Shows an image that has been opened. */
  async opened(session) {
    this.session = session;
    this.#updateModels();
    this.emit('session');
    this.#findVisits(session.imageId);
    this.#findReport(session.imageId);
    await this.sessions.show(session);
  }

  async #findVisits(imageId) {
    const visits = await this.quietly(() => this.server.visits(imageId));
    if (this.image?.id !== imageId) return;
    this.visits = visits ?? [];
    this.emit('pair');
  }

  /** A server that cannot say what report there is has none to show. */
  async #findReport(imageId) {
    await this.quietly(() => this.reports.open(imageId));
    if (this.image?.id === imageId) this.emit('report');
  }

  /** Goes to another volume of a dynamic image. */
  async setTimePoint(timePoint) {
    const { image, session } = this;
    if (!session || timePoint === session.frames.time_point) return;
    const unsaved = session.dirty.boxes || session.dirty.mask;
    if (unsaved && !(await this.mayLose('Go to another time point?'))) {
      this.emit('session');
      return;
    }
    this.viewer.clear(image.id);
    await this.#open(image.id, timePoint);
  }

  /** @param {string} title @returns {Promise<boolean>} whether unsaved work may go */
  async mayLose(title) {
    if (!this.ask) return globalThis.confirm(`${title} What you changed and did not submit is lost.`);
    const choices = [{ value: 'leave', text: 'Go on without submitting', look: 'danger' }];
    return Boolean(await this.ask({ title, text: 'What you changed and did not submit is lost.', choices }));
  }

  #boxChanged(detail) {
    if (!this.sessions.boxChanged(detail)) {
      this.say('warning', 'This box cannot be kept: its image is not open here, or only shown to compare with.');
    } else if (detail.kind === 'drawn') {
      this.emit('selection');
    }
  }

  #sessionChanged(session) {
    if (session === this.session) this.emit('session');
  }

  #drawingChanged(active) {
    this.drawing = active;
    this.emit('drawing');
  }

  #frameChanged({ imageId, frame }) {
    this.#shownFrame = { imageId, frame };
    this.emit('frame');
  }

  /** @param {number} index in the server's order @returns {number|null} the frame's number in the viewport, from 1 */
  shownFrame(index) {
    if (!this.session) return null;
    const keyOf = ({ sopUid, frameNumber }) => `${sopUid}/${frameNumber}`;
    if (!this.#frameNumbers.size) {
      this.viewer.frameOrder(this.image.id).forEach((frame, i) => this.#frameNumbers.set(keyOf(frame), i + 1));
    }
    return this.#frameNumbers.get(keyOf(this.session.frameRef(index))) ?? null;
  }

  /** @param {number} index of a frame in the server's order */
  async showFrame(index) {
    if (this.session) await this.viewer.jumpTo(this.session.imageId, this.session.frameRef(index));
  }
}
