# SPDX-License-Identifier: Apache-2.0
"""Findings -> what a report may say of them: side, region, sizes, volume, and what has changed.

The places are those of :mod:`lib.text.regions`: shares of the brain's box, no atlas. The box is that of the head
without scalp and skull, taken from the image's own brightness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from ..text.facts import Change, Side
from ..text.grammar import MeasuredLesion, MeasuredStudy
from ..text.lexicon_brain import BRAIN_MR
from ..text.regions import region_of, side_of
from ..types import Box3d, Finding, FloatArray, Sequence
from .earlier import EarlierVisit, History

SCALP_MM = 10.0
"""What lies around the brain on each side; heads of adults have 8 to 14 mm of scalp and skull."""
HEAD_SHARE = 0.15
"""Of the 99.5th percentile, above which a block of pixels belongs to the head."""
BLOCK_MM = 4.0
MOST_DESCRIBED = 6
"""Lesions beyond these, the largest, are counted and not described one by one."""
LESION_FEATURES = 32
"""Length of a lesion's vector."""
_REGIONS = tuple(BRAIN_MR.locations)
_CHANGES = tuple(Change)


def brain_box(sequence: Sequence) -> Box3d:
    """Box of the brain in LPS mm; of the whole image where nothing stands out from the air.

    Args:
        sequence: A stack; its first channel is looked at.
    """
    blocks, size = _blocks(sequence)
    labelled, count = ndimage.label(blocks > HEAD_SHARE * np.percentile(blocks, 99.5))
    largest = 1 + int(np.argmax(np.bincount(labelled.ravel())[1:])) if count else 0
    frames, rows, columns = np.nonzero(labelled == largest)
    middle = (size - 1) / 2
    indices = np.stack([columns * size + middle, rows * size + middle, frames, np.ones(len(frames))])
    points = (sequence.affine_lps @ indices)[:3].T  # (N, 3)
    low, high = np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0)
    margin = np.array([SCALP_MM, SCALP_MM, 0.0]) * (high - low > 4 * SCALP_MM)
    x0, y0, z0, x1, y1, z1 = (float(v) for v in (*(low + margin), *(high - margin)))
    return x0, y0, z0, x1, y1, z1


def _blocks(sequence: Sequence) -> tuple[FloatArray, int]:
    """Means of square blocks of pixels, which hardly show noise: (T, h, w), and the side of a block in pixels."""
    frames = sequence.frames[:, 0]
    size = max(1, min(round(BLOCK_MM / min(sequence.spacing_mm)), *frames.shape[1:]))
    height, width = (n // size * size for n in frames.shape[1:])
    cut = frames[:, :height, :width].reshape(len(frames), height // size, size, width // size, size)
    return np.asarray(cut.mean(axis=(2, 4), dtype=np.float64)), size


def measured_study(
    findings: Iterable[Finding], brain_lps_mm: Box3d, earlier: EarlierVisit | None = None
) -> MeasuredStudy:
    """What was measured of a study.

    Args:
        findings: Of the study; masks give axes and volume, boxes only their width and height.
        brain_lps_mm: As :func:`brain_box` gives it.
        earlier: What has become of the lesions since an earlier visit; None where there is none.
    """
    there = [_lesion(one, brain_lps_mm, earlier.lesions.get(one.id) if earlier else None) for one in findings]
    if earlier is None:
        return MeasuredStudy(tuple(there))
    gone = [_gone(-number, center, brain_lps_mm) for number, center in enumerate(earlier.gone, start=1)]
    days = None if earlier.days is None else round(earlier.days)
    return MeasuredStudy((*there, *gone), compared=True, days=days)


def _lesion(finding: Finding, brain: Box3d, history: History | None) -> MeasuredLesion:
    axes = [finding.measurements[key].value for key in ("long_axis", "short_axis") if key in finding.measurements]
    if not axes:
        axes = [finding.measurements[key].value for key in ("width", "height")]
    volume = finding.measurements.get("volume")
    known = history or History()
    return MeasuredLesion(
        id=finding.id,
        side=side_of(finding.center_lps_mm, brain),
        region=region_of(finding.center_lps_mm, brain),
        long_mm=max(axes),
        short_mm=min(axes) if len(axes) > 1 else None,
        volume_ml=None if volume is None else volume.value,
        change=known.change,
        percent=known.percent,
        volume_before_ml=known.volume_before_ml,
    )


def _gone(number: int, center: tuple[float, float, float], brain: Box3d) -> MeasuredLesion:
    """A lesion that is no longer there; it has no finding, so its number is below 0."""
    return MeasuredLesion(number, side_of(center, brain), region_of(center, brain), change=Change.GONE)


def by_size(study: MeasuredStudy) -> tuple[tuple[MeasuredLesion, ...], tuple[MeasuredLesion, ...]]:
    """The lesions that are there, the largest first, and those that are gone."""
    there = [one for one in study.lesions if one.change is not Change.GONE]
    there.sort(key=lambda one: one.volume_ml if one.volume_ml is not None else one.long_mm or 0.0, reverse=True)
    return tuple(there), tuple(one for one in study.lesions if one.change is Change.GONE)


def described(study: MeasuredStudy) -> tuple[MeasuredLesion, ...]:
    """The lesions that a report tells of one by one: the :data:`MOST_DESCRIBED` largest, and those that are gone."""
    there, gone = by_size(study)
    return (*there[:MOST_DESCRIBED], *gone[:MOST_DESCRIBED])


def lesion_vectors(study: MeasuredStudy) -> FloatArray:
    """What the decoder is told, (1 + M, :data:`LESION_FEATURES`): a row for the study, then one for each lesion.

    The rows are in the order of :func:`described`. Every number is of the order of 1.
    """
    there, _ = by_size(study)
    shared = [float(study.compared), float(study.days is not None), math.log1p(len(there))]
    first = [1.0, *[0.0] * (LESION_FEATURES - 4), *shared]
    rows = [_row(one, rank, len(there), shared) for rank, one in enumerate(described(study))]
    return np.array([first, *rows], np.float32)


def _row(lesion: MeasuredLesion, rank: int, count: int, shared: list[float]) -> list[float]:
    regions = lesion.region.split("+")
    lengths = (lesion.long_mm, lesion.short_mm)
    percent = lesion.percent
    return [
        0.0,
        1.0,
        float(lesion.side is Side.LEFT),
        float(lesion.side is Side.RIGHT),
        *(float(name in regions) for name in _REGIONS),
        *(_log(length, 20.0) for length in lengths),
        _log(lesion.volume_ml, 5.0) / 2,
        *(float(value is not None) for value in (*lengths, lesion.volume_ml)),
        *(float(lesion.change is change) for change in _CHANGES),
        0.0 if percent is None else math.copysign(math.log1p(abs(percent)) / 3, percent),
        float(percent is not None),
        float(lesion.volume_before_ml is not None),
        rank / MOST_DESCRIBED,
        float(rank == 0 and count > 1),
        *shared,
    ]


def _log(value: float | None, middle: float) -> float:
    return 0.0 if value is None else math.log(max(value, 1e-3) / middle)


def frames_of(finding: Finding) -> dict[int, float]:
    """Share of a lesion's area on each of its frames; sums to 1."""
    areas = {t: (x1 - x0) * (y1 - y0) for t, (x0, y0, x1, y1) in finding.boxes.items()}
    total = sum(areas.values())
    return {t: area / total for t, area in areas.items()} if total > 0 else {}
