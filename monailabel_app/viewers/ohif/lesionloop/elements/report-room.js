// SPDX-License-Identifier: Apache-2.0
/** The room for reports: says whether a report model is installed, and holds the place where its viewer goes. */
import { WorkspaceElement, h, plural, setText } from './dom.js';

/** <lesionloop-report> */
export class ReportRoom extends WorkspaceElement {
  #words = h('p', { class: 'll-muted' });

  build() {
    this.dataset.testid = 'report-room';
    this.append(this.#words, h('div', { id: 'lesionloop-report-slot' }));
  }

  render(what) {
    if (['all', 'info', 'image'].includes(what)) setText(this.#words, wordsFor(this.workspace));
  }
}

function wordsFor({ info, models }) {
  if (!info) return 'The server has not said yet which models it has.';
  const reports = models.filter(model => model.type === 'report');
  if (!reports.length) return 'No report model is installed. With one, a draft of the report appears here.';
  return `${plural(reports.length, 'report model')} on this server: ${reports.map(model => model.name).join(', ')}.`;
}

customElements.define('lesionloop-report', ReportRoom);
