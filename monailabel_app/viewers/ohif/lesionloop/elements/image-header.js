// SPDX-License-Identifier: Apache-2.0
/** Which image the panel is about, and what was noticed about it. */
import { WorkspaceElement, h, keyedList, plural, setOptions, setText } from './dom.js';
import { frameWord } from './findings-words.js';

/** <lesionloop-image> */
export class ImageHeader extends WorkspaceElement {
  #title = h('h1', { class: 'll-image-title' });
  #facts = h('p', { class: 'll-muted ll-image-facts' });
  #time = h('select', { class: 'll-input', id: 'lesionloop-time-point' });
  #timeRow = h('div', { class: 'll-row ll-time', hidden: true }, h('label', { for: 'lesionloop-time-point' },
    'Time point'), this.#time);
  #summary = h('summary', {});
  #list = h('ul', {});
  #warnings = h('details', { class: 'll-warnings', hidden: true }, this.#summary, this.#list);

  build() {
    this.#time.addEventListener('change', () => this.workspace.setTimePoint(Number(this.#time.value)));
    this.append(this.#title, this.#facts, this.#timeRow, this.#warnings);
  }

  render(what) {
    if (!['all', 'image', 'session'].includes(what)) return;
    const { image, session } = this.workspace;
    const title = image ? [image.modality, image.description || 'no description'].filter(Boolean).join(' · ')
      : 'No image is open';
    setText(this.#title, title);
    this.#title.title = title;
    setText(this.#facts, image ? factsOf(image, session) : '');
    this.#renderTime(session);
    this.#renderWarnings(session);
  }

  #renderTime(session) {
    const count = session?.frames?.time_points ?? 1;
    this.#timeRow.hidden = count < 2 || typeof this.workspace.setTimePoint !== 'function';
    if (this.#timeRow.hidden) return;
    const options = Array.from({ length: count }, (_, index) => `${index + 1} of ${count}`);
    setOptions(this.#time, options.map((text, index) => ({ value: String(index), text })),
      String(session.frames.time_point ?? 0));
  }

  #renderWarnings(session) {
    const words = [...new Set([...(session?.frames?.warnings ?? []), ...(session?.warnings ?? [])])];
    this.#warnings.hidden = !words.length;
    setText(this.#summary, `! ${plural(words.length, 'warning')} about this image`);
    keyedList(this.#list, words, word => word, word => h('li', {}, word));
  }
}

function factsOf(image, session) {
  const count = session?.frames?.sop_instance_uids?.length ?? image.frameCount;
  return [image.date, plural(count, frameWord(session))].filter(Boolean).join(' · ');
}

customElements.define('lesionloop-image', ImageHeader);
