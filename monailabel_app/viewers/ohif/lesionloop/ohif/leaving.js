// SPDX-License-Identifier: Apache-2.0
/** Leaving: unsaved corrections are never lost without a question. */

const QUESTION = 'Unsaved corrections.\n\nYou have changed boxes, a mask or the report and not stored them. '
  + 'Leave without saving? "Cancel" stays here.';
const WAY_OUT = '[data-cy="return-to-work-list"]';

/**
 * What is asked when the browser goes back or forward. A window's listeners run in the order in which they came: this
 * one has to be there before OHIF's router, which would have left the mode already.
 */
let onHistory = () => {};
window.addEventListener('popstate', event => onHistory(event));

/**
 * Ask before the viewer is left while something is unsaved: by OHIF's way back to the study list, by the browser's back
 * button, and by closing or reloading the page (there the browser asks in its own words). Nobody is asked while
 * everything is saved.
 *
 * @param {() => boolean} isDirty
 * @param {(question: string) => boolean} [confirm] true to leave
 * @returns {{mayLeave: () => boolean, stop: () => void}} mayLeave asks where needed; stop ends the watch
 */
export function guardLeaving(isDirty, confirm = question => window.confirm(question)) {
  const mayLeave = () => !isDirty() || confirm(QUESTION);
  const place = () => window.history.state?.idx ?? 0;
  let here = place();
  let isReturning = false;

  const onClick = event => {
    if (event.target.closest?.(WAY_OUT) && !mayLeave()) stopEvent(event);
  };
  const onUnload = event => {
    if (isDirty()) event.preventDefault();
  };
  onHistory = event => {
    const steps = here - place();
    if (isReturning) {
      isReturning = false;
      stopEvent(event);
    } else if (steps && !mayLeave()) {
      stopEvent(event);
      isReturning = true;
      window.history.go(steps);
    } else {
      here = place();
    }
  };
  const watched = [[document, 'click', onClick], [window, 'beforeunload', onUnload]];
  for (const [target, type, handler] of watched) target.addEventListener(type, handler, true);
  const stop = () => {
    onHistory = () => {};
    for (const [target, type, handler] of watched) target.removeEventListener(type, handler, true);
  };
  return { mayLeave, stop };
}

function stopEvent(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}
