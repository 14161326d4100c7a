// SPDX-License-Identifier: Apache-2.0
/** The server's models: which fit the open image, why the others do not, and their cards. */
import './loop-styles.js';
import { WorkspaceElement, h, keyedList, setAttribute, setText } from './dom.js';

/**
 * @param {string} model
 * @returns {string} address of the page that describes a model and its version in service
 */
export function cardAddress(model) {
  return `/model/card/${encodeURIComponent(model)}`;
}

/** <lesionloop-models> */
export class ModelsView extends WorkspaceElement {
  #empty = h('p', { class: 'll-muted' });
  #list = h('ul', { class: 'll-models', 'aria-label': 'Models', dataset: { testid: 'models' } });
  #parts = new WeakMap();

  build() {
    this.append(this.#empty, this.#list);
  }

  render(what) {
    if (!['all', 'info', 'image', 'session', 'busy'].includes(what)) return;
    const { info, models } = this.workspace;
    setText(this.#empty, info ? 'This server has no models.' : 'The server has not said yet which models it has.');
    this.#empty.hidden = models.length > 0;
    this.#list.hidden = !models.length;
    keyedList(this.#list, models, model => model.name, model => this.#make(model.name),
      (row, model) => this.#update(this.#parts.get(row), model));
  }

  #make(name) {
    const parts = {
      type: h('span', { class: 'll-badge' }), version: h('span', { class: 'll-muted' }),
      description: h('p', { class: 'll-muted' }), reason: h('p', {}),
      run: h('button', { class: 'll-button ll-small', type: 'button', 'aria-label': `Run ${name}`,
        dataset: { testid: 'run-model' }, on: { click: () => this.workspace.run(name) } }, 'Run'),
    };
    const card = h('a', { href: cardAddress(name), target: '_blank', rel: 'noopener',
      'aria-label': `Model card of ${name}, opens a new tab`, dataset: { testid: 'model-card' } }, 'Model card');
    const row = h('li', {}, h('div', { class: 'll-row' }, h('span', { class: 'll-strong' }, name), parts.type),
      parts.description, parts.reason, h('div', { class: 'll-model-foot' }, parts.version, card, parts.run));
    this.#parts.set(row, parts);
    return row;
  }

  #update({ type, version, description, reason, run }, model) {
    const { busy, image } = this.workspace;
    setText(type, model.type);
    setText(version, model.version ? `version ${model.version}` : 'not trained yet');
    setText(description, model.description ?? '');
    description.hidden = !model.description;
    setText(reason, fitWords(model, image));
    setAttribute(reason, 'class', model.fits ? 'll-muted' : 'll-strong');
    run.hidden = !model.fits;
    run.disabled = Boolean(busy);
  }
}

function fitWords({ fits, reason }, image) {
  if (!image) return 'Open an image to see whether it fits.';
  if (fits) return 'Fits the open image.';
  return `Does not fit: ${reason || 'it was made for other images.'}`;
}

customElements.define('lesionloop-models', ModelsView);
