// SPDX-License-Identifier: Apache-2.0
/**
 * The report of one image: what is stored, what a model proposed, what a person makes of it. Pure state: no network, no
 * viewer, no DOM. Sentences are replaced when they change, never changed in place.
 *
 * @typedef {import('./report-sentences.js').Sentence} Sentence
 *
 * @typedef {Object} Clinical What a draft is written from, beside the image; '' where nothing was entered.
 * @property {string} indication
 * @property {string} history
 * @property {string} prior_report
 * @property {boolean} followup whether it is written of the stored lesions and compared with earlier visits
 */
import { rebased } from './report-rebase.js';
import { SECTIONS, evidenceOf, isDoubtful, restored, sectionsToServer, sentencesOf, stands, standsUnsupported, worded,
  written } from './report-sentences.js';

const NOTHING = { report: { sections: {}, status: 'none' }, versions: [] };
const FINAL = ['signed', 'amended'];
let count = 0;

/**
 * Where nothing is there the status is `none`; else it is one of the server's: `draft` (stored, or only proposed),
 * `corrected`, `signed`, `amended`.
 */
export class ReportSession {
  #saved = written([]);
  #stored = NOTHING;
  /** @type {Sentence[]} all, in the order of the report */
  sentences = [];
  /** @type {Object} the report as the server, or the model, gave it */
  base = NOTHING.report;
  /** Whether a model has written it and it is stored nowhere. */
  isProposal = false;
  /** @type {string|null} key of the selected sentence */
  selected = null;
  /** Whether a signed report is being amended. */
  amending = false;
  /** Whether it is on its way to the server: nothing can be changed meanwhile. */
  sending = false;
  /** Why it is amended. */
  reason = '';
  /** @type {Clinical} */
  clinical = { indication: '', history: '', prior_report: '', followup: true };
  /** @type {{report: Object, versions: Object[]}|null} what somebody else has stored meanwhile */
  conflict = null;
  /** @type {Map<number, string>} key of the lesion by the id that a fresh draft's sentences have for it */
  lesionKeys = new Map();
  /** @type {Object|null} what a fresh draft was written of, as POST /reports/{image}/check takes it */
  evidence = null;
  /** @type {Map<string, import('./report-check.js').Hint>} what the measurements say of own words, by sentence key */
  hints = new Map();
  /** @type {{title: string, sentences: Sentence[]|null, change: Object|null}|null} an older version, or a comparison */
  looking = null;

  /** @param {string} imageId */
  constructor(imageId) {
    this.imageId = imageId;
  }

  /** @returns {'none'|'draft'|'corrected'|'signed'|'amended'} */
  get status() {
    return this.base.status;
  }

  /** @returns {Object[]} the server's line for each stored version, the oldest first */
  get versions() {
    return this.#stored.versions;
  }

  /** @returns {number} the stored version that this is based on; 0 where nothing is stored */
  get version() {
    return this.versions.at(-1)?.version ?? 0;
  }

  /** Whether a person stands for it. */
  get isFinal() {
    return FINAL.includes(this.status);
  }

  /** Whether its words can be changed now. */
  get editable() {
    return !this.sending && !this.conflict && (!this.isFinal || this.amending);
  }

  /** Whether a person has changed something that is not stored. */
  get dirty() {
    return written(this.sentences) !== this.#saved;
  }

  /** Whether a model may write it: nobody has worked on it yet. */
  get mayDraft() {
    return ['none', 'draft'].includes(this.status) && !this.dirty && !this.sending && !this.conflict;
  }

  /** @returns {Object<string, Object[]>} as PUT /reports/{image} takes them */
  get sections() {
    return sectionsToServer(this.sentences);
  }

  /** @returns {string} when it was drafted (ISO 8601); '' where no draft is stored */
  get draftedAt() {
    return this.versions.findLast(({ status }) => status === 'draft')?.changed_at ?? '';
  }

  /** @returns {string[]} names of the sections that have sentences, and of those that every report has room for */
  get sectionNames() {
    return [...new Set([...SECTIONS, ...this.sentences.map(({ section }) => section)])];
  }

  /** @returns {Sentence|null} */
  sentence(key) {
    return this.sentences.find(sentence => sentence.key === key) ?? null;
  }

  /** @returns {Sentence[]} those that somebody has to decide on before it can be signed */
  undecided() {
    return this.sentences.filter(isDoubtful);
  }

  /** @returns {Sentence[]} those that stand although no finding bears them out, or one speaks against them */
  unsupported() {
    return this.sentences.filter(standsUnsupported);
  }

  /** @returns {number} sentences that are part of the report */
  get length() {
    return this.sentences.filter(sentence => stands(sentence) && sentence.text.trim()).length;
  }

  // --- what comes from the server

  /**
   * Begins with what is stored; unsaved work is gone.
   *
   * @param {{report: Object, versions: Object[]}|null} answer of the report routes; null where there is no report
   */
  load(answer) {
    this.#stored = answer ?? NOTHING;
    this.#begin(this.#stored.report);
  }

  /**
   * Begins with what a model has written; it counts as unsaved only once a person has changed it.
   *
   * @param {Object} report with `sections` and what drafted it
   * @param {Map<number, string>} [lesionKeys] keys of the lesions by the ids that its sentences have for them
   * @param {Object|null} [evidence] what it was written of
   */
  propose(report, lesionKeys = new Map(), evidence = null) {
    this.#begin({ ...report, status: 'draft' });
    this.isProposal = true;
    this.lesionKeys = lesionKeys;
    this.evidence = evidence;
  }

