// SPDX-License-Identifier: Apache-2.0
/** A question with a few answers, as a native modal dialog. */
import { showDialog } from './dialog.js';
import { h } from './dom.js';
import { addStyles } from './styles.js';

let dialogs = 0;

/**
 * @typedef {Object} Choice
 * @property {string} value handed back
 * @property {string} text on the button
 * @property {'primary'|'danger'|''} [look]
 */

/**
 * Asks a question. Escape and Cancel answer null; the focus returns to where it was.
 *
 * @param {Object} question
 * @param {string} question.title
 * @param {string} question.text what each answer means
 * @param {Choice[]} question.choices
 * @param {string} [question.cancel] text of the button that answers null; it has the focus, so that Enter alone
 *     decides nothing
 * @returns {Promise<string|null>} value of the choice
 */
export function choose({ title, text, choices, cancel = 'Cancel' }) {
  addStyles();
  const id = `ll-dialog-${(dialogs += 1)}`;
  const dialog = h('dialog', { class: 'll-dialog', 'aria-labelledby': `${id}-title`, 'aria-describedby': `${id}-text`,
    dataset: { testid: 'choices' } });
  const button = ({ value, text: words, look }) => h('button', {
    class: `ll-button${look ? ` ll-${look}` : ''}`, type: 'button', autofocus: value === '', dataset: { choice: value },
    on: { click: () => dialog.close(value) },
  }, words);
  dialog.append(h('h2', { id: `${id}-title` }, title), h('p', { id: `${id}-text` }, text),
    h('div', { class: 'll-choices' }, choices.map(button), button({ value: '', text: cancel })));
  return showDialog(dialog).then(answer => answer || null);
}

/**
 * Asks what becomes of findings that nobody has looked at.
 *
 * @param {number} count of them
 * @param {boolean} others whether there are accepted findings besides
 * @returns {Promise<'accept'|'leave'|null>}
 */
export function chooseUnreviewed(count, others) {
  const many = count > 1;
  const them = many ? 'them' : 'it';
  return choose({
    title: many ? `${count} findings are not reviewed` : '1 finding is not reviewed',
    text: `Accept ${them} to store ${them} as correct. Left out, ${many ? 'they are' : 'it is'} not stored: neither `
      + `boxes nor outline.${others ? '' : ' The image is then stored as one without lesions.'}`,
    choices: [{ value: 'accept', text: `Accept ${them}`, look: 'primary' },
      { value: 'leave', text: `Leave ${them} out` }],
  });
}
