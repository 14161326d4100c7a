// SPDX-License-Identifier: Apache-2.0
/** A box to write a sentence in. */
import { h } from './dom.js';

/**
 * Enter ends it, Escape gives it up, and going elsewhere keeps what was written.
 *
 * @param {Object} how
 * @param {import('../state/reports.js').Reports} how.reports told that somebody is writing
 * @param {string} how.label
 * @param {string} how.text to begin with
 * @param {string} how.testid
 * @param {(text: string, hasLeft: boolean) => void} how.done hasLeft: the person has gone elsewhere, else pressed Enter
 * @param {() => void} how.cancel
 * @param {(text: string) => boolean} [how.isMore] on Enter: whether the box stays for more
 * @param {(text: string) => void} [how.written] while it is being written
 * @returns {HTMLTextAreaElement}
 */
export function textBox({ reports, label, text, testid, done, cancel, isMore = () => false, written = () => {} }) {
  let isOver = false;
  const end = work => {
    if (isOver) return;
    isOver = true;
    reports.write(false);
    work();
  };
  const onKey = event => {
    event.stopPropagation();
    if (event.isComposing || !['Enter', 'Escape'].includes(event.key)) return;
    event.preventDefault();
    if (event.key === 'Escape') end(cancel);
    else if (isMore(event.target.value)) done(event.target.value, false);
    else end(() => done(event.target.value, false));
  };
  return h('textarea', { class: 'll-input ll-edit', rows: 1, 'aria-label': label, value: text, spellcheck: 'true',
    dataset: { testid }, on: { keydown: onKey, input: event => written(event.target.value),
      focus: () => reports.write(true), blur: event => end(() => done(event.target.value, true)) } });
}
