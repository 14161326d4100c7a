// SPDX-License-Identifier: Apache-2.0
/** A native modal dialog that keeps its keys to itself and gives the focus back. */

/**
 * Shows a dialog until it is closed; keys that are pressed in it reach nothing behind it.
 *
 * @param {HTMLDialogElement} dialog not in the document yet
 * @returns {Promise<string>} its return value; '' where it was closed without one
 */
export function showDialog(dialog) {
  const before = document.activeElement;
  ['keydown', 'keypress', 'keyup'].forEach(type => dialog.addEventListener(type, event => event.stopPropagation()));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise(resolve => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(dialog.returnValue);
    });
  });
}
