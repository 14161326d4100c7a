// SPDX-License-Identifier: Apache-2.0
/**
 * The requests about reports (docs/reference/server.md, "Reports").
 *
 * @typedef {{report: Object, versions: Object[]}} Answer
 */
import { query } from './server.js';

/** Every call takes an AbortSignal as the last argument's `signal` and throws ServerError. */
export class ReportRequests {
  #server;

  /** @param {import('./server.js').Server} server */
  constructor(server) {
    this.#server = server;
  }

  /**
   * The current report; asked for only where the server says that there is one, as browsers complain of every 404.
   *
   * @returns {Promise<Answer|null>}
   */
  async current(image, options) {
    const known = await this.#server.labelInfo(image, 'report', options);
    return known && this.#server.request(address(image), {}, options);
  }

  /** @returns {Promise<Object>} a version as it was stored */
  async version(image, number, options) {
    return (await this.#server.request(`${address(image)}/versions/${number}`, {}, options)).report;
  }

  /** Stores a draft or a correction after `version`, which is 0 for the first. @returns {Promise<Answer>} */
  save(image, report, version, options) {
    return this.#send('PUT', address(image), report, version, options);
  }

  /** @returns {Promise<Answer>} */
  sign(image, name, version, options) {
    return this.#send('POST', `${address(image)}/sign`, name ? { name } : {}, version, options);
  }

  /** @returns {Promise<Answer>} */
  amend(image, { sections, reason, name }, version, options) {
    const body = { sections, reason, ...(name && { name }) };
    return this.#send('POST', `${address(image)}/amend`, body, version, options);
  }

  /** What the measurements say of sentences; nothing is stored. @returns {Promise<{sentences: Object[]}>} */
  check(image, body, options) {
    return this.#send('POST', `${address(image)}/check`, body, 0, options);
  }

  /** What changed between two versions, word by word; without `from` since the draft. */
  diff(image, from, to, options) {
    return this.#server.request(`${address(image)}/diff${query({ from, to })}`, {}, options);
  }

  /** @returns {string} address of a version as a FHIR DiagnosticReport */
  fhirUrl(image, version) {
    return `${this.#server.base}${address(image)}/fhir${query({ version })}`;
  }

  #send(method, path, body, version, options) {
    const headers = { 'Content-Type': 'application/json', ...(version && { 'If-Match': `"${version}"` }) };
    return this.#server.request(path, { method, headers, body: JSON.stringify(body) }, options);
  }
}

const address = image => `/reports/${encodeURIComponent(image)}`;
