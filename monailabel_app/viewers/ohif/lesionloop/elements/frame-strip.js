// SPDX-License-Identifier: Apache-2.0
/** The sequence at a glance: lesion probability and attention of each frame, where boxes are, and the current frame. */
import { WorkspaceElement, h, percent, setAttribute, setText, svg } from './dom.js';
import { LatestWish } from '../state/latest-wish.js';
import { frameWord, shownFrame } from './findings-words.js';

const BARS = 84; // of 100 units of height; below are the marks of frames with boxes
const PAGE = 10;

/** <lesionloop-strip>: hidden when there is neither presence nor attention. */
export class FrameStrip extends WorkspaceElement {
  #order = []; // frame index by place in the viewport
  #jumps = new LatestWish(place => this.workspace.showFrame(this.#order[place]));
  #parts = {
    readout: h('p', { class: 'll-readout' }), tip: h('div', { class: 'll-tip', hidden: true, 'aria-hidden': 'true' }),
    bars: svg('path', { class: 'll-bars' }), line: svg('path', { class: 'll-attention' }),
    boxes: svg('path', { class: 'll-box-marks' }), now: svg('path', { class: 'll-now' }),
    legend: h('p', { class: 'll-strip-legend ll-muted',
      title: 'Bars: probability of a lesion. Line: attention, scaled to its maximum. Marks: frames with boxes.' }),
  };
  #slider = h('div', { class: 'll-strip-track', role: 'slider', tabindex: 0, 'aria-label': 'Current frame',
    'aria-valuemin': 1, dataset: { testid: 'strip' } });

  build() {
    const { readout, bars, line, boxes, now, tip, legend } = this.#parts;
    this.graph = svg('svg', { 'aria-hidden': 'true', preserveAspectRatio: 'none' }, bars, boxes, line, now);
    this.#slider.append(this.graph);
    const swatch = (name, text) => h('span', {}, h('i', { class: `ll-swatch ${name}`, 'aria-hidden': 'true' }), text);
    legend.append(swatch('ll-swatch-bar', 'lesion probability'), swatch('ll-swatch-line', 'attention / max'),
      swatch('ll-swatch-box', 'box'));
    this.append(readout, h('div', { class: 'll-strip-hold' }, this.#slider, tip), legend);
    this.#slider.addEventListener('keydown', event => this.#onKey(event));
    this.#slider.addEventListener('pointerdown', event => {
      this.#slider.setPointerCapture(event.pointerId);
      this.#goTo(this.#placeAt(event));
    });
    this.#slider.addEventListener('pointermove', event => this.#onMove(event));
    this.#slider.addEventListener('pointerleave', () => { tip.hidden = true; });
  }

  render(what) {
    if (!['all', 'image', 'session', 'frame'].includes(what)) return;
    const { session } = this.workspace;
    this.hidden = !session || !(session.presence || session.attention);
    if (this.hidden) return;
    if (what !== 'frame') this.#draw(session);
    this.#showCurrent();
  }

  #draw(session) {
    const count = session.frames.sop_instance_uids.length;
    this.#order = Array.from({ length: count }, (_, index) => index)
      .sort((a, b) => shownFrame(this.workspace, a) - shownFrame(this.workspace, b));
    setAttribute(this.graph, 'viewBox', `0 0 ${count} 100`);
    setAttribute(this.#slider, 'aria-valuemax', count);
    const gap = count > 100 ? 0 : 0.12;
    const boxed = boxedFrames(session);
    const places = this.#order.map((index, place) => [index, place]);
    const rectangle = (place, top, bottom) => `M${place + gap} ${bottom}V${top}H${place + 1 - gap}V${bottom}Z`;
    setAttribute(this.#parts.bars, 'd', places.map(([index, place]) =>
      rectangle(place, BARS * (1 - (session.presence?.[index] ?? 0)), BARS)).join(''));
    setAttribute(this.#parts.boxes, 'd', places.filter(([index]) => boxed.has(index))
      .map(([, place]) => rectangle(place, 90, 100)).join(''));
    setAttribute(this.#parts.line, 'd', this.#attentionPath(session.attention));
  }

  #attentionPath(attention) {
    if (!attention) return '';
    const heights = this.#order.map(index => BARS * (1 - shareOfMaximum(attention, index)));
    if (heights.length === 1) return `M0 ${heights[0]}H1`;
    return heights.map((y, place) => `${place ? 'L' : 'M'}${place + 0.5} ${y}`).join('');
  }

  #showCurrent() {
    const place = this.#currentPlace();
    setText(this.#parts.readout, place < 0 ? 'The viewport shows another image.' : this.#textAt(place, 'lesion'));
    setAttribute(this.#slider, 'aria-valuenow', Math.max(place, 0) + 1);
    setAttribute(this.#slider, 'aria-valuetext', place < 0 ? 'not shown' : this.#textAt(place));
    setAttribute(this.#parts.now, 'd', place < 0 ? '' : `M${place + 0.5} 0V100`);
  }

  #currentPlace() {
    const index = this.workspace.frame?.index;
    return index === undefined || index === null ? -1 : this.#order.indexOf(index);
  }

  #textAt(place, presence = 'lesion probability') {
    const { session } = this.workspace;
    const index = this.#order[place];
    const parts = [`${frameWord(session)} ${place + 1} of ${this.#order.length}`];
    if (session.presence) parts.push(`${presence} ${percent(session.presence[index] ?? 0)}`);
    if (session.attention) parts.push(`attention ${percent(shareOfMaximum(session.attention, index))}`);
    return parts.join(', ');
  }

  #placeAt({ clientX }) {
    const { left, width } = this.#slider.getBoundingClientRect();
    const place = Math.floor(((clientX - left) / width) * this.#order.length);
    return Math.min(Math.max(place, 0), this.#order.length - 1);
  }

  #onMove(event) {
    const place = this.#placeAt(event);
    const { tip } = this.#parts;
    tip.hidden = false;
    setText(tip, this.#textAt(place, 'lesion'));
    if (event.buttons & 1 && this.#slider.hasPointerCapture(event.pointerId)) this.#goTo(place);
  }

  #onKey(event) {
    const now = this.#jumps.wanted ?? Math.max(this.#currentPlace(), 0);
    const last = this.#order.length - 1;
    const place = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, Home: 0, End: last,
      PageUp: now + PAGE, PageDown: now - PAGE }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.#goTo(Math.min(Math.max(place, 0), last));
  }

  #goTo(place) {
    if (place !== (this.#jumps.wanted ?? this.#currentPlace())) this.#jumps.wish(place);
  }
}

function shareOfMaximum(attention, index) {
  const maximum = Math.max(...attention);
  return maximum > 0 ? (attention[index] ?? 0) / maximum : 0;
}

function boxedFrames(session) {
  const lesions = session.lesions.filter(({ status }) => status !== 'deleted');
  return new Set(lesions.flatMap(({ boxes }) => [...boxes.keys()]));
}

customElements.define('lesionloop-strip', FrameStrip);
