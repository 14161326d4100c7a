// SPDX-License-Identifier: Apache-2.0
/**
 * What models found becomes lesions: a box and an outline of the same lesion are one line of the list, and a model that
 * runs again takes back only what nobody has touched.
 *
 * A lesion has `finding`, the server's finding that its boxes came from, and `outline`, the finding of the segmentation
 * model that drew its pixels (`part`); both are the same where only a segmentation model found it.
 *
 * @typedef {import('../types.js').Box} Box
 * @typedef {import('../types.js').Lesion} Lesion
 * @typedef {import('../types.js').MaskPart} MaskPart
 */

/** Share of the smaller of two lesions that must lie in the other on the frames that both are on. */
export const MIN_SHARE = 0.3;

/**
 * How much of two lesions is the same.
 *
 * @param {Map<number, Box>} a
 * @param {Map<number, Box>} b
 * @returns {{share: number, iou: number}} intersection over the smaller box on shared frames, and intersection over
 *     union on all frames
 */
export function overlap(a, b) {
  let inside = 0;
  let smaller = 0;
  for (const [t, box] of a) {
    const other = b.get(t);
    if (!other) continue;
    inside += intersection(box, other);
    smaller += Math.min(area(box), area(other));
  }
  const total = [...a.values(), ...b.values()].reduce((sum, box) => sum + area(box), 0);
  return { share: smaller ? inside / smaller : 0, iou: inside ? inside / (total - inside) : 0 };
}

function area([x0, y0, x1, y1]) {
  return Math.max(0, x1 - x0) * Math.max(0, y1 - y0);
}

function intersection(a, b) {
  return area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
}

/**
 * Pairs of lesions that are the same: one to one, the greatest overlap first.
 *
 * @template A, B
 * @param {A[]} as things with `boxes`
 * @param {B[]} bs
 * @param {(a: A, b: B) => boolean} [mayMatch]
 * @returns {[A, B][]}
 */
export function pairs(as, bs, mayMatch = () => true) {
  const found = [];
  for (const a of as) {
    for (const b of bs) {
      const { share, iou } = mayMatch(a, b) ? overlap(a.boxes, b.boxes) : { share: 0, iou: 0 };
      if (share >= MIN_SHARE) found.push({ a, b, value: share + iou });
    }
  }
  const taken = new Set();
  return found.sort((one, two) => two.value - one.value).filter(({ a, b }) => {
    if (taken.has(a) || taken.has(b)) return false;
    taken.add(a).add(b);
    return true;
  }).map(({ a, b }) => [a, b]);
}

/** @param {Lesion} lesion @returns {boolean} whether a person has had a say in it */
export function isTouched(lesion) {
  return lesion.status !== 'proposed' || lesion.edited || lesion.origin === 'person';
}

/**
 * Puts a model's answer among the lesions of its image.
 *
 * @param {Lesion[]} lesions not changed
 * @param {Object} answer of /infer/; one with `mask` outlines lesions, others box them
 * @param {() => string} newKey
 * @returns {{lesions: Lesion[], erase: MaskPart[], add: MaskPart[]}} the lesions now, and what changes in the mask
 */
export function mergeAnswer(lesions, answer, newKey) {
  const outlines = Boolean(answer.mask);
  const { rest, erase } = withoutModel(lesions, answer.model, outlines);
  const proposals = proposalsOf(answer, newKey);
  const result = new Map(rest.map(lesion => [lesion.key, lesion]));
  const placed = new Set();
  const place = (lesion, proposal) => {
    placed.add(proposal);
    result.set(lesion.key, joined(lesion, proposal, outlines));
  };
  for (const [lesion, proposal] of pairs(rest.filter(isTouched), proposals, sameName)) place(lesion, proposal);
  const lacking = rest.filter(lesion => !isTouched(lesion) && hasOutline(lesion) !== outlines);
  const left = proposals.filter(proposal => !placed.has(proposal));
  for (const [lesion, proposal] of pairs(lacking, left, sameName)) place(lesion, proposal);
  for (const proposal of left) if (!placed.has(proposal)) result.set(proposal.key, proposal);
  const before = new Set(rest.map(lesion => lesion.part));
  const drawn = [...result.values()].filter(({ part, status }) => part && !before.has(part) && status !== 'deleted');
  return { lesions: [...result.values()], erase, add: drawn.map(({ part }) => part) };
}

/** Takes a model's share out of the lesions that nobody has touched. */
function withoutModel(lesions, model, outlines) {
  const erase = [];
  const rest = [];
  for (const lesion of lesions) {
    const own = (outlines ? lesion.outline : boxedBy(lesion))?.source?.model === model;
    if (!own || isTouched(lesion)) {
      rest.push(lesion);
      continue;
    }
    if (outlines && lesion.part) erase.push(lesion.part);
    if (outlines && boxedBy(lesion)) {
      rest.push({ ...lesion, ...fromFinding(lesion.finding), outline: null, part: null });
    }
    if (!outlines && lesion.outline) rest.push({ ...lesion, ...fromFinding(lesion.outline) });
  }
  return { rest, erase };
}

