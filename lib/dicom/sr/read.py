# SPDX-License-Identifier: Apache-2.0
"""Findings from measurement reports: ours (see :mod:`.sr`), and those that OHIF and other systems write.

What a clinician draws, drags or renames in OHIF comes back as an Enhanced SR in TID 1500 ("Create SR", written by
@cornerstonejs/adapters with dcmjs): a Measurement Group per drawing, its outline as SCOORD under NUM items whose values
are often empty, the label as a free text Finding Site. Of what we wrote, the Finding Site that names the lesion is
left.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ...transforms.geometry import sequence_box_lps
from ...types import Box, Box3d, Finding, InputError, Measurement, Sequence, Source
from ..types import DicomSeries
from . import concepts as sr_codes
from . import document as sr_document
from .items import (
    children,
    concept,
    number_of,
    read_number,
    read_observer,
    read_source,
    read_text,
    text_of,
)
from .regions import Region, read_regions

LINK_OVERLAP = 0.5
"""Share of the smaller box that must lie in the other to link boxes of one label on neighbouring frames."""


@dataclass(frozen=True)
class StoredFindings:
    """Findings as they were read from a measurement report.

    Attributes:
        findings: Empty when the images were examined and nothing was found.
        source: Who or what wrote the document.
        created: ISO 8601 date and time of its content; "" where it does not say.
        sop_instance_uid: Of the document.
        series_instance_uid: Of the document.
        referenced_series_uid: Series of the images that it speaks of.
        problems: What could not be taken over, or not as it was, a sentence each.
        tag: Under which it was saved; ``boxes`` for documents of other systems.
    """

    findings: tuple[Finding, ...]
    source: Source
    created: str
    sop_instance_uid: str
    series_instance_uid: str
    referenced_series_uid: str
    problems: tuple[str, ...] = ()
    tag: str = "boxes"


def read_boxes(dataset_or_path: Dataset | str | os.PathLike[str], series: DicomSeries) -> StoredFindings:
    """Findings of a measurement report, ours or of another system.

    Boxes that OHIF handed back belong to the lesion that they name; other boxes are one lesion where they carry the
    same label and lie on top of each other on neighbouring frames. Such findings have a score of 1 and the person who
    drew them as author.

    Args:
        dataset_or_path: The document.
        series: Images that it speaks of; boxes are keyed by its frames.

    Raises:
        InputError: If it cannot be read, is not a measurement report, or speaks of other images only.
    """
    with sr_document.opened(dataset_or_path) as (dataset, name):
        if not sr_document.is_measurement_report(dataset):
            raise InputError(f"{name}: no measurement report (TID 1500), but {concept(dataset)[2] or 'untitled'!r}")
        frames = {key: index for index, key in enumerate(sr_document.frame_keys(series))}
        lesions = children(dataset, "CONTAINER", codes.DCM.Findings)
        ours = bool(children(dataset, "TEXT", sr_codes.TAG)) and bool(lesions)
        regions, problems = read_regions(dataset, frames, None if ours else _size_px(series))
        gone = [region for region in regions if not region.frames]
        if gone and len(gone) == len(regions):
            raise InputError(
                f"{name}: {_all(len(gone))} to images that are not in series {series.facts.series_instance_uid}; "
                f"its images are of series {sr_document.referenced_series(dataset) or 'unknown'}"
            )
        if gone:
            problems.append(
                f"{len(gone)} of {len(regions)} boxes refer to images that are not in the series; they were left out"
            )
        lesions = children(dataset, "CONTAINER", codes.DCM.Findings)
        ours = bool(children(dataset, "TEXT", sr_codes.TAG)) and bool(lesions)
        known = (
            [_lesion(g, frames) for g in children(lesions[0], "CONTAINER", codes.DCM.MeasurementGroup)] if ours else []
        )
        source = read_source(lesions[0]) if ours else Source(author=read_observer(dataset))
        placed = [region for region in regions if region.frames]
        return StoredFindings(
            findings=_assemble(known, placed, series, Source(author=read_observer(dataset)), problems),
            source=source,
            created=sr_document.created_at(dataset),
            sop_instance_uid=str(dataset.get("SOPInstanceUID", "")),
            series_instance_uid=str(dataset.get("SeriesInstanceUID", "")),
            referenced_series_uid=sr_document.referenced_series(dataset),
            problems=tuple(problems),
            tag=text_of(dataset, sr_codes.TAG, "boxes"),
        )


def _size_px(series: DicomSeries) -> tuple[int, int]:
    """Width and height of the frames."""
    first = series.image if isinstance(series.image, Sequence) else series.image.volumes[0]
    return first.frames.shape[3], first.frames.shape[2]


def _all(count: int) -> str:
    return "its box refers" if count == 1 else f"all {count} boxes refer"


# --- our own documents


def _lesion(group: Dataset, frames: dict[sr_document.FrameKey, int]) -> Finding:
    """A lesion of ours, without its boxes."""
    score, score_std, frame_scores = 0.0, None, {}
    for item in children(group, "NUM", sr_codes.CONFIDENCE):
        value = read_number(item) or 0.0
        if images := children(item, "IMAGE"):
            if (index := _frame(images[0], frames)) is not None:
                frame_scores[index] = value
        else:
            score, score_std = value, number_of(item, codes.SCT.StandardDeviation)
    numbers = {concept(item)[:2]: read_number(item) or 0.0 for item in children(group, "NUM")}
    track = text_of(group, sr_codes.TRACK)
    return Finding(
        id=int(text_of(group, codes.DCM.LesionIdentifier)),
        label=text_of(group, sr_codes.LABEL),
        score=score,
        boxes={},
        box_lps_mm=_numbers(numbers, sr_codes.BOX_LPS),
        center_lps_mm=_numbers(numbers, sr_codes.CENTER_LPS),
        frame_scores=frame_scores,
        measurements=_measurements(group),
        source=read_source(group),
        score_std=score_std,
        track_id=int(track) if track else None,
    )


def _frame(image: Dataset, frames: dict[sr_document.FrameKey, int]) -> int | None:
    reference = image.ReferencedSOPSequence[0]
    return frames.get((str(reference.ReferencedSOPInstanceUID), int(reference.get("ReferencedFrameNumber", 1) or 1)))


def _numbers(by_concept: dict[tuple[str, str], float], concepts: Iterable[Code]) -> Any:
    return tuple(by_concept.get((c.scheme_designator, c.value), 0.0) for c in concepts)


def _measurements(group: Dataset) -> dict[str, Measurement]:
    """The NUM items that are measurements by name, in order."""
    of_ours = {c.value for c in (sr_codes.CONFIDENCE, *sr_codes.BOX_LPS, *sr_codes.CENTER_LPS)}
    found = {}
    for item in children(group, "NUM"):
        scheme, code_value, meaning = concept(item)
        value = read_number(item)
        if value is None or (scheme == sr_codes.PRIVATE_SCHEME and code_value in of_ours):
            continue
        unit = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
        name = sr_codes.measurement_name(scheme, code_value) or meaning
        for exact in children(item, "TEXT", sr_codes.EXACT_NAME):
            name = read_text(exact)
        found[name] = Measurement(value, text_of(item, sr_codes.EXACT_UNIT, sr_codes.unit_name(unit)))
    return found


# --- boxes to findings


@dataclass
class _Group:
    """Boxes of one lesion in the making."""

    boxes: dict[int, Box] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    measurements: dict[str, Measurement] = field(default_factory=dict)

    def add(self, frame: int, region: Region) -> None:
        self.boxes[frame] = region.box
        self.labels.append(region.label)
        self.measurements |= region.measurements


def _assemble(
    known: list[Finding], regions: list[Region], series: DicomSeries, source: Source, problems: list[str]
) -> tuple[Finding, ...]:
    """Give the known lesions their boxes; what is left becomes findings of its own."""
    groups: dict[int, _Group] = {finding.id: _Group() for finding in known}
    loose: list[tuple[int, Region]] = []
    for region in regions:
        for frame in region.frames:
            group = groups.setdefault(region.finding_id, _Group()) if region.finding_id is not None else None
            if group is None or frame in group.boxes:  # a second box of a lesion on one frame is another lesion
                loose.append((frame, region))
            else:
                group.add(frame, region)
    findings = [replace(finding, boxes=groups.pop(finding.id).boxes) for finding in known]
    findings += [_drawn(number, group, series, source, problems) for number, group in groups.items() if group.boxes]
    first_free = max((finding.id for finding in findings), default=0) + 1
    for number, group in enumerate(_linked(loose, series), first_free):
        findings.append(_drawn(number, group, series, source, problems))
    return tuple(findings)


def _linked(loose: list[tuple[int, Region]], series: DicomSeries) -> list[_Group]:
    """Boxes with the same label that overlap on neighbouring frames, volume by volume."""
    if not loose:
        return []
    from ...tracking import link_boxes  # brings monai, which takes seconds to import and our own documents do not need

    n_frames = len(sr_document.frame_keys(series))
    size = n_frames if isinstance(series.image, Sequence) else n_frames // len(series.image.volumes)
    groups = []
    for start in range(0, n_frames, size):
        for label in dict.fromkeys(region.label for _, region in loose):
            frames: list[list[Region]] = [[] for _ in range(size)]
            for frame, region in loose:
                if region.label == label and start <= frame < start + size:
                    frames[frame - start].append(region)
            for track in link_boxes([[region.box for region in regions] for regions in frames], LINK_OVERLAP):
                group = _Group()
                for offset, index in track.items():
                    group.add(start + offset, frames[offset][index])
                groups.append(group)
    return groups


def _drawn(number: int, group: _Group, series: DicomSeries, source: Source, problems: list[str]) -> Finding:
    """A finding that a person drew."""
    (label, _), *others = Counter(group.labels).most_common()
    if others:
        problems.append(f"finding {number}: its boxes have the labels {sorted(set(group.labels))}; {label!r} was taken")
    box_lps_mm = _place(group.boxes, series)
    low, high = box_lps_mm[:3], box_lps_mm[3:]
    x, y, z = ((a + b) / 2 for a, b in zip(low, high, strict=True))
    return Finding(
        id=number,
        label=label,
        score=1.0,
        boxes=dict(sorted(group.boxes.items())),
        box_lps_mm=box_lps_mm,
        center_lps_mm=(x, y, z),
        measurements=group.measurements if len(group.boxes) == 1 else {},
        source=source,
    )


def _place(boxes: dict[int, Box], series: DicomSeries) -> Box3d:
    """Where boxes lie in the patient; in a dynamic series, over all time points that they are on."""
    if isinstance(series.image, Sequence):
        return sequence_box_lps(series.image, boxes)
    size = len(series.image.volumes[0].positions)
    corners = np.array([sequence_box_lps(series.image.volumes[t // size], {t % size: b}) for t, b in boxes.items()])
    x0, y0, z0 = corners[:, :3].min(0).tolist()
    x1, y1, z1 = corners[:, 3:].max(0).tolist()
    return x0, y0, z0, x1, y1, z1
