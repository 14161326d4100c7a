// SPDX-License-Identifier: Apache-2.0
/** Who submits, what would be stored, what is stored. */
import { chooseUnreviewed } from './choices.js';
import { WorkspaceElement, h, plural, setAttribute, setText, timeText } from './dom.js';
import { partsToStore } from '../state/storing.js';

/**
 * Submits, after asking what becomes of findings that nobody has reviewed.
 *
 * @param {import('../state/workspace.js').Workspace} workspace
 * @returns {Promise<void>}
 */
async function submitWithQuestion(workspace) {
  const open = workspace.session?.unreviewed().length ?? 0;
  const accepted = workspace.session?.lesions.some(({ status }) => status === 'accepted');
  const answer = open ? await chooseUnreviewed(open, Boolean(accepted)) : 'leave';
  if (answer) await workspace.submit({ unreviewed: answer });
}

/** <lesionloop-submit> */
export class SubmitBar extends WorkspaceElement {
  #name = h('input', { class: 'll-input', type: 'text', maxlength: 64, autocomplete: 'name', spellcheck: 'false',
    dataset: { testid: 'user-name' } });
  #send = h('button', { class: 'll-button ll-primary', type: 'button', dataset: { testid: 'submit' },
    'aria-describedby': 'lesionloop-to-store' }, 'Submit');
  #toStore = h('p', { id: 'lesionloop-to-store' });
  #badge = h('span', { class: 'll-badge ll-warn' }, '! Not saved');
  #stored = h('p', { class: 'll-muted ll-stored' });

  build() {
    this.#name.addEventListener('change', () => this.workspace.setUser(this.#name.value.trim()));
    this.#send.addEventListener('click', () => submitWithQuestion(this.workspace));
    this.append(this.#toStore, this.#stored, h('div', { class: 'll-submit-row' },
      h('label', { class: 'll-field' }, h('span', {}, 'Your name'), this.#name),
      h('div', { class: 'll-submit-side' }, h('div', { role: 'status' }, this.#badge), this.#send)));
  }

  render(what) {
    if (!['all', 'image', 'session', 'info', 'busy'].includes(what)) return;
    const { workspace } = this;
    if (document.activeElement !== this.#name) this.#name.value = workspace.user ?? '';
    this.#name.readOnly = Boolean(workspace.loggedIn);
    this.#name.title = workspace.loggedIn ? 'You are logged in under this name.' : 'Kept with what you submit.';
    const reason = reasonAgainst(workspace);
    this.#send.disabled = Boolean(reason);
    setAttribute(this.#send, 'title', reason || 'Store the findings and the mask');
    setText(this.#toStore, reason || toStoreText(workspace.session));
    this.#badge.hidden = !isDirty(workspace.session);
    setText(this.#stored, storedText(workspace.session));
    this.#stored.hidden = !this.#stored.textContent;
  }
}

const isDirty = session => Boolean(session && (session.dirty.boxes || session.dirty.mask));

function reasonAgainst({ image, session, busy }) {
  if (busy) return `Wait until this is done: ${busy.title}.`;
  if (!session) return image ? 'This image cannot be labelled.' : 'No image is open.';
  if (session.unreviewed().length) return '';
  const looked = session.searched || session.lesions.length || session.stored.boxes || isDirty(session);
  if (!looked) return 'Nothing to store yet.';
  return partsToStore(session).length ? '' : 'Nothing new to store.';
}

function toStoreText(session) {
  const kept = session.lesions.filter(({ status }) => status !== 'deleted').length;
  const open = session.unreviewed().length;
  const lesions = (kept ? plural(kept, 'lesion') : 'no lesions') + (open ? ` (${open} not reviewed)` : '');
  return `To store: ${lesions}${partsToStore(session).includes('mask') ? ' and the mask' : ''}`;
}

function storedText(session) {
  const stored = session?.stored ?? {};
  const words = Object.entries({ Findings: stored.boxes, Mask: stored.mask }).filter(([, entry]) => entry)
    .map(([what, { user, time }]) => [what, [user && `by ${user}`, timeText(time)].filter(Boolean).join(', ')]);
  if (!words.length) return '';
  const same = words.length === 2 && words[0][1] === words[1][1];
  const list = same ? `Stored ${words[0][1]}` : words.map(([what, who]) => `${what} stored ${who}`)
    .join('; ');
  return `${list.trim()}.`;
}

customElements.define('lesionloop-submit', SubmitBar);
