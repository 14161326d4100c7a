// SPDX-License-Identifier: Apache-2.0
/**
 * The panel's style sheet, in OHIF's dark colours. Contrast: text at least 4.5:1, borders of controls and focus rings
 * at least 3:1 on every background used here (WCAG 2.2, 1.4.3 and 1.4.11).
 *
 * For all elements: .ll-body, .ll-row, .ll-button with .ll-primary, .ll-danger, .ll-small or
 * .ll-link, .ll-field (label over control), .ll-input, .ll-table, .ll-badge with .ll-good, .ll-bad or .ll-warn,
 * .ll-progress (a <progress>), .ll-notice with .ll-error, .ll-warning, .ll-success or .ll-info, .ll-muted, .ll-strong,
 * .ll-number (figures of equal width), .ll-visually-hidden.
 */
const ID = 'lesionloop-styles';

const TOKENS = `
:root { --ll-back: #050615; --ll-surface: #0b0f2e; --ll-raised: #151b45; --ll-line: #2a3566; --ll-edge: #6b7db3;
  --ll-text: #ffffff; --ll-muted: #b7c4d6; --ll-accent: #5acce6; --ll-primary: #348cfd; --ll-good: #6fdc9c;
  --ll-bad: #ff9a9a; --ll-warn: #ffd166; }
`;

const BASE = `
.ll-root { display: flex; flex-direction: column; height: 100%; min-height: 0; overflow-y: auto; position: relative;
  background: var(--ll-back); }
.ll-root, .ll-dialog { color: var(--ll-text); font: 13px/1.4 Inter, system-ui, "Segoe UI", Roboto, sans-serif;
  text-align: left; }
.ll-root *, .ll-dialog * { box-sizing: border-box; }
:where(.ll-root, .ll-dialog) :where(p, h1, h2, h3, ul, ol, dl, dd, figure) { margin: 0; padding: 0; }
.ll-root :where(h1, h2, h3) { font-size: 13px; font-weight: 600; }
:where(.ll-root) :where(ul, ol) { list-style: none; }
.ll-root [hidden], .ll-dialog [hidden] { display: none !important; }
.ll-root :focus-visible, .ll-dialog :focus-visible { outline: 2px solid var(--ll-accent); outline-offset: 1px; }
.ll-root :where(a) { color: var(--ll-accent); text-decoration: underline; }
.ll-muted { color: var(--ll-muted); }
.ll-strong { font-weight: 600; }
.ll-number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.ll-row { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; }
.ll-visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
`;

const CONTROLS = `
.ll-button { display: inline-flex; align-items: center; justify-content: center; gap: 6px; min-height: 28px;
  padding: 3px 10px; border: 1px solid var(--ll-edge); border-radius: 4px; background: var(--ll-raised);
  color: var(--ll-text); font: inherit; line-height: 1.3; cursor: pointer; }
.ll-button:hover:not(:disabled) { border-color: var(--ll-accent); background: #1d2660; }
.ll-button:disabled { color: #93a1c2; background: transparent; border-color: var(--ll-line); cursor: not-allowed; }
.ll-primary { background: var(--ll-primary); border-color: var(--ll-primary); color: var(--ll-back); font-weight: 600; }
.ll-primary:hover:not(:disabled) { background: #6fb0ff; border-color: #6fb0ff; }
.ll-danger { border-color: var(--ll-bad); color: var(--ll-bad); }
.ll-small { min-height: 24px; padding: 1px 7px; font-size: 12px; }
.ll-link { min-height: 24px; padding: 0 2px; border-color: transparent; background: none; color: var(--ll-accent);
  text-decoration: underline; }
.ll-link:hover:not(:disabled) { background: none; color: var(--ll-text); }
.ll-field { display: flex; flex-direction: column; gap: 2px; color: var(--ll-muted); font-size: 12px; min-width: 0; }
.ll-input { width: 100%; min-width: 0; height: 28px; padding: 2px 6px; border: 1px solid var(--ll-edge);
  border-radius: 4px; background: var(--ll-back); color: var(--ll-text); font: inherit; font-size: 13px; }
.ll-input:is(:disabled, :read-only):not(select) { border-style: dashed; color: var(--ll-muted); }
select.ll-input { padding-right: 2px; cursor: pointer; }
.ll-input option { background: var(--ll-surface); color: var(--ll-text); }
.ll-progress { display: block; width: 100%; height: 8px; border: 1px solid var(--ll-edge); border-radius: 4px;
  overflow: hidden; appearance: none; background: var(--ll-back); accent-color: var(--ll-accent); }
.ll-progress::-webkit-progress-bar { background: var(--ll-back); }
.ll-progress::-webkit-progress-value { background: var(--ll-accent); }
.ll-progress::-moz-progress-bar { background: var(--ll-accent); }
.ll-progress:indeterminate::-webkit-progress-bar { background: linear-gradient(90deg, transparent, var(--ll-accent),
  transparent) 0 0 / 50% 100% no-repeat; animation: ll-slide 1.4s linear infinite; }
.ll-progress:indeterminate { background: linear-gradient(90deg, transparent, var(--ll-accent), transparent) 0 0 / 50%
  100% no-repeat; animation: ll-slide 1.4s linear infinite; }
@keyframes ll-slide { from { background-position: -100% 0; } to { background-position: 200% 0; } }
@media (prefers-reduced-motion: reduce) {
  .ll-progress:indeterminate, .ll-progress:indeterminate::-webkit-progress-bar { animation: none; } }
`;

