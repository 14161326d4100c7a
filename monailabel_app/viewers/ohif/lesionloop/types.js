// SPDX-License-Identifier: Apache-2.0
/**
 * The words of the panel: what its modules hand to each other. Types only, nothing runs here.
 *
 * A frame has two numbers. The server counts frames in the order that models see (its "frame index", from 0); a
 * viewport counts them in the order it shows them. Between the two stand the SOP Instance UID and the frame number
 * within that instance (DICOM PS3.3 C.7.6.16.1.2), which both know. Boxes are (x0, y0, x1, y1) in pixels of the
 * frame, outer pixel edges, x to the right (columns) and y down (rows).
 *
 * @typedef {[number, number, number, number]} Box
 *
 * @typedef {Object} FrameRef
 * @property {string} sopUid
 * @property {number} frameNumber from 1
 *
 * @typedef {Object} ImageRef What a viewport shows.
 * @property {string} id Series Instance UID: the image's id in the store
 * @property {string} studyUid
 * @property {string} viewportId
 * @property {string} modality
 * @property {string} description
 * @property {string} patientId
 * @property {string} date YYYY-MM-DD, '' when the study does not say
 * @property {number} frameCount in the viewport
 * @property {number} [alike] how many image series of its study have its modality, with it; else it counts as one
 *
 * @typedef {Object} Frames Answer of GET /datastore/image/frames, names as the server gives them.
 * @property {'stack'|'cine'|'dynamic'|'longitudinal'} kind
 * @property {number[]} positions of each frame
 * @property {string} position_unit mm, s or days
 * @property {string[]} sop_instance_uids
 * @property {number[]} frame_numbers
 * @property {number} rows
 * @property {number} columns
 * @property {number[]} spacing_mm x, y, and between frames (0 where frames are moments)
 * @property {number[][]} affine_lps 4x4, frame indices (x, y, t, 1) to LPS mm
 * @property {number[][]|null} origins_lps_mm centre of each frame's first pixel, null where slices are even
 * @property {number|null} time_point which volume of a dynamic image; null for others
 * @property {number} time_points how many volumes there are
 * @property {string[]} warnings
 *
 * @typedef {Object} MaskPart One lesion of a model's answer, or all that has one label.
 * @property {string} label
 * @property {number|null} finding id of the finding in the same answer, or null
 * @property {Object<string, number[]>} frames frame index -> start, length, start, length ... of the pixels inside,
 *     counted along the rows
 *
 * @typedef {Object} FrameMask A mask by frames; the same document comes from /infer and goes to PUT /datastore/label.
 * @property {number} rows
 * @property {number} columns
 * @property {string[]} sop_instance_uids of all frames, in the server's order
 * @property {number[]} frame_numbers
 * @property {Object<string, number>} labels label -> value
 * @property {MaskPart[]} parts
 *
 * @typedef {Object} Lesion One line of the findings list.
 * @property {string} key unique within the session
 * @property {string} label
 * @property {number|null} score 0..1; null when a person drew it
 * @property {'proposed'|'accepted'|'deleted'} status
 * @property {boolean} edited its boxes or label are no longer the model's
 * @property {'model'|'person'} origin
 * @property {Map<number, Box>} boxes by frame index
 * @property {Object<string, {value: number, unit: string}>} measurements long_axis, short_axis, volume, width ...
 * @property {MaskPart|null} part its pixels in the mask, as the model gave them
 * @property {Growth|null} growth since an earlier visit
 * @property {Object} source model, version, weights_sha256, author: as in the server's findings
 * @property {Object|null} finding the server's finding it came from, kept for what the panel does not show
 *
 * @typedef {Object} Growth
 * @property {'grown'|'shrunk'|'stable'|'new'|'gone'} change
 * @property {number|null} percent change of the volume, or of the diameter where there is no volume
 * @property {string} basis what was compared: volume or diameter
 * @property {number} days between the visits
 * @property {number|null} doubling_time_days
 *
 * @typedef {Object} BoxSet What the viewer draws for a lesion.
 * @property {string} key
 * @property {string} text shown at the box
 * @property {'proposed'|'accepted'|'linked'} style
 * @property {{frame: FrameRef, box: Box}[]} boxes
 *
 * @typedef {Object} ModelChoice A model of /info/ and whether it fits the open image.
 * @property {string} name
 * @property {string} type detection, segmentation, report ...
 * @property {string} description
 * @property {string} version in service
 * @property {string} source the lesion model that a report model writes from; empty for others
 * @property {boolean} fits
 * @property {string} reason why it does not
 *
 * @typedef {Object} Busy Long work under way.
 * @property {string} title
 * @property {number} startedAt ms, performance.now()
 * @property {number|null} progress 0..1, null when unknown
 * @property {string} detail
 * @property {() => void} cancel
 *
 * @typedef {Object} Notice
 * @property {'error'|'warning'|'success'|'info'} kind
 * @property {string} text what happened and what to do
 */
export {};
