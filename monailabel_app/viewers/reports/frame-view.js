// SPDX-License-Identifier: Apache-2.0
/** Shows the frame of a FrameViewer with its boxes: slider, wheel and arrow keys to move, dragging to window. */
import { h, setAttribute, setText, svg } from '/ohif/lesionloop/elements/dom.js';
import { LatestWish } from '/ohif/lesionloop/state/latest-wish.js';

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 5, PageUp: -5 };
const PICTURES = ['.png', '.jpg', '.jpeg'];
const NO_VIEW = 'This image is neither DICOM nor a picture: the server has no view of it. Its report can be written '
  + 'here all the same.';
const WINDOW = { center: '00281050', width: '00281051' };

/** <rp-view>: set `viewer` before it is connected. */
export class FrameView extends HTMLElement {
  #picture = svg('image', { preserveAspectRatio: 'none' });
  #boxes = svg('g', {});
  #canvas = svg('svg', { class: 'rp-picture', role: 'img', 'aria-label': 'No image is open' }, this.#picture,
    this.#boxes);
  #where = h('div', { class: 'rp-corner rp-corner-top' });
  #hint = h('p', { class: 'rp-hint' });
  #stage = h('div', { class: 'rp-stage', tabindex: 0, role: 'group', 'aria-label': 'Image: arrow keys move through it',
    dataset: { testid: 'stage' } }, this.#canvas, this.#where, this.#hint);
  #slider = h('input', { type: 'range', min: 1, value: 1, dataset: { testid: 'frame-slider' } });
  #number = h('span', { class: 'll-number', dataset: { testid: 'frame-number' } });
  #center = h('input', { type: 'number', step: 'any', dataset: { testid: 'window-center' } });
  #width = h('input', { type: 'number', step: 'any', min: 1, dataset: { testid: 'window-width' } });
  #reset = h('button', { class: 'll-button', type: 'button' }, 'Reset');
  #windowing = [h('label', {}, 'Level', this.#center), h('label', {}, 'Width', this.#width), this.#reset];
  #loads = new LatestWish(address => this.#load(address));
  #imageId = null;
  #stored = null;
  #window = null;

  connectedCallback() {
    this.classList.add('rp-view');
    this.append(this.#stage, h('div', { class: 'rp-controls' },
      h('label', { class: 'rp-frame' }, 'Frame', this.#slider, this.#number), this.#windowing));
    this.viewer.addEventListener('view', () => this.#render());
    this.#slider.addEventListener('input', () => this.viewer.show(Number(this.#slider.value) - 1));
    this.#stage.addEventListener('wheel', event => {
      event.preventDefault();
      this.viewer.show(this.viewer.index + Math.sign(event.deltaY));
    }, { passive: false });
    this.#stage.addEventListener('keydown', event => this.#onKey(event));
    this.#stage.addEventListener('pointerdown', event => this.#stage.setPointerCapture(event.pointerId));
    this.#stage.addEventListener('pointermove', event => this.#onDrag(event));
    const typed = () => this.#setWindow({ center: Number(this.#center.value), width: Number(this.#width.value) });
    [this.#center, this.#width].forEach(input => input.addEventListener('change', typed));
    this.#reset.addEventListener('click', () => this.#setWindow(this.#stored));
    this.#render();
  }

  #onKey(event) {
    const { viewer } = this;
    const place = { Home: 0, End: Infinity }[event.key] ?? viewer.index + STEPS[event.key];
    if (Number.isNaN(place)) return;
    event.preventDefault();
    viewer.show(place);
  }

  #onDrag({ buttons, movementX, movementY, pointerId }) {
    if (!buttons || !this.#window || !this.#stage.hasPointerCapture(pointerId)) return;
    const step = this.#stored.width / 300;
    this.#setWindow({ center: this.#window.center + movementY * step, width: this.#window.width + movementX * step });
  }

  #setWindow(window) {
    if (!window) return;
    const tidy = value => Math.round(value * 10) / 10;
    this.#window = { center: tidy(window.center), width: Math.max(1, tidy(window.width)) };
    this.#render();
  }

  #render() {
    const { image, frames, index } = this.viewer;
    const isOpen = Boolean(image && frames);
    const address = isOpen ? this.#address() : null;
    if (isOpen && image.id !== this.#imageId) this.#begin(image, frames);
    setText(this.#hint, isOpen ? (address ? '' : NO_VIEW) : 'Choose an image from the list.');
    this.#slider.disabled = !isOpen;
    if (!isOpen) return;
    const count = frames.sop_instance_uids.length;
    this.#slider.max = count;
    this.#slider.value = index + 1;
    setText(this.#number, `${index + 1} of ${count}`);
    setText(this.#where, `${image.patientId} · ${image.date}`);
    setAttribute(this.#canvas, 'aria-label', `${image.description || image.modality}, frame ${index + 1} of ${count}`);
    this.#windowing.forEach(node => { node.hidden = !this.#window; });
    if (this.#window && document.activeElement !== this.#center) this.#center.value = this.#window.center;
    if (this.#window && document.activeElement !== this.#width) this.#width.value = this.#window.width;
    this.#picture.style.display = address ? '' : 'none';
    if (address) this.#loads.wish(address);
    this.#drawBoxes();
  }

  #begin(image, { rows, columns, spacing_mm: [x = 1, y = 1] = [] }) {
    this.#imageId = image.id;
    this.#window = this.#stored = null;
    const tall = rows * ((y || 1) / (x || 1)); // pixels need not be square
    setAttribute(this.#canvas, 'viewBox', `0 0 ${columns} ${tall}`);
    setAttribute(this.#picture, 'width', columns);
    setAttribute(this.#picture, 'height', tall);
    this.stretch = tall / rows;
    if (image.studyUid) this.#readWindow(image);
  }

  /** The window that the image itself asks for; without one there is nothing to change. */
  async #readWindow(image) {
    const headers = { Accept: 'application/dicom+json' };
    const answer = await fetch(`${this.#instance(this.viewer.index)}/metadata`, { headers })
      .then(response => (response.ok ? response.json() : [])).catch(() => []);
    const value = tag => answer[0]?.[tag]?.Value?.[0];
    if (this.#imageId !== image.id || value(WINDOW.width) === undefined) return;
    this.#stored = { center: Number(value(WINDOW.center)), width: Number(value(WINDOW.width)) };
    this.#setWindow(this.#stored);
  }

  #instance(index) {
    const { image, frames } = this.viewer;
    return `/dicom-web/studies/${image.studyUid}/series/${image.id}/instances/${frames.sop_instance_uids[index]}`;
  }

  #address() {
    const { image, frames, index } = this.viewer;
    if (image.studyUid) {
      const { center, width } = this.#window ?? {};
      const isOwn = this.#window && (center !== this.#stored.center || width !== this.#stored.width);
      const query = isOwn ? `?${new URLSearchParams({ window: `${center},${width},linear` })}` : '';
      return `${this.#instance(index)}/frames/${frames.frame_numbers[index]}/rendered${query}`;
    }
    return PICTURES.includes(image.suffix) ? `/datastore/image?${new URLSearchParams({ image: image.id })}` : null;
  }

  /** The picture changes once the next one is there, so that nothing flickers. */
  async #load(address) {
    const next = new Image();
    next.src = address;
    try {
      await next.decode();
    } catch {
      setText(this.#hint, 'The server did not send this frame. Go to another one and back to try again.');
      return;
    }
    setAttribute(this.#picture, 'href', address);
  }

  #drawBoxes() {
    const { stretch = 1 } = this;
    this.#boxes.replaceChildren(...this.viewer.drawn().flatMap(({ box: [x0, y0, x1, y1], text, style, isThick }) => [
      svg('rect', { class: `rp-${style}${isThick ? ' rp-thick' : ''}`, x: x0, y: y0 * stretch, width: x1 - x0,
        height: (y1 - y0) * stretch }),
      svg('text', { x: x1 + 2, y: y1 * stretch, style: { fontSize: `${this.#fontSize()}px` } }, text)]));
  }

  /** Of 13 px on the screen. */
  #fontSize() {
    const { width, height } = this.#stage.getBoundingClientRect();
    const [, , columns, rows] = (this.#canvas.getAttribute('viewBox') ?? '0 0 1 1').split(' ').map(Number);
    return 13 * Math.max(columns / (width || 1), rows / (height || 1));
  }
}

customElements.define('rp-view', FrameView);
