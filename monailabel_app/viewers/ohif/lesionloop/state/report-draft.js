// SPDX-License-Identifier: Apache-2.0
/**
 * What a report model answers, as the panel takes it.
 *
 * @typedef {import('./report-session.js').Clinical} Clinical
 * @typedef {import('../types.js').Lesion} Lesion
 */
import { fromFinding, pairs } from './merge.js';

const TEXTS = ['indication', 'history', 'prior_report'];
const OF_A_REPORT = ['sections', 'model', 'model_version', 'weights_sha256', 'prior_image'];

/**
 * @param {Clinical} clinical
 * @param {{timePoint: number|null, hasVisits: boolean}} image timePoint: of a dynamic one; hasVisits: the server knows
 *     of which patient it is
 * @returns {Object} the parameters of POST /infer/{model}
 */
export function draftParams(clinical, { timePoint, hasVisits }) {
  const given = TEXTS.map(name => [name, clinical[name].trim()]).filter(([, text]) => text);
  const time = timePoint === null ? {} : { time_point: timePoint };
  return { ...time, ...(clinical.followup && hasVisits && { followup: true }), ...Object.fromEntries(given) };
}

/**
 * @param {Object} answer of POST /infer/{model}: `report`, and the `findings` that it was written of
 * @param {{name: string, version: string}} model
 * @returns {Object|null} the report; null where there is none in it
 */
export function draftOf(answer, model) {
  const given = answer?.report;
  if (!given?.sections) return null;
  const known = Object.fromEntries(OF_A_REPORT.filter(key => given[key]).map(key => [key, given[key]]));
  return { model: model.name, model_version: model.version || '', ...known };
}

/**
 * Which lesions of the panel a draft's findings are.
 *
 * @param {Object[]} findings of the draft
 * @param {Lesion[]} lesions
 * @returns {Map<number, string>} keys by id
 */
export function linkFindings(findings, lesions) {
  const found = findings.map(finding => ({ id: finding.id, ...fromFinding(finding) }));
  const kept = lesions.filter(({ status }) => status !== 'deleted');
  return new Map(pairs(found, kept).map(([{ id }, { key }]) => [id, key]));
}
