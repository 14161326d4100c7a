// SPDX-License-Identifier: Apache-2.0
/** The report of the open image: how far it has come, its words and what bears them out, what can be done with it. */
import './report-bar.js';
import './report-draft.js';
import './report-styles.js';
import './report-text.js';
import './report-versions.js';
import { WorkspaceElement, h, setText } from './dom.js';
import { byWhom, statusBadge, statusText } from './report-words.js';

/** <lesionloop-report> */
export class ReportRoom extends WorkspaceElement {
  #badge = h('span', { class: 'll-badge', dataset: { testid: 'report-status' } });
  #status = h('p', { class: 'll-muted' });
  #head = h('div', { class: 'll-report-head' }, this.#badge, this.#status);
  #behind = h('p', { class: 'll-muted ll-report-behind' }, 'Lesions were stored after this was drafted: a sentence may lead '
    + 'to another lesion than it speaks of. Check each, or draft again.');
  #conflict = h('div', { role: 'alert', dataset: { testid: 'report-conflict' } });
  #shown = null;

  build() {
    this.dataset.testid = 'report-room';
    const part = name => h(`lesionloop-report-${name}`, { workspace: this.workspace });
    this.append(this.#head, this.#behind, this.#conflict, h('div', { class: 'll-report-scroll', tabindex: -1 },
      part('draft'), part('text'), part('versions')), part('bar'));
  }

  render(what) {
    if (!['all', 'image', 'report', 'session'].includes(what)) return;
    const session = this.workspace.reports?.session ?? null;
    this.#head.hidden = !session;
    if (session) {
      const [word, look] = statusBadge(session);
      setText(this.#badge, word);
      this.#badge.className = `ll-badge ${look}`;
      setText(this.#status, statusText(session));
      this.#status.title = this.#status.textContent;
    }
    this.#behind.hidden = !this.workspace.reports?.isBehind;
    this.#showConflict(session?.conflict ?? null);
  }

  #showConflict(conflict) {
    if (conflict === this.#shown) return;
    this.#shown = conflict;
    this.#conflict.replaceChildren(...(conflict ? [this.#question(conflict.report)] : []));
  }

  #question(report) {
    const act = (testid, text, change) => h('button', { class: 'll-button ll-small', type: 'button',
      dataset: { testid }, on: { click: () => this.workspace.reports.edit(change) } }, text);
    return h('div', { class: 'll-notice ll-warning' }, h('div', {},
      h('p', {}, h('span', { 'aria-hidden': 'true' }, '! '), `Meanwhile version ${report.version} was stored: `
        + `${report.status} ${byWhom(report)}. Nothing of yours is stored yet.`),
      h('div', { class: 'll-conflict-choices' },
        act('take-over', 'Read it, keep my words', session => session.takeOver()),
        act('take-theirs', 'Drop my words', session => session.load(session.conflict)))));
  }
}

customElements.define('lesionloop-report', ReportRoom);
