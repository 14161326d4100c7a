// SPDX-License-Identifier: Apache-2.0
/** Tabs after the ARIA authoring practices: one stop for the Tab key, arrow keys between them. */
import { h, setAttribute } from './dom.js';

/**
 * @typedef {Object} Tab
 * @property {string} name unique on the page, for ids and tests
 * @property {string} title
 * @property {Element[]} content
 */

/**
 * @param {string} label what the tabs are about
 * @param {Tab[]} tabs the first one is shown
 * @returns {{list: HTMLElement, panels: HTMLElement[], show: (name: string) => void}}
 */
export function makeTabs(label, tabs) {
  const buttons = tabs.map(({ name, title }) => h('button', { class: 'll-tab', type: 'button', role: 'tab',
    id: `lesionloop-tab-${name}`, 'aria-controls': `lesionloop-panel-${name}`, dataset: { testid: `tab-${name}` },
    on: { click: () => show(name), keydown: onKey } }, title));
  const panels = tabs.map(({ name, content }) => h('div', {
    class: `ll-tab-panel ll-tab-panel-${name}`, role: 'tabpanel', id: `lesionloop-panel-${name}`,
    'aria-labelledby': `lesionloop-tab-${name}`,
  }, content));

  function show(name) {
    tabs.forEach((tab, index) => {
      const chosen = tab.name === name;
      setAttribute(buttons[index], 'aria-selected', chosen);
      setAttribute(buttons[index], 'tabindex', chosen ? 0 : -1);
      panels[index].hidden = !chosen;
    });
  }

  function onKey(event) {
    const now = buttons.indexOf(event.currentTarget);
    const place = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const next = (place + tabs.length) % tabs.length;
    show(tabs[next].name);
    buttons[next].focus();
  }

  show(tabs[0].name);
  return { list: h('div', { class: 'll-tabs', role: 'tablist', 'aria-label': label }, buttons), panels, show };
}
