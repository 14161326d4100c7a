// SPDX-License-Identifier: Apache-2.0
/**
 * Pixels of a mask as runs: start, length, start, length ... counted along the rows, in rising order.
 *
 * @typedef {number[]} Runs
 * @typedef {Object<string, Runs>} FrameRuns by frame index
 * @typedef {import('../types.js').Box} Box
 * @typedef {import('../types.js').MaskPart} MaskPart
 * @typedef {import('../types.js').FrameMask} FrameMask
 */

/** @param {Runs} runs @returns {number} pixels */
export function count(runs) {
  let total = 0;
  for (let i = 1; i < runs.length; i += 2) total += runs[i];
  return total;
}

/** @param {FrameRuns} frames @returns {number} pixels on all frames */
export function size(frames) {
  return Object.values(frames).reduce((total, runs) => total + count(runs), 0);
}

/** @param {Runs} a @param {Runs} b @returns {Runs} */
export function unite(a, b) {
  return combine(a, b, (inA, inB) => inA || inB);
}

/** @param {Runs} a @param {Runs} b @returns {Runs} what is in a and not in b */
export function subtract(a, b) {
  return combine(a, b, (inA, inB) => inA && !inB);
}

/** @param {Runs} a @param {Runs} b @returns {Runs} */
export function intersect(a, b) {
  return combine(a, b, (inA, inB) => inA && inB);
}

/** Sweeps over the edges of both. */
function combine(a, b, keep) {
  const edges = [a, b].map(runs => runs.map((value, i) => (i % 2 ? runs[i - 1] + value : value)));
  const result = [];
  const at = [0, 0];
  let start = null;
  while (at[0] < edges[0].length || at[1] < edges[1].length) {
    const where = Math.min(edges[0][at[0]] ?? Infinity, edges[1][at[1]] ?? Infinity);
    for (const side of [0, 1]) while (edges[side][at[side]] === where) at[side] += 1;
    const inside = keep(at[0] % 2 === 1, at[1] % 2 === 1);
    if (inside && start === null) start = where;
    if (!inside && start !== null) {
      result.push(start, where - start);
      start = null;
    }
  }
  return result;
}

/**
 * The same on every frame; frames that become empty are left out.
 *
 * @param {FrameRuns} a
 * @param {FrameRuns} b
 * @param {(a: Runs, b: Runs) => Runs} operation
 * @returns {FrameRuns}
 */
export function onFrames(a, b, operation) {
  const result = {};
  for (const index of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const runs = operation(a[index] ?? [], b[index] ?? []);
    if (runs.length) result[index] = runs;
  }
  return result;
}

/**
 * The box around the pixels of each frame.
 *
 * @param {FrameRuns} frames
 * @param {number} columns of a frame
 * @returns {Map<number, Box>} by frame index, outer pixel edges
 */
export function boxesOf(frames, columns) {
  const boxes = new Map();
  for (const { t, row, from, to } of rowsOf(frames, columns)) {
    const [x0, y0, x1, y1] = boxes.get(t) ?? [Infinity, Infinity, 0, 0];
    boxes.set(t, [Math.min(x0, from), Math.min(y0, row), Math.max(x1, to), Math.max(y1, row + 1)]);
  }
  return boxes;
}

/** Runs cut at the ends of rows. */
function rowsOf(frames, columns) {
  const pieces = [];
  for (const [index, runs] of Object.entries(frames)) {
    for (let i = 0; i < runs.length; i += 2) {
      const end = runs[i] + runs[i + 1];
      for (let start = runs[i]; start < end;) {
        const row = Math.floor(start / columns);
        const stop = Math.min(end, (row + 1) * columns);
        pieces.push({ t: Number(index), row, from: start - row * columns, to: stop - row * columns });
        start = stop;
      }
    }
  }
  return pieces;
}

/**
 * Connected pieces, corners and neighbouring frames included (26 neighbours), as the server finds its lesions.
 *
 * @param {FrameRuns} frames
 * @param {number} columns of a frame
 * @returns {FrameRuns[]} largest first
 */
export function components(frames, columns) {
  const pieces = rowsOf(frames, columns);
  const parent = pieces.map((_, i) => i);
  const root = i => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]];
    return i;
  };
  const lines = new Map();
  pieces.forEach((piece, i) => {
    const key = `${piece.t}/${piece.row}`;
    lines.set(key, [...(lines.get(key) ?? []), i]);
  });
  pieces.forEach((piece, i) => {
    for (const [dt, dy] of [[0, -1], [-1, -1], [-1, 0], [-1, 1]]) {
      for (const j of lines.get(`${piece.t + dt}/${piece.row + dy}`) ?? []) {
        if (pieces[j].from <= piece.to && pieces[j].to >= piece.from) parent[root(i)] = root(j);
      }
    }
  });
  return grouped(pieces, root, columns).sort((a, b) => size(b) - size(a));
}

function grouped(pieces, root, columns) {
  const groups = new Map();
  pieces.forEach((piece, i) => {
    const group = groups.get(root(i)) ?? {};
    groups.set(root(i), group);
    (group[piece.t] ??= []).push(piece.row * columns + piece.from, piece.to - piece.from);
  });
  return [...groups.values()];
}

/**
 * Takes parts out of a mask, then puts others in where nothing is.
 *
 * @param {FrameMask} mask
 * @param {{erase?: MaskPart[], add?: MaskPart[]}} change erasing takes pixels of the part's own label only
 * @returns {FrameMask} one part per label
 */
export function repaint(mask, { erase = [], add = [] }) {
  const byLabel = {};
  for (const { label, frames } of mask.parts) byLabel[label] = onFrames(byLabel[label] ?? {}, frames, unite);
  for (const { label, frames } of erase) byLabel[label] = onFrames(byLabel[label] ?? {}, frames, subtract);
  for (const { label, frames } of add) {
    const taken = Object.values(byLabel).reduce((all, other) => onFrames(all, other, unite), {});
    byLabel[label] = onFrames(byLabel[label] ?? {}, onFrames(frames, taken, subtract), unite);
  }
  const parts = Object.entries(byLabel).filter(([, frames]) => Object.keys(frames).length);
  return { ...mask, parts: parts.map(([label, frames]) => ({ label, finding: null, frames })) };
}
