// SPDX-License-Identifier: Apache-2.0
/** The last question before a report is signed. */
import { evidenceOf } from '../state/report-sentences.js';
import { showDialog } from './dialog.js';
import { h, plural } from './dom.js';
import { SUPPORT } from './report-words.js';
import { addStyles } from './styles.js';

/**
 * Asks whether to sign. What the findings do not bear out is listed, and has to be confirmed first.
 *
 * @param {{name: string, count: number, unsupported: import('../state/report-sentences.js').Sentence[],
 *     reason?: string}} report reason: of an amendment
 * @returns {Promise<boolean>}
 */
export function confirmSignature({ name, count, unsupported, reason = '' }) {
  addStyles();
  const check = h('input', { type: 'checkbox', dataset: { testid: 'confirm-unsupported' } });
  const sign = h('button', { class: 'll-button ll-primary', type: 'button', disabled: unsupported.length > 0,
    dataset: { testid: 'confirm-sign' }, on: { click: () => dialog.close('sign') } }, `Sign as ${name}`);
  check.addEventListener('change', () => { sign.disabled = !check.checked; });
  const what = reason ? `${plural(count, 'sentence')}, in place of what was signed. Reason: ${reason}`
    : `${plural(count, 'sentence')}. After this the words are never changed, only amended with a reason.`;
  const these = unsupported.length > 1 ? 'these' : 'this';
  const dialog = h('dialog', { class: 'll-dialog', 'aria-labelledby': 'll-sign-title',
    'aria-describedby': 'll-sign-text', dataset: { testid: 'sign-dialog' } },
  h('h2', { id: 'll-sign-title' }, reason ? 'Sign the amendment?' : 'Sign this report?'),
  h('p', { id: 'll-sign-text' }, what),
  unsupported.length > 0 && [h('ul', { class: 'll-unsupported', 'aria-label': 'Not borne out by the findings' },
    unsupported.map(sentence => h('li', {}, supportOf(sentence), sentence.text))),
  h('label', { class: 'll-check' }, check, h('span', {}, `I stand for ${these}, although the findings do not.`))],
  h('div', { class: 'll-choices' }, h('button', { class: 'll-button', type: 'button', autofocus: true,
    dataset: { choice: '' }, on: { click: () => dialog.close('') } }, 'Cancel'), sign));
  return showDialog(dialog).then(answer => answer === 'sign');
}

function supportOf(sentence) {
  const [mark, word, , look] = SUPPORT[evidenceOf(sentence).support];
  return h('span', { class: `ll-support ${look}` }, h('span', { 'aria-hidden': 'true' }, `${mark} `), word);
}
