// SPDX-License-Identifier: Apache-2.0
/** What runs and for how long, with Cancel; and what the workspace has to say. */
import { WorkspaceElement, duration, h, setProgress, setText } from './dom.js';

const TICK_MS = 500;
const MARKS = { error: ['✕', 'Error: '], warning: ['!', 'Warning: '], success: ['✓', 'Done: '], info: ['i', 'Note: '] };

/** <lesionloop-busy>: hidden while nothing runs. */
export class BusyBar extends WorkspaceElement {
  #parts = {};
  #timer = null;

  build() {
    this.#parts = {
      title: h('span', { class: 'll-strong' }), detail: h('span', { class: 'll-muted' }),
      elapsed: h('span', { class: 'll-number ll-muted' }), progress: h('progress', { class: 'll-progress', max: 1 }),
      cancel: h('button', { class: 'll-button ll-small', type: 'button', dataset: { testid: 'cancel' },
        on: { click: () => this.workspace.busy?.cancel() } }, 'Cancel'),
      box: h('div', { class: 'll-busy', hidden: true, dataset: { testid: 'busy' } }),
    };
    const { title, detail, elapsed, progress, cancel, box } = this.#parts;
    box.append(h('div', { class: 'll-busy-line' }, h('div', { class: 'll-busy-words', role: 'status' },
      title, ' ', detail), cancel), h('div', { class: 'll-busy-line' }, progress, elapsed));
    this.append(box);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#tick(false);
  }

  render(what) {
    if (!['all', 'busy'].includes(what)) return;
    const { busy } = this.workspace;
    const { title, detail, progress, box } = this.#parts;
    box.hidden = !busy;
    setText(title, busy?.title ?? '');
    setText(detail, busy?.detail ?? '');
    if (busy) setProgress(progress, busy.progress);
    progress.setAttribute('aria-label', busy?.title ?? 'Progress');
    this.#tick(Boolean(busy));
  }

  #tick(on) {
    if (!on) {
      clearInterval(this.#timer);
      this.#timer = null;
      return;
    }
    this.#timer ??= setInterval(() => this.#showElapsed(), TICK_MS);
    this.#showElapsed();
  }

  #showElapsed() {
    const { busy } = this.workspace;
    if (busy) setText(this.#parts.elapsed, duration((performance.now() - busy.startedAt) / 1000));
  }
}

/** <lesionloop-notice>: the workspace's notice. Errors and warnings are spoken at once. */
export class NoticeBar extends WorkspaceElement {
  #alert = h('div', { role: 'alert' });
  #status = h('div', { role: 'status' });

  build() {
    this.append(this.#alert, this.#status);
  }

  render(what) {
    if (!['all', 'notice'].includes(what)) return;
    const { notice } = this.workspace;
    const urgent = ['error', 'warning'].includes(notice?.kind);
    this.#alert.replaceChildren(...(notice && urgent ? [this.#box(notice)] : []));
    this.#status.replaceChildren(...(notice && !urgent ? [this.#box(notice)] : []));
  }

  #box({ kind, text }) {
    const [mark, word] = MARKS[kind] ?? MARKS.info;
    return h('div', { class: `ll-notice ll-${kind}`, dataset: { testid: 'notice', kind } },
      h('div', {}, h('span', { class: 'll-mark', 'aria-hidden': 'true' }, mark),
        h('span', { class: 'll-visually-hidden' }, word), text),
      h('button', { class: 'll-button ll-icon', type: 'button', 'aria-label': 'Dismiss this message', title: 'Dismiss',
        on: { click: () => this.workspace.dismissNotice() } }, '✕'));
  }
}

customElements.define('lesionloop-busy', BusyBar);
customElements.define('lesionloop-notice', NoticeBar);
