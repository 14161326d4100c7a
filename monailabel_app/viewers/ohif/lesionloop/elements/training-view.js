// SPDX-License-Identifier: Apache-2.0
/** How a training stands: epoch, loss, validation score, time left, the course of them, the log; and what came of it. */
import './loop-styles.js';
import { WorkspaceElement, duration, h, setAttribute, setProgress, setText, svg } from './dom.js';

const WIDTH = 240;
const HEIGHT = 80;
const MARGIN = 6;

/**
 * Draws two curves over the epochs: the loss on a scale of its own, the validation score from 0 to 1.
 *
 * @param {{epoch: number, loss: number|null, metric: number|null}[]} history
 * @param {number} epochs in all
 * @param {string} metricName
 * @returns {SVGElement}
 */
export function chart(history, epochs, metricName) {
  const last = Math.max(epochs || 0, history.at(-1)?.epoch ?? 1, 2);
  const x = epoch => MARGIN + ((epoch - 1) / (last - 1)) * (WIDTH - 2 * MARGIN);
  const top = Math.max(...history.map(({ loss }) => loss ?? 0), Number.EPSILON);
  const curves = [['loss', top], ['metric', 1]].map(([name, scale]) => {
    const known = history.filter(point => Number.isFinite(point[name]));
    const y = value => HEIGHT - MARGIN - (value / scale) * (HEIGHT - 2 * MARGIN);
    const points = known.map(point => [x(point.epoch), y(point[name])]);
    if (points.length === 1) return svg('circle', { class: `ll-${name}`, cx: points[0][0], cy: points[0][1], r: 2 });
    return svg('polyline', { class: `ll-${name}`, points: points.map(point => point.join(',')).join(' ') });
  });
  return svg('svg', { class: 'll-chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img',
    'aria-label': chartWords(history, metricName) }, curves);
}

function chartWords(history, metricName) {
  const course = (name, word) => {
    const values = history.map(point => point[name]).filter(Number.isFinite);
    return values.length ? `${word} from ${values[0].toFixed(3)} to ${values.at(-1).toFixed(3)}` : '';
  };
  const words = [course('loss', 'loss'), course('metric', `validation ${metricName}`)].filter(Boolean).join(', ');
  return `By epoch: ${words || 'nothing yet'}`;
}

/**
 * Says in words what became of a training.
 *
 * @param {{version: string, published: boolean, reason: string}} record the server's `last_training`
 * @returns {string} "Published as v0003: validation Dice ...", "Not published: ..."
 */
export function outcome({ version, published, reason }) {
  const why = reason.replace(/^(not )?published:\s*/i, '');
  return published ? `Published as ${version}: ${why}` : `Not published (kept as ${version}): ${why}`;
}

/** <lesionloop-training>: hidden while nothing was trained. */
export class TrainingView extends WorkspaceElement {
  #parts = {};

  build() {
    const number = () => h('span', { class: 'll-number' });
    this.#parts = {
      status: h('p', { class: 'll-strong', role: 'status' }), bar: h('progress', { class: 'll-progress', max: 1 }),
      figure: h('div', {}), loss: number(), metric: number(), metricName: h('span', {}), left: h('p', { class: 'll-muted' }),
      log: h('pre', { class: 'll-log', tabindex: 0, role: 'group', 'aria-label': 'End of the training log' }),
      stop: h('button', { class: 'll-button ll-danger ll-small', type: 'button', dataset: { testid: 'stop-training' },
        on: { click: () => this.workspace.stopTraining() } }, 'Stop training'),
      error: h('div', { class: 'll-notice ll-error', role: 'alert' }),
    };
    const { status, bar, figure, loss, metric, metricName, left, log, stop, error } = this.#parts;
    const key = (name, word, value) => h('span', { class: `ll-${name}` }, h('i', { 'aria-hidden': 'true' }),
      word, ' ', value);
    this.#parts.legend = h('div', { class: 'll-legend' }, key('loss', 'Loss', loss),
      key('metric', metricName, metric));
    this.#parts.fold = h('details', { class: 'll-log-fold' }, h('summary', {}, 'Log'), log);
    this.#parts.box = h('div', { class: 'll-loop-part', dataset: { testid: 'training-progress' } }, status, bar, left,
      figure, this.#parts.legend, error, this.#parts.fold, stop);
    this.append(this.#parts.box);
  }

  render(what) {
    if (!['all', 'training'].includes(what)) return;
    const { training } = this.workspace;
    this.hidden = !training;
    if (training) this.#show(training);
  }

  #show(training) {
    const { status, bar, figure, loss, metric, left, legend, log, fold, stop, error } = this.#parts;
    const { history, running } = training;
    setText(status, statusWords(training));
    bar.hidden = stop.hidden = !running;
    setAttribute(bar, 'aria-label', `Training of ${training.model}`);
    setProgress(bar, training.progress);
    const known = running && Number.isFinite(training.secondsLeft);
    setText(left, known ? `About ${duration(training.secondsLeft)} left` : '');
    left.hidden = !known;
    figure.hidden = legend.hidden = !history.length;
    figure.replaceChildren(...(history.length ? [chart(history, training.epochs, training.metricName)] : []));
    setText(loss, figureText(training.loss));
    setText(this.#parts.metricName, `Validation ${training.metricName}`);
    setText(metric, figureText(training.metric));
    fold.hidden = !training.log.length;
    setText(log, training.log.join('\n'));
    setText(error, training.error);
    error.hidden = !training.error;
  }
}

const figureText = value => (Number.isFinite(value) ? value.toFixed(3) : 'not measured');

function statusWords({ model, status, phase, epoch, epochs, record }) {
  if (status === 'running' && epoch) return `${model}: epoch ${epoch} of ${epochs}`;
  if (status === 'failed') return `${model}: the training failed`;
  return `${model}: ${status === 'done' && record ? outcome(record) : phase}`;
}

customElements.define('lesionloop-training', TrainingView);
