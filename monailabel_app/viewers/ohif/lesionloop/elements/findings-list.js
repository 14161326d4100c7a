// SPDX-License-Identifier: Apache-2.0
/** The list of findings: what each is, how large, where, how it has grown; accept, delete, rename, go there. */
import { WorkspaceElement, h, keyedList, setAttribute, setOptions, setText } from './dom.js';
import { detailsOf, framesText, scoreText } from './findings-words.js';
import { OWN_KEYS } from '../ohif/hotkeys.js';

const STATUS = { proposed: ['Proposed', ''], accepted: ['✓ Accepted', 'll-good'], deleted: ['✕ Deleted', 'll-bad'] };

/** <lesionloop-findings> */
export class FindingsList extends WorkspaceElement {
  #heading = h('h2', {}, 'Findings');
  #hint = h('p', { class: 'll-muted ll-hint', role: 'status' });
  #list = h('ul', { class: 'll-list', 'aria-label': 'Findings', dataset: { testid: 'findings' } });
  #parts = new WeakMap();
  #selected = null;
  #all = null;

  build() {
    this.#all = h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'accept-all' },
      on: { click: () => this.workspace.acceptAll() } }, 'Accept all');
    const legend = makeLegend();
    const keys = h('button', { class: 'll-button ll-small ll-link', type: 'button', 'aria-expanded': false,
      'aria-controls': legend.id, title: 'Keyboard shortcuts', on: { click: () => {
        legend.hidden = !legend.hidden;
        setAttribute(keys, 'aria-expanded', !legend.hidden);
      } } }, 'Keys');
    this.append(h('div', { class: 'll-list-head' }, this.#heading, this.#all, keys), legend, this.#hint,
      this.#list);
    this.#list.addEventListener('keydown', event => this.#onArrow(event));
  }

  render(what) {
    if (!['all', 'image', 'session', 'selection', 'pair'].includes(what)) return;
    const { session } = this.workspace;
    const lesions = lesionsOf(session);
    const open = lesions.filter(lesion => lesion.status === 'proposed').length;
    setText(this.#heading, headingText(lesions.length, open));
    this.#all.disabled = !open;
    setText(this.#hint, emptyText(session, lesions));
    this.#hint.hidden = !this.#hint.textContent;
    this.#list.hidden = !lesions.length;
    keyedList(this.#list, lesions, lesion => lesion.key, lesion => this.#makeRow(lesion.key),
      (row, lesion, index) => this.#updateRow(row, lesion, index + 1));
    this.#showSelected(session?.selected ?? null);
  }

  #makeRow(key) {
    const call = (testid, text, act) => h('button', { class: 'll-button ll-icon', type: 'button', dataset: { testid },
      on: { click: event => { event.stopPropagation(); act(); } } }, text);
    const parts = {
      show: h('button', { class: 'll-button ll-icon ll-finding-number', type: 'button', dataset: { part: 'show' } }),
      select: h('select', { class: 'll-input ll-label', dataset: { testid: 'relabel' }, on: {
        click: event => event.stopPropagation(),
        change: event => this.workspace.relabel(key, event.target.value) } }),
      label: h('span', { class: 'll-label ll-strong' }),
      score: h('span', { class: 'll-number ll-muted' }), badge: h('span', { class: 'll-badge' }),
      detail: h('p', { class: 'll-finding-detail ll-muted' }),
      accept: call('accept', '✓', () => this.workspace.accept(key)),
      reject: call('reject', '✕', () => this.workspace.reject(key)),
      restore: call('restore', '↺', () => this.workspace.restore(key)),
    };
    const row = h('li', { class: 'll-finding', dataset: { testid: 'finding' },
      on: { click: () => this.workspace.select(key) } }, parts.show,
      h('div', { class: 'll-finding-head' }, parts.label, parts.select,
        h('span', { class: 'll-finding-actions' }, parts.restore, parts.accept, parts.reject)),
      h('div', { class: 'll-finding-state' }, parts.badge, parts.score), parts.detail);
    this.#parts.set(row, parts);
    return row;
  }

  #updateRow(row, lesion, number) {
    const parts = this.#parts.get(row);
    const { session } = this.workspace;
    const name = `finding ${number}`;
    row.dataset.status = lesion.status;
    setText(parts.show, String(number));
    setAttribute(parts.show, 'aria-label', `Go to ${name}, ${framesText(this.workspace, lesion)}`);
    this.#updateLabel(parts, lesion, name);
    setText(parts.score, scoreText(lesion));
    setText(parts.badge, STATUS[lesion.status][0]);
    parts.badge.className = `ll-badge ${STATUS[lesion.status][1]}`;
    const details = detailsOf(this.workspace, lesion);
    const spans = details.flatMap((text, i) => [i ? ' · ' : '', h('span', { class: 'll-number' }, text)]);
    if (parts.detail.textContent !== details.join(' · ')) parts.detail.replaceChildren(...spans);
    showAction(parts.accept, lesion.status === 'proposed', `Accept ${name}`);
    showAction(parts.reject, lesion.status !== 'deleted', `Delete ${name}`);
    showAction(parts.restore, lesion.status !== 'proposed',
      lesion.status === 'deleted' ? `Restore ${name}` : `Take back the acceptance of ${name}`);
    setAttribute(row, 'aria-current', session.selected === lesion.key ? 'true' : null);
  }

  #updateLabel(parts, lesion, name) {
    const labels = [...new Set([...Object.keys(this.workspace.session.labels ?? {}), lesion.label])];
    const choose = labels.length > 1 && lesion.status !== 'deleted';
    parts.select.hidden = !choose;
    parts.label.hidden = choose;
    setText(parts.label, lesion.label);
    parts.label.title = parts.select.title = lesion.label;
    setAttribute(parts.select, 'aria-label', `Label of ${name}`);
    if (choose) setOptions(parts.select, labels.map(label => ({ value: label, text: label })), lesion.label);
  }

  #showSelected(key) {
    if (key === this.#selected) return;
    this.#selected = key;
    const row = [...this.#list.children].find(node => node.dataset.key === key);
    if (row) requestAnimationFrame(() => row.scrollIntoView({ block: 'nearest' })); // once all parts have their height
  }

  #onArrow(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.dataset.part !== 'show') return;
    event.preventDefault();
    event.stopPropagation();
    const rows = [...this.#list.children];
    const next = rows[rows.indexOf(event.target.closest('li')) + step];
    if (!next) return;
    this.#parts.get(next).show.focus();
    this.workspace.select(next.dataset.key);
  }
}

function makeLegend() {
  const name = keys => keys.split('+').map(key => key[0].toUpperCase() + key.slice(1)).join('+');
  return h('dl', { class: 'll-keys', id: 'lesionloop-keys', hidden: true }, OWN_KEYS.map(({ keys, label }) =>
    h('div', {}, h('dt', {}, h('kbd', {}, keys.map(name).join(' or '))), h('dd', {}, label))));
}

function headingText(count, open) {
  if (!count) return 'Findings';
  return open ? `${open} of ${count} to review` : 'All reviewed';
}

/** A button that goes away hands its focus to the row's first one. */
function showAction(button, shown, words) {
  const focused = button === document.activeElement;
  button.hidden = !shown;
  setAttribute(button, 'aria-label', words);
  button.title = words;
  if (focused && !shown) button.closest('li').querySelector('button').focus();
}

function lesionsOf(session) {
  if (!session) return [];
  const byKey = new Map(session.lesions.map(lesion => [lesion.key, lesion]));
  return session.order().map(key => byKey.get(key));
}

function emptyText(session, lesions) {
  if (!session || lesions.length) return '';
  return session.searched || session.stored.boxes ? 'No lesions found. Draw a box around one that was missed.'
    : 'Not searched yet. Press Find lesions, or draw a box around a lesion.';
}

customElements.define('lesionloop-findings', FindingsList);
