// SPDX-License-Identifier: Apache-2.0
/**
 * The sentences of a report while a person works on them.
 *
 * @typedef {'supported'|'contradicted'|'unsupported'|'not_assessed'} Support
 * @typedef {'drafted'|'accepted'|'edited'|'struck'|'added'} Decision
 *
 * @typedef {Object} Sentence
 * @property {string} key unique within the session; stays when the server gives the sentence its id
 * @property {string} section
 * @property {string} text as it is now
 * @property {Decision} decision as it is now
 * @property {Object} known the sentence as the server, or the model, gave it; {} for one that a person has added
 * @property {string|null} drafted the words that the draft had; null where it had no such sentence
 * @property {string|null} mine words of this person that someone else's words took the place of, after a conflict
 */

/** Sections that every report has room for, in their order. */
export const SECTIONS = ['indication', 'comparison', 'findings', 'impression'];
const DOUBTED = ['contradicted', 'unsupported'];
const NOTHING_KNOWN = { support: 'not_assessed', confidence: null, facts: [], frames: new Map(), words: [] };

/**
 * The sentences of a report.
 *
 * @param {Object} report as the server gives it
 * @param {(sentence: Object, section: string) => string} keyOf
 * @returns {Sentence[]}
 */
export function sentencesOf(report, keyOf) {
  return Object.entries(report.sections).flatMap(([section, part]) => part.map(known => ({
    key: keyOf(known, section), section, text: known.text, decision: known.decision ?? 'drafted', known,
    drafted: report.draft?.[section]?.[known.id] ?? draftedText(report, known), mine: null,
  })));
}

/** A draft is its own draft; a sentence may have moved to another section since. */
function draftedText({ status, draft }, known) {
  if (status === 'draft') return known.text;
  return Object.values(draft ?? {}).map(part => part[known.id]).find(text => text !== undefined) ?? null;
}

/** @param {Sentence} sentence @returns {boolean} whether it is part of the report */
export const stands = ({ decision }) => decision !== 'struck';

/**
 * What bears a sentence out. Evidence was found for the words that it was found for: other words have none.
 *
 * @param {Sentence} sentence
 * @returns {{support: Support, confidence: number|null, findingIds: number[], facts: Object[],
 *     frames: Map<number, number>, words: [string, number][]}}
 */
export function evidenceOf({ known, text }) {
  const findingIds = known.finding_ids ?? [];
  if (known.text !== text) return { ...NOTHING_KNOWN, findingIds };
  const frames = Object.entries(known.frame_attention ?? {}).map(([frame, weight]) => [Number(frame), weight]);
  const assessed = known.support && known.support !== 'not_assessed';
  return { support: known.support ?? 'not_assessed', confidence: assessed ? known.confidence ?? null : null, findingIds,
    facts: known.facts ?? [], frames: new Map(frames.sort(([a], [b]) => a - b)), words: known.word_attention ?? [] };
}

/** @param {Sentence} sentence @returns {boolean} whether the findings speak against it and nobody has decided on it */
export function isDoubtful(sentence) {
  return sentence.decision === 'drafted' && DOUBTED.includes(evidenceOf(sentence).support);
}

/** @param {Sentence} sentence @returns {boolean} whether it stands although no finding bears it out */
export function standsUnsupported(sentence) {
  return stands(sentence) && sentence.text.trim() !== '' && DOUBTED.includes(evidenceOf(sentence).support);
}

/**
 * A sentence with other words.
 *
 * @param {Sentence} sentence
 * @param {string} text
 * @returns {Sentence} edited, or what it was where the words are again those it had
 */
export function worded(sentence, text) {
  const { known, drafted } = sentence;
  if (drafted === null) return { ...sentence, text, decision: 'added' };
  if (text !== drafted) return { ...sentence, text, decision: 'edited' };
  return { ...sentence, text, decision: known.text === text ? known.decision ?? 'drafted' : 'accepted' };
}

/**
 * A sentence as it was before a person touched it in this session; one that was stored as struck or edited goes back to
 * the draft's words.
 *
 * @param {Sentence} sentence
 * @returns {Sentence}
 */
export function restored(sentence) {
  const { known, drafted, decision, text } = sentence;
  const before = { text: known.text, decision: known.decision ?? 'drafted' };
  const isTouched = text !== before.text || decision !== before.decision;
  if (isTouched && known.text !== undefined) return { ...sentence, ...before };
  if (drafted === null) return { ...sentence, decision: 'added' };
  return { ...sentence, text: drafted, decision: 'drafted' };
}

/** @param {Sentence} sentence @returns {Object} as PUT /reports/{image} takes it */
export function toServer({ known, text, decision }) {
  return known.text === undefined ? { text, decision, support: 'not_assessed' } : { ...known, text, decision };
}

/**
 * @param {Sentence[]} sentences
 * @returns {Object<string, Object[]>} the sections as the server takes them, in their order
 */
export function sectionsToServer(sentences) {
  const names = [...SECTIONS, ...sentences.map(({ section }) => section)];
  const parts = [...new Set(names)].map(name => [name, sentences.filter(({ section }) => section === name)]);
  return Object.fromEntries(parts.filter(([, part]) => part.length).map(([name, part]) => [name, part.map(toServer)]));
}

/** @param {Sentence[]} sentences @returns {string} what a save would store, to compare */
export function written(sentences) {
  const words = sentences.map(({ section, known, text, decision }) => [section, known.id ?? '', text, decision]);
  return JSON.stringify(words);
}

/**
 * The text of a report, for a model that reads an earlier one.
 *
 * @param {Object} report as the server gives it
 * @returns {string}
 */
export function plainText(report) {
  const textsOf = part => part.filter(stands).map(({ text }) => text);
  const parts = Object.entries(report.sections).map(([name, part]) => [name, textsOf(part)]);
  return parts.filter(([, texts]) => texts.length).map(([name, texts]) => `${name.toUpperCase()}: ${texts.join(' ')}`)
    .join('\n');
}
