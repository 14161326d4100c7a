// SPDX-License-Identifier: Apache-2.0
/**
 * Images: the series of the open studies and where OHIF shows them. OHIF may cut a series into several display sets,
 * one per multi-frame instance for example; to us it is one image.
 *
 * @typedef {import('../types.js').FrameRef} FrameRef
 * @typedef {import('../types.js').ImageRef} ImageRef
 */
import { frameKey, frameOf } from './frames.js';

const STACKS = '@ohif/extension-default.sopClassHandlerModule.stack';
const PATIENCE_MS = 60_000;

/** What is loaded and where it is shown. */
export class Images {
  #services;
  #metaData;
  #jumpToSlice;
  #dataSource;

  /**
   * @param {{services: Object, cornerstone: Object}} ohif
   * @param {() => Object} dataSource OHIF's active one
   */
  constructor({ services, cornerstone }, dataSource) {
    this.#services = services;
    this.#metaData = cornerstone.metaData;
    this.#jumpToSlice = cornerstone.utilities.jumpToSlice;
    this.#dataSource = dataSource;
  }

  /** @returns {Object[]} the display sets of an image; none when it is not loaded */
  displaySets(imageId) {
    const all = this.#services.displaySetService.getActiveDisplaySets();
    return all.filter(set => set.SeriesInstanceUID === imageId && isImage(set));
  }

