// SPDX-License-Identifier: Apache-2.0
/** The panel: puts the elements in their places and offers to look for lesions. */
import './busy-bar.js';
import './findings-list.js';
import './followup-view.js';
import './frame-strip.js';
import './image-header.js';
import './loop-view.js';
import './models-view.js';
import './report-room.js';
import './submit-bar.js';
import './timeline-view.js';
import { WorkspaceElement, h, setAttribute, setText } from './dom.js';
import { finders } from '../state/fitting.js';
import { makeTabs } from './tabs.js';

const DRAW_HINT = 'Drag a box around the lesion on the image.';

/** <lesionloop-panel> */
export class Panel extends WorkspaceElement {
  #find = h('button', { class: 'll-button ll-primary', type: 'button', dataset: { testid: 'find-lesions' },
    'aria-describedby': 'lesionloop-find-reason', on: { click: () => this.#start('findLesions') } }, 'Find lesions');
  #draw = h('button', { class: 'll-button', type: 'button', dataset: { testid: 'draw-box' }, title: 'Key D',
    on: { click: () => this.#start('startDrawing') } }, 'Draw a box');
  #words = h('p', { class: 'll-muted ll-find-words', id: 'lesionloop-find-reason', role: 'status' });
  #tabs = null;

  build() {
    const part = name => h(name, { workspace: this.workspace });
    this.classList.add('ll-root');
    setAttribute(this, 'role', 'region');
    setAttribute(this, 'aria-label', 'LesionLoop');
    this.#tabs = makeTabs('LesionLoop', [
      { name: 'findings', title: 'Findings', content: ['strip', 'findings', 'submit'] },
      { name: 'followup', title: 'Follow-up', content: ['followup', 'timeline'] },
      { name: 'models', title: 'Models', content: ['models'] },
      { name: 'learn', title: 'Learn', content: ['loop'] },
      { name: 'report', title: 'Report', content: ['report'] },
    ].map(tab => ({ ...tab, content: tab.content.map(name => part(`lesionloop-${name}`)) })));
    this.append(h('div', { class: 'll-top' }, part('lesionloop-image'),
      h('div', { class: 'll-find-row' }, this.#find, this.#draw), this.#words, part('lesionloop-busy'),
      part('lesionloop-notice')), this.#tabs.list, ...this.#tabs.panels);
  }

  render(what) {
    if (!['all', 'image', 'session', 'selection', 'info', 'busy', 'drawing'].includes(what)) return;
    const { busy, session, drawing } = this.workspace;
    const reason = reasonAgainst(this.workspace);
    this.#find.disabled = Boolean(reason || busy);
    this.#draw.disabled = !session;
    setAttribute(this.#find, 'title', reason || 'Run the models that fit this image');
    const words = drawing && session ? DRAW_HINT : reason;
    setText(this.#words, words);
    this.#words.hidden = !words;
  }

  #start(action) {
    this.#tabs.show('findings');
    this.workspace[action]();
  }
}

function reasonAgainst({ image, info, models, session, busy }) {
  if (!image) return 'Open an image series first.';
  if (busy) return '';
  if (!info) return 'The server has not said yet which models it has.';
  if (!session) return 'The server cannot read this image.';
  if (finders(models).length) return '';
  const unfit = finders(models.map(model => ({ ...model, fits: true })));
  if (!unfit.length) return 'This server has no model that finds lesions.';
  return `No model fits this image. ${unfit.map(({ name, reason }) => `${name}: ${reason}`).join(' ')}`;
}

customElements.define('lesionloop-panel', Panel);
