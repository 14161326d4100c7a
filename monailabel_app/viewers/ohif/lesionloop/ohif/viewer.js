// SPDX-License-Identifier: Apache-2.0
/**
 * The viewer as the panel sees it. This module and the ones it is made of (images.js, boxes.js, masks.js, frames.js)
 * are the only ones that know OHIF and cornerstone.
 *
 * @typedef {import('../types.js').BoxSet} BoxSet
 * @typedef {import('../types.js').FrameMask} FrameMask
 * @typedef {import('../types.js').FrameRef} FrameRef
 * @typedef {import('../types.js').ImageRef} ImageRef
 * @typedef {import('../types.js').MaskPart} MaskPart
 */
import { BOX_TOOL, Boxes } from './boxes.js';
import { frameKey, planeOf, toWorld } from './frames.js';
import { Images } from './images.js';
import { Labelmaps } from './masks.js';

const LIBRARIES = '@ohif/extension-cornerstone.utilityModule.common';
const TITLE = 'LesionLoop';

/**
 * Events: 'image' (another image is active); 'frame' (detail: imageId, frame, index); 'box' (detail: imageId, key, kind
 * 'drawn', 'changed' or 'removed', frame, box; of a drawn one also `assign(key)`, which ties it to a lesion); 'mask'
 * (detail: imageId). The last two tell what a person did, never what the panel draws. 'drawing' (detail: active): the tool
 * that draws boxes was taken or put away.
 */
export class Viewer extends EventTarget {
  #ohif;
  #commands;
  #images;
  #boxes;
  #masks;
  #sets = new Map();
  #masked = new Map();
  #endings = [];
  #planned = false;
  #frame = '';
  #isDrawing = false;
  /** @type {ImageRef|null} what the active viewport shows */
  image = null;
  /** Asked before another study takes the place of this one; see `leaving.js`. */
  mayLeave = () => true;

  /** @param {{servicesManager: Object, extensionManager: Object, commandsManager: Object}} managers OHIF's */
  constructor({ servicesManager, extensionManager, commandsManager }) {
    super();
    const libraries = extensionManager.getModuleEntry(LIBRARIES).exports.getCornerstoneLibraries();
    this.#ohif = { services: servicesManager.services, ...libraries };
    this.#commands = commandsManager;
    this.#images = new Images(this.#ohif, () => extensionManager.getActiveDataSource()[0]);
    this.#boxes = new Boxes(this.#ohif, change => this.#boxChanged(change));
    this.#masks = new Labelmaps(this.#ohif);
  }

  /** Begin to follow the viewer. */
  start() {
    const { viewportGridService: grid, cornerstoneViewportService: viewports, displaySetService } = this.#ohif.services;
    const plan = () => this.#plan();
    this.#subscribe(grid, [grid.EVENTS.ACTIVE_VIEWPORT_ID_CHANGED, grid.EVENTS.GRID_STATE_CHANGED], plan);
    this.#subscribe(viewports, [viewports.EVENTS.VIEWPORT_DATA_CHANGED], plan);
    this.#subscribe(displaySetService, [displaySetService.EVENTS.DISPLAY_SETS_ADDED], () => this.#redraw());
    const { STACK_NEW_IMAGE, VOLUME_NEW_IMAGE } = this.#ohif.cornerstone.Enums.Events;
    for (const type of [STACK_NEW_IMAGE, VOLUME_NEW_IMAGE]) this.#listen(document, type, plan);
    const { SEGMENTATION_DATA_MODIFIED } = this.#ohif.cornerstoneTools.Enums.Events;
    this.#listen(this.#ohif.cornerstone.eventTarget, SEGMENTATION_DATA_MODIFIED, event => this.#maskChanged(event));
    const { TOOL_ACTIVATED } = this.#ohif.cornerstoneTools.Enums.Events;
    this.#listen(this.#ohif.cornerstone.eventTarget, TOOL_ACTIVATED, () => this.#toolChanged());
    this.#boxes.start();
    plan();
  }

