// SPDX-License-Identifier: Apache-2.0
/**
 * All requests that the panel makes, and their errors in words.
 *
 * @typedef {import('../types.js').Frames} Frames
 * @typedef {import('../types.js').FrameMask} FrameMask
 */

const AGAIN = 'Try again; if it happens again, tell who runs the server';

/** A request that the server refused or did not answer; `message` (and `text`) says what happened and what to do. */
export class ServerError extends Error {
  /**
   * @param {number} status HTTP status; 0 without an answer
   * @param {string} text for people
   * @param {string} [detail] as the server put it
   */
  constructor(status, text, detail = '') {
    super(text);
    this.name = 'ServerError';
    this.status = status;
    this.text = text;
    this.detail = detail;
  }
}

/**
 * @param {number} status
 * @param {string} detail as the server put it
 * @param {string|null} [retryAfter] the header, in seconds
 * @returns {string} what happened and what to do
 */
export function errorText(status, detail, retryAfter = null) {
  const said = sentence(detail);
  const texts = {
    0: 'The server does not answer. Check that LesionLoop is running and that this computer is connected, then try '
      + 'again: what you did here stays.',
    401: 'You are not logged in, or the login has ended. Log in at /login in another tab, then try again: what you '
      + 'did here stays.',
    403: said || 'The server does not allow this.',
    409: `${said || 'Something else is changing this.'} Wait a moment, then try again.`,
    422: 'The server could not read the request. Reload the page; if it happens again, tell who runs the server.',
    429: said && !/already running/i.test(detail) ? said
      : 'This runs already. Wait until it has ended or stop it, then try again.',
    500: `${said || 'The server failed.'} ${AGAIN}${detail ? ' the error id' : ''}.`,
    502: `${said || 'The image archive does not answer as it should.'} Try again in a minute.`,
    503: `The server is busy: its queue is full. Try again in ${waiting(retryAfter)}.`,
    504: 'The server took too long to answer. Try again in a minute.',
  };
  return texts[status] ?? (said || `The server answered with status ${status}. ${AGAIN}.`);
}

function waiting(retryAfter) {
  if (!retryAfter) return 'a few seconds';
  return retryAfter === '1' ? '1 second' : `${retryAfter} seconds`;
}

function sentence(text) {
  const trimmed = text.trim();
  return !trimmed || /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}

/** The server's REST interface (docs/reference/server.md). Every call takes an AbortSignal and throws ServerError. */
export class Server {
  #base;

  /** @param {string} [base] address without a slash at the end; '' for the page's own origin */
  constructor(base = '') {
    this.#base = base;
  }

  /** Models, trainers, strategies and the state of the store. */
  info(options) {
    return this.#json('/info/', {}, options);
  }

  /**
   * @param {string} image
   * @param {{timePoint?: number|null, part?: string|null, signal?: AbortSignal}} [options]
   * @returns {Promise<Frames>}
   */
  frames(image, { timePoint = null, part = null, signal } = {}) {
    return this.#json(`/datastore/image/frames${query({ image, time_point: timePoint, part })}`, {}, { signal });
  }

  /** Runs a model on an image of the store; the answer is /infer's JSON. */
  infer(model, image, params = {}, options) {
    const address = `/infer/${encodeURIComponent(model)}${query({ image, output: 'json' })}`;
    return this.#json(address, { method: 'POST', body: form({ params: JSON.stringify(params) }) }, options);
  }

  /** @returns {Promise<Object|null>} {findings: [...]}; null when none are stored */
  storedBoxes(image, options) {
    const label = { label: image, tag: 'boxes', form: 'frames' };
    return this.#orNull(this.#json(`/datastore/label${query(label)}`, {}, options));
  }

  /**
   * @param {string} image
   * @param {{timePoint?: number|null, signal?: AbortSignal}} [options] which volume of a dynamic image
   * @returns {Promise<FrameMask|null>} null when none is stored
   */
  storedMask(image, { timePoint = null, signal } = {}) {
    const label = { label: image, tag: 'final', form: 'frames', time_point: timePoint };
    return this.#orNull(this.#json(`/datastore/label${query(label)}`, {}, { signal }));
  }

  /**
   * @param {string} image
   * @param {'boxes'|'final'|'report'} tag
   * @returns {Promise<{user: string, time: string}|null>} who stored the label and when (ISO 8601); null without one
   */
  async labelInfo(image, tag, options) {
    const address = `/datastore/label/info${query({ label: image, tag })}`;
    const info = await this.#orNull(this.#json(address, {}, options));
    if (!info || !Object.keys(info).length) return null;
    const time = info.ts ? new Date(info.ts * 1000).toISOString() : info.created ?? '';
    return { user: info.user || info.model || '', time };
  }

  /** Stores {findings: [...]} as the image's boxes. */
  saveBoxes(image, findings, params = {}, options) {
    return this.#saveLabel(image, 'boxes', 'boxes.json', findings, params, options);
  }