  /** @returns {string[]} the viewer's image ids of an image's frames, in the order of the viewer */
  viewerIds(imageId) {
    return this.displaySets(imageId).flatMap(set => this.#viewerIdsOf(set));
  }

  /** @returns {FrameRef[]} the frames of an image, in the order of the viewer */
  frames(imageId) {
    return this.viewerIds(imageId).map(id => frameOf(id, this.#metaData));
  }

  /** @returns {Map<string, string>} the viewer's image id by frame key */
  viewerIdByFrame(imageId) {
    return new Map(this.viewerIds(imageId).map(id => [frameKey(frameOf(id, this.#metaData)), id]));
  }

  /** @returns {ImageRef|null} what a viewport shows; null when that is no image series */
  shownIn(viewportId) {
    const set = this.#shownSet(viewportId);
    if (!set) return null;
    const header = set.instances?.[0] ?? set.images?.[0] ?? {};
    return {
      id: set.SeriesInstanceUID,
      studyUid: set.StudyInstanceUID,
      viewportId,
      modality: set.Modality ?? '',
      description: set.SeriesDescription || header.StudyDescription || '',
      patientId: header.PatientID ?? '',
      date: dashed(header.StudyDate ?? set.SeriesDate ?? ''),
      frameCount: this.viewerIds(set.SeriesInstanceUID).length,
      alike: this.#imagesLike(set),
    };
  }

  /** How many image series of a study have the modality of this one. */
  #imagesLike({ StudyInstanceUID: study, Modality: modality }) {
    const alike = this.#services.displaySetService.getActiveDisplaySets()
      .filter(set => set.StudyInstanceUID === study && set.Modality === modality && isImage(set));
    return new Set(alike.map(set => set.SeriesInstanceUID)).size;
  }

  /** @returns {{frame: FrameRef, index: number}|null} the frame that a viewport shows */
  frameIn(viewportId) {
    const shown = this.shownIn(viewportId);
    const current = shown && this.viewport(viewportId)?.getCurrentImageId?.();
    if (!current) return null;
    const frame = frameOf(current, this.#metaData);
    const key = frameKey(frame);
    const index = this.frames(shown.id).findIndex(one => frameKey(one) === key);
    return index < 0 ? null : { frame, index };
  }

  /** @returns {Object|undefined} cornerstone's viewport */
  viewport(viewportId) {
    return this.#services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
  }

  /** @returns {string[]} the viewports on the screen */
  viewportIds() {
    return [...this.#services.viewportGridService.getState().viewports.keys()];
  }

  /** @returns {string|null} a viewport that shows an image, the active one if it does */
  viewportOf(imageId) {
    const active = this.#services.viewportGridService.getActiveViewportId();
    return [active, ...this.viewportIds()].find(id => this.shownIn(id)?.id === imageId) ?? null;
  }

  /**
   * Load a study beside those that are open.
   *
   * @param {string} studyUid
   * @param {string} imageId one that it has
   * @throws {Error} when the image does not come
   */
  async load(studyUid, imageId) {
    if (this.displaySets(imageId).length) return;
    await this.#dataSource().retrieve.series.metadata({ StudyInstanceUID: studyUid });
    const isThere = () => this.displaySets(imageId).length;
    await until(isThere, 'The server did not send that series. Is the study still there?');
  }

  /**
   * Wait until a viewport shows a frame's display set and has its images.
   *
   * @param {string} viewportId
   * @param {string} viewerId the viewer's image id of the frame
   */
  async arrived(viewportId, viewerId) {
    const isThere = () => this.viewport(viewportId)?.getImageIds?.().includes(viewerId);
    await until(isThere, 'The viewer did not open that image. Open it from the list of series on the left.');
  }

  /** Put an image's display set into a viewport unless it is there; the one with the frame if there are several. */
  async put(viewportId, imageId, viewerId) {
    const set = this.displaySets(imageId).find(one => this.#viewerIdsOf(one).includes(viewerId));
    if (this.#shownSet(viewportId) === set) return;
    const { displaySetInstanceUID } = set;
    const viewport = { viewportId, displaySetInstanceUIDs: [displaySetInstanceUID] };
    await this.#services.viewportGridService.setDisplaySetsForViewports([viewport]);
  }

  /**
   * Scroll a stack to a frame and wait until it is there. While OHIF opens an image it may scroll back to the first one:
   * then we scroll again. Not by `setImageIdIndex`: the stack's target would stay behind and OHIF go on "Loading...".
   *
   * @param {Object} viewport cornerstone's
   * @param {number} imageIndex
   */
  async scrollTo(viewport, imageIndex) {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await this.#jumpToSlice(viewport.element, { imageIndex });
      const isOver = () => viewport.getCurrentImageIdIndex() === viewport.getTargetImageIdIndex();
      await until(isOver, 'The server did not send that frame. Try again.');
      if (viewport.getCurrentImageIdIndex() === imageIndex) return;
    }
  }

  /**
   * Lay images out side by side.
   *
   * @param {string[]} imageIds from left to right
   * @param {string} active the image whose viewport becomes the active one
   */
  async arrange(imageIds, active) {
    const { viewportGridService } = this.#services;
    const kept = viewportGridService.getActiveViewportId();
    const others = imageIds.map((imageId, i) => `lesionloop-${i}`);
    const ids = imageIds.map((imageId, i) => (imageId === active ? kept : others[i]));
    const findOrCreateViewport = position => ({
      displaySetInstanceUIDs: [this.displaySets(imageIds[position])[0].displaySetInstanceUID],
      displaySetOptions: [{}],
      viewportOptions: { viewportId: ids[position], viewportType: 'stack', toolGroupId: 'default' },
    });
    const layout = { numRows: 1, numCols: imageIds.length, activeViewportId: kept, findOrCreateViewport };
    await viewportGridService.setLayout(layout);
    await Promise.all(imageIds.map((imageId, i) => this.arrived(ids[i], this.viewerIds(imageId)[0])));
  }

  /** OHIF writes `imageIds` into a display set when it is shown for the first time. */
  #viewerIdsOf(set) {
    return set.imageIds ?? this.#dataSource().getImageIdsForDisplaySet(set);
  }

  #shownSet(viewportId) {
    const { viewportGridService, displaySetService } = this.#services;
    const [uid] = viewportGridService.getState().viewports.get(viewportId)?.displaySetInstanceUIDs ?? [];
    const set = uid && displaySetService.getDisplaySetByUID(uid);
    return set && isImage(set) ? set : null;
  }
}

/**
 * Wait for something.
 *
 * @param {() => any} test
 * @param {string} failure what to say when it does not come
 * @throws {Error}
 */
export async function until(test, failure) {
  const end = performance.now() + PATIENCE_MS;
  while (!test()) {
    if (performance.now() > end) throw new Error(failure);
    await new Promise(resolve => { setTimeout(resolve, 30); });
  }
}

const isImage = set => set.SOPClassHandlerId === STACKS && set.numImageFrames > 0;

const dashed = date => String(date).replace(/^(\d{4})-?(\d{2})-?(\d{2}).*$/, '$1-$2-$3');
