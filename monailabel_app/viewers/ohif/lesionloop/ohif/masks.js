// SPDX-License-Identifier: Apache-2.0
/**
 * Masks: runs of pixels per frame, and OHIF's editable labelmaps made from them.
 *
 * @typedef {import('../types.js').FrameMask} FrameMask
 * @typedef {import('../types.js').FrameRef} FrameRef
 * @typedef {import('../types.js').MaskPart} MaskPart
 */
import { frameKey, frameOf } from './frames.js';

/**
 * Call `paint` for every run of pixels that lies within an image.
 *
 * @param {number[]} runs start, length, start, length ... of the pixels inside, along the rows
 * @param {number} size pixels of the image
 * @param {(start: number, end: number) => void} paint end is not inside
 */
export function eachRun(runs, size, paint) {
  for (let i = 0; i + 1 < runs.length; i += 2) {
    paint(Math.max(0, runs[i]), Math.min(size, runs[i] + runs[i + 1]));
  }
}

/**
 * The runs of every value in a labelmap of one frame.
 *
 * @param {ArrayLike<number>} pixels along the rows, 0 where there is nothing
 * @returns {Map<number, number[]>} value -> start, length, start, length ...
 */
export function findRuns(pixels) {
  const found = new Map();
  for (let start = 0; start < pixels.length;) {
    const value = pixels[start];
    let end = start + 1;
    while (end < pixels.length && pixels[end] === value) end += 1;
    if (value) {
      if (!found.has(value)) found.set(value, []);
      found.get(value).push(start, end - start);
    }
    start = end;
  }
  return found;
}

/**
 * The mask that labelmaps show: a part for every value that has pixels.
 *
 * @param {(ArrayLike<number>|null)[]} labelmaps by frame index; null where the viewer has none
 * @param {FrameRef[]} frames in the server's order
 * @param {[number, number]} size rows, columns
 * @param {Object<string, number>} labels label -> value
 * @returns {FrameMask}
 */
export function collectMask(labelmaps, frames, [rows, columns], labels) {
  const parts = Object.entries(labels).map(([label, value]) => ({ value, part: { label, finding: null, frames: {} } }));
  const byValue = new Map(parts.map(({ value, part }) => [value, part]));
  labelmaps.forEach((pixels, index) => {
    for (const [value, runs] of pixels ? findRuns(pixels) : []) {
      const part = byValue.get(value);
      if (part) part.frames[index] = runs;
    }
  });
  return {
    rows,
    columns,
    sop_instance_uids: frames.map(frame => frame.sopUid),
    frame_numbers: frames.map(frame => frame.frameNumber),
    labels: { ...labels },
    parts: parts.map(({ part }) => part).filter(part => Object.keys(part.frames).length),
  };
}

/** OHIF's labelmaps: one segmentation per image, shared by all viewports that show it. */
export class Labelmaps {
  #services;
  #cornerstone;
  #tools;
  /** Fingerprints by frame key of every image's labelmaps, as we wrote or read them last. */
  #prints = new Map();
  #isWriting = false;

  /** @param {{services: Object, cornerstone: Object, cornerstoneTools: Object}} ohif */
  constructor({ services, cornerstone, cornerstoneTools }) {
    this.#services = services;
    this.#cornerstone = cornerstone;
    this.#tools = cornerstoneTools;
  }

