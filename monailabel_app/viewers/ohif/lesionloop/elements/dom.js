// SPDX-License-Identifier: Apache-2.0
/** What all elements of the panel share: making DOM nodes, following the workspace, and how numbers are written. */
import { addStyles } from './styles.js';

const SVG = 'http://www.w3.org/2000/svg';
const PROPERTIES = ['value', 'checked', 'selected', 'hidden', 'disabled', 'readOnly', 'open', 'workspace'];

/**
 * Makes an HTML element.
 *
 * @param {string} tag
 * @param {Object} [props] `class`, `dataset` and `style` (objects), `on` ({event: listener}), properties such as
 *     `disabled` or `value`, and any attribute; null, undefined and false are left out
 * @param {...(Node|string|number|null|undefined|false|Array)} children text is text, never HTML
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/**
 * Makes an SVG element; props and children as in h.
 *
 * @param {string} tag
 * @param {Object} [props]
 * @param {...(Node|string|number|null|undefined|false|Array)} children
 * @returns {SVGElement}
 */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  node.append(...children.flat(Infinity).filter(isContent).map(asNode));
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === 'on') Object.entries(value).forEach(([event, listener]) => node.addEventListener(event, listener));
    else if (name === 'dataset') Object.assign(node.dataset, value);
    else if (name === 'style') Object.assign(node.style, value);
    else if (!PROPERTIES.includes(name) || !(name in node)) setAttribute(node, name, value);
    else if (value !== null && value !== undefined) node[name] = value;
  }
  return node;
}

const isContent = child => child !== null && child !== undefined && child !== false && child !== '';
const asNode = child => (child instanceof Node ? child : document.createTextNode(String(child)));

/**
 * Sets an attribute, or removes it where the value is null, undefined or false. Says nothing where nothing changes.
 *
 * @param {Element} node
 * @param {string} name
 * @param {string|number|boolean|null|undefined} value
 */
export function setAttribute(node, name, value) {
  const text = value === true && !name.startsWith('aria-') ? '' : String(value);
  const absent = value === null || value === undefined || (value === false && !name.startsWith('aria-'));
  if (absent) node.removeAttribute(name);
  else if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/**
 * Writes a text only where it differs, so that live regions do not speak twice.
 *
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {HTMLProgressElement} node
 * @param {number|null} share 0..1; null where nobody knows
 */
export function setProgress(node, share) {
  if (share === null || share === undefined) node.removeAttribute('value');
  else node.value = Math.min(1, Math.max(0, share));
}

/**
 * Makes the children of a node follow a list of items. Nodes of items that stay are kept, and with them the focus and
 * open menus.
 *
 * @template T
 * @param {Element} parent holds nothing else
 * @param {T[]} items
 * @param {(item: T) => string} keyOf unique
 * @param {(item: T) => Element} make
 * @param {(node: Element, item: T, index: number) => void} [update] called for new nodes too
 */
export function keyedList(parent, items, keyOf, make, update = () => {}) {
  const known = new Map([...parent.children].map(node => [node.dataset.key, node]));
  const nodes = items.map((item, index) => {
    const key = String(keyOf(item));
    const node = known.get(key) ?? make(item);
    node.dataset.key = key;
    known.delete(key);
    update(node, item, index);
    return node;
  });
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  known.forEach(node => node.remove());
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  if (focused?.isConnected) focused.focus(); // a node that is moved loses it
}

/**
 * Makes a <select> offer these options, and leaves it alone where it does already.
 *
 * @param {HTMLSelectElement} select
 * @param {{value: string, text: string}[]} options
 * @param {string} value chosen
 */
export function setOptions(select, options, value) {
  const wanted = JSON.stringify(options);
  if (select.dataset.options !== wanted) {
    select.replaceChildren(...options.map(option => h('option', { value: option.value }, option.text)));
    select.dataset.options = wanted;
  }
  if (select.value !== value) select.value = value;
}

/** An element that shows a part of the workspace. Subclasses have `build()` (once) and `render(what)`. */
export class WorkspaceElement extends HTMLElement {
  #workspace = null;
  #built = false;
  #onChange = event => this.render(event.detail?.what ?? 'all');

  get workspace() {
    return this.#workspace;
  }

  /** @param {import('../state/workspace.js').Workspace} workspace set once, best before the element is connected */
  set workspace(workspace) {
    this.#workspace?.removeEventListener('change', this.#onChange);
    this.#workspace = workspace;
    if (this.isConnected) this.#follow();
  }

  connectedCallback() {
    addStyles(this.ownerDocument);
    this.#follow();
  }

  disconnectedCallback() {
    this.#workspace?.removeEventListener('change', this.#onChange);
  }

  #follow() {
    if (!this.#workspace) return;
    this.#workspace.addEventListener('change', this.#onChange);
    if (!this.#built) {
      this.#built = true;
      this.build();
    }
    this.render('all');
  }

  /** Makes what stays: called once, before the first render. */
  build() {}

  /** @param {string} what has changed: the workspace's `detail.what`, or 'all' */
  render(what) { // eslint-disable-line no-unused-vars
  }
}

/**
 * @param {number} share 0..1
 * @returns {string} "83 %"
 */
export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/**
 * @param {number} value in percent
 * @returns {string} "+34 %", "−8 %"
 */
export function signedPercent(value) {
  const rounded = Math.round(value);
  return `${rounded > 0 ? '+' : rounded < 0 ? '−' : ''}${Math.abs(rounded)} %`;
}

/**
 * @param {number} count
 * @param {string} one the thing's name
 * @param {string} [many]
 * @returns {string} "1 lesion", "2 lesions"
 */
export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/**
 * @param {number} count
 * @returns {string} "1 day", "120 days"
 */
export function days(count) {
  return plural(Math.round(count), 'day');
}

/**
 * @param {number} seconds
 * @returns {string} "45 s", "2 min 10 s", "1 h 5 min"
 */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

/**
 * @param {string|number|null} time ISO 8601 text, or seconds since 1970
 * @returns {string} "21 Nov 2025, 14:03"; '' for no time; the text itself where it is no time
 */
export function timeText(time) {
  if (time === null || time === undefined || time === '') return '';
  const date = new Date(typeof time === 'number' ? time * 1000 : time);
  if (Number.isNaN(date.getTime())) return String(time);
  return date.toLocaleString('en-GB', { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit',
    minute: '2-digit' });
}
