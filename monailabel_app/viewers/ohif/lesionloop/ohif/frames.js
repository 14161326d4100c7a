// SPDX-License-Identifier: Apache-2.0
/**
 * Frames and pixels: which DICOM frame an image of the viewer is, and where its pixels lie in the world. Nothing here
 * touches the page; cornerstone's `metaData` and `cache` are handed in.
 *
 * @typedef {import('../types.js').Box} Box
 * @typedef {import('../types.js').FrameRef} FrameRef
 * @typedef {[number, number, number]} Point in the viewer's world, mm for images with a position in the patient
 *
 * @typedef {Object} Plane Where the pixels of a frame lie.
 * @property {Point} origin centre of the first pixel
 * @property {Point} along direction of a row, to growing columns
 * @property {Point} down direction of a column, to growing rows
 * @property {[number, number]} spacing between columns, between rows
 * @property {string|undefined} space Frame of Reference UID; undefined, as in the viewer, where the image has none
 */

const DICOMWEB = /\/instances\/([^/]+)\/frames\/(\d+)/;

/**
 * The DICOM frame behind an image of the viewer.
 *
 * @param {string} imageId the viewer's
 * @param {Object} metaData cornerstone's
 * @returns {FrameRef}
 */
export function frameOf(imageId, metaData) {
  const found = DICOMWEB.exec(imageId);
  if (found) return { sopUid: found[1], frameNumber: Number(found[2]) };
  const frame = /[?&]frame(?:Number)?=(\d+)/.exec(imageId);
  const instance = metaData.get('instance', imageId);
  return { sopUid: instance?.SOPInstanceUID ?? '', frameNumber: frame ? Number(frame[1]) : 1 };
}

/**
 * A frame as a key of a Map.
 *
 * @param {FrameRef} frame
 * @returns {string}
 */
export const frameKey = frame => `${frame.sopUid}/${frame.frameNumber}`;

/**
 * Where a frame's pixels lie. A DICOM frame without a position (ultrasound) gets the one that the viewer gives it:
 * the first pixel at 0, rows along x, columns along y.
 *
 * @param {string} imageId the viewer's
 * @param {Object} metaData cornerstone's
 * @returns {Plane}
 */
export function planeOf(imageId, metaData) {
  const plane = metaData.get('imagePlaneModule', imageId) ?? {};
  return {
    origin: [...(plane.imagePositionPatient ?? [0, 0, 0])],
    along: [...(plane.rowCosines ?? [1, 0, 0])],
    down: [...(plane.columnCosines ?? [0, 1, 0])],
    spacing: [plane.columnPixelSpacing || 1, plane.rowPixelSpacing || 1],
    space: plane.frameOfReferenceUID || undefined,
  };
}

/**
 * A position on a frame, in the world.
 *
 * @param {Plane} plane
 * @param {number} x columns from the outer edge of the first pixel
 * @param {number} y rows from there
 * @returns {Point}
 */
export function toWorld({ origin, along, down, spacing }, x, y) {
  const right = (x - 0.5) * spacing[0];
  const below = (y - 0.5) * spacing[1];
  return /** @type {Point} */ (origin.map((start, axis) => start + right * along[axis] + below * down[axis]));
}

/**
 * The reverse of {@link toWorld}; a point beside the plane is projected onto it.
 *
 * @param {Plane} plane
 * @param {Point} point
 * @returns {[number, number]} x, y
 */
export function toPixels({ origin, along, down, spacing }, point) {
  const offset = origin.map((start, axis) => point[axis] - start);
  return [dot(offset, along) / spacing[0] + 0.5, dot(offset, down) / spacing[1] + 0.5];
}

/**
 * The four corners of a box as OHIF's rectangle tool orders them: top left, top right, bottom left, bottom right.
 *
 * @param {Plane} plane
 * @param {Box} box
 * @returns {Point[]}
 */
export function boxCorners(plane, [x0, y0, x1, y1]) {
  return [[x0, y0], [x1, y0], [x0, y1], [x1, y1]].map(([x, y]) => toWorld(plane, x, y));
}

/**
 * The box around corners.
 *
 * @param {Plane} plane
 * @param {Point[]} corners
 * @returns {Box}
 */
export function boxAround(plane, corners) {
  const pixels = corners.map(corner => toPixels(plane, corner));
  const xs = pixels.map(([x]) => x);
  const ys = pixels.map(([, y]) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/**
 * The direction from which a frame is seen, and the direction that is up on the screen.
 *
 * @param {Plane} plane
 * @returns {{viewPlaneNormal: Point, viewUp: Point}}
 */
export function viewOf({ along, down }) {
  const normal = [0, 1, 2].map(axis => {
    const [next, last] = [(axis + 1) % 3, (axis + 2) % 3];
    return along[next] * down[last] - along[last] * down[next];
  });
  return { viewPlaneNormal: normal.map(value => -value), viewUp: down.map(value => -value) };
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
