// SPDX-License-Identifier: Apache-2.0
/** The version in service of each model that can be trained, what became of its last training, and the way back. */
import './loop-styles.js';
import { choose } from './choices.js';
import { WorkspaceElement, h, keyedList, setOptions, setText, timeText } from './dom.js';
import { outcome } from './training-view.js';

/** <lesionloop-versions> */
export class VersionsView extends WorkspaceElement {
  #list = h('ul', { class: 'll-versions', 'aria-label': 'Versions in service' });
  #parts = new WeakMap();

  build() {
    this.append(this.#list);
  }

  render(what) {
    if (!['all', 'info', 'busy', 'training'].includes(what)) return;
    const stats = Object.entries(this.workspace.info?.train_stats ?? {});
    keyedList(this.#list, stats, ([model]) => model, ([model]) => this.#make(model),
      (row, [, stat]) => this.#update(this.#parts.get(row), stat));
  }

  #make(model) {
    const parts = {
      version: h('span', { class: 'll-badge', dataset: { testid: 'version', model } }),
      last: h('p', { class: 'll-muted', dataset: { testid: 'last-training', model } }),
      back: h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'roll-back', model },
        on: { click: () => this.#goBack(model) } }, 'Back to the previous version'),
      select: h('select', { class: 'll-input', dataset: { testid: 'other-version', model } }),
      use: h('button', { class: 'll-button', type: 'button', dataset: { testid: 'use-version', model },
        'aria-label': `Use this version of ${model}`, on: { click: () => this.#use(model) } }, 'Use'),
    };
    parts.other = h('div', { class: 'll-loop-line' },
      h('label', { class: 'll-field' }, 'Another version', parts.select), parts.use);
    const row = h('li', {}, h('div', { class: 'll-row' }, h('span', { class: 'll-strong' }, model), parts.version),
      parts.last, parts.back, parts.other);
    this.#parts.set(row, parts);
    return row;
  }

  #update({ version, last, back, select, use, other }, { version: inService, versions = [], last_training: record }) {
    setText(version, inService ? `${inService} in service` : 'not trained yet');
    version.classList.toggle('ll-good', Boolean(inService));
    setText(last, lastWords(record, inService));
    const others = versions.filter(name => name !== inService).reverse();
    back.hidden = !others.length || inService === versions[0]; // nothing was in service before the first one
    other.hidden = !others.length;
    back.disabled = use.disabled = Boolean(this.workspace.busy);
    const text = name => (name === 'pretrained' ? `${name} (as installed)` : name);
    setOptions(select, others.map(name => ({ value: name, text: text(name) })),
      others.includes(select.value) ? select.value : others[0] ?? '');
  }

  async #goBack(model) {
    const inService = this.workspace.info.train_stats[model].version;
    const answer = await choose({
      title: 'Back to the previous version?',
      text: `${model} now uses ${inService}. From the next run on it uses the version that was in service before. `
        + `Nothing is deleted: ${inService} can be put back at any time.`,
      choices: [{ value: 'back', text: 'Go back', look: 'primary' }],
    });
    if (answer) await this.workspace.rollBack(model, null);
  }

  async #use(model) {
    const inService = this.workspace.info.train_stats[model].version;
    const select = [...this.querySelectorAll('[data-testid="other-version"]')].find(one => one.dataset.model === model);
    const wanted = select.value;
    const answer = await choose({
      title: `Put ${wanted} into service?`,
      text: `${model} now uses ${inService}; from the next run on it uses ${wanted}. Nothing is deleted.`,
      choices: [{ value: 'use', text: `Use ${wanted}`, look: 'primary' }],
    });
    if (answer) await this.workspace.rollBack(model, wanted);
  }
}

function lastWords(record, inService) {
  if (!record) return inService ? 'Not trained here yet.' : 'Train it to make its first version.';
  return `${outcome(record)} (${timeText(record.created_at)}).`;
}

customElements.define('lesionloop-versions', VersionsView);
