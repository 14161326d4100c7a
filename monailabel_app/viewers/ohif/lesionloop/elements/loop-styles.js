// SPDX-License-Identifier: Apache-2.0
/** Style of the models' list and of the loop, on top of styles.js. Importing this module adds it to the page. */
const CSS = `
lesionloop-models, lesionloop-loop, lesionloop-training, lesionloop-versions { display: flex; flex-direction: column;
  gap: 8px; min-width: 0; }
lesionloop-loop { gap: 12px; }
.ll-models, .ll-versions { display: flex; flex-direction: column; gap: 8px; }
.ll-models > li, .ll-versions > li { display: flex; flex-direction: column; gap: 4px; padding: 6px 8px;
  border: 1px solid var(--ll-line); border-radius: 4px; overflow-wrap: anywhere; }
.ll-model-foot { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; }
.ll-model-foot > .ll-button { margin-left: auto; }
.ll-loop-part { display: flex; flex-direction: column; gap: 6px; min-width: 0; }
.ll-loop-part + .ll-loop-part { border-top: 1px solid var(--ll-line); padding-top: 10px; }
.ll-loop-line { display: flex; align-items: end; gap: 6px; }
.ll-loop-line > .ll-field { flex: 1; }
.ll-loop-line > .ll-button { flex: none; }
.ll-chart { display: block; width: 100%; height: 84px; border: 1px solid var(--ll-line); border-radius: 4px;
  background: var(--ll-back); }
.ll-chart polyline { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; }
.ll-chart .ll-loss { stroke: var(--ll-accent); fill: var(--ll-accent); }
.ll-chart .ll-metric { stroke: var(--ll-good); fill: var(--ll-good); }
.ll-chart polyline.ll-loss, .ll-chart polyline.ll-metric { fill: none; }
.ll-chart polyline.ll-metric { stroke-dasharray: 5 3; }
.ll-legend { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 10px; font-size: 12px; }
.ll-legend > * { display: inline-flex; align-items: center; gap: 5px; }
.ll-legend i { width: 18px; border-top: 2px solid var(--ll-accent); }
.ll-legend .ll-metric i { border-top: 2px dashed var(--ll-good); }
.ll-log { max-height: 120px; margin: 4px 0 0; padding: 4px 6px; overflow: auto; border: 1px solid var(--ll-line);
  background: var(--ll-back); color: var(--ll-muted); font: 11px/1.4 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.ll-log-fold > summary { min-height: 24px; color: var(--ll-accent); cursor: pointer; }
`;

const sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);
document.adoptedStyleSheets.push(sheet);
