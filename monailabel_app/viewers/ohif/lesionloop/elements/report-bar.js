// SPDX-License-Identifier: Apache-2.0
/** Who answers for the report; storing, signing and amending it. */
import './report-styles.js';
import { WorkspaceElement, h, setAttribute, setText } from './dom.js';
import { confirmSignature } from './report-sign.js';
import { progressText } from './report-words.js';

/** <lesionloop-report-bar> */
export class ReportBar extends WorkspaceElement {
  #words = h('p', { id: 'lesionloop-report-words', role: 'status', dataset: { testid: 'report-words' } });
  #badge = h('span', { class: 'll-badge ll-warn' }, '! Not saved');
  #all = this.#button('accept-supported', 'Accept supported', session => session.acceptSupported(), 'll-small');
  #name = h('input', { class: 'll-input', type: 'text', maxlength: 64, autocomplete: 'name', spellcheck: 'false',
    dataset: { testid: 'report-name' } });
  #reason = h('input', { class: 'll-input', type: 'text', maxlength: 2000, dataset: { testid: 'amend-reason' },
    on: { input: event => this.workspace.reports.edit(session => { session.reason = event.target.value; }) } });
  #reasonField = h('label', { class: 'll-field' }, 'Reason for the amendment', this.#reason);
  #save = h('button', { class: 'll-button', type: 'button', dataset: { testid: 'save-report' },
    on: { click: () => this.workspace.reports.save() } }, 'Save');
  #sign = h('button', { class: 'll-button ll-primary', type: 'button', dataset: { testid: 'sign-report' },
    'aria-describedby': 'lesionloop-report-words', on: { click: () => this.#signNow() } }, 'Sign …');
  #amend = this.#button('amend-report', 'Amend …', session => session.beginAmend());
  #cancel = this.#button('cancel-amend', 'Cancel', session => session.discard());

  #button(testid, text, change, look = '') {
    return h('button', { class: `ll-button ${look}`, type: 'button', dataset: { testid },
      on: { click: () => this.workspace.reports.edit(change) } }, text);
  }

  build() {
    this.#name.addEventListener('change', () => this.workspace.setUser(this.#name.value.trim()));
    this.append(h('div', { class: 'll-bar-line' }, this.#words, this.#badge, this.#all), this.#reasonField,
      h('div', { class: 'll-submit-row' }, h('label', { class: 'll-name' }, 'Name', this.#name), this.#amend,
        this.#cancel, this.#save, this.#sign));
  }

  render(what) {
    if (!['all', 'image', 'info', 'busy', 'report'].includes(what)) return;
    const { reports, loggedIn, user } = this.workspace;
    const session = reports?.session ?? null;
    this.hidden = !session;
    if (!session) return;
    if (document.activeElement !== this.#name) this.#name.value = user ?? '';
    this.#name.readOnly = Boolean(loggedIn);
    this.#name.title = loggedIn ? 'You are logged in under this name.' : 'Kept with what you store and sign.';
    if (document.activeElement !== this.#reason) this.#reason.value = session.reason;
    this.#updateButtons(session, reports.writing);
  }

  #updateButtons(session, writing) {
    const { isFinal, amending, editable } = session;
    const changed = session.dirty || session.isProposal || writing;
    const reason = this.#against(session, writing);
    setText(this.#words, isFinal && !amending ? 'Signed words are never changed.' : reason || progressText(session));
    this.#words.title = session.undecided().length ? 'Accept, edit or strike each before signing.' : '';
    this.#badge.hidden = !session.dirty;
    this.#all.hidden = !editable || !session.sentences.some(({ decision, known }) => decision === 'drafted'
      && known.support === 'supported');
    this.#reasonField.hidden = this.#cancel.hidden = !amending;
    this.#amend.hidden = !isFinal || amending;
    this.#amend.disabled = !session.editable && !isFinal;
    this.#save.hidden = isFinal;
    this.#sign.hidden = isFinal && !amending;
    this.#save.disabled = Boolean(this.#blocked(session)) || !changed;
    this.#sign.disabled = Boolean(reason);
    setAttribute(this.#sign, 'title', reason || null);
  }

  #blocked(session) {
    const { busy } = this.workspace;
    if (busy) return `Wait until this is done: ${busy.title}.`;
    return session.conflict ? 'Decide first what becomes of the other version.' : '';
  }

  /** Why it cannot be signed yet. */
  #against(session, writing) {
    const open = session.undecided().length;
    if (this.#blocked(session)) return this.#blocked(session);
    if (session.amending && !session.dirty && !writing) return 'Change a sentence to amend it.';
    if (session.amending && !session.reason.trim()) return 'Give the reason for the amendment.';
    if (open) return progressText(session);
    if (!session.length && !writing) return 'Nothing is written yet.';
    return '';
  }

  async #signNow() {
    const { reports } = this.workspace;
    this.workspace.setUser(this.#name.value.trim());
    const name = this.workspace.user;
    if (!name) {
      this.workspace.say('warning', 'Enter your name: it stands under the report.');
      this.#name.focus();
      return;
    }
    const { session } = reports;
    const { length, amending, reason } = session;
    const unsupported = session.unsupported();
    if (await confirmSignature({ name, count: length, unsupported, reason: amending ? reason : '' })) {
      await (amending ? reports.amend() : reports.sign());
    }
  }
}

customElements.define('lesionloop-report-bar', ReportBar);
