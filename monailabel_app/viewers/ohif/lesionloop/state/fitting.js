// SPDX-License-Identifier: Apache-2.0
/**
 * Which models fit an image, and why the others do not.
 *
 * @typedef {import('../types.js').ImageRef} ImageRef
 * @typedef {import('../types.js').ModelChoice} ModelChoice
 */

const KINDS = {
  stack: ['stacks of slices', 'a stack of slices'],
  cine: ['clips', 'a clip'],
  dynamic: ['series of volumes', 'a series of volumes'],
  longitudinal: ['series of visits', 'a series of visits'],
};
const FINDERS = ['detection', 'segmentation'];

/**
 * @param {Object|null} info answer of /info/
 * @param {ImageRef|null} image
 * @param {string|null} kind of the image, where it is known
 * @returns {ModelChoice[]}
 */
export function modelChoices(info, image, kind) {
  return Object.entries(info?.models ?? {}).map(([name, model]) => {
    const reason = reasonAgainst(model, image, kind);
    const { type, description = '', version = '', source = '', labels = {} } = model;
    return { name, type, description, version, source, labels: labelsOf(labels), fits: !reason, reason };
  });
}

function reasonAgainst({ input = {} }, image, kind) {
  if (!image) return 'No image is open.';
  const { modalities = [], kind: wanted, required = [] } = input;
  if (modalities.length && !modalities.includes(image.modality)) {
    return `It reads ${modalities.join(' and ')} images; this one is ${image.modality || 'of an unknown modality'}.`;
  }
  const { alike: series = 1 } = image;
  if (required.length > series) {
    return `It reads ${required.join(' and ')} of one study; this one has ${series} series of ${image.modality}.`;
  }
  const alike = !kind || !wanted || kind === wanted || (wanted === 'stack' && kind === 'dynamic');
  return alike ? '' : `It reads ${KINDS[wanted]?.[0] ?? wanted}; this is ${KINDS[kind]?.[1] ?? kind}.`;
}

function labelsOf(labels) {
  return Array.isArray(labels) ? Object.fromEntries(labels.map((label, i) => [label, i + 1])) : labels;
}

/**
 * @param {ModelChoice[]} models
 * @returns {ModelChoice[]} those that find lesions and fit, boxes before outlines
 */
export function finders(models) {
  const fitting = models.filter(({ fits, type }) => fits && FINDERS.includes(type));
  return fitting.sort((a, b) => FINDERS.indexOf(a.type) - FINDERS.indexOf(b.type));
}
