// SPDX-License-Identifier: Apache-2.0
/**
 * Boxes: lesions as rectangles of OHIF's own tool (RectangleROI), so that they are dragged like any other annotation.
 * They are kept out of OHIF's measurement list: the findings list is the list of lesions.
 *
 * @typedef {import('../types.js').Box} Box
 * @typedef {import('../types.js').BoxSet} BoxSet
 * @typedef {import('../types.js').FrameRef} FrameRef
 */
import { boxAround, boxCorners, frameKey, frameOf, planeOf, viewOf } from './frames.js';

/** Name of the tool that draws boxes. */
export const BOX_TOOL = 'RectangleROI';
const NEAR_PX = 0.01;
const COLOURS = { proposed: 'rgb(255, 210, 60)', accepted: 'rgb(80, 220, 110)', linked: 'rgb(80, 210, 240)' };

/**
 * Whether two boxes are the same but for rounding.
 *
 * @param {Box} a
 * @param {Box} b
 * @returns {boolean}
 */
export const sameBox = (a, b) => a.every((value, i) => Math.abs(value - b[i]) <= NEAR_PX);

/**
 * How a box is drawn.
 *
 * @param {BoxSet['style']} style
 * @param {boolean} highlighted
 * @returns {Object} cornerstone's names
 */
export function boxStyle(style, highlighted) {
  const color = COLOURS[style] ?? COLOURS.proposed;
  const line = { lineWidth: highlighted ? 4 : 2, lineDash: style === 'proposed' ? '6,4' : '1,0' };
  const colours = ['color', 'colorHighlighted', 'colorSelected', 'colorLocked'].map(name => [name, color]);
  const text = ['textBoxColor', 'textBoxColorHighlighted', 'textBoxColorSelected'].map(name => [name, color]);
  const beside = { textBoxFontSize: '13px', textBoxLinkLineDash: '2,3' };
  return { ...Object.fromEntries([...colours, ...text]), ...line, ...beside };
}

/**
 * @typedef {Object} Drawn A rectangle of ours.
 * @property {string} uid of the annotation
 * @property {string} imageId the store's
 * @property {string} key of the lesion
 * @property {FrameRef} frame
 * @property {Box} box as it was last told or reported
 * @property {string} style
 * @property {string} text
 * @property {Object} plane
 */

/** The rectangles. It reports what people do through `report(change)`: never what it draws itself. */
export class Boxes {
  #cornerstone;
  #tools;
  #services;
  #report;
  /** @type {Map<string, Drawn>} by annotation uid */
  #drawn = new Map();
  #highlighted = new Map();
  #pressed = false;
  #count = 0;
  #listeners = [];

  /**
   * @param {{services: Object, cornerstone: Object, cornerstoneTools: Object}} ohif
   * @param {(change: Object) => void} report takes the detail of a 'box' event of the viewer
   */
  constructor({ services, cornerstone, cornerstoneTools }, report) {
    this.#services = services;
    this.#cornerstone = cornerstone;
    this.#tools = cornerstoneTools;
    this.#report = report;
  }

  /** Begin to watch what people do. */
  start() {
    const { Events } = this.#tools.Enums;
    const { eventTarget } = this.#cornerstone;
    this.#listen(eventTarget, Events.ANNOTATION_MODIFIED, () => this.#pressed || this.#reportMoved());
    this.#listen(eventTarget, Events.ANNOTATION_COMPLETED, event => this.#completed(event.detail.annotation));
    this.#listen(eventTarget, Events.ANNOTATION_REMOVED, event => this.#removed(event.detail.annotation));
    this.#listen(window, 'pointerdown', () => { this.#pressed = true; });
    for (const type of ['pointerup', 'pointercancel']) this.#listen(window, type, () => this.#released());
  }