const PARTS = `
.ll-body { display: flex; flex-direction: column; gap: 8px; padding: 6px 10px 10px; }
.ll-table { width: 100%; border-collapse: collapse; font-size: 12px; }
.ll-table :is(th, td) { padding: 3px 4px; border-bottom: 1px solid var(--ll-line); text-align: left;
  vertical-align: top; }
.ll-table th { color: var(--ll-muted); font-weight: 600; }
.ll-badge { display: inline-flex; align-items: center; gap: 3px; padding: 0 6px; border: 1px solid var(--ll-edge);
  border-radius: 9px; font-size: 11px; line-height: 16px; color: var(--ll-muted); white-space: nowrap; }
.ll-badge.ll-good { border-color: var(--ll-good); color: var(--ll-good); }
.ll-badge.ll-bad { border-color: var(--ll-bad); color: var(--ll-bad); }
.ll-badge.ll-warn { border-color: var(--ll-warn); color: var(--ll-warn); }
.ll-notice { display: flex; align-items: flex-start; gap: 6px; padding: 6px 8px; border-left: 4px solid
  var(--ll-accent); border-radius: 3px; background: var(--ll-raised); overflow-wrap: anywhere; }
.ll-notice.ll-error { border-color: var(--ll-bad); }
.ll-notice.ll-warning { border-color: var(--ll-warn); }
.ll-notice.ll-success { border-color: var(--ll-good); }
.ll-notice > :first-child { flex: 1; min-width: 0; }
`;

const PANEL = `
.ll-root > * { flex: none; }
.ll-root :is(lesionloop-image, lesionloop-busy, lesionloop-notice) { display: block; }
.ll-top { padding: 8px 10px; background: var(--ll-surface); }
.ll-top :is(.ll-busy, .ll-notice, .ll-find-row, .ll-find-words) { margin-top: 6px; }
.ll-find-row { display: flex; gap: 6px; }
.ll-find-row > .ll-primary { flex: 1; }
.ll-tabs { display: flex; padding: 0 4px; background: var(--ll-surface); border-bottom: 1px solid var(--ll-line); }
.ll-tab { flex: 1 0 auto; min-height: 30px; padding: 2px 4px; border: 0; border-bottom: 3px solid transparent;
  background: none; color: var(--ll-muted); font: inherit; font-size: 12px; cursor: pointer; }
.ll-tab:hover { color: var(--ll-text); }
.ll-tab[aria-selected="true"] { border-bottom-color: var(--ll-accent); color: var(--ll-text); font-weight: 600; }
.ll-root .ll-tab:focus-visible { outline-offset: -2px; }
.ll-root > .ll-tab-panel { display: flex; flex-direction: column; flex: 1 0 240px; min-height: 0; padding: 10px;
  overflow-y: auto; }
.ll-root > .ll-tab-panel-findings { padding: 0; overflow: hidden; }
.ll-tab-panel > * { flex: none; }
.ll-image-title, .ll-image-facts { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.ll-image-title { font-size: 14px; }
.ll-time { margin-top: 4px; color: var(--ll-muted); }
.ll-time .ll-input { flex: 1; }
.ll-warnings { margin-top: 2px; color: var(--ll-warn); font-size: 12px; }
.ll-warnings summary { min-height: 24px; line-height: 24px; cursor: pointer; }
.ll-warnings li { padding: 2px 0 4px 12px; color: var(--ll-text); overflow-wrap: anywhere; }
.ll-find-words { font-size: 12px; overflow-wrap: anywhere; }
.ll-busy { display: flex; flex-direction: column; gap: 6px; padding: 6px 8px; border: 1px solid var(--ll-line);
  border-radius: 4px; background: var(--ll-raised); }
.ll-busy-line { display: flex; align-items: center; gap: 8px; }
.ll-busy-words { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.ll-mark { display: inline-block; width: 14px; font-weight: 700; }
.ll-icon { flex: none; width: 24px; min-height: 24px; height: 24px; padding: 0; font-size: 12px; }
.ll-tab-panel > lesionloop-strip { display: block; padding: 5px 10px 6px; border-bottom: 1px solid var(--ll-line); }
.ll-readout { font-size: 12px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.ll-readout::first-letter { text-transform: uppercase; }
.ll-strip-hold { position: relative; margin: 2px 0; }
.ll-strip-track { height: 44px; border: 1px solid var(--ll-edge); border-radius: 3px; background: var(--ll-surface);
  cursor: pointer; touch-action: none; }
.ll-strip-track svg { display: block; width: 100%; height: 100%; }
.ll-strip-track path { vector-effect: non-scaling-stroke; fill: none; pointer-events: none; }
.ll-strip-track .ll-bars { fill: #3f83dd; }
.ll-strip-track .ll-box-marks { fill: var(--ll-good); }
.ll-strip-track .ll-attention { stroke: var(--ll-warn); stroke-width: 1.5; }
.ll-strip-track .ll-now { stroke: #ffffff; stroke-width: 2; }
.ll-tip { position: absolute; z-index: 2; top: 100%; left: 0; right: 0; margin-top: 2px; padding: 2px 6px; border: 1px
  solid var(--ll-edge); border-radius: 3px; background: var(--ll-raised); font-size: 12px; pointer-events: none; }
.ll-strip-legend { display: flex; flex-wrap: wrap; gap: 0 8px; font-size: 11px; }
.ll-strip-legend span { display: inline-flex; align-items: center; gap: 4px; }
.ll-swatch { display: inline-block; width: 9px; height: 9px; }
.ll-swatch-bar { background: #3f83dd; }
.ll-swatch-line { height: 2px; background: var(--ll-warn); }
.ll-swatch-box { height: 4px; background: var(--ll-good); }
`;

