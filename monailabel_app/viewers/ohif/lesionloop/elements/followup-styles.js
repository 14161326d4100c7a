// SPDX-License-Identifier: Apache-2.0
/** Style of the comparison of two visits, on top of styles.js. Importing this module adds it to the page. */
const CSS = `
lesionloop-followup { display: flex; flex-direction: column; gap: 8px; min-width: 0; }
.ll-visits { display: flex; flex-direction: column; }
.ll-visits > li { display: flex; align-items: center; gap: 6px; min-height: 34px; padding: 4px 0;
  border-bottom: 1px solid var(--ll-line); }
.ll-visits > li > :first-child { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.ll-visits > li > :not(:first-child) { flex: none; }
.ll-pair-head { display: flex; align-items: center; gap: 6px; }
.ll-pair-head > :first-child { flex: 1; min-width: 0; }
.ll-pairs th { white-space: nowrap; }
.ll-pairs tbody { cursor: pointer; }
.ll-pairs tbody:hover { background: var(--ll-raised); }
.ll-pairs tbody[data-selected] { background: var(--ll-raised); box-shadow: inset 3px 0 var(--ll-accent); }
.ll-pairs tbody > tr:first-child > * { padding-bottom: 0; border-bottom: 0; }
.ll-pairs tbody > tr:last-child > * { padding-top: 1px; padding-left: 8px; }
.ll-pairs td { overflow-wrap: anywhere; }
.ll-pairs .ll-button { color: var(--ll-text); white-space: nowrap; }
.ll-visit-warnings { display: flex; flex-direction: column; gap: 4px; font-size: 12px; }
`;

const sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);
document.adoptedStyleSheets.push(sheet);
