# SPDX-License-Identifier: Apache-2.0
"""From a prediction to lesions: which there are, where, how large and how sure.

Scores are in [0, 1] and grow with every probability they are made of:

- A masked lesion (and the lesion on one frame) has the geometric mean of two opinions: the mask's (mean of the
  highest tenth of its probabilities inside) and that of the presence head (its maximum over the lesion's frames).
- A boxed lesion has the highest score among its boxes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..classification.lesions import class_answer, class_map, lesion_logits
from ..configs import ModelConfig
from ..prediction.predictor import FrameBox, Prediction
from ..tracking import Detections, Track, TrackerRules, link_boxes, link_frames
from ..transforms.geometry import sequence_box_lps, sequence_point_lps
from ..types import Box, Finding, FloatArray, MaskArray, Sequence, SequenceKind, Source
from .measure import measure_boxes, measure_mask

MAX_COMPONENTS = 200
"""Per class only this many components, the largest, become lesions; more are noise (an untrained network)."""
NEIGHBOURS_26 = np.ones((3, 3, 3))

Region = tuple[slice, slice, slice]


@dataclass(frozen=True)
class OutlinedLesion:
    """A lesion and its voxels.

    Attributes:
        finding: The lesion.
        region: Part of the sequence (T, H, W) that it lies in.
        mask: Its voxels there.
    """

    finding: Finding
    region: Region
    mask: npt.NDArray[np.bool_]


def find_lesions(
    prediction: Prediction, sequence: Sequence, config: ModelConfig, source: Source
) -> tuple[MaskArray | None, list[Finding]]:
    """Read the lesions off a prediction, as the model's task type asks.

    Args:
        prediction: In original pixels.
        sequence: What was predicted; its first channel gives the mean intensity.
        config: Task type, class names and thresholds.
        source: Model, version and weights that made the prediction.

    Returns:
        Labelmap (T, H, W) of the lesions kept (None for a detection model), and the lesions, best first.
    """
    if config.task == "detection":
        return None, lesions_from_boxes(prediction, sequence, config, source)
    return lesions_from_mask(prediction, sequence, config, source)


def lesions_from_mask(
    prediction: Prediction, sequence: Sequence, config: ModelConfig, source: Source
) -> tuple[MaskArray, list[Finding]]:
    """Connected components (26 neighbours) of the mask, each with a class; arguments as :func:`find_lesions`.

    With several labels, ``inference.class_of`` says whether all that touches is one lesion, with the class that its
    voxels speak for together (:mod:`lib.classification.lesions`), or each pixel keeps its class.

    Returns:
        Labelmap (T, H, W) with the class values of the lesions kept, and the lesions, best first.
    """
    lesions = outlined_lesions(prediction, sequence, config, source)
    return labelmap_of(lesions, prediction, config), [lesion.finding for lesion in lesions]


def outlined_lesions(
    prediction: Prediction, sequence: Sequence, config: ModelConfig, source: Source, most: int = MAX_COMPONENTS
) -> list[OutlinedLesion]:
    """As :func:`lesions_from_mask`, each lesion with its voxels, at most ``most`` of a class; no voxel in two."""
    mean_ml = sequence.voxel_volume_ml
    min_voxels = 1.0 if mean_ml is None else config.inference.min_volume_ml / mean_ml - 1e-6
    whole = config.inference.class_of == "lesion"
    classes = class_map(prediction.mask, config.inference.mask_threshold, whole)
    highest = prediction.mask.max(axis=1) if whole else None
    found: list[OutlinedLesion] = []
    for value, name in enumerate(config.class_names, start=1):
        probability = prediction.mask[:, value - 1] if highest is None else highest
        for region, mask in _components(classes == value, min_voxels, most):
            score, frame_scores = _mask_scores(probability[region], mask, prediction.presence[region[0]])
            if score < config.inference.score_threshold:
                continue
            lesion = _masked_lesion(region, mask, sequence)
            scores = {region[0].start + t: s for t, s in frame_scores.items()}
            voxels = np.moveaxis(prediction.mask[region[0], :, *region[1:]], 1, 0)[:, mask]
            told = _told_classes(voxels, prediction, config)
            finding = replace(lesion, label=name, score=score, frame_scores=scores, source=source, **told)
            found.append(OutlinedLesion(finding, region, mask))
    best_first = sorted(found, key=lambda lesion: -lesion.finding.score)
    return [replace(one, finding=replace(one.finding, id=i)) for i, one in enumerate(best_first, start=1)]


def labelmap_of(lesions: list[OutlinedLesion], prediction: Prediction, config: ModelConfig) -> MaskArray:
    """The class values of lesions, (T, H, W)."""
    labelmap = np.zeros((len(prediction.mask), *prediction.mask.shape[2:]), np.uint8)
    for lesion in lesions:
        labelmap[lesion.region][lesion.mask] = config.labels[lesion.finding.label]
    return labelmap


def lesions_from_boxes(
    prediction: Prediction, sequence: Sequence, config: ModelConfig, source: Source
) -> list[Finding]:
    """Boxes above the score threshold, linked over frames per class; arguments as :func:`find_lesions`.

    Slices are linked by what lies on top of each other, frames in time by :func:`lib.tracking.link_frames`: a lesion
    may be missed, or be less sure than the threshold, for some frames, and what is on one or two frames only is noise.

    Returns:
        Lesions, best first.
    """
    link = _linked_slices if sequence.kind is SequenceKind.STACK else _linked_clip
    found: list[Finding] = []
    for index, name in enumerate(config.class_names):
        frames, tracks = link(prediction, index, config)
        for track in tracks:
            boxes = {t: frames[t][i] for t, i in track.items()}
            lesion = replace(_boxed_lesion(boxes, sequence), label=name, source=source)
            found.append(_named_by_boxes(lesion, list(boxes.values()), prediction, config))
    return _numbered(found)


def _named_by_boxes(lesion: Finding, boxes: list[FrameBox], prediction: Prediction, config: ModelConfig) -> Finding:
    """A lesion with the class that all of its boxes speak for together, where they tell the score of each class."""
    scores = [box.class_scores for box in boxes if box.class_scores]
    told = _told_classes(np.array(scores).T, prediction, config) if scores else {}
    if not told:
        return lesion
    probabilities = told["class_probabilities"]
    return replace(lesion, label=max(probabilities, key=probabilities.__getitem__), **told)


def _linked_slices(
    prediction: Prediction, class_index: int, config: ModelConfig
) -> tuple[list[list[FrameBox]], Iterable[Track]]:
    frames = _kept_boxes(prediction, class_index, config, config.inference.score_threshold)
    return frames, link_boxes([[b.box for b in frame] for frame in frames], config.inference.link_overlap)


def _linked_clip(
    prediction: Prediction, class_index: int, config: ModelConfig
) -> tuple[list[list[FrameBox]], Iterable[Track]]:
    rules = TrackerRules.reporting(config.inference.score_threshold, len(prediction.boxes))
    frames = _kept_boxes(prediction, class_index, config, rules.unsure_score)
    detections = [Detections([b.box for b in frame], [b.score for b in frame]) for frame in frames]
    return frames, link_frames(detections, rules).tracks


def _numbered(found: list[Finding]) -> list[Finding]:
    best_first = sorted(found, key=lambda lesion: -lesion.score)
    return [replace(lesion, id=i) for i, lesion in enumerate(best_first, start=1)]


def _told_classes(probability: FloatArray, prediction: Prediction, config: ModelConfig) -> dict[str, Any]:
    """What a finding says of its class, from the probabilities (K, N) of its parts; nothing with one class."""
    if len(config.labels) == 1 or config.inference.class_of != "lesion":
        return {}
    told = class_answer(lesion_logits(probability), config.class_names, prediction.calibration)
    return {"class_probabilities": told[0], "possible_labels": told[1]}


def _components(
    mask: npt.NDArray[np.bool_], min_voxels: float, most: int
) -> Iterator[tuple[Region, npt.NDArray[np.bool_]]]:
    """Where each connected component lies and its mask there, the largest ``most`` of them, largest first."""
    extent: list[Region] = ndimage.find_objects(mask.view(np.uint8))  # of everything; labelling all of it is slow
    if not extent:
        return
    inside = mask[extent[0]]
    labelled, count = ndimage.label(inside, NEIGHBOURS_26)
    sizes = np.bincount(labelled[inside], minlength=count + 1)[1:]
    regions = ndimage.find_objects(labelled)
    for i in np.argsort(-sizes, kind="stable")[:most]:
        if sizes[i] >= min_voxels:
            yield _shifted(regions[i], extent[0]), labelled[regions[i]] == i + 1


def _shifted(region: Region, origin: Region) -> Region:
    t, y, x = (slice(r.start + o.start, r.stop + o.start) for r, o in zip(region, origin, strict=True))
    return t, y, x


def _mask_scores(
    probability: FloatArray, mask: npt.NDArray[np.bool_], presence: FloatArray
) -> tuple[float, dict[int, float]]:
    """Score of a lesion and of each of its frames; all arrays cut to its region, (T, H, W) and (T,)."""
    frames = {t: lesion_score(probability[t][mask[t]], presence[t]) for t in range(len(mask))}
    return lesion_score(probability[mask], presence.max()), frames


def lesion_score(probability: FloatArray, presence: Any) -> float:
    """The score of a masked lesion, or of its part on one frame; see the top of this module.

    Args:
        probability: Of its voxels, (N,), at least one.
        presence: Probability that its frames hold a lesion.
    """
    tenth = max(1, len(probability) // 10)
    highest = float(np.partition(probability, -tenth)[-tenth:].mean())
    return min(1.0, math.sqrt(max(0.0, highest * float(presence))))


def _masked_lesion(region: Region, mask: npt.NDArray[np.bool_], sequence: Sequence) -> Finding:
    """A lesion without name and score from its mask (t, h, w) in a region of the sequence."""
    t0, y0, x0 = (part.start for part in region)
    boxes: dict[int, Box] = {}
    for t, frame in enumerate(mask):
        rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
        boxes[t0 + t] = (
            float(x0 + columns[0]),
            float(y0 + rows[0]),
            float(x0 + columns[-1] + 1),
            float(y0 + rows[-1] + 1),
        )
    voxels = np.argwhere(mask)
    volumes_ml = sequence.voxel_volumes_ml
    weights = None if volumes_ml is None else volumes_ml[t0 + voxels[:, 0]]
    dt, dy, dx = (float(v) for v in np.average(voxels, axis=0, weights=weights))
    return Finding(
        id=0,
        label="",
        score=0.0,
        boxes=boxes,
        box_lps_mm=sequence_box_lps(sequence, boxes),
        center_lps_mm=sequence_point_lps(sequence, x0 + dx, y0 + dy, t0 + dt),
        measurements=measure_mask(
            mask,
            sequence.frames[:, 0][region],
            sequence.spacing_mm,
            None if volumes_ml is None else volumes_ml[region[0]],
        ),
    )


def _kept_boxes(prediction: Prediction, class_index: int, config: ModelConfig, lowest: float) -> list[list[FrameBox]]:
    """Per frame the boxes of a class that have a size, score enough and lie on a frame that may hold a lesion."""
    holds = prediction.presence >= config.inference.presence_threshold
    return [
        [b for b in boxes if held and b.class_index == class_index and b.score >= lowest and has_size(b.box)]
        for boxes, held in zip(prediction.boxes, holds, strict=True)
    ]


def has_size(box: Box) -> bool:
    """Whether a box has an area (one clipped to the frame may have none)."""
    return box[2] > box[0] and box[3] > box[1]


def _boxed_lesion(found: dict[int, FrameBox], sequence: Sequence) -> Finding:
    """A lesion without a name from its boxes by frame."""
    boxes = {t: b.box for t, b in found.items()}
    x0, y0, z0, x1, y1, z1 = box = sequence_box_lps(sequence, boxes)
    edges_mm = sequence.slice_edges_mm if sequence.kind is SequenceKind.STACK else None
    depth_mm = None if edges_mm is None else float(edges_mm[max(boxes) + 1] - edges_mm[min(boxes)])
    return Finding(
        id=0,
        label="",
        score=max(b.score for b in found.values()),
        boxes=boxes,
        box_lps_mm=box,
        center_lps_mm=((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2),
        frame_scores={t: b.score for t, b in found.items()},
        measurements=measure_boxes(boxes, sequence.spacing_mm, depth_mm),
    )
