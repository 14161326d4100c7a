// SPDX-License-Identifier: Apache-2.0
/** The follow-up: the patient's other visits, and what has become of each lesion between two of them. */
import './followup-styles.js';
import { WorkspaceElement, days, h, keyedList, setAttribute, setText } from './dom.js';
import { apartText, changeClass, dateText, detailTexts, numberText, percentText, sizesText, sourcesText,
  summaryText } from './followup-words.js';

const COLUMNS = ['Lesion', 'Then → now', 'Change'];

/** <lesionloop-followup> */
export class FollowUp extends WorkspaceElement {
  #hint = h('p', { class: 'll-muted', role: 'status' });
  #visits = h('ul', { class: 'll-visits', 'aria-label': 'Visits of this patient' });
  #when = h('p', { class: 'll-strong' });
  #summary = h('p', { role: 'status' });
  #sources = h('p', { class: 'll-muted' });
  #head = h('thead', {}, h('tr', {}, COLUMNS.map(name => h('th', { scope: 'col' }, name))));
  #table = h('table', { class: 'll-table ll-pairs', 'aria-label': 'Lesions at both visits',
    dataset: { testid: 'followup-table' } });
  #warnings = h('ul', { class: 'll-visit-warnings', 'aria-label': 'Notes on this comparison' });
  #comparison = null;
  #shown = null;
  #rows = new WeakMap();

  build() {
    const end = h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'end-compare' },
      on: { click: () => this.#end() } }, 'End comparison');
    this.#comparison = h('section', { class: 'll-body', style: { padding: '0' }, 'aria-label': 'Comparison' },
      h('div', { class: 'll-pair-head' }, this.#when, end), this.#summary, this.#table, this.#sources, this.#warnings);
    this.#visits.tabIndex = -1;
    this.append(this.#comparison, this.#hint, this.#visits);
  }

  render(what) {
    if (!['all', 'image', 'pair', 'busy', 'info'].includes(what)) return;
    this.#showVisits();
    this.#showPair(this.workspace.pair);
  }

  #showVisits() {
    const { visits, image, pair } = this.workspace;
    const open = visits?.find(visit => visit.image === image?.id);
    const hint = visitsHint(image, visits);
    setText(this.#hint, hint);
    this.#hint.hidden = !hint;
    this.#visits.hidden = Boolean(hint);
    const newestFirst = hint ? [] : [...visits].reverse();
    keyedList(this.#visits, newestFirst, visit => visit.image, () => h('li', {}, h('div')),
      (row, visit) => this.#updateVisit(row, visit, open, pair));
  }

  #updateVisit(row, visit, open, pair) {
    const when = dateText(visit.date);
    const words = [visit !== open && apartText(visit, open), visit.description].filter(Boolean);
    row.firstChild.replaceChildren(h('span', { class: 'll-strong ll-number' }, when),
      h('span', { class: 'll-muted' }, words.length ? ` ${words.join(' · ')}` : ''));
    const compared = pair && [pair.baseline.image, pair.followup.image].includes(visit.image);
    const offered = visit !== open && !compared;
    if ((row.children[1]?.tagName === 'BUTTON') !== offered) row.children[1]?.remove();
    if (!row.children[1]) row.append(offered ? this.#makeCompare(visit, when) : h('span', { class: 'll-badge' }));
    if (offered) row.children[1].disabled = Boolean(this.workspace.busy);
    else setText(row.children[1], visit === open ? 'this visit' : 'compared');
  }

  #makeCompare(visit, when) {
    return h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'compare' },
      'aria-label': `Compare with the visit of ${when}`, on: { click: () => this.workspace.compareWith(visit) } },
    'Compare');
  }

  #showPair(pair) {
    this.#comparison.hidden = !pair;
    if (pair && pair !== this.#shown) this.#fill(pair);
    this.#shown = pair;
    if (!pair) return;
    for (const body of this.#table.tBodies) {
      const selected = this.#rows.get(body) === this.workspace.selectedPair;
      if (selected && !('selected' in body.dataset)) body.scrollIntoView({ block: 'nearest' });
      setAttribute(body, 'data-selected', selected);
      setAttribute(body.querySelector('button'), 'aria-current', selected ? 'true' : null);
    }
  }

  #fill(answer) {
    const { baseline, followup, pairs, warnings } = answer;
    const apart = typeof answer.days === 'number' ? ` (${days(answer.days)})` : '';
    setText(this.#when, `${dateText(baseline.date)} → ${dateText(followup.date)}${apart}`);
    setText(this.#summary, summaryText(pairs));
    setText(this.#sources, sourcesText(answer));
    this.#table.hidden = !pairs.length;
    this.#table.replaceChildren(this.#head, ...pairs.map(pair => this.#makeRow(pair, answer)));
    this.#warnings.hidden = !warnings.length;
    this.#warnings.replaceChildren(...warnings.map(text =>
      h('li', { class: 'll-notice ll-warning' }, h('span', {}, text))));
  }

  #makeRow(pair, answer) {
    const { change } = pair;
    const number = numberText(pair);
    const where = pair.baseline === null || pair.followup === null ? 'its visit' : 'both visits';
    const show = h('button', { class: 'll-button ll-small', type: 'button',
      'aria-label': `Lesion ${number}: show it at ${where}` }, number);
    const details = detailTexts(pair, labelOf(pair, answer)).join(' · ');
    const body = h('tbody', { dataset: { testid: 'pair', change: change.change },
      on: { click: () => this.workspace.selectPair(pair), keydown: event => this.#onArrow(event) } },
    h('tr', {}, h('td', {}, show), h('td', { class: 'll-number' }, sizesText(change)),
      h('td', {}, h('span', { class: 'll-number ll-strong' }, percentText(change)), percentText(change) && ' ',
        h('span', { class: changeClass(change) }, change.change))),
    h('tr', {}, h('td', { class: 'll-muted', colspan: COLUMNS.length }, details)));
    this.#rows.set(body, pair);
    return body;
  }

  #onArrow(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const bodies = [...this.#table.tBodies];
    const next = step && bodies[bodies.indexOf(event.currentTarget) + step];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    next.querySelector('button').focus();
    this.workspace.selectPair(this.#rows.get(next));
  }

  async #end() {
    await this.workspace.endCompare();
    if (!this.workspace.pair) this.#visits.focus();
  }
}

function visitsHint(image, visits) {
  if (!image) return 'Open an image series first.';
  if (!visits) return 'Looking for other visits of this patient …';
  if (visits.some(visit => visit.image !== image.id)) return '';
  return 'No other visit of this patient is in the store. A visit counts where patient id, modality and what the '
    + 'series shows are the same.';
}

function labelOf(pair, { baseline, followup }) {
  const [side, id] = pair.followup === null ? [baseline, pair.baseline] : [followup, pair.followup];
  return side.findings.find(finding => finding.id === id)?.label ?? '';
}

customElements.define('lesionloop-followup', FollowUp);