function boxedBy(lesion) {
  return lesion.finding === lesion.outline ? null : lesion.finding;
}

function hasOutline(lesion) {
  return Boolean(lesion.outline);
}

/** A person may have given another name, and a drawn lesion is what it is whatever it is called. */
function sameName(lesion, proposal) {
  const names = [lesion.label, lesion.finding?.label, lesion.outline?.label];
  return lesion.origin === 'person' || names.includes(proposal.label);
}

/**
 * @param {Object} finding as the server gives it
 * @returns {Object} what a lesion takes from the finding that boxed it
 */
export function fromFinding(finding) {
  return {
    label: finding.label, score: finding.score, boxes: boxesOf(finding), measurements: { ...finding.measurements },
    source: { ...finding.source }, finding,
  };
}

function boxesOf(finding) {
  const entries = Object.entries(finding.boxes).map(([t, box]) => [Number(t), box]);
  return new Map(entries.sort(([a], [b]) => a - b));
}

function proposalsOf(answer, newKey) {
  const parts = new Map((answer.mask?.parts ?? []).map(part => [part.finding, part]));
  return answer.findings.map(finding => ({
    ...fromFinding(finding), key: newKey(), status: 'proposed', edited: false, origin: 'model', growth: null,
    part: parts.get(finding.id) ?? null, outline: answer.mask ? finding : null,
  }));
}

/**
 * A lesion with what another model knows of it. One that a person has touched keeps its boxes, name and score, and
 * takes an outline only where it had none.
 */
function joined(lesion, proposal, outlines) {
  if (!outlines) return isTouched(lesion) ? lesion : boxed(lesion, proposal);
  if (lesion.outline || lesion.part) return lesion;
  const part = proposal.part && { ...proposal.part, label: lesion.label };
  const measurements = { ...lesion.measurements, ...proposal.measurements };
  return { ...lesion, outline: proposal.outline, part, measurements };
}

function boxed(lesion, proposal) {
  const { finding, label, score, boxes, source } = proposal;
  return { ...lesion, finding, label, score, boxes, source, measurements: { ...proposal.measurements,
    ...lesion.measurements } };
}

/**
 * @param {{key: string, label: string, boxes: Map<number, Box>, measurements: Object}} drawn
 * @returns {Lesion} one that a person has drawn
 */
export function drawnLesion(drawn) {
  return { ...drawn, score: null, status: 'accepted', edited: false, origin: 'person', part: null, growth: null,
    source: {}, finding: null, outline: null };
}

/**
 * @param {Lesion[]} lesions
 * @param {number} frameIndex of a new box
 * @param {Box} box
 * @returns {Lesion|undefined} the lesion that has a box beside it on a neighbouring frame, and none on this one
 */
export function continuedBy(lesions, frameIndex, box) {
  const isBeside = other => other && overlap(new Map([[0, other]]), new Map([[0, box]])).share >= MIN_SHARE;
  return lesions.find(({ status, boxes }) => status !== 'deleted' && !boxes.has(frameIndex)
    && [-1, 1].some(step => isBeside(boxes.get(frameIndex + step))));
}

/** @param {Lesion} lesion @returns {number} index of the frame where the model is surest, else of the middle one */
export function bestFrame(lesion) {
  const indices = [...lesion.boxes.keys()].sort((a, b) => a - b);
  const scores = lesion.finding?.frame_scores ?? {};
  const surest = indices.filter(t => t in scores).sort((a, b) => scores[b] - scores[a])[0];
  return surest ?? indices[Math.floor(indices.length / 2)];
}

/** Drawn by a person, or boxed by one model and outlined by another. */
const isBacked = lesion => lesion.origin === 'person' || Boolean(boxedBy(lesion) && hasOutline(lesion));

/**
 * @param {Lesion[]} lesions
 * @returns {string[]} keys as the list shows them: deleted ones last; first what a person drew or two models agree on, then by
 *     score
 */
export function listOrder(lesions) {
  const rank = lesion => [lesion.status === 'deleted' ? 1 : 0, isBacked(lesion) ? 0 : 1,
    -(lesion.score ?? 1), Math.min(...lesion.boxes.keys())];
  const ranked = lesions.map(lesion => ({ key: lesion.key, rank: rank(lesion) }));
  const differing = (a, b) => a.rank.findIndex((value, i) => value !== b.rank[i]);
  return ranked.sort((a, b) => {
    const i = differing(a, b);
    return i < 0 ? 0 : a.rank[i] - b.rank[i];
  }).map(({ key }) => key);
}