  /** Begins with a draft that has just been stored; what a person has made of it stays. @param {Object} answer */
  loadDraft(answer) {
    const own = this.sentences;
    const { lesionKeys } = this;
    this.load(answer);
    this.lesionKeys = lesionKeys;
    const stored = new Map(this.sentences.map(sentence => [sentence.key, sentence]));
    this.sentences = own.map(sentence => ({ ...sentence, ...pick(stored.get(sentence.key), ['known', 'drafted']) }));
  }

  /** Goes back to what is stored: a proposal and what was changed are gone. */
  discard() {
    this.load(this.#stored);
  }

  #begin(report) {
    const before = this.sentences;
    const taken = new Set();
    this.sentences = sentencesOf(report, (known, section) => this.#keyOf(known, section, before, taken));
    this.base = report;
    this.#saved = written(this.sentences);
    this.isProposal = this.amending = false;
    this.conflict = this.looking = null;
    this.reason = '';
    if (!this.sentence(this.selected)) this.selected = null;
  }

  /** A sentence keeps its key when it is stored and given its id. */
  #keyOf({ id, text }, section, before, taken) {
    const isSame = sentence => !taken.has(sentence.key) && (id && sentence.known.id === id
      || !sentence.known.id && sentence.section === section && (sentence.known.text ?? sentence.text) === text);
    const key = before.find(isSame)?.key ?? newKey();
    taken.add(key);
    return key;
  }

  /** Somebody else has stored a version since this one was read. */
  meet(answer) {
    this.conflict = answer;
  }

  /**
   * Goes on from what somebody else has stored, with the words that were typed here. Where both have changed a
   * sentence, theirs stand and these are kept beside as `mine`.
   */
  takeOver() {
    const { conflict, sentences, reason } = this;
    this.load(conflict);
    this.sentences = rebased(sentences, this.sentences, newKey);
    this.amending = this.isFinal && (this.dirty || this.sentences.some(({ mine }) => mine));
    this.reason = this.amending ? reason : '';
  }

  // --- what a person does

  accept(key) {
    this.#change(key, sentence => ({ ...sentence, decision: acceptedAs(sentence) }));
  }

  /** Takes a sentence out of the report; one that was added here and never stored is gone. */
  strike(key) {
    const { known } = this.sentence(key) ?? {};
    if (known && known.text === undefined) this.#replace(this.sentences.filter(sentence => sentence.key !== key));
    else this.#change(key, sentence => ({ ...sentence, decision: 'struck' }));
  }

  /** Takes back the last decision; see `restored`. */
  restore(key) {
    this.#change(key, sentence => (sentence.decision === 'struck' && sentence.known.decision !== 'struck'
      ? worded({ ...sentence, decision: 'drafted' }, sentence.text) : restored(sentence)));
  }

  /** Gives a sentence other words; without words it is struck. */
  edit(key, text) {
    const words = text.replace(/\s+/g, ' ').trim();
    const now = this.sentence(key);
    if (!now || now.text === words) return;
    if (words) this.#change(key, sentence => ({ ...worded(sentence, words), mine: null }));
    else this.strike(key);
  }

  /** Makes a sentence again what it was. @param {Sentence} before */
  putBack(before) {
    this.#change(before.key, () => before);
  }

  /** After a conflict: puts one's own words back, or lets them go. */
  settle(key, useMine) {
    const { mine } = this.sentence(key) ?? {};
    if (useMine && mine) this.edit(key, mine);
    this.#change(key, sentence => ({ ...sentence, mine: null }));
  }

  /** Accepts what nobody has decided on and the findings bear out. */
  acceptSupported() {
    const open = this.sentences.filter(({ decision }) => decision === 'drafted');
    open.filter(sentence => evidenceOf(sentence).support === 'supported').forEach(({ key }) => this.accept(key));
  }

  /** @returns {string|null} key of the sentence that was added at the end of a section */
  add(section, text) {
    const words = text.replace(/\s+/g, ' ').trim();
    if (!words || !this.editable) return null;
    const key = newKey();
    const sentence = { key, section, text: words, decision: 'added', known: {}, drafted: null, mine: null };
    const order = this.sectionNames;
    const place = this.sentences.findLastIndex(one => order.indexOf(one.section) <= order.indexOf(section));
    this.#replace(this.sentences.toSpliced(place + 1, 0, sentence));
    return key;
  }

  beginAmend() {
    this.amending = this.isFinal;
  }

  #change(key, change) {
    this.#replace(this.sentences.map(sentence => (sentence.key === key ? change(sentence) : sentence)));
  }

  #replace(sentences) {
    if (this.editable) this.sentences = sentences;
  }
}

/** Unique among all reports. */
function newKey() {
  count += 1;
  return `sentence-${count}`;
}

const pick = (values, names) => values && Object.fromEntries(names.map(name => [name, values[name]]));

function acceptedAs({ decision, drafted, text }) {
  if (drafted === null) return 'added';
  return text === drafted ? 'accepted' : decision === 'struck' ? 'edited' : decision;
}
