// SPDX-License-Identifier: Apache-2.0
/** Keys: OHIF's own where they make sense, and the panel's. No key has two meanings; a test holds this. */

const key = (keys, commandName, label, commandOptions = {}) => (
  { commandName, commandOptions, label, keys: [keys], isEditable: true });

/** The panel's keys, in the words of its help. */
export const OWN_KEYS = [
  key('a', 'lesionloopAccept', 'Accept lesion'),
  key('x', 'lesionloopReject', 'Delete lesion'),
  key('del', 'lesionloopRemoveBox', 'Remove selected box'),
  key('n', 'lesionloopNextFinding', 'Next lesion'),
  key('b', 'lesionloopPreviousFinding', 'Previous lesion'),
  key('d', 'lesionloopDraw', 'Draw lesion box'),
  key('esc', 'lesionloopCancel', 'Cancel drawing'),
  key('s', 'lesionloopSubmit', 'Submit'),
  key('shift+n', 'lesionloopNextImage', 'Next image to label'),
];

/** All keys of the mode, as OHIF wants them. */
export const HOTKEYS = [
  ...OWN_KEYS,
  key('w', 'setToolActive', 'Window/level', { toolName: 'WindowLevel' }),
  key('z', 'setToolActive', 'Zoom', { toolName: 'Zoom' }),
  key('+', 'scaleUpViewport', 'Zoom in'),
  key('-', 'scaleDownViewport', 'Zoom out'),
  key('=', 'fitViewportToWindow', 'Zoom to fit'),
  key('r', 'rotateViewportCW', 'Rotate right'),
  key('l', 'rotateViewportCCW', 'Rotate left'),
  key('h', 'flipViewportHorizontal', 'Flip horizontally'),
  key('v', 'flipViewportVertical', 'Flip vertically'),
  key('c', 'toggleCine', 'Cine'),
  key('i', 'invertViewport', 'Invert'),
  key('right', 'incrementActiveViewport', 'Next viewport'),
  key('left', 'decrementActiveViewport', 'Previous viewport'),
  key('pageup', 'updateViewportDisplaySet', 'Previous series', { direction: -1, excludeNonImageModalities: true }),
  key('pagedown', 'updateViewportDisplaySet', 'Next series', { direction: 1, excludeNonImageModalities: true }),
  key('down', 'nextImage', 'Next frame'),
  key('up', 'previousImage', 'Previous frame'),
  key('home', 'firstImage', 'First frame'),
  key('end', 'lastImage', 'Last frame'),
  key('space', 'resetViewport', 'Reset view'),
];

const TYPING = 'input, select, textarea, [contenteditable]';
const WIDGETS = 'button, a[href], summary, audio, video, [role], [tabindex]';
const WIDGET_KEYS = [' ', 'Enter', 'Home', 'End', 'PageUp', 'PageDown', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight'];

/**
 * Keep keys that are meant for a control of the panel from the viewer: all while a person types, and the keys that
 * press or move through a control while it has the focus.
 *
 * @param {HTMLElement} host of the panel
 */
export function keepKeys(host) {
  const keep = event => {
    const target = event.composedPath()[0];
    const isTyping = target.closest?.(TYPING);
    const isUsed = WIDGET_KEYS.includes(event.key) && target !== host && target.closest?.(WIDGETS);
    if (isTyping || isUsed) event.stopPropagation();
  };
  for (const type of ['keydown', 'keypress', 'keyup']) host.addEventListener(type, keep);
}