  /** Stop following it and take away everything that the panel has drawn. */
  stop() {
    for (const end of this.#endings.splice(0)) end();
    this.#boxes.stop();
    this.#masks.clear();
    this.#sets.clear();
    this.#masked.clear();
  }

  /** @returns {{frame: FrameRef, index: number}|null} the frame in the active viewport */
  currentFrame() {
    return this.image && this.#images.frameIn(this.image.viewportId);
  }

  /** @returns {FrameRef[]} an image's frames in the order of the viewer */
  frameOrder(imageId) {
    return this.#images.frames(imageId);
  }

  /**
   * Show a frame, in the viewport that shows the image or else in the active one.
   *
   * @param {string} imageId
   * @param {FrameRef} frame
   */
  async jumpTo(imageId, frame) {
    const viewerId = this.#images.viewerIdByFrame(imageId).get(frameKey(frame));
    if (!viewerId) return;
    const active = this.#ohif.services.viewportGridService.getActiveViewportId();
    const viewportId = this.#images.viewportOf(imageId) ?? active;
    await this.#images.put(viewportId, imageId, viewerId);
    await this.#images.arrived(viewportId, viewerId);
    const viewport = this.#images.viewport(viewportId);
    if (viewport.type === this.#ohif.cornerstone.Enums.ViewportType.STACK) {
      await this.#images.scrollTo(viewport, viewport.getImageIds().indexOf(viewerId));
    } else {
      viewport.jumpToWorld(this.#centre(viewerId));
      viewport.render();
    }
  }

  /**
   * Draw these boxes on an image, in place of what was drawn on it before.
   *
   * @param {string} imageId
   * @param {BoxSet[]} sets
   */
  showBoxes(imageId, sets) {
    this.#sets.set(imageId, sets);
    this.#boxes.show(imageId, sets, this.#images.viewerIdByFrame(imageId));
  }

  /** Take boxes and mask off an image. */
  clear(imageId) {
    this.showBoxes(imageId, []);
    this.#sets.delete(imageId);
    this.#masks.remove(imageId);
  }

  /** Draw a lesion's boxes thicker than the others; null for none. */
  highlight(imageId, key) {
    this.#boxes.highlight(imageId, key);
  }

  /** Remove the box that is selected in the viewport, or that of an annotation, as if by hand. */
  removeBox(annotationUid) {
    this.#boxes.removeSelected(annotationUid);
  }

  /** The lesion that an annotation shows, or null. */
  lesionOf(annotationUid) {
    return this.#boxes.keyOf(annotationUid);
  }

  /**
   * Show a mask as an editable segmentation, in place of the one that was there.
   *
   * @param {string} imageId
   * @param {FrameMask} mask
   */
  async showMask(imageId, mask) {
    const [displaySet] = this.#images.displaySets(imageId);
    if (!displaySet) return;
    await this.#oneByOne(imageId, () => this.#masks.show(imageId, mask, displaySet, this.#images.viewerIds(imageId)));
    await this.#showMasks();
  }

  /**
   * The mask as it is in the viewer now.
   *
   * @param {string} imageId
   * @param {FrameRef[]} frames in the server's order
   * @param {Object<string, number>} labels label -> value
   * @returns {FrameMask|null} null when there is none
   */
  readMask(imageId, frames, labels) {
    return this.#masks.read(imageId, frames, labels);
  }

  /**
   * Give the pixels of a part that now have one of the values `from` the value `to`; 0 erases.
   *
   * @param {string} imageId
   * @param {FrameRef[]} frames in the server's order
   * @param {MaskPart} part
   * @param {number[]} from
   * @param {number} to
   */
  paintPart(imageId, frames, part, from, to) {
    this.#masks.paint(imageId, frames, part, from, to);
  }

  /** Let a person draw a box in the viewport; the tool goes back to windowing when it is drawn. */
  startDrawing() {
    this.#use(BOX_TOOL);
  }

  /** Give up what is being drawn or measured, and put the tool for boxes away. */
  cancelDrawing() {
    this.#commands.runCommand('cancelMeasurement');
    if (this.#isDrawing) this.#use('WindowLevel');
  }

  /**
   * Go to another study in this mode, without loading the page anew.
   *
   * @param {{studyUid: string, imageId?: string, studyUids?: string[]}} target studyUids: others to open with it
   * @returns {Promise<boolean>} false when the person stays for unsaved work
   */
  async openImage({ studyUid, imageId, studyUids = [] }) {
    if (!this.mayLeave()) return false;
    const query = new URLSearchParams({ StudyInstanceUIDs: [...new Set([studyUid, ...studyUids])].join(',') });
    if (imageId) query.set('initialSeriesInstanceUID', imageId);
    this.#commands.runCommand('navigateHistory', { to: `/lesionloop?${query}` });
    return true;
  }

  /**
   * Show two images side by side, loading their studies where needed.
   * @param {{studyUid: string, imageId: string}} left
   * @param {{studyUid: string, imageId: string}} right
   */
  async showPair(left, right) {
    for (const { studyUid, imageId } of [left, right]) await this.#images.load(studyUid, imageId);
    const active = this.image?.id === left.imageId ? left.imageId : right.imageId;
    await this.#images.arrange([left.imageId, right.imageId], active);
    this.#redraw();
  }

  /** Show one image alone. */
  async showSingle(imageId) {
    if (!this.#images.displaySets(imageId).length) return;
    await this.#images.arrange([imageId], imageId);
    this.#redraw();
  }

  /**
   * Say something in the corner of the viewer.
   * @param {string} text
   * @param {'error'|'warning'|'success'|'info'} kind
   */
  notify(text, kind) {
    this.#ohif.services.uiNotificationService.show({ title: TITLE, message: text, type: kind, duration: 6000 });
  }

  #use(toolName) {
    this.#commands.runCommand('setToolActiveToolbar', { toolName, toolGroupIds: ['default', 'mpr'] });
    this.#ohif.services.toolbarService.refreshToolbarState({ viewportId: this.image?.viewportId });
  }

  #toolChanged() {
    const group = this.#ohif.services.toolGroupService.getToolGroup('default');
    const active = group?.getActivePrimaryMouseButtonTool() === BOX_TOOL;
    if (active === this.#isDrawing) return;
    this.#isDrawing = active;
    this.dispatchEvent(new CustomEvent('drawing', { detail: { active } }));
  }

  #boxChanged(detail) {
    if (detail.kind === 'drawn') this.#use('WindowLevel');
    this.dispatchEvent(new CustomEvent('box', { detail }));
  }

  #maskChanged({ detail: { segmentationId, modifiedSlicesToUse } }) {
    const imageId = this.#masks.imageOf(segmentationId);
    if (!imageId || !this.#masks.isEdited(imageId, modifiedSlicesToUse)) return;
    this.dispatchEvent(new CustomEvent('mask', { detail: { imageId } }));
  }

  #redraw() {
    for (const [imageId, sets] of this.#sets) this.showBoxes(imageId, sets);
    this.#plan();
  }

  /** Look at the viewports once OHIF has finished what it is doing. */
  #plan() {
    if (this.#planned) return;
    this.#planned = true;
    setTimeout(() => {
      this.#planned = false;
      if (this.#endings.length) this.#look();
    });
  }

  #look() {
    const before = this.image?.id;
    this.image = this.#images.shownIn(this.#ohif.services.viewportGridService.getActiveViewportId());
    if (this.image?.id !== before) this.dispatchEvent(new CustomEvent('image'));
    const current = this.currentFrame();
    const shown = current ? `${this.image.viewportId}/${frameKey(current.frame)}` : '';
    const detail = { imageId: this.image?.id, ...current };
    if (current && shown !== this.#frame) this.dispatchEvent(new CustomEvent('frame', { detail }));
    this.#frame = shown;
    this.#showMasks();
  }

  async #showMasks() {
    for (const viewportId of this.#images.viewportIds()) {
      const imageId = this.#images.shownIn(viewportId)?.id;
      const ready = imageId && this.#images.frameIn(viewportId);
      if (ready) await this.#oneByOne(imageId, () => this.#masks.showIn(imageId, viewportId));
    }
  }

  /** Segmentations are made and shown in steps: those of an image must not overlap. */
  #oneByOne(imageId, work) {
    const done = (this.#masked.get(imageId) ?? Promise.resolve()).then(work);
    this.#masked.set(imageId, done.catch(() => {}));
    return done;
  }

  #centre(viewerId) {
    const { metaData } = this.#ohif.cornerstone;
    const { Columns = 0, Rows = 0 } = metaData.get('instance', viewerId) ?? {};
    return toWorld(planeOf(viewerId, metaData), Columns / 2, Rows / 2);
  }

  #subscribe(service, events, handler) {
    for (const event of events) this.#endings.push(service.subscribe(event, handler).unsubscribe);
  }

  #listen(target, type, handler) {
    target.addEventListener(type, handler, true);
    this.#endings.push(() => target.removeEventListener(type, handler, true));
  }
}
