// SPDX-License-Identifier: Apache-2.0
/** The lesions of a patient over all visits: size at each, change, spread, and the response. */
import './followup-styles.js';
import { WorkspaceElement, h, plural, setText } from './dom.js';
import { dateText } from './followup-words.js';
import { lesionsOf } from '../state/timeline.js';
import { growthChart } from './timeline-chart.js';
import { changeText, chartText, fateClass, fateText, growthTexts, responseText, valueText } from './timeline-words.js';

/** <lesionloop-timeline>: hidden where the patient has one visit. */
export class TimelineView extends WorkspaceElement {
  #shown = null;
  #start = h('button', { class: 'll-button', type: 'button', dataset: { testid: 'follow-all' },
    on: { click: () => this.workspace.followAll() } });
  #summary = h('p', { class: 'll-strong', role: 'status' });
  #response = h('ul', { class: 'll-responses', 'aria-label': 'Response by RECIST 1.1',
    dataset: { testid: 'response' } });
  #responseTitle = h('h2', {}, 'Response by RECIST 1.1');
  #undecided = h('details', { class: 'll-warnings' });
  #lesions = h('ul', { class: 'll-tracks', 'aria-label': 'Lesions over the visits' });
  #warnings = h('ul', { class: 'll-visit-warnings', 'aria-label': 'Notes on all visits' });

  build() {
    this.append(this.#start, this.#summary, this.#responseTitle, this.#response, this.#undecided, this.#lesions,
      this.#warnings);
  }

  render(what) {
    if (!['all', 'image', 'pair', 'timeline', 'busy', 'info'].includes(what)) return;
    const { visits, timeline, busy } = this.workspace;
    this.hidden = !timeline && (visits?.length ?? 0) < 2;
    this.#start.disabled = Boolean(busy);
    setText(this.#start, timeline ? 'Follow all visits again' : `Follow all ${visits?.length ?? 0} visits`);
    if (timeline !== this.#shown) this.#fill(timeline);
    this.#shown = timeline;
  }

  #fill(timeline) {
    const lesions = timeline ? lesionsOf(timeline) : [];
    const counted = timeline && [plural(lesions.length, 'lesion'), plural(timeline.visits.length, 'visit')];
    setText(this.#summary, counted?.join(' over ') ?? '');
    this.#fillResponse(timeline);
    this.#lesions.replaceChildren(...lesions.map(lesion => this.#makeLesion(lesion)));
    const warnings = timeline?.warnings ?? [];
    this.#warnings.replaceChildren(...warnings.map(text =>
      h('li', { class: 'll-notice ll-warning' }, h('span', {}, text))));
    [this.#summary, this.#lesions].forEach(node => { node.hidden = !timeline; });
    this.#warnings.hidden = !warnings.length;
  }

  #fillResponse(timeline) {
    const course = timeline?.response;
    [this.#responseTitle, this.#response, this.#undecided].forEach(node => { node.hidden = !course; });
    if (!course) return;
    this.#response.replaceChildren(...course.visits.map(({ visit, response, within_error: within }) => {
      const others = within.filter(name => name !== response).map(responseText);
      return h('li', {}, h('span', { class: 'll-muted ll-number' }, `${dateText(timeline.visits[visit].date)}: `),
        responseText(response), others.length ? `, within the error also ${others.join(', ')}` : '');
    }));
    this.#undecided.replaceChildren(h('summary', {}, 'What a reader has to decide'),
      h('ul', {}, course.undecided.map(text => h('li', {}, text))));
  }

  #makeLesion(lesion) {
    const { track, label, points, unit } = lesion;
    const show = h('button', { class: 'll-button ll-small', type: 'button',
      'aria-label': `Lesion ${track.id}: show it on this image`,
      on: { click: () => this.workspace.showTracked(track) } }, String(track.id));
    const rows = points.map(point => h('tr', {}, h('th', { scope: 'row' }, dateText(point.date)),
      h('td', { class: 'll-number' }, valueText(point, unit))));
    const texts = growthTexts(track);
    return h('li', { dataset: { testid: 'track' } },
      h('div', { class: 'll-track-head' }, show, h('span', { class: 'll-label' }, label),
        h('span', { class: 'll-number ll-strong' }, changeText(track)),
        h('span', { class: fateClass(track) }, fateText(track))),
      growthChart(points, chartText(lesion)),
      h('table', { class: 'll-table', 'aria-label': `Lesion ${track.id} at each visit` }, h('tbody', {}, rows)),
      texts.length > 0 && h('p', { class: 'll-muted' }, texts.join(' · ')));
  }
}

customElements.define('lesionloop-timeline', TimelineView);
