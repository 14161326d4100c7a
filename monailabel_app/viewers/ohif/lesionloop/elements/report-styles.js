// SPDX-License-Identifier: Apache-2.0
/** Style of the report, on top of styles.js. Importing this module adds it to the page. */
const CSS = `
.ll-root > .ll-tab-panel-report { padding: 0; overflow: hidden; }
.ll-root:has(> .ll-tab-panel-report:not([hidden])) .ll-find-row { display: none; }
lesionloop-report { display: flex; flex-direction: column; flex: 1 1 200px !important; min-height: 0; min-width: 0; }
lesionloop-report > * { flex: none; }
.ll-report-head { display: flex; align-items: baseline; gap: 6px; padding: 5px 10px; border-bottom: 1px solid
  var(--ll-line); font-size: 12px; }
.ll-report-head > .ll-badge { flex: none; }
.ll-report-head > p { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.ll-report-behind { padding: 4px 10px; border-bottom: 1px solid var(--ll-line); color: var(--ll-warn); font-size: 12px; }
lesionloop-report > .ll-notice { margin: 8px 10px 0; }
.ll-conflict-choices { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 6px; }
.ll-report-scroll { flex: 1 1 120px !important; min-height: 0; overflow-y: auto; }
lesionloop-report-draft, lesionloop-report-text, lesionloop-report-versions { display: block; min-width: 0; }
lesionloop-report-draft { padding: 6px 10px; border-bottom: 1px solid var(--ll-line); }
.ll-draft-row { display: flex; align-items: end; gap: 6px; }
.ll-draft-row > .ll-field { flex: 1; }
.ll-draft-check { display: flex; align-items: flex-start; gap: 6px; color: var(--ll-muted); font-size: 12px; }
.ll-draft-check input { width: 16px; height: 16px; margin: 1px 0 0; accent-color: var(--ll-primary); }
.ll-fold .ll-small { align-self: flex-start; }
.ll-fold > summary { min-height: 24px; line-height: 24px; color: var(--ll-accent); cursor: pointer; }
.ll-fold[open] > summary { margin-bottom: 4px; }
.ll-fold > .ll-body { padding: 0 0 4px; gap: 6px; }
textarea.ll-input { height: auto; min-height: 28px; padding: 4px 6px; line-height: 1.4; resize: vertical;
  field-sizing: content; }

.ll-section { padding: 0 0 3px; }
.ll-section + .ll-section { border-top: 1px solid var(--ll-line); }
.ll-section-head { display: flex; align-items: center; min-height: 24px; padding: 0 7px 0 11px; }
.ll-section-head > .ll-button { border-color: transparent; background: none; color: var(--ll-accent); font-size: 15px; }
.ll-section-head > .ll-button:hover { border-color: var(--ll-accent); }
.ll-section-head > h2 { flex: 1; color: var(--ll-muted); font-size: 11px; letter-spacing: .06em;
  text-transform: uppercase; }
.ll-sentence { position: relative; padding: 2px 10px 4px 8px; border-left: 3px solid transparent; }
.ll-sentence[data-support="contradicted"] { border-left-color: var(--ll-bad); }
.ll-sentence[data-support="unsupported"] { border-left-color: var(--ll-warn); }
.ll-sentence:hover { background: var(--ll-surface); }
.ll-sentence[aria-current] { background: var(--ll-raised); }
.ll-sentence-text { display: block; width: 100%; padding: 1px 0; border: 0; background: none; color: var(--ll-text);
  font: inherit; line-height: 1.45; text-align: left; overflow-wrap: anywhere; cursor: pointer; }
.ll-sentence[data-doubtful] .ll-sentence-text { font-style: italic; text-decoration: underline dotted;
  text-underline-offset: 3px; }
.ll-sentence[data-decision="struck"] .ll-sentence-text { color: var(--ll-muted); text-decoration: line-through; }
.ll-edit { margin: 2px 0; }
.ll-sentence-meta { display: flex; align-items: center; min-height: 16px; color: var(--ll-muted); font-size: 11px;
  line-height: 16px; }
.ll-sentence-meta .ll-badge { font-size: 10.5px; line-height: 14px; }
.ll-sentence-meta > :first-child { display: flex; flex-wrap: wrap; align-items: center; gap: 0 5px; }
.ll-sentence[aria-current] .ll-sentence-meta { min-height: 26px; padding-right: 84px; }
.ll-support { white-space: nowrap; }
.ll-support.ll-good { color: var(--ll-good); }
.ll-support.ll-bad { color: var(--ll-bad); }
.ll-support.ll-warn { color: var(--ll-warn); }
.ll-sentence-meta { position: relative; }
.ll-sentence-actions { position: absolute; top: 50%; right: 0; display: flex; gap: 4px; transform: translateY(-50%);
  visibility: hidden; }
.ll-sentence:is(:hover, :focus-within, [aria-current]) .ll-sentence-actions { visibility: visible; }
.ll-add { padding: 0 10px 4px; }

.ll-evidence { display: flex; flex-direction: column; gap: 5px; margin: 2px 0 5px; padding: 6px 8px; border: 1px solid
  var(--ll-line); border-radius: 4px; background: var(--ll-back); font-size: 12px; overflow-wrap: anywhere; }
.ll-evidence dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 8px;
  align-items: baseline; }
.ll-evidence dt { color: var(--ll-muted); font-size: 11px; }
.ll-chips { display: flex; flex-wrap: wrap; gap: 4px; }
.ll-chips .ll-button { text-align: left; white-space: normal; }
.ll-attended { display: block; width: 100%; height: 18px; margin-bottom: 4px; background: var(--ll-surface); }
.ll-attended path { fill: var(--ll-warn); }
.ll-words { line-height: 1.7; }
.ll-word { padding: 0 2px; border-bottom: 2px solid transparent; border-radius: 2px; }
.ll-word sup { margin-left: 1px; color: var(--ll-muted); font-size: 9px; line-height: 1; }
.ll-others { display: flex; flex-direction: column; gap: 4px; }
.ll-others .ll-button { justify-content: space-between; text-align: left; white-space: normal; }
.ll-mine { display: flex; flex-direction: column; gap: 4px; margin: 3px 0 5px; padding: 5px 8px; border-left: 3px solid
  var(--ll-accent); background: var(--ll-raised); font-size: 12px; }

lesionloop-report-versions { padding: 6px 10px 8px; border-top: 1px solid var(--ll-line); }
.ll-version-list > li { display: flex; align-items: center; gap: 6px; min-height: 28px; padding: 2px 0;
  border-bottom: 1px solid var(--ll-line); font-size: 12px; }
.ll-version-list > li > :first-child { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.ll-compare-row { display: grid; grid-template-columns: 1fr 1fr auto; align-items: end; gap: 6px; margin: 4px 0; }
.ll-diff { display: flex; flex-direction: column; gap: 3px; font-size: 12px; line-height: 1.5;
  overflow-wrap: anywhere; }
.ll-diff h3 { margin: 4px 0 0; color: var(--ll-muted); font-size: 11px; font-weight: 600; }
.ll-diff del { color: var(--ll-bad); text-decoration: line-through; }
.ll-diff ins { color: var(--ll-good); text-decoration: underline; text-decoration-thickness: 2px; }
.ll-looked { margin-top: 6px; padding: 6px 8px; border: 1px solid var(--ll-line); border-radius: 4px; }
.ll-looked-head { display: flex; align-items: center; gap: 6px; }
.ll-looked-head > :first-child { flex: 1; }

lesionloop-report-bar { display: flex; flex-direction: column; gap: 4px; padding: 6px 10px 8px; border-top: 1px solid
  var(--ll-line); background: var(--ll-surface); }
lesionloop-report-bar .ll-submit-row { align-items: center; gap: 6px; }
lesionloop-report-bar .ll-submit-row > .ll-button { flex: none; }
.ll-name { display: flex; flex: 1; align-items: center; gap: 6px; min-width: 0; color: var(--ll-muted);
  font-size: 12px; }
.ll-bar-line { display: flex; align-items: center; gap: 6px; min-height: 24px; font-size: 12px; line-height: 1.25; }
.ll-bar-line > :first-child { flex: 1; min-width: 0; }
.ll-bar-line > .ll-button { flex: none; }
.ll-dialog .ll-unsupported { max-height: 40vh; margin: 0 0 12px; padding: 0; overflow-y: auto; list-style: none; }
.ll-dialog .ll-unsupported li { padding: 4px 8px; border-left: 3px solid var(--ll-warn); }
.ll-dialog .ll-unsupported li + li { margin-top: 4px; }
.ll-dialog .ll-unsupported .ll-support { display: block; font-size: 11px; }
.ll-dialog .ll-check { display: flex; align-items: flex-start; gap: 8px; margin-bottom: 14px; }
.ll-dialog .ll-check input { width: 18px; height: 18px; margin: 1px 0 0; accent-color: var(--ll-primary); }
`;

const sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);
document.adoptedStyleSheets.push(sheet);