  /** Stop watching and remove all rectangles of ours. */
  stop() {
    for (const [target, type, handler] of this.#listeners) target.removeEventListener(type, handler, true);
    this.#listeners = [];
    for (const uid of [...this.#drawn.keys()]) this.#erase(uid);
    this.#highlighted.clear();
  }

  /**
   * Draw these boxes, and no others, on an image. Rectangles that are as they should be stay untouched, so that a drag
   * under way goes on.
   *
   * @param {string} imageId the store's
   * @param {BoxSet[]} sets
   * @param {Map<string, string>} viewerIds the viewer's image id by frame key
   */
  show(imageId, sets, viewerIds) {
    const wanted = new Map();
    for (const { key, text, style, boxes } of sets) {
      for (const { frame, box } of boxes) wanted.set(placeOf(key, frame), { key, text, style, frame, box });
    }
    for (const drawn of [...this.#drawn.values()].filter(one => one.imageId === imageId)) {
      const place = placeOf(drawn.key, drawn.frame);
      const spec = wanted.get(place);
      wanted.delete(place);
      if (spec) this.#update(drawn, spec);
      else this.#erase(drawn.uid);
    }
    for (const spec of wanted.values()) {
      const viewerId = viewerIds.get(frameKey(spec.frame));
      if (viewerId) this.#draw(imageId, spec, viewerId);
    }
    this.#render();
  }

  /** Draw the boxes of a lesion thicker; null for none. */
  highlight(imageId, key) {
    this.#highlighted.set(imageId, key);
    for (const drawn of this.#drawn.values()) if (drawn.imageId === imageId) this.#restyle(drawn);
    this.#render();
  }

  /** Remove the box that a person selected, or the one with this annotation uid, as if by hand. */
  removeSelected(uid = this.#tools.annotation.selection.getAnnotationsSelected().find(one => this.#drawn.has(one))) {
    if (!this.#drawn.has(uid)) return;
    this.#tools.annotation.state.removeAnnotation(uid);
    this.#render();
  }

  /** The lesion of an annotation; null when it is none of ours. */
  keyOf(uid) {
    return this.#drawn.get(uid)?.key ?? null;
  }

  #listen(target, type, handler) {
    target.addEventListener(type, handler, true);
    this.#listeners.push([target, type, handler]);
  }

  #released() {
    this.#pressed = false;
    setTimeout(() => this.#reportMoved());
  }

  #reportMoved() {
    if (this.#pressed) return;
    for (const drawn of this.#drawn.values()) {
      const annotation = this.#tools.annotation.state.getAnnotation(drawn.uid);
      if (!annotation) continue;
      const box = boxAround(drawn.plane, annotation.data.handles.points);
      if (sameBox(box, drawn.box)) continue;
      drawn.box = box;
      this.#report({ imageId: drawn.imageId, key: drawn.key, kind: 'changed', frame: drawn.frame, box });
    }
  }

  #removed({ annotationUID }) {
    const drawn = this.#drawn.get(annotationUID);
    if (!drawn) return;
    this.#drawn.delete(annotationUID);
    this.#report({ imageId: drawn.imageId, key: drawn.key, kind: 'removed', frame: drawn.frame, box: drawn.box });
  }

  /** A person has drawn a rectangle: it becomes ours when someone names the lesion it belongs to. */
  #completed({ annotationUID, metadata, data }) {
    if (metadata.toolName !== BOX_TOOL || this.#drawn.has(annotationUID)) return;
    const { metaData } = this.#cornerstone;
    const viewerId = metadata.referencedImageId;
    const imageId = viewerId && metaData.get('instance', viewerId)?.SeriesInstanceUID;
    if (!imageId) return;
    const frame = frameOf(viewerId, metaData);
    const box = boxAround(planeOf(viewerId, metaData), data.handles.points);
    const assign = key => {
      this.#discard(annotationUID);
      const known = this.#find(key, frame);
      if (!known) this.#draw(imageId, { key, text: '', style: 'accepted', frame, box }, viewerId);
      this.#render();
    };
    setTimeout(() => {
      if (box[2] - box[0] < 1 || box[3] - box[1] < 1) this.#discard(annotationUID);
      else this.#report({ imageId, key: null, kind: 'drawn', frame, box, assign });
    });
  }

  /** Remove an annotation and the measurement that OHIF made of it. */
  #discard(uid) {
    this.#tools.annotation.state.removeAnnotation(uid);
    this.#services.measurementService.remove(uid);
    this.#render();
  }

  #find(key, frame) {
    const place = placeOf(key, frame);
    return [...this.#drawn.values()].find(one => placeOf(one.key, one.frame) === place);
  }

  #draw(imageId, { key, text, style, frame, box }, viewerId) {
    const plane = planeOf(viewerId, this.#cornerstone.metaData);
    this.#count += 1;
    const uid = `lesionloop-box-${this.#count}`;
    const annotation = rectangle(uid, text, boxCorners(plane, box), plane, viewerId);
    this.#tools.annotation.state.getAnnotationManager().addAnnotation(annotation);
    const drawn = { uid, imageId, key, frame, box, style, text, plane };
    this.#drawn.set(uid, drawn);
    this.#restyle(drawn);
  }

  #update(drawn, { text, style, box }) {
    const { data } = this.#tools.annotation.state.getAnnotation(drawn.uid) ?? {};
    if (!data) return;
    if (!sameBox(box, drawn.box)) {
      data.handles.points = boxCorners(drawn.plane, box);
      drawn.box = [...box];
    }
    data.label = text;
    Object.assign(drawn, { text, style });
    this.#restyle(drawn);
  }

  #erase(uid) {
    this.#drawn.delete(uid);
    this.#tools.annotation.selection.setAnnotationSelected(uid, false);
    this.#tools.annotation.state.getAnnotationManager().removeAnnotation(uid);
  }

  #restyle({ uid, imageId, key, style }) {
    const highlighted = this.#highlighted.get(imageId) === key;
    this.#tools.annotation.config.style.setAnnotationStyles(uid, boxStyle(style, highlighted));
  }

  #render() {
    const engine = this.#services.cornerstoneViewportService.getRenderingEngine();
    const ids = engine?.getViewports().map(viewport => viewport.id) ?? [];
    if (ids.length) this.#tools.utilities.triggerAnnotationRenderForViewportIds(ids);
  }
}

const placeOf = (key, frame) => `${key}|${frameKey(frame)}`;

/** An annotation of the rectangle tool as cornerstone keeps it. */
function rectangle(annotationUID, label, points, plane, referencedImageId) {
  const corner = [0, 0, 0];
  const worldBoundingBox = { topLeft: corner, topRight: corner, bottomLeft: corner, bottomRight: corner };
  return {
    annotationUID,
    highlighted: false,
    isLocked: false,
    isVisible: true,
    invalidated: false,
    metadata: { toolName: BOX_TOOL, FrameOfReferenceUID: plane.space, referencedImageId, ...viewOf(plane) },
    data: {
      label,
      handles: {
        points,
        activeHandleIndex: null,
        textBox: { hasMoved: false, worldPosition: [...corner], worldBoundingBox },
      },
      cachedStats: {},
    },
  };
}
