// SPDX-License-Identifier: Apache-2.0
/** The versions of a report: who made each, how much of the draft it changed, and which words. */
import './report-styles.js';
import { stands } from '../state/report-sentences.js';
import { WorkspaceElement, h, keyedList, percent, setAttribute, setOptions, setText } from './dom.js';
import { sectionTitle, versionText } from './report-words.js';

const DRAFT = 'draft';

/** <lesionloop-report-versions>: hidden while nothing is stored. */
export class ReportVersions extends WorkspaceElement {
  #summary = h('summary', { dataset: { testid: 'versions' } });
  #list = h('ul', { class: 'll-version-list', 'aria-label': 'Versions of this report' });
  #from = h('select', { class: 'll-input', dataset: { testid: 'diff-from' } });
  #to = h('select', { class: 'll-input', dataset: { testid: 'diff-to' } });
  #compare = h('button', { class: 'll-button', type: 'button', dataset: { testid: 'diff' } }, 'Compare');
  #fhir = h('a', { target: '_blank', rel: 'noopener', dataset: { testid: 'fhir' } }, 'FHIR (JSON)');
  #looked = h('div', { class: 'll-looked', hidden: true, dataset: { testid: 'looked' } });
  #parts = new WeakMap();
  #shown = null;

  build() {
    this.#compare.addEventListener('click', () => this.workspace.reports.compare(
      this.#from.value === DRAFT ? null : Number(this.#from.value), Number(this.#to.value)));
    this.append(h('details', { class: 'll-fold' }, this.#summary, this.#list,
      h('div', { class: 'll-compare-row' }, h('label', { class: 'll-field' }, 'From', this.#from),
        h('label', { class: 'll-field' }, 'To', this.#to), this.#compare),
      h('p', {}, this.#fhir, h('span', { class: 'll-muted' }, ' of the current version'))), this.#looked);
  }

  render(what) {
    if (!['all', 'image', 'report', 'busy'].includes(what)) return;
    const { reports, busy } = this.workspace;
    const session = reports?.session ?? null;
    const versions = session?.versions ?? [];
    this.hidden = !versions.length;
    if (this.hidden) return;
    setText(this.#summary, versions.length === 1 ? '1 version' : `${versions.length} versions`);
    keyedList(this.#list, [...versions].reverse(), ({ version }) => String(version), line => this.#make(line.version),
      (node, line) => this.#update(this.#parts.get(node), line));
    const names = versions.map(({ version }) => ({ value: String(version), text: `v${version}` }));
    const isSame = this.#shown?.versions === versions;
    setOptions(this.#from, [{ value: DRAFT, text: 'draft' }, ...names], isSame ? this.#from.value : DRAFT);
    setOptions(this.#to, names, isSame ? this.#to.value : String(session.version));
    this.#compare.disabled = Boolean(busy);
    setAttribute(this.#fhir, 'href', reports.fhirUrl(session.version));
    this.#showLooked(session);
    this.#shown = { versions, looking: session.looking };
  }

  #make(number) {
    const parts = {
      text: h('span', {}),
      show: h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'show-version' },
        'aria-label': `Show version ${number}`, on: { click: () => this.workspace.reports.look(number) } }, 'Show'),
    };
    const node = h('li', {}, parts.text, parts.show);
    this.#parts.set(node, parts);
    return node;
  }

  #update({ text }, line) {
    const share = line.status === 'draft' ? '' : `, ${percent(line.changed)} of the draft's words changed`;
    setText(text, versionText(line) + (line.amendment_reason ? `, ${line.amendment_reason}` : '') + share);
  }

  #showLooked({ looking }) {
    this.#looked.hidden = !looking;
    if (!looking || looking === this.#shown?.looking) return;
    const title = looking.kind === 'version' ? `Version ${looking.number}`
      : `${looking.from === null ? 'Draft' : `Version ${looking.from}`} → version ${looking.to}: ${
        percent(looking.change.share)} of the words changed`;
    const close = h('button', { class: 'll-button ll-icon', type: 'button', 'aria-label': 'Close', title: 'Close',
      on: { click: () => this.workspace.reports.look(null) } }, '✕');
    this.#looked.replaceChildren(h('div', { class: 'll-looked-head' }, h('span', { class: 'll-strong' }, title), close),
      looking.kind === 'version' ? versionView(looking) : changeView(looking.change));
    this.#looked.scrollIntoView({ block: 'nearest' });
  }
}

function versionView({ sentences }) {
  return bySection(sentences, ({ text, decision }) => h('p', { class: stands({ decision }) ? '' : 'll-muted' },
    stands({ decision }) ? text : h('s', {}, text)));
}

/** Removed words are struck through, added ones underlined; screen readers hear which is which. */
function changeView({ sentences }) {
  const said = words => h('span', { class: 'll-visually-hidden' }, words);
  const marked = (tag, kind, text) => h(tag, {}, said(`${kind}: `), text, said(' end '));
  const span = ({ kind, text }) => (kind === 'kept' ? text : marked(kind === 'removed' ? 'del' : 'ins', kind, text));
  return bySection(sentences, ({ spans }) => h('p', { dataset: { testid: 'change' } }, spans.map(span)));
}

function bySection(sentences, view) {
  const names = [...new Set(sentences.map(({ section }) => section))];
  return h('div', { class: 'll-diff' }, names.flatMap(name => [h('h3', {}, sectionTitle(name)),
    ...sentences.filter(({ section }) => section === name).map(view)]));
}

customElements.define('lesionloop-report-versions', ReportVersions);
