# SPDX-License-Identifier: Apache-2.0
"""Labels <-> DICOM: masks as SEG, boxes as TID 1500 SR, reports as text SR."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ..dicom.seg import read_seg, seg_dataset
from ..dicom.sr import boxes_dataset
from ..dicom.sr.document import PRIVATE_CREATOR, PRIVATE_GROUP
from ..dicom.sr.read import read_boxes
from ..dicom.sr.report import read_report, report_dataset
from ..dicom.types import DicomSeries
from ..transforms.labels import read_mask, write_mask
from ..types import Finding, InputError, Source, volumes_of
from .dicom_grid import checked_time_point, frames_of_mask, mask_of_frames, series_grid, series_of
from .documents import on_array, on_frames, write_json
from .incoming import Incoming, findings_json
from .names import ORIGINAL
from .pacs_labels import LabelFacts, label_series_uid

logger = logging.getLogger(__name__)

# OHIF and other readers need boxes on stored images. Where models see other planes than these (isotropic volumes),
# the boxes on the planes that models see are kept beside them, in a private element (PS3.5 7.8).
FINDINGS_ELEMENT = 0x01
DEFAULT_LABEL = "lesion"


def _params(info: dict[str, Any]) -> dict[str, Any]:
    """What the model said about its result."""
    params = info.get("params")
    return params if isinstance(params, dict) else {}


def source_of(info: dict[str, Any], findings: tuple[Finding, ...] = ()) -> Source:
    """Who or what made a label: ``model`` and ``user`` of its info, the version from the model's parameters.

    Boxes that all come from one model keep it, also after a person has moved them.
    """
    params = _params(info)
    models = {finding.source.model for finding in findings}
    model = str(info.get("model") or (models.pop() if len(models) == 1 else ""))
    return Source(
        model=model,
        version=str(params.get("version") or info.get("version") or ""),
        weights_sha256=str(params.get("weights_sha256") or info.get("weights_sha256") or ""),
        author=str(info.get("user") or info.get("author") or ""),
    )


def segment_names(info: dict[str, Any], values: set[int]) -> dict[str, int]:
    """Name of each value of a mask.

    From the model's ``label_names``, else from the ``label_info`` that viewers send: a list of ``{"name": ...}``, in
    order of the values or with the value as ``idx`` or ``labelId``; else numbered.

    Args:
        info: Of the label.
        values: In the mask, without 0.
    """
    params = _params(info)
    named = info.get("label_names") or params.get("label_names")
    names: dict[int, str] = {}
    if isinstance(named, dict):
        names = {int(value): str(name) for name, value in named.items() if str(value).isdecimal()}
    elif isinstance(info.get("label_info"), list):
        for position, item in enumerate(info["label_info"], 1):
            if isinstance(item, dict) and item.get("name"):
                given = str(item.get("idx", item.get("labelId", position)))
                names[int(given) if given.isdecimal() else position] = str(item["name"])
    if not names and values <= {1}:
        names = {1: DEFAULT_LABEL}
    names |= {value: f"{DEFAULT_LABEL} {value}" for value in values - set(names)}
    result: dict[str, int] = {}
    for value, name in sorted(names.items()):
        if 1 <= value <= 255:
            text = " ".join(name.replace("\\", "/").split())[:60] or DEFAULT_LABEL
            result[text if text not in result else f"{text} {value}"] = value
    return result


def to_dicom(
    label: Incoming,
    series: DicomSeries,
    info: dict[str, Any],
    created: datetime,
    predecessor: Dataset | None = None,
) -> Dataset:
    """The SEG or SR of a label, in the series that all versions of it share.

    Args:
        label: Checked against the series.
        series: The image.
        info: Of the label; ``time_point`` says which volume of a dynamic series a mask is of.
        created: Date and time of its content: the latest is the current one.
        predecessor: The signed report that a report amends.

    Raises:
        InputError: If the label cannot be written as DICOM.
    """
    source = source_of(info, label.findings or ())
    image_uid = series.facts.series_instance_uid
    maker = source.model if label.report is None else ""  # an image has one report, whoever drafted it
    shared_uid = label_series_uid(image_uid, label.tag, maker, "SR" if label.mask is None else "SEG")
    given: dict[str, Any] = {"series_instance_uid": shared_uid, "created": created, "tag": label.tag}
    if label.mask is not None:
        names = segment_names(info, set(np.unique(label.mask).tolist()) - {0})
        frames = frames_of_mask(label.mask, series, time_point_of(info))
        return seg_dataset(frames, names, series, source, **given)
    if label.report is not None:
        written_by = source if source != Source() else None
        return report_dataset(label.report, series, source=written_by, predecessor=predecessor, **given)
    findings = label.findings or ()
    geometry = series_grid(series, image_uid).geometry
    times = label.time_points or (time_point_of(info),) * len(findings)
    dataset = boxes_dataset(at_times(on_array(list(findings), geometry), times, series), series, source, **given)
    if not geometry.frames_are_slices:
        block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
        own = findings_json(findings) | time_keys(
            [checked_time_point(k, len(volumes_of(series.image))) for k in times], series
        )
        block.add_new(FINDINGS_ELEMENT, "UT", json.dumps(own))
    return dataset


def seg_of_result(result: Path, image: Path, info: dict[str, Any]) -> Dataset:
    """The SEG of a mask file that a model made of a DICOM image.

    Args:
        result: NIfTI or NRRD.
        image: Folder with the series.
        info: Of the label, as for :func:`to_dicom`.

    Raises:
        InputError: If the image is not DICOM, or the mask does not fit it.
    """
    if not image.is_dir():
        raise InputError("a DICOM SEG needs an image that is DICOM; ask for the mask as a file (output=image)")
    series = series_of(image, part_of(info))
    mask = read_mask(result, series_grid(series, image.name)).values
    return to_dicom(Incoming(ORIGINAL, mask=mask), series, info, datetime.now())


def part_of(info: dict[str, Any]) -> str | None:
    """Which images of a series that holds several parts a label is of."""
    return info.get("part") or _params(info).get("part") or None


def at_times(findings: list[Finding], times: Iterable[int | None], series: DicomSeries) -> list[Finding]:
    """Findings on the planes of a volume -> on the frames of the series, in which the volumes follow each other.

    Raises:
        InputError: If the series has several volumes and it is not said which, or there is no such volume.
    """
    n_times, n_slices = len(volumes_of(series.image)), len(volumes_of(series.image)[0].positions)
    offsets = [checked_time_point(time, n_times) * n_slices for time in times]
    return [_moved_by(finding, offset) for finding, offset in zip(findings, offsets, strict=True)]


def by_time(findings: Iterable[Finding], series: DicomSeries) -> tuple[list[Finding], list[int]]:
    """The inverse of :func:`at_times`; a finding on several volumes becomes one finding on each."""
    found: list[Finding] = []
    times: list[int] = []
    n_slices = len(volumes_of(series.image)[0].positions)
    for finding in findings:
        for time in sorted({t // n_slices for t in finding.boxes}) or [0]:
            own = {t: box for t, box in finding.boxes.items() if t // n_slices == time}
            scores = {t: score for t, score in finding.frame_scores.items() if t in own}
            number = finding.id if finding.id not in {f.id for f in found} else max(f.id for f in found) + 1
            found.append(_moved_by(replace(finding, id=number, boxes=own, frame_scores=scores), -time * n_slices))
            times.append(time)
    return found, times


def _moved_by(finding: Finding, offset: int) -> Finding:
    boxes = {t + offset: box for t, box in finding.boxes.items()}
    return replace(finding, boxes=boxes, frame_scores={t + offset: s for t, s in finding.frame_scores.items()})


def time_keys(times: list[int], series: DicomSeries) -> dict[str, Any]:
    """What a document says about the volumes of its findings; nothing where there is only one volume."""
    if len(volumes_of(series.image)) == 1 or not times:
        return {}
    return {"time_point": times[0]} if len(set(times)) == 1 else {"time_points": times}


def time_point_of(info: dict[str, Any]) -> int | None:
    """Which volume of a dynamic image a label is of; None where its info does not say.

    Raises:
        InputError: If what it says is no number.
    """
    params = _params(info)
    value = info.get("time_point", params.get("time_point"))
    try:
        return None if value in (None, "") else int(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"time_point is {value!r}; it must be a whole number") from error


def label_suffix(facts: LabelFacts) -> str:
    """Of the file that :func:`from_dicom` writes."""
    return ".nii.gz" if facts.modality == "SEG" else ".json"


def from_dicom(dataset: Dataset, facts: LabelFacts, series: DicomSeries, path: Path) -> None:
    """Write a SEG as NIfTI on the grid of its image, and an SR as JSON; what had to be left out goes into the log.

    Raises:
        InputError: If the object cannot be read, or does not fit the image.
    """
    grid = series_grid(series, series.facts.series_instance_uid)
    if facts.modality == "SEG":
        seg = read_seg(dataset, series)
        write_mask(mask_of_frames(seg.mask, series), grid, path, seg.labels)
        _log(dataset, seg.problems)
        return
    if facts.tag == "report":
        write_json(read_report(dataset).report.to_json(), path)
        return
    own = _own_findings(dataset) if facts.ours else None
    if own is None:
        boxes = read_boxes(dataset, series)
        found, times = by_time(boxes.findings, series)
        own = findings_json(tuple(on_frames(found, grid.geometry))) | time_keys(times, series)
        _log(dataset, boxes.problems)
    write_json(own, path)


def _own_findings(dataset: Dataset) -> dict[str, Any] | None:
    try:
        block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)
        value = block[FINDINGS_ELEMENT].value
        return dict(json.loads(value if isinstance(value, str) else value.decode()))
    except (KeyError, ValueError, AttributeError):
        return None


def _log(dataset: Dataset, problems: tuple[str, ...]) -> None:
    for problem in problems:
        logger.warning("%s %s: %s", dataset.get("Modality", ""), dataset.get("SOPInstanceUID", ""), problem)
