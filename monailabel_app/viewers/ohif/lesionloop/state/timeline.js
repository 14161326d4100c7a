// SPDX-License-Identifier: Apache-2.0
/**
 * The server's timeline of a patient (POST /followup/{model}/timeline) as the panel shows it: a line per lesion.
 *
 * @typedef {Object} TimelinePoint A lesion at a visit.
 * @property {string} date YYYY-MM-DD, '' where the study does not say
 * @property {number|null} days from the first visit
 * @property {number|null} value volume or diameter; null where it was not found
 * @property {number|null} uncertainty standard uncertainty of the value
 * @property {boolean} unseen not found because the images of this visit do not reach the place
 *
 * @typedef {Object} TimelineLesion
 * @property {Object} track the server's
 * @property {string} label
 * @property {string} unit of the values
 * @property {TimelinePoint[]} points of every visit, oldest first
 */
import { bestFrame, fromFinding } from './merge.js';

/**
 * @param {Object} timeline
 * @returns {TimelineLesion[]}
 */
export function lesionsOf({ visits, tracks }) {
  return tracks.map(track => {
    const seen = Object.keys(track.findings).map(Number);
    const points = visits.map(({ date, days }, visit) => {
      const place = seen.indexOf(visit);
      const { values, uncertainties } = track.trend;
      return { date, days, value: values[place] ?? null, uncertainty: uncertainties[place] ?? null,
        unseen: track.unseen.includes(visit) };
    });
    return { track, label: findingAt(visits, track, seen.at(-1)).label, unit: track.trend.unit, points };
  });
}

/**
 * @param {Object} timeline
 * @param {Object} track
 * @param {string} imageId the image that is open
 * @returns {import('../types.js').FrameRef|null} where the lesion is best seen; null where it was not found
 */
export function placeOf({ visits }, track, imageId) {
  const visit = visits.findIndex(({ image }) => image === imageId);
  if (!(visit in track.findings)) return null;
  const { sop_instance_uids: uids, frame_numbers: numbers } = visits[visit];
  const frame = bestFrame(fromFinding(findingAt(visits, track, visit)));
  return { sopUid: uids[frame], frameNumber: numbers[frame] };
}

function findingAt(visits, track, visit) {
  return visits[visit].findings.find(({ id }) => id === track.findings[visit]);
}