  /** Stores a FrameMask as the image's checked mask. */
  saveMask(image, mask, params = {}, options) {
    return this.#saveLabel(image, 'final', 'mask.json', mask, params, options);
  }

  #saveLabel(image, tag, name, content, params, options) {
    const label = new File([JSON.stringify(content)], name, { type: 'application/json' });
    const body = form({ label, params: JSON.stringify(params) });
    return this.#json(`/datastore/label${query({ image, tag, form: 'frames' })}`, { method: 'PUT', body }, options);
  }

  /**
   * @param {string} strategy
   * @param {string} [user] who is given it
   * @returns {Promise<Object|null>} the image to label next; null when there is none left
   */
  async nextImage(strategy, user = '', options) {
    const params = user ? { client_id: plainText(user) } : {};
    const sample = await this.#json(`/activelearning/${encodeURIComponent(strategy)}`, post(params), options);
    return sample?.id ? sample : null;
  }

  /** Starts a training; the answer is as that of `trainStatus`. */
  train(model, params = {}, options) {
    return this.#json(`/train/${encodeURIComponent(model)}`, post(params), options);
  }

  /** @returns {Promise<Object|null>} the latest training; null when there has been none */
  trainStatus(options) {
    return this.#orNull(this.#json('/train/', {}, options));
  }

  stopTraining(options) {
    return this.#json('/train/', { method: 'DELETE' }, options);
  }

  /** Version in service, all versions and how each came about. */
  versions(model, options) {
    return this.#json(`/versions/${encodeURIComponent(model)}`, {}, options);
  }

  /**
   * Puts a version into service.
   *
   * @param {string} model
   * @param {string|null} version null for the one that was in service before
   * @param {string} [user] kept as who did it
   * @returns {Promise<{version: string}>} now in service
   */
  rollBack(model, version = null, user = '', options) {
    const params = { ...(version && { version }), ...(user && { user: plainText(user) }) };
    return this.#json(`/versions/${encodeURIComponent(model)}`, post(params), options);
  }

  /** @returns {string} address without a slash at the end */
  get base() {
    return this.#base;
  }

  /** @returns {string} address of a model's card */
  cardUrl(model) {
    return `${this.#base}/model/card/${encodeURIComponent(model)}`;
  }

  /** @returns {Promise<Object[]>} visits of the same patient that show the same, oldest first */
  async visits(image, options) {
    return (await this.#json(`/followup/${encodeURIComponent(image)}`, {}, options)).visits;
  }

  /** Compares two visits: findings of both, linked, with their growth. */
  followUp(model, baseline, image, options) {
    const address = `/followup/${encodeURIComponent(model)}${query({ baseline, image })}`;
    return this.#json(address, { method: 'POST' }, options);
  }

  /** Follows the lesions of an image's patient over all visits that show the same. */
  timeline(model, image, options) {
    const address = `/followup/${encodeURIComponent(model)}/timeline${query({ image })}`;
    return this.#json(address, { method: 'POST' }, options);
  }

  /** @returns {Promise<string|null>} who is logged in; null when the server asks nobody to */
  async user(options) {
    const { enabled } = await this.#json('/auth/', {}, options);
    return enabled ? (await this.#json('/auth/token/valid', {}, options)).username : null;
  }

  /**
   * @param {string} address
   * @param {RequestInit} [init]
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<any>} the JSON of any route
   */
  request(address, init = {}, options = {}) {
    return this.#json(address, init, options);
  }

  async #json(address, init, { signal } = {}) {
    const response = await this.#fetch(address, { ...init, signal });
    if (!response.ok) throw await refusal(response);
    try {
      return await response.json();
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ServerError(response.status, `The server's answer could not be read. ${AGAIN}.`, String(error));
    }
  }

  async #fetch(address, init) {
    const headers = { Accept: 'application/json', ...init.headers };
    try {
      return await fetch(this.#base + address, { ...init, headers, credentials: 'same-origin' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ServerError(0, errorText(0, ''), String(error));
    }
  }

  async #orNull(answer) {
    try {
      return await answer;
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const detail = typeof body.detail === 'string' ? body.detail : '';
  const text = errorText(response.status, detail, response.headers.get('Retry-After'));
  return new ServerError(response.status, text, detail);
}

/**
 * @param {Object} values null, undefined and '' are left out
 * @returns {string} "?a=1&b=2", or ''
 */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

function form(fields) {
  const data = new FormData();
  Object.entries(fields).forEach(([name, value]) => data.append(name, value));
  return data;
}

function post(params) {
  return { method: 'POST', body: JSON.stringify(params), headers: { 'Content-Type': 'application/json' } };
}

/** What the server takes as a name in a parameter. */
function plainText(text) {
  return text.replace(/[^\p{L}\p{N}_ .,:;+()#[\]=-]/gu, ' ').slice(0, 128);
}
