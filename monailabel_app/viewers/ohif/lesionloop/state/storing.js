// SPDX-License-Identifier: Apache-2.0
/** Sends what a person has reviewed to the store. */
import { ServerError } from './server.js';

const NAMES = { boxes: 'the findings', mask: 'the mask' };
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);

/**
 * What a submit has to store: the findings, and the mask where there is one; not what is stored as it is.
 *
 * @param {import('./session.js').Session} session
 * @returns {('boxes'|'mask')[]}
 */
export function partsToStore(session) {
  const { dirty, stored, hasMask } = session;
  return ['boxes', 'mask'].filter(part => (part === 'boxes' || hasMask) && (dirty[part] || !stored[part]));
}

/**
 * Stores parts of a session, one after the other; those that are stored are marked so even if a later one fails.
 *
 * @param {import('./server.js').Server} server
 * @param {import('./session.js').Session} session
 * @param {{parts: ('boxes'|'mask')[], user: string, signal: AbortSignal, report: Function}} how
 * @returns {Promise<string>} what was stored, in words
 * @throws {ServerError} that says which part was stored and which was not
 */
export async function store(server, session, { parts, user, signal, report }) {
  const snapshot = session.snapshot();
  const { imageId, frames: { time_point: timePoint } } = session;
  const params = { ...(user && { user }), ...(timePoint !== null && { time_point: timePoint }) };
  const content = { boxes: session.toFindings(user), mask: session.maskToStore() };
  const send = {
    boxes: () => server.saveBoxes(imageId, content.boxes, params, { signal }),
    mask: () => server.saveMask(imageId, content.mask, params, { signal }),
  };
  for (const [i, part] of parts.entries()) {
    report(i / parts.length, NAMES[part]);
    await send[part]().catch(error => {
      throw halfDone(error, NAMES[part], parts.slice(0, i).map(done => NAMES[done]));
    });
    session.markSaved(part, snapshot, { user, time: new Date().toISOString() });
  }
  const count = snapshot.keys.length;
  const findings = count === 0 ? 'no findings' : `${count} ${count === 1 ? 'finding' : 'findings'}`;
  return `Stored: ${parts.map(part => (part === 'boxes' ? findings : NAMES.mask)).join(' and ')}.`;
}

function halfDone(error, part, done) {
  if (!(error instanceof ServerError) || !done.length) return error;
  const text = `${capital(done.join(' and '))} were stored, ${part} was not. ${error.text} Then submit again.`;
  return new ServerError(error.status, text, error.detail);
}
