// SPDX-License-Identifier: Apache-2.0
// The viewer as the workspace sees it (viewer.js), without OHIF: it remembers boxes, keeps masks as pixels, and lets a
// test do what a person would.
export class PageViewer extends EventTarget {
  image = null;
  boxes = new Map();
  highlighted = new Map();
  jumps = [];
  opened = [];
  pairs = [];
  singles = [];
  drawing = 0;
  #masks = new Map();
  #orders = new Map();

  // --- what a person does

  open(image, order = []) {
    this.image = image;
    if (image) this.#orders.set(image.id, order);
    this.dispatchEvent(new CustomEvent('image'));
  }

  box(detail) {
    this.dispatchEvent(new CustomEvent('box', { detail: { imageId: this.image.id, ...detail } }));
  }

  brush(frame, start, length, value) {
    this.#masks.get(this.image.id).pixels[frame].fill(value, start, start + length);
    this.dispatchEvent(new CustomEvent('mask', { detail: { imageId: this.image.id } }));
  }

  scroll(frame) {
    this.dispatchEvent(new CustomEvent('frame', { detail: { imageId: this.image.id, frame, index: 0 } }));
  }

  count(imageId) {
    const mask = this.#masks.get(imageId);
    return mask ? mask.pixels.reduce((sum, frame) => sum + frame.filter(Boolean).length, 0) : null;
  }

  // --- what the workspace asks for

  currentFrame() {
    return null;
  }

  frameOrder(imageId) {
    return this.#orders.get(imageId) ?? [];
  }

  async jumpTo(imageId, frame) {
    this.jumps.push([imageId, frame]);
  }

  showBoxes(imageId, sets) {
    this.boxes.set(imageId, sets);
  }

  clear(imageId) {
    this.boxes.delete(imageId);
    this.#masks.delete(imageId);
  }

  highlight(imageId, key) {
    this.highlighted.set(imageId, key);
  }

  async showMask(imageId, mask) {
    const pixels = mask.sop_instance_uids.map(() => new Uint8Array(mask.rows * mask.columns));
    for (const { label, frames } of mask.parts) {
      eachRun(frames, (t, start, end) => pixels[t].fill(mask.labels[label], start, end));
    }
    this.#masks.set(imageId, { ...mask, pixels });
  }

  readMask(imageId, frames, labels) {
    const mask = this.#masks.get(imageId);
    if (!mask) return null;
    const parts = Object.entries(labels).map(([label, value]) => (
      { label, finding: null, frames: runsOf(mask.pixels, value) }));
    const { rows, columns, sop_instance_uids, frame_numbers } = mask;
    return { rows, columns, sop_instance_uids, frame_numbers, labels, parts };
  }

  paintPart(imageId, frames, part, from, to) {
    const mask = this.#masks.get(imageId);
    if (!mask) return;
    eachRun(part.frames, (t, start, end) => {
      for (let i = start; i < end; i += 1) if (from.includes(mask.pixels[t][i])) mask.pixels[t][i] = to;
    });
  }

  startDrawing() {
    this.drawing += 1;
    this.dispatchEvent(new CustomEvent('drawing', { detail: { active: true } }));
  }

  async openImage(target) {
    this.opened.push(target);
    return true;
  }

  async showPair(left, right) {
    this.pairs.push([left, right]);
  }

  async showSingle(imageId) {
    this.singles.push(imageId);
  }
}

function eachRun(frames, work) {
  for (const [t, runs] of Object.entries(frames)) {
    for (let i = 0; i < runs.length; i += 2) work(Number(t), runs[i], runs[i] + runs[i + 1]);
  }
}

function runsOf(pixels, value) {
  const found = {};
  pixels.forEach((frame, t) => {
    const runs = [];
    for (let i = 0; i < frame.length; i += 1) {
      if (frame[i] !== value) continue;
      if (runs.length && runs.at(-2) + runs.at(-1) === i) runs[runs.length - 1] += 1;
      else runs.push(i, 1);
    }
    if (runs.length) found[t] = runs;
  });
  return found;
}
