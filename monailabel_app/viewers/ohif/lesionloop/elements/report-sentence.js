// SPDX-License-Identifier: Apache-2.0
/** One sentence of a report: its words, how far the findings bear it out, and what a person can do with it. */
import { hintOf } from '../state/report-check.js';
import { evidenceOf, isDoubtful, written } from '../state/report-sentences.js';
import { h, percent, setAttribute, setText } from './dom.js';
import { textBox } from './report-box.js';
import { evidenceView } from './report-evidence.js';
import { DECISIONS, SUPPORT, hintText, placeText } from './report-words.js';

const TITLES = { accept: 'Accept (A)', edit: 'Edit (Enter)', strike: 'Strike out (X)', restore: 'Take back (U)' };
const KEYS = { a: 'accept', x: 'strike', Delete: 'strike', u: 'restore' };
let rows = 0;

export class SentenceRow {
  #workspace;
  #sentence = null;
  #box = null;
  #parts = {};
  #shown = '';
  #wasSelected = false;

  /**
   * @param {import('../state/workspace.js').Workspace} workspace
   * @param {string} key of the sentence
   */
  constructor(workspace, key) {
    this.#workspace = workspace;
    this.key = key;
    const id = `ll-sentence-${(rows += 1)}`;
    this.text = h('button', { class: 'll-sentence-text', type: 'button', 'aria-describedby': id,
      dataset: { testid: 'sentence-text' }, on: {
        pointerdown: () => { this.#wasSelected = this.#session.selected === key; },
        focus: () => this.#workspace.reports.select(key),
        click: event => this.#onClick(event), keydown: event => this.#onKey(event) } });
    this.node = this.#make(id);
  }

  get #session() {
    return this.#workspace.reports.session;
  }

  #make(id) {
    const act = (testid, mark) => h('button', { class: 'll-button ll-icon', type: 'button', dataset: { testid },
      on: { click: () => this.#do(testid) } }, mark);
    const parts = {
      support: h('span', { class: 'll-support', dataset: { testid: 'support' } }),
      confidence: h('span', { class: 'll-number', title: 'Confidence' }), badge: h('span', { class: 'll-badge' }),
      accept: act('accept', '✓'), edit: act('edit', '✎'), strike: act('strike', '✕'), restore: act('restore', '↺'),
      hint: h('div', { class: 'll-muted ll-hint-words', role: 'status', dataset: { testid: 'hint' } }),
      mine: h('div', { class: 'll-mine', hidden: true }), evidence: h('div', {}),
    };
    this.#parts = parts;
    const { support, confidence, badge, accept, edit, strike, restore } = parts;
    return h('li', { class: 'll-sentence', dataset: { testid: 'sentence' } }, this.text,
      h('div', { class: 'll-sentence-meta' }, h('span', { id }, support, ' ', confidence, ' ', badge),
        h('span', { class: 'll-sentence-actions' }, restore, accept, edit, strike)),
    parts.hint, parts.mine, parts.evidence);
  }

  /**
   * @param {import('../state/report-sentences.js').Sentence} sentence as it is now
   * @param {number} number in its section
   */
  update(sentence, number) {
    this.#sentence = sentence;
    const session = this.#session;
    const { support, confidence } = evidenceOf(sentence);
    setText(this.text, sentence.text);
    setAttribute(this.node, 'aria-current', session.selected === this.key ? 'true' : null);
    setAttribute(this.node, 'data-doubtful', isDoubtful(sentence));
    Object.assign(this.node.dataset, { support, decision: sentence.decision });
    this.#updateSupport(support, confidence, hintOf(session, sentence));
    this.#updateBadge(sentence);
    this.#updateActions(sentence, placeText(sentence, number), session.editable);
    this.#updateMine(sentence, session.editable);
    this.#updateEvidence(sentence, session);
    if (!session.editable) this.#closeBox();
  }

  /** Own words have the mark of what the measurements say of them, which decides nothing. */
  #updateSupport(known, confidence, hint) {
    setText(this.#parts.confidence, confidence === null ? '' : percent(confidence));
    setText(this.#parts.hint, hint ? hintText(hint) : '');
    const node = this.#parts.support;
    const support = hint?.support ?? known;
    if (node.dataset.support === support) return;
    const [mark, word, title, look] = SUPPORT[support];
    node.dataset.support = support;
    node.className = `ll-support ${look}`;
    node.title = title;
    node.replaceChildren(h('span', { 'aria-hidden': 'true' }, `${mark} `), word);
  }

  #updateBadge(sentence) {
    const { badge } = this.#parts;
    const doubtful = isDoubtful(sentence);
    setText(badge, doubtful ? '! decide' : DECISIONS[sentence.decision]);
    badge.className = `ll-badge ${doubtful ? 'll-warn' : sentence.decision === 'accepted' ? 'll-good' : ''}`;
    badge.hidden = !badge.textContent;
  }

  #updateActions({ decision, known, text }, place, editable) {
    const isStruck = decision === 'struck';
    const touched = isStruck || decision === 'accepted' || decision === 'edited' || (known.text ?? text) !== text;
    this.#show('accept', editable && decision === 'drafted', `Accept ${place}`);
    this.#show('edit', editable && !isStruck && !this.#box, `Edit ${place}`);
    this.#show('strike', editable && !isStruck, `Strike out ${place}`);
    this.#show('restore', editable && touched, `Take back what was done to ${place}`);
  }

  /** A button that goes away hands its focus to the sentence. */
  #show(name, shown, words) {
    const button = this.#parts[name];
    const focused = button === document.activeElement;
    button.hidden = !shown;
    setAttribute(button, 'aria-label', words);
    button.title = TITLES[name];
    if (focused && !shown) this.text.focus();
  }

  #updateMine({ mine, text }, editable) {
    const { mine: box } = this.#parts;
    box.hidden = !mine || !editable;
    if (box.hidden || box.dataset.text === mine) return;
    box.dataset.text = mine;
    const settle = useMine => this.#workspace.reports.edit(session => session.settle(this.key, useMine));
    box.replaceChildren(h('p', {}, h('span', { class: 'll-muted' }, 'You had written: '), mine),
      h('div', { class: 'll-chips' },
        h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'use-mine' },
          on: { click: () => settle(true) } }, 'Use my words'),
        h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'keep-theirs' }, title: text,
          on: { click: () => settle(false) } }, 'Keep theirs')));
  }

  /** Made anew only where it says something else, so that the focus stays in it. */
  #updateEvidence(sentence, session) {
    const selected = session.selected === this.key;
    const lesions = this.#workspace.reports.lesionsOf(sentence).map(({ key, label, status }) => [key, label, status]);
    const shown = selected ? JSON.stringify([written([sentence]), session.editable, lesions]) : '';
    if (shown === this.#shown) return;
    this.#shown = shown;
    const choose = session.editable ? text => this.#workspace.reports.edit(one => one.edit(this.key, text)) : null;
    const view = selected ? evidenceView(this.#workspace, sentence, choose) : null;
    const hadFocus = this.#parts.evidence.contains(document.activeElement);
    this.#parts.evidence.replaceChildren(...(view ? [view] : []));
    if (selected) requestAnimationFrame(() => this.node.scrollIntoView({ block: 'nearest' })); // once it has its height
    if (hadFocus) this.text.focus();
  }

  // --- what a person does

  #do(action) {
    if (action === 'edit') this.#openBox();
    else this.#workspace.reports.edit(session => session[action](this.key));
  }

  /** A click shows where a sentence leads, the next one edits it; so does Enter. */
  #onClick(event) {
    const byKey = event.detail === 0;
    if ((byKey || this.#wasSelected) && this.#session.editable && this.#sentence.decision !== 'struck') this.#openBox();
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = event.key === 'F2' || event.key === 'e' ? 'edit' : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    if (!this.#parts[action].hidden) this.#do(action);
  }

  #openBox() {
    if (this.#box) return;
    const { reports } = this.#workspace;
    const before = this.#sentence;
    reports.select(this.key);
    const { session } = reports;
    const edit = text => reports.edit(one => one.edit(this.key, text), session);
    const close = hasLeft => {
      this.#closeBox();
      if (!hasLeft && this.node.isConnected) this.text.focus();
    };
    this.#box = textBox({ reports, label: 'Words of the sentence', text: before.text, testid: 'edit-sentence',
      written: text => text.trim() && edit(text),
      done: (text, hasLeft) => {
        edit(text);
        close(hasLeft);
      },
      cancel: () => {
        reports.edit(one => one.putBack(before), session);
        close(false);
      } });
    this.text.hidden = true;
    this.text.before(this.#box);
    this.#box.focus();
    this.#box.setSelectionRange(before.text.length, before.text.length);
  }

  #closeBox() {
    const box = this.#box;
    this.#box = null;
    if (!box) return;
    this.text.hidden = false;
    box.remove();
  }
}
