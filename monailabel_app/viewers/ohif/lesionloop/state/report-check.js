// SPDX-License-Identifier: Apache-2.0
/**
 * What the measurements say of a person's own words: a hint beside the sentence, which decides nothing.
 *
 * @typedef {import('./report-sentences.js').Sentence} Sentence
 * @typedef {import('./report-session.js').ReportSession} ReportSession
 *
 * @typedef {Object} Hint as POST /reports/{image}/check answers
 * @property {string} text the words that it is of
 * @property {import('./report-sentences.js').Support} support
 * @property {string} reason why not supported; '' where it is
 * @property {number[]} finding_ids the lesions that they speak of
 */
import { evidenceOf } from './report-sentences.js';

const CHECKED = ['findings', 'impression'];
const OWN = ['edited', 'added'];
const MOST = 100;
const LONGEST = 2000;

/**
 * @param {ReportSession|null} session
 * @param {Sentence} sentence
 * @returns {Hint|null} null where nothing can be said
 */
export function hintOf(session, sentence) {
  const hint = isOwn(sentence) ? session?.hints.get(sentence.key) : null;
  return hint?.text === sentence.text && hint.support !== 'not_assessed' ? hint : null;
}

/** @returns {number[]} the findings that a sentence speaks of: as it is written now where that is known */
export function findingIdsOf(session, sentence) {
  const hinted = hintOf(session, sentence)?.finding_ids;
  return hinted?.length ? hinted : evidenceOf(sentence).findingIds;
}

const isOwn = sentence => OWN.includes(sentence.decision) && evidenceOf(sentence).support === 'not_assessed';

/**
 * What a draft was written of, as POST /reports/{image}/check takes it.
 *
 * @param {Object} answer of POST /infer/{model}
 * @param {{name: string, source: string}} model
 * @param {number|null} timePoint of a dynamic image
 * @returns {Object}
 */
export function evidenceOfDraft({ findings, opinions, earlier }, { name, source }, timePoint) {
  const measured = source ? { findings: findings ?? [], earlier: earlier ?? null } : {};
  return { model: name, opinions: opinions ?? {}, ...measured, ...(timePoint !== null && { time_point: timePoint }) };
}

/**
 * What a person's words are compared with: what the draft was written of; of a report that was drafted before, the
 * lesions as they are stored, and nothing of earlier visits.
 *
 * @param {ReportSession} session
 * @param {import('./desk.js').Desk} desk
 * @returns {Object|null} null where nothing fits, or a lesion is not decided on or not measured
 */
export function evidenceFor({ evidence, base, imageId }, { models, session }) {
  if (evidence) return evidence;
  const isMeant = ({ name, fits }) => (base.model ? name === base.model : fits);
  const model = models.find(one => one.type === 'report' && one.source && isMeant(one));
  if (!model || session?.imageId !== imageId) return null;
  const findings = storedFindings(session.lesions);
  const timePoint = session.frames.time_point;
  return findings && { model: model.name, findings, ...(timePoint !== null && { time_point: timePoint }) };
}

function storedFindings(lesions) {
  const kept = lesions.filter(({ status }) => status !== 'deleted');
  const findings = kept.map(one => (one.status === 'accepted' && !one.edited ? one.outline ?? one.finding : null));
  const ids = new Set(findings.map(finding => finding?.id));
  if (!kept.length || ids.size < kept.length || !findings.every(isMeasured)) return null;
  return findings;
}

function isMeasured(finding) {
  const { long_axis: long, width, height } = finding?.measurements ?? {};
  return Boolean(long || (width && height));
}

/** Asks the server after each edit, once for all sentences that have new words. */
export class ReportCheck {
  #requests;
  #desk;
  #tell;
  #waiting = new Set();

  /**
   * @param {import('./report-requests.js').ReportRequests} requests
   * @param {import('./desk.js').Desk} desk
   * @param {() => void} tell that there are new hints
   */
  constructor(requests, desk, tell) {
    this.#requests = requests;
    this.#desk = desk;
    this.#tell = tell;
  }

  /** Somebody has ended an edit. @param {ReportSession|null} session */
  soon(session) {
    if (!session || this.#waiting.has(session)) return;
    this.#waiting.add(session);
    setTimeout(() => {
      this.#waiting.delete(session);
      this.#ask(session);
    });
  }

  async #ask(session) {
    const isOpen = sentence => isOwn(sentence) && CHECKED.includes(sentence.section) && sentence.text.trim()
      && sentence.text.length <= LONGEST && session.hints.get(sentence.key)?.text !== sentence.text;
    const open = session.sentences.filter(isOpen).slice(0, MOST);
    const evidence = open.length ? evidenceFor(session, this.#desk) : null;
    if (!evidence) return;
    const sentences = open.map(({ text, known }) => ({ text, finding_ids: known.finding_ids ?? [] }));
    try {
      const answer = await this.#requests.check(session.imageId, { ...evidence, sentences });
      answer.sentences.forEach((hint, index) => session.hints.set(open[index].key, hint));
      this.#tell();
    } catch {
      // without an answer there is no hint; the report is worked on as before
    }
  }
}
