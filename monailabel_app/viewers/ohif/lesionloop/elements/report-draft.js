// SPDX-License-Identifier: Apache-2.0
/** Lets a model draft the report, from the image and what is written here. */
import './report-styles.js';
import { WorkspaceElement, h, setOptions, setText } from './dom.js';

const FIELDS = { indication: 'Indication', history: 'History', prior_report: 'Earlier report' };

/** <lesionloop-report-draft>: hidden once a person has worked on the report. */
export class ReportDraft extends WorkspaceElement {
  #model = h('select', { class: 'll-input', dataset: { testid: 'report-model' } });
  #start = h('button', { class: 'll-button ll-primary', type: 'button', dataset: { testid: 'draft-report' },
    'aria-describedby': 'lesionloop-draft-reason',
    on: { click: () => this.workspace.reports.draft(this.#model.value) } });
  #reason = h('p', { class: 'll-muted', id: 'lesionloop-draft-reason', role: 'status' });
  #discard = h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'discard-draft' },
    on: { click: () => this.workspace.reports.edit(session => session.discard()) } }, 'Discard the draft');
  #prior = h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'take-prior' },
    on: { click: () => this.workspace.reports.takePrior(this.#earlier()) } });
  #followup = h('input', { type: 'checkbox', dataset: { testid: 'draft-followup' },
    on: { change: event => this.#write('followup', event.target.checked) } });
  #followupField = h('label', { class: 'll-draft-check' }, this.#followup,
    'Write of the stored lesions, and compare with earlier visits');
  #texts = Object.keys(FIELDS).map(name => [name, h('textarea', { class: 'll-input', rows: 1, spellcheck: 'true',
    dataset: { testid: `clinical-${name}` }, on: { input: event => this.#write(name, event.target.value) } })]);
  #row = h('div', { class: 'll-draft-row' }, h('label', { class: 'll-field' }, 'Report model', this.#model),
    this.#start);
  #fold = h('details', { class: 'll-fold', dataset: { testid: 'clinical-text' } });

  build() {
    this.#fold.append(h('summary', {}, 'Clinical text'), h('div', { class: 'll-body' },
      this.#texts.map(([name, box]) => h('label', { class: 'll-field' }, FIELDS[name], box)), this.#prior,
      this.#followupField));
    this.append(this.#row, this.#reason, this.#discard, this.#fold);
  }

  render(what) {
    if (!['all', 'image', 'session', 'info', 'busy', 'report', 'pair'].includes(what)) return;
    const { reports, busy } = this.workspace;
    const session = reports?.session ?? null;
    const fitting = reports?.models.filter(({ fits }) => fits) ?? [];
    const open = Boolean(session?.mayDraft);
    setText(this.#reason, !session || session.status === 'none' ? wordsFor(this.workspace, fitting) : '');
    this.#reason.hidden = !this.#reason.textContent;
    this.#row.hidden = this.#fold.hidden = !open || !fitting.length;
    this.#discard.hidden = !session?.isProposal;
    this.hidden = this.#reason.hidden && this.#row.hidden && this.#discard.hidden;
    setOptions(this.#model, fitting.map(({ name }) => ({ value: name, text: name })),
      fitting.some(({ name }) => name === this.#model.value) ? this.#model.value : fitting[0]?.name ?? '');
    this.#model.closest('label').hidden = fitting.length < 2;
    setText(this.#start, session?.status === 'draft' ? 'Draft again' : 'Draft a report');
    this.#start.disabled = Boolean(busy);
    if (session) this.#showTexts(session, fitting.find(({ name }) => name === this.#model.value));
  }

  #showTexts({ clinical }, model) {
    for (const [name, box] of this.#texts) {
      if (document.activeElement !== box && box.value !== clinical[name]) box.value = clinical[name];
    }
    const earlier = this.#earlier();
    this.#prior.hidden = !earlier;
    setText(this.#prior, `Take the report of ${earlier?.date || 'the visit before'}`);
    this.#prior.disabled = Boolean(this.workspace.busy);
    this.#followup.checked = clinical.followup;
    this.#followupField.hidden = !model?.source || !this.workspace.visits?.length;
  }

  /** @returns {Object|undefined} the visit before the open one */
  #earlier() {
    const { visits, image } = this.workspace;
    return visits?.[visits.findIndex(visit => visit.image === image?.id) - 1];
  }

  #write(name, value) {
    const { session } = this.workspace.reports;
    if (session) session.clinical = { ...session.clinical, [name]: value };
  }
}

function wordsFor({ info, image, models, reports, session }, fitting) {
  if (!info) return 'The server has not said yet which models it has.';
  const all = models.filter(({ type }) => type === 'report');
  if (!all.length) return 'No report model is installed. You can write the report yourself.';
  if (!image || !reports?.session) return image ? 'Reading the report …' : 'Open an image series first.';
  const isBehind = session?.dirty.boxes && 'Submit the lesions first: a draft is written of those that are stored.';
  if (fitting.length) return isBehind || '';
  return `No report model fits this image; you can write the report yourself. ${all.map(({ name, reason }) =>
    `${name}: ${reason}`).join(' ')}`;
}

customElements.define('lesionloop-report-draft', ReportDraft);
