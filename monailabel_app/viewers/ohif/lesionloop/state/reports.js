// SPDX-License-Identifier: Apache-2.0
/**
 * The report of the open image: what one can do with it, and where its sentences lead in the viewer.
 *
 * @typedef {import('./report-sentences.js').Sentence} Sentence
 */
import { LatestWish } from './latest-wish.js';
import { bestFrame } from './merge.js';
import { ReportCheck, evidenceOfDraft, findingIdsOf } from './report-check.js';
import { draftOf, draftParams, linkFindings } from './report-draft.js';
import { ReportRequests } from './report-requests.js';
import { evidenceOf, plainText, sentencesOf } from './report-sentences.js';
import { ReportSession } from './report-session.js';

const JOB = 'report';
const REFUSED = [400, 409];

/** Reports are kept per image, as sessions are. Every change is told as the desk's 'report'. */
export class Reports {
  #desk;
  #sessions = new Map();
  #requests;
  #jumps;
  #check;
  /** Whether somebody is writing in a box. */
  writing = false;

  /** @param {import('./desk.js').Desk} desk */
  constructor(desk) {
    this.#desk = desk;
    this.#requests = new ReportRequests(desk.server);
    this.#check = new ReportCheck(this.#requests, desk, () => this.#tell());
    this.#jumps = new LatestWish(index => desk.showFrame(index).catch(error => desk.failed(error)));
  }

  /** @returns {ReportSession|null} of the open image; null while it is being read */
  get session() {
    return this.#sessions.get(this.#desk.image?.id) ?? null;
  }

  /** Whether something is not stored in any of them. */
  get dirty() {
    return [...this.#sessions.values()].some(session => session.dirty);
  }

  /** @returns {import('../types.js').ModelChoice[]} */
  get models() {
    return this.#desk.models.filter(({ type }) => type === 'report');
  }

  /** Reads what is stored of an image, unless that was done before. */
  async open(imageId) {
    if (this.#sessions.has(imageId)) return;
    const answer = await this.#requests.current(imageId);
    const session = new ReportSession(imageId);
    session.load(answer);
    this.#sessions.set(imageId, session);
    this.#tell();
  }

  #tell() {
    this.#desk.emit('report');
  }

  /** Somebody writes in a box, or has ended. */
  write(writing) {
    this.writing = writing;
    this.#tell();
    if (!writing) this.#check.soon(this.session);
  }

  /**
   * Changes a report, and tells so.
   *
   * @param {(session: ReportSession) => any} change
   * @param {ReportSession|null} [session] the open one
   * @returns {any} what it returns
   */
  edit(change, session = this.session) {
    if (!session) return undefined;
    this.#desk.clearNotice();
    const result = change(session);
    this.#tell();
    if (!this.writing) this.#check.soon(session);
    return result;
  }

  // --- drafting

  /** Lets a model write it, from the image and the clinical text. @param {string} name of the model */
  async draft(name) {
    const { session } = this;
    const model = this.models.find(one => one.name === name && one.fits);
    const { session: lesions } = this.#desk;
    if (!session?.mayDraft || !model || !lesions) return;
    await this.#desk.perform('Drafting a report', async (signal, progress) => {
      progress(null, name);
      const hasVisits = Boolean(model.source && this.#desk.visits?.length);
      const params = draftParams(session.clinical, { timePoint: lesions.frames.time_point, hasVisits });
      const answer = await this.#desk.server.infer(name, session.imageId, params, { signal });
      const report = draftOf(answer, model);
      if (!report) throw new Error(`${name} answered without a report`);
      const evidence = evidenceOfDraft(answer, model, lesions.frames.time_point);
      if (session.mayDraft) session.propose(report, this.#link(lesions, answer.findings ?? []), evidence);
    }, JOB);
    this.#tell();
  }

  /** What the model has found beside writing is put among the lesions where there are none yet. */
  #link(lesions, findings) {
    if (findings.length && !lesions.lesions.length) {
      lesions.applyAnswer({ findings, label_names: Object.fromEntries(findings.map(({ label }) => [label, 1])) });
      this.#desk.sessions.drawBoxes(lesions);
      this.#desk.emit('session');
    }
    return linkFindings(findings, lesions.lesions);
  }

