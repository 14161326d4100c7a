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
lesionloop-timeline { display: flex; flex-direction: column; gap: 8px; min-width: 0; margin-top: 12px; }
.ll-responses { font-size: 12px; overflow-wrap: anywhere; }
.ll-tracks { display: flex; flex-direction: column; gap: 10px; }
.ll-tracks > li { display: flex; flex-direction: column; gap: 3px; padding-top: 6px; border-top: 1px solid
  var(--ll-line); font-size: 12px; overflow-wrap: anywhere; }
.ll-track-head { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; }
.ll-track-head > .ll-label { flex: 1; min-width: 0; }
.ll-tracks .ll-table th { font-weight: 400; white-space: nowrap; }
.ll-growth { display: block; width: 100%; height: 56px; background: var(--ll-surface); border-radius: 3px; }
.ll-growth path { fill: none; stroke: var(--ll-text); stroke-width: 1; }
.ll-growth .ll-growth-axis { stroke: var(--ll-edge); }
.ll-growth .ll-growth-line { stroke: var(--ll-accent); stroke-width: 1.5; }
.ll-growth circle { fill: var(--ll-accent); }
.ll-visit-warnings { display: flex; flex-direction: column; gap: 4px; font-size: 12px; }
`;

const sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);
document.adoptedStyleSheets.push(sheet);
