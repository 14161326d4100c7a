// SPDX-License-Identifier: Apache-2.0
/**
 * How a report, its evidence and its versions are put into words.
 *
 * @typedef {import('../state/report-sentences.js').Sentence} Sentence
 * @typedef {import('../state/report-session.js').ReportSession} ReportSession
 */
import { frameWord, shownFrame } from './findings-words.js';
import { percent, plural, timeText } from './dom.js';

/** Mark, word, explanation and class of what the findings say of a sentence. */
export const SUPPORT = {
  supported: ['✓', 'Supported', 'The findings bear this out.', 'll-good'],
  contradicted: ['≠', 'Contradicted', 'The findings speak against this.', 'll-bad'],
  unsupported: ['?', 'Not supported', 'No finding bears this out.', 'll-warn'],
  not_assessed: ['○', 'Not assessed', 'Nobody has compared this with the findings.', 'll-unknown'],
};

/** What a person has made of a sentence; nothing is said of one that nobody has decided on. */
export const DECISIONS = { drafted: '', accepted: 'accepted', edited: 'edited', struck: 'struck out', added: 'added' };

const HINTS = {
  supported: 'The measurements bear out these words.',
  contradicted: 'The measurements speak against these words',
  unsupported: 'The measurements do not bear out these words',
};

/** @param {import('../state/report-check.js').Hint} hint @returns {string} "... speak against these words: ..." */
export function hintText({ support, reason }) {
  return reason ? `${HINTS[support]}: ${reason}.` : HINTS[support];
}

const STATUS = { draft: 'Draft', corrected: 'Corrected', signed: 'Signed', amended: 'Amended' };
const MOST_FRAMES = 3;

/** @param {string} name of a section @returns {string} "Findings" */
export function sectionTitle(name) {
  const words = name.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** @param {ReportSession} session @returns {[string, string]} the status in a word, and its class */
export function statusBadge({ status, isFinal, isProposal }) {
  if (isFinal) return [`✓ ${STATUS[status]}`, 'll-good'];
  if (status === 'none') return ['No report', ''];
  return [isProposal ? 'New draft' : STATUS[status], status === 'draft' ? 'll-warn' : ''];
}

/** @param {Object} line of a version, or a report @returns {string} "by Dr A, 21 Nov 2026, 14:03" */
export function byWhom({ signer, author, changed_at: changed, signed_at: signed }) {
  const who = signer || author;
  return [who && `by ${who}`, timeText(signed || changed)].filter(Boolean).join(', ');
}

/** @param {ReportSession} session @returns {string} who has made it what it is */
export function statusText({ status, isProposal, base }) {
  if (status === 'none') return 'Write one, or let a model draft it.';
  if (isProposal) return `by ${[base.model, base.model_version].filter(Boolean).join(' ')}, not stored`;
  if (status === 'draft') return `${byWhom(base)}; no person has read it`;
  const reason = base.amendment_reason ? `. Reason: ${base.amendment_reason}` : '';
  return `${byWhom(base)}${reason}`;
}

/** @param {Object} line of a version @returns {string} "2: corrected by Dr A, 21 Nov 2026, 14:03" */
export function versionText(line) {
  return `${line.version}: ${line.status} ${byWhom(line)}`.trim();
}

/** @param {Object} fact @returns {string} "lesion, present, left, 12 x 9.5 mm" */
export function factText({ finding, present, ...rest }) {
  const values = Object.entries(rest).filter(([, value]) => value !== null && value !== '' && value !== undefined);
  return [finding.replaceAll('_', ' '), present === true && 'present', present === false && 'absent',
    ...values.map(([key, value]) => valueText(key, value))].filter(Boolean).join(', ');
}

function valueText(key, value) {
  const [, name, unit] = /^(.*?)(?:_(mm|ml|days))?$/.exec(key);
  const text = [value].flat().map(one => (typeof one === 'number' ? Math.round(one * 10) / 10 : one)).join(' x ');
  if (unit) return `${text} ${unit}`;
  if (typeof value === 'boolean') return value ? name : `not ${name}`;
  return typeof value === 'number' ? `${name.replaceAll('_', ' ')} ${text}` : text;
}

/**
 * The frames that a sentence rests on most, the heaviest first.
 *
 * @param {import('../state/workspace.js').Workspace} workspace
 * @param {Map<number, number>} frames weight by frame index
 * @returns {{index: number, number: number, name: string, share: string}[]} such as slice 12, 70 %
 */
export function frameTexts(workspace, frames) {
  const total = [...frames.values()].reduce((sum, weight) => sum + weight, 0);
  const heaviest = [...frames].filter(([, weight]) => weight > 0).sort(([, a], [, b]) => b - a).slice(0, MOST_FRAMES);
  const word = frameWord(workspace.session);
  return heaviest.map(([index, weight]) => (
    { index, number: shownFrame(workspace, index), name: word, share: percent(weight / total) }));
}

/** @param {Sentence} sentence @returns {string} "Sentence 2 of findings" for screen readers */
export function placeText(sentence, number) {
  return `sentence ${number} of ${sentence.section.replaceAll('_', ' ')}`;
}

/** @param {ReportSession} session @returns {string} how far the work on it has come */
export function progressText(session) {
  const open = session.undecided().length;
  if (open) return `${open} to decide on`;
  const doubted = session.unsupported().length;
  if (doubted) return `${doubted} not supported`;
  return session.length ? plural(session.length, 'sentence') : 'Nothing is written yet.';
}
