// SPDX-License-Identifier: Apache-2.0
/** The words of a report by section: move through its sentences, add some, and see where each leads. */
import './report-styles.js';
import { stands } from '../state/report-sentences.js';
import { textBox } from './report-box.js';
import { SentenceRow } from './report-sentence.js';
import { sectionTitle } from './report-words.js';
import { WorkspaceElement, h, keyedList, setAttribute, setText } from './dom.js';

const HOVER_MS = 120;

/** <lesionloop-report-text> */
export class ReportText extends WorkspaceElement {
  #sections = h('div', {});
  #parts = new WeakMap();
  #rows = new WeakMap();
  #timer = null;

  build() {
    this.append(this.#sections);
    this.addEventListener('keydown', event => this.#onArrow(event));
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
  }

  render(what) {
    if (!['all', 'image', 'session', 'report', 'info'].includes(what)) return;
    const session = this.workspace.reports?.session ?? null;
    const names = session?.sectionNames ?? [];
    const shown = names.filter(name => session.editable || of(session, name).some(stands));
    const hadFocus = this.contains(document.activeElement);
    keyedList(this.#sections, shown, name => `${session?.imageId} ${name}`, name => this.#makeSection(name),
      (node, name) => this.#updateSection(this.#parts.get(node), name, session));
    const stop = this.#keepOneStop(session);
    if (hadFocus && !this.contains(document.activeElement)) stop?.text.focus();
  }

  #makeSection(name) {
    const parts = {
      list: h('ol', { 'aria-label': sectionTitle(name) }),
      add: h('button', { class: 'll-button ll-icon', type: 'button', title: 'Add a sentence',
        'aria-label': `Add a sentence to ${name.replaceAll('_', ' ')}`, dataset: { testid: 'add-sentence' },
        on: { click: () => this.#openBox(parts, name) } }, '+'),
      place: h('div', { class: 'll-add', hidden: true }),
    };
    const node = h('section', { class: 'll-section', dataset: { section: name } },
      h('div', { class: 'll-section-head' }, h('h2', {}, sectionTitle(name)), parts.add), parts.list, parts.place);
    this.#parts.set(node, parts);
    return node;
  }

  #updateSection({ list, add, place }, name, session) {
    const sentences = of(session, name).filter(sentence => session.editable || stands(sentence));
    add.hidden = !session.editable || !place.hidden;
    list.hidden = !sentences.length;
    keyedList(list, sentences, ({ key }) => key, ({ key }) => this.#makeRow(key),
      (node, sentence, index) => this.#rows.get(node).update(sentence, index + 1));
  }

  #makeRow(key) {
    const row = new SentenceRow(this.workspace, key);
    this.#rows.set(row.node, row);
    row.node.addEventListener('mouseenter', () => this.#hover(key));
    row.node.addEventListener('mouseleave', () => this.#hover(null));
    return row.node;
  }

  /** The viewer follows the pointer once it rests. */
  #hover(key) {
    clearTimeout(this.#timer);
    const { reports } = this.workspace;
    this.#timer = setTimeout(() => reports.point(key && (reports.session?.sentence(key) ?? null)), HOVER_MS);
  }

  #openBox({ add, place }, name) {
    const { reports } = this.workspace;
    const { session } = reports;
    const close = () => {
      place.replaceChildren();
      place.hidden = true;
      add.hidden = !reports.session?.editable;
    };
    const label = `New sentence of ${name.replaceAll('_', ' ')}`;
    const box = textBox({ reports, label, text: '', testid: 'new-sentence',
      isMore: text => text.trim() !== '',
      done: (text, hasLeft) => {
        reports.edit(one => one.add(name, text), session);
        box.value = '';
        if (hasLeft || !text.trim()) close();
        if (!hasLeft && !text.trim()) add.focus();
      },
      cancel: () => {
        close();
        add.focus();
      } });
    place.replaceChildren(box);
    place.hidden = false;
    add.hidden = true;
    box.focus();
  }

  /** One stop for the Tab key: the selected sentence, else the first. */
  #keepOneStop(session) {
    const rows = this.#all();
    const stop = rows.find(row => row.key === session?.selected) ?? rows[0];
    rows.forEach(row => setAttribute(row.text, 'tabindex', row === stop ? 0 : -1));
    return stop;
  }

  #all() {
    return [...this.querySelectorAll('.ll-sentence')].map(node => this.#rows.get(node));
  }

  #onArrow(event) {
    const rows = this.#all();
    const now = rows.findIndex(row => row.text === event.target);
    const place = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (now < 0 || !rows[place]) return;
    event.preventDefault();
    event.stopPropagation();
    rows[place].text.focus();
  }
}

const of = (session, name) => session.sentences.filter(({ section }) => section === name);

customElements.define('lesionloop-report-text', ReportText);
