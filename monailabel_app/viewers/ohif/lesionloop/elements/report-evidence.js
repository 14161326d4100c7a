// SPDX-License-Identifier: Apache-2.0
/** What a sentence rests on: its lesions, frames, words of the clinical text, facts, and other ways to put it. */
import { evidenceOf } from '../state/report-sentences.js';
import { h, percent, svg } from './dom.js';
import { detailsOf, shownFrame } from './findings-words.js';
import { factText, frameTexts } from './report-words.js';

const HEIGHT = 18;
const NAMED_WORDS = 3;

/**
 * @param {import('../state/workspace.js').Workspace} workspace
 * @param {import('../state/report-sentences.js').Sentence} sentence
 * @param {(text: string) => void} choose takes another wording; null where nothing can be changed
 * @returns {HTMLElement|null} null where nothing is known
 */
export function evidenceView(workspace, sentence, choose) {
  const evidence = evidenceOf(sentence);
  const others = choose ? alternatives(sentence, choose) : null;
  const parts = [
    ['Lesions', lesions(workspace, sentence)],
    [workspace.session?.frames?.kind === 'cine' ? 'Frames' : 'Slices', attended(workspace, evidence.frames)],
    ['Words', words(evidence.words)],
    ['Says', evidence.facts.length ? h('span', {}, evidence.facts.map(factText).join('; ')) : null],
    ['Draft', sentence.decision === 'edited' && sentence.drafted ? h('span', {}, sentence.drafted) : null],
    ['Or say', others],
  ].filter(([, content]) => content);
  if (!parts.length) return null;
  return h('div', { class: 'll-evidence', dataset: { testid: 'evidence' } },
    h('dl', {}, parts.flatMap(([name, content]) => [h('dt', {}, name), h('dd', {}, content)])));
}

function lesions(workspace, sentence) {
  const { session, reports } = workspace;
  const meant = reports.lesionsOf(sentence);
  if (!meant.length) return null;
  const order = session.order();
  const number = lesion => order.indexOf(lesion.key) + 1;
  const text = lesion => [`${number(lesion)} ${lesion.label}`, ...detailsOf(workspace, lesion)].join(' · ');
  return h('div', { class: 'll-chips' }, meant.map(lesion => h('button', { class: 'll-button ll-small', type: 'button',
    dataset: { testid: 'evidence-lesion' }, on: { click: () => reports.show(lesion) } }, text(lesion))));
}

function attended(workspace, frames) {
  const named = frameTexts(workspace, frames);
  if (!named.length) return null;
  const button = ({ index, number, name, share }) => h('button', {
    class: 'll-button ll-small ll-number', type: 'button', 'aria-label': `Go to ${name} ${number}, ${share}`,
    dataset: { testid: 'evidence-frame' },
    on: { click: () => workspace.reports.showFrame(index) } }, String(number), h('span', { class: 'll-muted' }, share));
  return [profile(workspace, frames), h('div', { class: 'll-chips' }, named.map(button))];
}

/** Weights over all frames, in the order of the viewer. */
function profile(workspace, frames) {
  const count = workspace.session?.frames?.sop_instance_uids.length ?? 0;
  if (!count) return null;
  const most = Math.max(...frames.values());
  const bars = [...frames].map(([index, weight]) => {
    const place = shownFrame(workspace, index) - 1;
    return `M${place + 0.1} ${HEIGHT}v${-(HEIGHT * weight) / most}h0.8V${HEIGHT}Z`;
  });
  return svg('svg', { class: 'll-attended', 'aria-hidden': 'true', preserveAspectRatio: 'none',
    viewBox: `0 0 ${count} ${HEIGHT}` }, svg('path', { d: bars.join('') }));
}

/** The clinical text; a word that the sentence rests on more is underlined more, and the heaviest have their share. */
function words(weighted) {
  if (!weighted.length) return null;
  const most = Math.max(...weighted.map(([, weight]) => weight));
  const total = weighted.reduce((sum, [, weight]) => sum + weight, 0);
  const named = new Set([...weighted].sort(([, a], [, b]) => b - a).slice(0, NAMED_WORDS));
  return h('p', { class: 'll-words', dataset: { testid: 'evidence-words' } }, weighted.flatMap(entry => {
    const [word, weight] = entry;
    const share = most > 0 ? weight / most : 0;
    const look = { borderBottomColor: `rgb(255 209 102 / ${Math.round(share * 100)}%)`,
      backgroundColor: `rgb(255 209 102 / ${Math.round(share * 22)}%)` };
    const number = named.has(entry) && weight > 0 ? h('sup', {}, percent(weight / total)) : null;
    const title = percent(total ? weight / total : 0);
    return [h('span', { class: 'll-word', style: look, title }, word, number), ' '];
  }));
}

function alternatives({ known, text }, choose) {
  const others = (known.alternatives ?? []).filter(other => other.text !== text);
  if (!others.length) return null;
  return h('div', { class: 'll-others' }, others.map(other => h('button', { class: 'll-button ll-small', type: 'button',
    'aria-label': `Use instead: ${other.text}`, dataset: { testid: 'alternative' },
    on: { click: () => choose(other.text) } }, h('span', {}, other.text),
  h('span', { class: 'll-number ll-muted' }, percent(other.confidence)))));
}