  /** Takes the words of the report of an earlier visit. @param {{image: string, date: string}} visit */
  async takePrior(visit) {
    const { session } = this;
    await this.#desk.perform('Reading the earlier report', async signal => {
      const answer = await this.#requests.current(visit.image, { signal });
      if (answer) session.clinical = { ...session.clinical, prior_report: plainText(answer.report) };
      else this.#desk.say('info', `The visit of ${visit.date || 'that day'} has no report.`);
    }, JOB);
    this.#tell();
  }

  // --- storing

  /** Stores the draft as the model wrote it, and what a person has made of it. */
  async save() {
    const saved = await this.#send('Storing the report', (session, signal) => this.#store(session, signal));
    if (saved) this.#desk.say('success', `Stored as version ${saved.version}, not signed.`);
  }

  /** Stores and signs it. */
  async sign() {
    const signed = await this.#send('Signing the report', async (session, signal) => {
      await this.#store(session, signal);
      const { imageId, version } = session;
      session.load(await this.#requests.sign(imageId, this.#desk.user, version, { signal }));
    });
    if (signed) this.#desk.say('success', `Signed as version ${signed.version}.`);
  }

  /** Puts what was changed in place of a signed report. */
  async amend() {
    const amended = await this.#send('Signing the amendment', async (session, signal) => {
      const { imageId, version, sections, reason } = session;
      const change = { sections, reason, name: this.#desk.user };
      session.load(await this.#requests.amend(imageId, change, version, { signal }));
    });
    if (amended) this.#desk.say('success', `Amended and signed as version ${amended.version}.`);
  }

  async #store(session, signal) {
    const { imageId, base, isProposal } = session;
    const save = report => this.#requests.save(imageId, report, session.version, { signal });
    if (isProposal) session.loadDraft(await save(base));
    if (!session.dirty) return;
    const { sections } = session;
    const report = { sections, status: 'corrected', prior_image: base.prior_image ?? '' };
    const { user } = this.#desk;
    session.load(await save({ ...report, ...(user && { author: user }) }));
  }

  /** @returns {Promise<ReportSession|null>} null when it could not be stored */
  async #send(title, work) {
    const { session } = this;
    if (!session || session.sending) return null;
    const done = await this.#desk.perform(title, async signal => {
      session.sending = true;
      this.#tell();
      try {
        await work(session, signal);
        return true;
      } catch (error) {
        if (!(await this.#isConflict(error, session, signal))) throw error;
        return false;
      } finally {
        session.sending = false;
      }
    }, JOB);
    this.#tell();
    return done ? session : null;
  }

  /** Whether the server refused because somebody else has stored a version meanwhile. */
  async #isConflict(error, session, signal) {
    if (!REFUSED.includes(error.status)) return false;
    const answer = await this.#requests.current(session.imageId, { signal });
    if (!answer || answer.report.version === session.version) return false;
    session.meet(answer);
    return true;
  }

  // --- versions

  /** Shows a version as it was stored; null goes back to the current one. */
  async look(number) {
    const { session } = this;
    if (!session) return;
    if (number === null) session.looking = null;
    else {
      await this.#desk.quietly(async () => {
        const report = await this.#requests.version(session.imageId, number);
        const sentences = sentencesOf(report, (known, section) => `${section}/${known.id}`);
        session.looking = { kind: 'version', number, report, sentences };
      });
    }
    this.#tell();
  }

  /** Shows what changed between two versions. @param {number|null} from null for the draft @param {number} to */
  async compare(from, to) {
    const { session } = this;
    if (!session) return;
    await this.#desk.perform('Comparing versions', async signal => {
      const change = await this.#requests.diff(session.imageId, from, to, { signal });
      session.looking = { kind: 'change', from, to, change };
    }, JOB);
    this.#tell();
  }

  /** @returns {string} address of the stored report for hospital systems */
  fhirUrl(number) {
    return this.#requests.fhirUrl(this.session.imageId, number);
  }

  // --- where a sentence leads

  /** Whether lesions were stored since the draft: its sentences may then lead to others than they speak of. */
  get isBehind() {
    const { session } = this;
    const stored = Date.parse(this.#desk.session?.stored.boxes?.time ?? '');
    const speaks = session?.sentences.some(sentence => evidenceOf(sentence).findingIds.length);
    return Boolean(speaks && !session.isFinal && !session.isProposal && stored > Date.parse(session.draftedAt));
  }

  /** @returns {import('../types.js').Lesion[]} the lesions that a sentence speaks of, as far as they are open */
  lesionsOf(sentence) {
    const { session: lesions } = this.#desk;
    const own = this.session?.lesionKeys ?? new Map();
    const all = lesions?.lesions.filter(({ status }) => status !== 'deleted') ?? [];
    const isMeant = (lesion, id) => (own.has(id) ? own.get(id) === lesion.key
      : lesion.finding?.id === id || (!lesion.finding && lesion.outline?.id === id));
    return findingIdsOf(this.session, sentence).map(id => all.find(lesion => isMeant(lesion, id))).filter(Boolean);
  }

  /** @returns {number|null} index of the frame that shows best what a sentence speaks of */
  frameOf(sentence) {
    const { frames } = evidenceOf(sentence);
    const [lesion] = this.lesionsOf(sentence);
    const count = this.#desk.session?.frames.sop_instance_uids.length ?? 0;
    const attended = [...frames].filter(([t]) => t < count && (!lesion || lesion.boxes.has(t)));
    if (attended.length) return attended.reduce((best, one) => (one[1] > best[1] ? one : best))[0];
    return lesion ? bestFrame(lesion) : null;
  }

  /** Shows where a sentence leads while the pointer is on it. @param {Sentence|null} sentence null when it has left */
  point(sentence) {
    this.#highlight(sentence ?? this.session?.sentence(this.session.selected) ?? null);
    if (sentence) this.#goTo(sentence);
  }

  /** Selects a sentence and shows where it leads. */
  select(key) {
    const { session } = this;
    const sentence = session?.sentence(key);
    if (!sentence) return;
    if (session.selected !== key) {
      session.selected = key;
      this.#tell();
    }
    this.#highlight(sentence);
    this.#goTo(sentence);
  }

  /** Goes to a lesion that a sentence speaks of. */
  show(lesion) {
    this.#desk.viewer.highlight(this.#desk.session.imageId, lesion.key);
    this.#jumps.wish(bestFrame(lesion));
  }

  /** @param {number} index of a frame */
  showFrame(index) {
    this.#jumps.wish(index);
  }

  #highlight(sentence) {
    const { session: lesions, viewer } = this.#desk;
    if (!lesions) return;
    const [lesion] = sentence ? this.lesionsOf(sentence) : [];
    viewer.highlight(lesions.imageId, lesion?.key ?? lesions.selected);
  }

  #goTo(sentence) {
    const frame = this.frameOf(sentence);
    if (frame !== null) this.#jumps.wish(frame);
  }
}