  /**
   * Whether a person made the change of a labelmap that is reported now. Tools name the slices they changed; without
   * them cornerstone also reports labelmaps that it only shows anew.
   *
   * @param {string} imageId
   * @param {number[]|undefined} slices
   */
  isEdited(imageId, slices) {
    if (this.#isWriting || !this.has(imageId)) return false;
    if (slices) return true;
    const known = this.#prints.get(imageId);
    return [...this.#images(imageId)].some(([key, image]) => fingerprint(pixelsOf(image)) !== (known.get(key) ?? 0));
  }

  /** Whether there is a labelmap for an image. */
  has(imageId) {
    return Boolean(this.#services.segmentationService.getSegmentation(segmentationOf(imageId)));
  }

  /**
   * Show a mask as an editable segmentation in place of what was shown before.
   *
   * @param {string} imageId the store's
   * @param {FrameMask} mask
   * @param {Object} displaySet of the image
   * @param {string[]} viewerIds the viewer's image ids of all frames
   */
  async show(imageId, mask, displaySet, viewerIds) {
    await this.#prepare(imageId, mask.labels, { ...displaySet, imageIds: viewerIds });
    const frames = mask.sop_instance_uids.map((sopUid, i) => ({ sopUid, frameNumber: mask.frame_numbers[i] }));
    this.#write(imageId, images => {
      for (const image of images.values()) pixelsOf(image).fill(0);
      this.#prints.set(imageId, new Map());
      for (const part of mask.parts) {
        const value = mask.labels[part.label];
        this.#eachRun(images, frames, part, (pixels, start, end) => pixels.fill(value, start, end));
      }
      return mask.parts.flatMap(part => keysOf(part, frames));
    });
  }

  /** Give pixels of a part another value; see `Viewer.paintPart`. */
  paint(imageId, frames, part, from, to) {
    if (!this.has(imageId)) return;
    this.#write(imageId, images => {
      this.#eachRun(images, frames, part, (pixels, start, end) => {
        for (let i = start; i < end; i += 1) if (from.includes(pixels[i])) pixels[i] = to;
      });
      return keysOf(part, frames);
    });
  }

  /** The mask as it is now; see `Viewer.readMask`. */
  read(imageId, frames, labels) {
    const segmentation = this.#services.segmentationService.getSegmentation(segmentationOf(imageId));
    if (!segmentation) return null;
    const images = this.#images(imageId);
    const first = images.values().next().value;
    this.#remember(imageId, images, [...images.keys()]);
    const labelmaps = frames.map(frame => {
      const image = images.get(frameKey(frame));
      return image ? pixelsOf(image) : null;
    });
    const allLabels = { ...ownLabels(segmentation, labels), ...labels };
    return collectMask(labelmaps, frames, [first.rows, first.columns], allLabels);
  }

  /** Show an image's segmentation in a viewport that does not show it yet, because it was opened later. */
  async showIn(imageId, viewportId) {
    const { segmentationService } = this.#services;
    const segmentationId = segmentationOf(imageId);
    if (!this.has(imageId)) return;
    if (segmentationService.getSegmentationRepresentations(viewportId, { segmentationId }).length) return;
    const type = this.#tools.Enums.SegmentationRepresentations.Labelmap;
    await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type });
  }

  /** The image whose segmentation this is; null when it is none of ours. */
  imageOf(segmentationId) {
    return [...this.#prints.keys()].find(imageId => segmentationOf(imageId) === segmentationId) ?? null;
  }

  /** Remove an image's segmentation. */
  remove(imageId) {
    if (this.has(imageId)) this.#services.segmentationService.remove(segmentationOf(imageId));
    this.#prints.delete(imageId);
  }

  /** Remove all of ours. */
  clear() {
    for (const imageId of [...this.#prints.keys()]) this.remove(imageId);
  }

  async #prepare(imageId, labels, displaySet) {
    const { segmentationService } = this.#services;
    const segmentationId = segmentationOf(imageId);
    const entries = Object.entries(labels);
    if (!this.#prints.has(imageId)) this.#prints.set(imageId, new Map());
    if (!this.has(imageId)) {
      const segments = Object.fromEntries(entries.map(([label, value], i) => [value, segment(label, value, i === 0)]));
      const options = { segmentationId, label: 'LesionLoop', segments };
      await segmentationService.createLabelmapForDisplaySet(displaySet, options);
    }
    const { segments } = segmentationService.getSegmentation(segmentationId);
    for (const [label, value] of entries) {
      if (!segments[value]) segmentationService.addSegment(segmentationId, { segmentIndex: value, label });
      else if (segments[value].label !== label) segmentationService.setSegmentLabel(segmentationId, value, label);
    }
  }

  /** Labelmap images by the key of their frame. */
  #images(imageId) {
    const { cache, metaData } = this.#cornerstone;
    const { representationData } = this.#services.segmentationService.getSegmentation(segmentationOf(imageId));
    const data = representationData.Labelmap;
    const ids = data.imageIds ?? cache.getVolume(data.volumeId).imageIds;
    const images = ids.map(id => cache.getImage(id)).filter(Boolean);
    return new Map(images.map(image => [frameKey(frameOf(image.referencedImageId, metaData)), image]));
  }

  #eachRun(images, frames, part, paint) {
    for (const [index, runs] of Object.entries(part.frames)) {
      const image = frames[index] && images.get(frameKey(frames[index]));
      if (!image) continue;
      const pixels = pixelsOf(image);
      eachRun(runs, pixels.length, (start, end) => paint(pixels, start, end));
    }
  }

  /** Make a change that is not reported as a person's; `change` returns the keys of the frames it wrote to. */
  #write(imageId, change) {
    const images = this.#images(imageId);
    this.#remember(imageId, images, change(images));
    this.#isWriting = true;
    try {
      this.#tools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(segmentationOf(imageId));
    } finally {
      this.#isWriting = false;
    }
  }

  #remember(imageId, images, keys) {
    const prints = this.#prints.get(imageId);
    for (const key of new Set(keys)) if (images.has(key)) prints.set(key, fingerprint(pixelsOf(images.get(key))));
  }
}

const pixelsOf = image => image.voxelManager.getScalarData();

const keysOf = (part, frames) => Object.keys(part.frames).filter(i => frames[i]).map(i => frameKey(frames[i]));

/**
 * A number that tells labelmaps apart; 0 for an empty one.
 *
 * @param {ArrayLike<number>} pixels
 * @returns {number}
 */
export function fingerprint(pixels) {
  let print = 0;
  for (let i = 0; i < pixels.length; i += 1) {
    if (pixels[i]) print = Math.imul(print ^ (i * 256 + pixels[i]), 16_777_619) + 1;
  }
  return print;
}

const segmentationOf = imageId => `lesionloop-${imageId}`;

const segment = (label, segmentIndex, active) => ({ segmentIndex, label, active, locked: false, cachedStats: {} });

/** Labels of segments that a person added in OHIF's panel. */
function ownLabels(segmentation, labels) {
  const known = new Set(Object.values(labels));
  const added = Object.entries(segmentation.segments).filter(([value]) => !known.has(Number(value)));
  return Object.fromEntries(added.map(([value, { label }]) => [label || `segment ${value}`, Number(value)]));
}
