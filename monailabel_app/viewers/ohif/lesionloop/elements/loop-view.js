// SPDX-License-Identifier: Apache-2.0
/** The loop: how much is labelled, the next image, training, and the versions it has led to. */
import './loop-styles.js';
import './training-view.js';
import './versions-view.js';
import { WorkspaceElement, h, plural, setAttribute, setOptions, setProgress, setText } from './dom.js';

const SETTINGS = { max_epochs: 'Epochs', steps_per_epoch: 'Steps per epoch' };

/** <lesionloop-loop> */
export class LoopView extends WorkspaceElement {
  #count = h('p', { class: 'll-strong', dataset: { testid: 'labelled-count' } });
  #share = h('progress', { class: 'll-progress', max: 1, 'aria-label': 'Labelled images' });
  #strategy = h('select', { class: 'll-input', dataset: { testid: 'strategy' } });
  #strategyHint = h('p', { class: 'll-muted', id: 'lesionloop-strategy-hint' });
  #next = h('button', { class: 'll-button', type: 'button', dataset: { testid: 'next-image' },
    on: { click: () => this.workspace.nextImage(this.#strategy.value) } }, 'Next image');
  #model = h('select', { class: 'll-input', dataset: { testid: 'train-model' } });
  #fields = Object.entries(SETTINGS).map(([key, text]) => [key, h('label', { class: 'll-field' }, text,
    h('input', { class: 'll-input', type: 'number', min: 1, max: 100000, step: 1, required: true,
      dataset: { testid: key } }))]);
  #train = h('button', { class: 'll-button ll-primary', type: 'submit', dataset: { testid: 'train' },
    'aria-describedby': 'lesionloop-train-hint' }, 'Start training');
  #versions = h('div', { class: 'll-loop-part' });
  /** Whether a person has chosen the model; until then it is the first that fits the image. */
  #chosen = false;
  #trainHint = h('p', { class: 'll-muted', id: 'lesionloop-train-hint' });

  build() {
    setAttribute(this.#strategy, 'aria-describedby', this.#strategyHint.id);
    this.#strategy.addEventListener('change', () => this.#showStrategy());
    this.#model.addEventListener('change', () => {
      this.#chosen = true;
      this.#suggest();
    });
    const part = name => Object.assign(document.createElement(name), { workspace: this.workspace });
    this.append(
      h('div', { class: 'll-loop-part' }, this.#count, this.#share,
        h('div', { class: 'll-loop-line' }, h('label', { class: 'll-field' }, 'Which image next', this.#strategy),
          this.#next), this.#strategyHint),
      h('form', { class: 'll-loop-part', 'aria-label': 'Training', on: { submit: event => this.#start(event) } },
        h('label', { class: 'll-field' }, 'Model to train', this.#model),
        h('div', { class: 'll-loop-line' }, this.#fields.map(([, label]) => label)), this.#train, this.#trainHint),
      part('lesionloop-training'), this.#versions);
    this.#versions.append(h('p', { class: 'll-strong' }, 'Versions'), part('lesionloop-versions'));
  }

  render(what) {
    if (!['all', 'info', 'image', 'session', 'busy', 'training'].includes(what)) return;
    const { info, models } = this.workspace;
    this.#showCount(info?.datastore);
    const strategies = Object.keys(info?.strategies ?? {});
    setOptions(this.#strategy, strategies.map(name => ({ value: name, text: name })), kept(this.#strategy, strategies));
    this.#showStrategy();
    const trainers = fittingFirst(Object.keys(info?.trainers ?? {}), models);
    const before = this.#model.value;
    const model = this.#chosen ? kept(this.#model, trainers) : trainers[0] ?? '';
    setOptions(this.#model, trainers.map(name => ({ value: name, text: name })), model);
    if (this.#model.value !== before) this.#suggest();
    this.#showTraining(info, trainers);
    this.#versions.hidden = !trainers.length;
  }

  #showCount(store) {
    const total = store?.total ?? 0;
    const done = store?.completed ?? 0;
    setText(this.#count, countWords(store));
    this.#share.hidden = !total;
    setProgress(this.#share, total ? done / total : 0);
    this.#next.disabled = Boolean(this.workspace.busy) || !total || done === total;
  }

  #showStrategy() {
    setText(this.#strategyHint, this.workspace.info?.strategies?.[this.#strategy.value]?.description ?? '');
  }

  #showTraining(info, trainers) {
    const running = Boolean(this.workspace.training?.running);
    const reason = reasonAgainst(info, trainers, this.workspace.training);
    [this.#model, ...this.#inputs()].forEach(field => { field.disabled = running || !trainers.length; });
    this.#train.disabled = Boolean(reason) || Boolean(this.workspace.busy);
    const learns = () => `Learns from ${plural(info.datastore.completed, 'image')} with a mask. Goes into service only `
      + 'if it does better on held-out patients.';
    setText(this.#trainHint, reason || learns());
  }

  #inputs() {
    return this.#fields.map(([, label]) => label.querySelector('input'));
  }

  /** What the model's own configuration says; a setting that it does not have is not offered. */
  #suggest() {
    const config = this.workspace.info?.trainers?.[this.#model.value]?.config ?? {};
    this.#fields.forEach(([key, label]) => {
      label.hidden = !(key in config);
      const input = label.querySelector('input');
      input.required = !label.hidden;
      input.value = String(config[key] ?? '');
    });
  }

  #start(event) {
    event.preventDefault();
    const given = this.#fields.filter(([, label]) => !label.hidden);
    const params = given.map(([key, label]) => [key, Number(label.querySelector('input').value)]);
    this.workspace.train(this.#model.value, Object.fromEntries(params));
  }
}

/** Names of trainers, those first whose model fits the open image. */
function fittingFirst(trainers, models) {
  const fitting = new Set(models.filter(({ fits }) => fits).map(({ name }) => name));
  return [...trainers.filter(name => fitting.has(name)), ...trainers.filter(name => !fitting.has(name))];
}

const kept = (select, names) => (names.includes(select.value) ? select.value : names[0] ?? '');

function countWords(store) {
  if (!store) return 'The server has not said yet what it holds.';
  if (store.error) return `How many images are labelled is not known: ${store.error}.`;
  if (!store.total) return 'The store holds no images yet.';
  const words = `${store.completed} of ${plural(store.total, 'image')} labelled`;
  return store.completed === store.total ? `${words}. Nothing is left to label.` : words;
}

function reasonAgainst(info, trainers, training) {
  if (!info) return 'The server has not answered yet.';
  if (!trainers.length) return 'This server trains no models.';
  if (training?.running) return 'A training is running. Inference goes on meanwhile.';
  if (!info.datastore?.completed) return 'Nothing to learn from yet: submit at least one image with a mask.';
  return '';
}

customElements.define('lesionloop-loop', LoopView);