const FINDINGS = `
.ll-tab-panel > lesionloop-findings { display: flex; flex-direction: column; flex: 1 1 130px; min-height: 130px; }
.ll-list-head { display: flex; align-items: center; gap: 6px; padding: 5px 10px; }
.ll-list-head h2 { flex: 1; }
.ll-hint { padding: 4px 10px 8px; }
.ll-keys { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: 2px 12px;
  padding: 0 10px 6px; font-size: 12px; }
.ll-keys div { display: flex; gap: 6px; }
.ll-keys dt { min-width: 22px; }
.ll-keys dd { color: var(--ll-muted); }
.ll-keys kbd { padding: 0 5px; border: 1px solid var(--ll-edge); border-radius: 3px; font: inherit; font-size: 11px; }
.ll-list { flex: 1; min-height: 0; overflow-y: auto; border-top: 1px solid var(--ll-line); }
.ll-finding { display: grid; grid-template-columns: 24px minmax(0, 1fr); gap: 3px 8px; padding: 5px 10px 5px 7px;
  border-left: 3px solid transparent; border-bottom: 1px solid var(--ll-line); cursor: pointer; }
.ll-finding:hover { background: var(--ll-surface); }
.ll-finding[aria-current] { border-left-color: var(--ll-accent); background: var(--ll-raised); }
.ll-finding > :not(.ll-finding-number) { grid-column: 2; }
.ll-finding-number { grid-row: 1; font-weight: 600; }
.ll-finding[aria-current] .ll-finding-number { background: var(--ll-accent); color: var(--ll-back); }
.ll-finding-head, .ll-finding-state { display: flex; align-items: center; gap: 6px; }
.ll-finding-head .ll-label { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.ll-finding-head select.ll-label { height: 24px; font-size: 12px; }
.ll-finding-actions { display: flex; flex: none; gap: 4px; }
.ll-finding-detail { font-size: 12px; overflow-wrap: anywhere; }
.ll-finding[data-status="deleted"] :is(.ll-label, .ll-finding-detail) { text-decoration: line-through; }
.ll-tab-panel > lesionloop-submit { display: flex; flex-direction: column; gap: 4px; padding: 6px 10px 8px;
  border-top: 1px solid var(--ll-line); background: var(--ll-surface); }
.ll-stored { font-size: 12px; overflow-wrap: anywhere; }
.ll-submit-row { display: flex; align-items: flex-end; gap: 8px; }
.ll-submit-row .ll-field { flex: 1; }
.ll-submit-side { display: flex; flex-direction: column; align-items: stretch; gap: 3px; }
.ll-dialog { max-width: 420px; padding: 18px 20px; border: 1px solid var(--ll-edge); border-radius: 6px; background:
  var(--ll-surface); }
.ll-dialog::backdrop { background: rgb(0 0 0 / 60%); }
.ll-dialog h2 { font-size: 16px; font-weight: 600; }
.ll-dialog p { margin: 8px 0 16px; color: var(--ll-muted); }
.ll-choices { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: 8px; }
`;

/**
 * Adds the style sheet to a document, once.
 *
 * @param {Document} [target]
 */
export function addStyles(target = document) {
  if (target.getElementById(ID)) return;
  const style = target.createElement('style');
  style.id = ID;
  style.textContent = [TOKENS, BASE, CONTROLS, PARTS, PANEL, FINDINGS].join('');
  target.head.append(style);
}
