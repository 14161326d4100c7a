// SPDX-License-Identifier: Apache-2.0
/** The images of the store, each with what has become of its report. */
import { h, keyedList, plural, setAttribute, setText } from '/ohif/lesionloop/elements/dom.js';

const STATUS = { signed: ['✓ signed', 'll-good'], amended: ['✓ amended', 'll-good'],
  corrected: ['not signed', 'll-warn'], draft: ['draft', 'll-warn'] };

/**
 * @param {Object} listing answer of GET /datastore/?output=all
 * @returns {(import('/ohif/lesionloop/types.js').ImageRef & {suffix: string, report: string})[]} by patient and date;
 *     report: its status, '' without one
 */
export function imagesOf({ objects }) {
  const images = Object.entries(objects).map(([id, { image, labels }]) => {
    const { info = {}, ext = '' } = image;
    return { id, studyUid: info.StudyInstanceUID ?? '', viewportId: 'page', modality: info.Modality ?? '',
      description: info.SeriesDescription ?? '', patientId: info.PatientID ?? info.patient ?? id,
      date: String(info.StudyDate ?? '').replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3'), suffix: ext.toLowerCase(),
      report: labels.report ? statusOf(labels.report.info ?? {}) : '', frameCount: 0 };
  });
  return images.sort((a, b) => a.patientId.localeCompare(b.patientId, 'en', { numeric: true })
    || a.date.localeCompare(b.date) || a.id.localeCompare(b.id));
}

/** A PACS says it in the series description; other stores only whether a person has stored it. */
function statusOf({ SeriesDescription: words = '', user }) {
  const [, status] = /^report: (\w+)/.exec(words) ?? [];
  return STATUS[status] ? status : user ? 'corrected' : 'draft';
}

/** <rp-list>: `show(images)`; emits 'choose' with detail.image. */
export class ImageList extends HTMLElement {
  #images = [];
  #current = null;
  #search = h('input', { class: 'll-input', type: 'search', 'aria-label': 'Search patients and series',
    placeholder: 'Search', dataset: { testid: 'search' } });
  #count = h('p', { class: 'll-muted', role: 'status' });
  #list = h('ul', { class: 'rp-images', 'aria-label': 'Images', tabindex: -1 });

  connectedCallback() {
    this.classList.add('ll-root', 'rp-list');
    const title = h('div', {}, h('h1', {}, 'Reports'), h('a', { href: '/' }, 'Start'));
    this.append(h('header', { class: 'rp-list-head' }, title, this.#search, this.#count), this.#list);
    this.#search.addEventListener('input', () => this.#render());
    this.addEventListener('keydown', event => this.#onArrow(event));
  }

  show(images) {
    this.#images = images;
    this.#render();
  }

  /** @param {string} id of the image that is open */
  mark(id) {
    this.#current = id;
    this.#render();
  }

  #render() {
    const words = this.#search.value.trim().toLowerCase();
    const matches = ({ patientId, description, modality, date, report }) => (
      [patientId, description, modality, date, report].join(' ').toLowerCase().includes(words));
    const found = this.#images.filter(matches);
    const open = this.#images.filter(({ report }) => !['signed', 'amended'].includes(report)).length;
    setText(this.#count, this.#images.length ? `${plural(found.length, 'image')}; ${open} without a signed report`
      : 'The store holds no images yet.');
    keyedList(this.#list, found, ({ id }) => id, ({ id }) => this.#make(id),
      (node, image) => this.#update(node, image));
  }

  #make(id) {
    const choose = () => this.dispatchEvent(new CustomEvent('choose', {
      detail: { image: this.#images.find(image => image.id === id) } }));
    return h('li', {}, h('button', { class: 'rp-image', type: 'button', dataset: { testid: 'image' },
      on: { click: choose } }));
  }

  #update(node, { id, patientId, date, modality, description, report }) {
    const [word, look] = STATUS[report] ?? ['no report', ''];
    const button = node.firstChild;
    setAttribute(button, 'aria-current', id === this.#current ? 'true' : null);
    button.dataset.report = report;
    const badge = h('span', { class: `ll-badge ${look}` }, word);
    button.replaceChildren(h('span', {}, h('span', { class: 'll-strong' }, patientId), badge),
      h('span', { class: 'll-muted' }, [date, modality, description].filter(Boolean).join(' · ')));
  }

  #onArrow(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...this.querySelectorAll('.rp-image')];
    const next = step && buttons[buttons.indexOf(event.target) + step];
    if (!next || !buttons.includes(event.target)) return;
    event.preventDefault();
    next.focus();
  }
}

customElements.define('rp-list', ImageList);
