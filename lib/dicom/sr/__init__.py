# SPDX-License-Identifier: Apache-2.0
"""Boxes and measurements as a DICOM measurement report (PS3.16 TID 1500), in the layout that OHIF can edit.

The document has two parts.

* *Imaging Measurements* (126010, DCM): one Measurement Group (TID 1501) per box per frame, field for field as the
  Cornerstone3D adapter behind OHIF writes a RectangleROI: the outline is the SCOORD from which a NUM "Area" is
  inferred (TID 300, TID 320), a closed polyline of five points. Nothing else may stand here: OHIF 3.10 stops at a NUM
  without a SCOORD and at a group without a NUM. *Finding Site* names the lesion that the box belongs to; OHIF keeps
  such a code and writes it back, so that corrected boxes still know their lesion.
* *Findings* (121070, DCM): one Measurement Group per lesion with all that is not a box. OHIF does not look here; the
  templates of TID 1500 may be extended.

SCOORD coordinates start at the top left corner of the top left pixel (PS3.3 C.18.6.1.2), like ours.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np
from highdicom.sr import (
    ContentItem,
    ScoordContentItem,
    SourceImageForMeasurement,
    SourceImageForRegion,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from ...types import Finding, InputError, Sequence, Source
from ..codes import TISSUE, property_codes
from ..types import DicomSeries
from ..write import derived_uid
from . import concepts as sr_codes
from . import document as sr_document
from .items import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    HAS_PROPERTIES,
    INFERRED_FROM,
    code,
    container,
    language,
    number,
    observers,
    ohif_free_text,
    source_items,
    text,
)
from .read import StoredFindings, read_boxes
from .regions import DECIMALS

__all__ = ["StoredFindings", "boxes_dataset", "read_boxes"]

NEAR_ZERO_PX = 0.001
"""Written for 0: OHIF 3.10 takes a coordinate of 0 for a missing one and then cannot save any box."""
NOTHING_FOUND = "The images were examined; nothing was found."


@dataclass(frozen=True)
class _Images:
    """What content items say about images.

    Attributes:
        keys: SOP Instance UID and frame number of each frame.
        sop_class_uid: Of all of them.
        multiframe: Whether references give the frame number.
        pixel_area_mm2: Area of a pixel.
    """

    keys: list[sr_document.FrameKey]
    sop_class_uid: str
    multiframe: bool
    pixel_area_mm2: float

    def reference(self, frame: int) -> tuple[str, str, list[int] | None]:
        """SOP class, SOP instance and frame numbers of a frame."""
        uid, frame_number = self.keys[frame]
        return self.sop_class_uid, uid, [frame_number] if self.multiframe else None


def boxes_dataset(
    findings: Items[Finding],
    series: DicomSeries,
    source: Source,
    *,
    tag: str = "boxes",
    created: datetime.datetime | None = None,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
    series_number: int = sr_document.SERIES_NUMBER,
    predecessor: Dataset | None = None,
) -> Dataset:
    """Findings as a Comprehensive SR that :func:`read_boxes` gives back as they were.

    Args:
        findings: Boxes by frame index of the series, in pixels of the stored images (outer edges). None of them is a
            result too: the document then says that nothing was found.
        series: Images that were examined. The frames of a dynamic series are counted through its volumes.
        source: Who or what made the result as a whole; each finding has its own source beside it.
        tag: Kind of result, for the store.
        created: Now if None.
        series_instance_uid: Series to add the document to; a new one if None.
        sop_instance_uid: Of the document; a new one if None.
        series_number: Of the document's series.
        predecessor: The document that this one takes the place of.

    Returns:
        The data set, with file meta information.

    Raises:
        InputError: If a finding lies on a frame that the series does not have, holds a number that is not finite, or
            shares its id with another; or if the series does not come from DICOM.
    """
    headers = sr_document.evidence(series)
    uid = sop_instance_uid or generate_uid(prefix=None)
    first = series.image if isinstance(series.image, Sequence) else series.image.volumes[0]
    images = _Images(
        keys=sr_document.frame_keys(series),
        sop_class_uid=headers[0].SOPClassUID,
        multiframe=sr_document.is_multiframe(series, headers[0]),
        pixel_area_mm2=first.spacing_mm[0] * first.spacing_mm[1],
    )
    _check(findings, len(images.keys))
    spoken_of = {t for finding in findings for t in (*finding.boxes, *finding.frame_scores)}
    boxes = [_box_group(f, t, images, uid) for f in findings for t in sorted(f.boxes)]
    root = container(
        codes.DCM.ImagingMeasurementReport if boxes else sr_codes.TITLE_NOTHING_FOUND,
        [
            *language(),
            *observers(source),
            code(codes.DCM.ProcedureReported, codes.SCT.ImagingProcedure, HAS_CONCEPT_MOD),
            text(sr_codes.TAG, tag, HAS_CONCEPT_MOD),
            container(codes.DCM.ImagingMeasurements, boxes),
            container(codes.DCM.Findings, [*source_items(source), *_lesions(findings, images, uid)]),
        ],
        template="1500",
        is_root=True,
    )
    dataset = sr_document.document(
        root,
        headers,
        description=f"{tag}: {source.author or source.model or 'LesionLoop'}",
        created=created or datetime.datetime.now(),
        complete=True,
        referenced=[SourceImageForMeasurement(*images.reference(t)) for t in sorted(spoken_of)],
        series_instance_uid=series_instance_uid,
        sop_instance_uid=uid,
        series_number=series_number,
        predecessor=predecessor,
    )
    if boxes:
        dataset.CodingSchemeIdentificationSequence.append(sr_codes.coding_scheme(sr_codes.OHIF_SCHEME))
    return dataset


def _check(findings: Items[Finding], n_frames: int) -> None:
    ids = Counter(finding.id for finding in findings)
    for finding in findings:
        where = f"finding {finding.id}"
        if ids[finding.id] > 1:
            raise InputError(f"{where}: {ids[finding.id]} findings have this id; give each its own")
        if outside := sorted(t for t in {*finding.boxes, *finding.frame_scores} if not 0 <= t < n_frames):
            raise InputError(f"{where}: frame {outside[0]}: the series has frames 0 to {n_frames - 1}")
        numbers = [finding.score, finding.score_std or 0.0, *finding.box_lps_mm, *finding.center_lps_mm]
        numbers += [value for box in finding.boxes.values() for value in box]
        numbers += [*finding.frame_scores.values(), *(m.value for m in finding.measurements.values())]
        if not all(math.isfinite(value) for value in numbers):
            raise InputError(f"{where}: a number in it is not finite, which DICOM cannot hold; leave it out")


def lesion_code(finding_id: int, label: str) -> Code:
    """The code that ties a box to its lesion and that OHIF hands back."""
    return sr_codes.private(f"F{finding_id}", sr_codes.short(f"Finding {finding_id}: {label}"))


def _box_group(finding: Finding, frame: int, images: _Images, document_uid: str) -> ContentItem:
    """One box on one frame as OHIF's RectangleROI."""
    x0, y0, x1, y1 = (round(value, DECIMALS) or NEAR_ZERO_PX for value in finding.boxes[frame])
    region = ScoordContentItem(
        codes.DCM.ImageRegion,
        "POLYLINE",
        np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], np.float32),
        relationship_type=INFERRED_FROM,
    )
    region.ContentSequence = [SourceImageForRegion(*images.reference(frame))]
    area = (x1 - x0) * (y1 - y0) * images.pixel_area_mm2
    return container(
        codes.DCM.MeasurementGroup,
        [
            *_tracking(sr_codes.OHIF_RECTANGLE, document_uid, finding.id, frame),
            ohif_free_text(codes.DCM.Finding, finding.label),
            code(codes.SCT.FindingSite, lesion_code(finding.id, finding.label), CONTAINS),
            number(codes.SCT.Area, area, sr_codes.MM2, CONTAINS, [region]),
        ],
        template="1501",
    )


def _tracking(identifier: str, *of: object) -> Iterator[ContentItem]:
    """TID 4108 Tracking Identifier."""
    yield text(codes.DCM.TrackingIdentifier, identifier, HAS_OBS_CONTEXT)
    yield UIDRefContentItem(codes.DCM.TrackingUniqueIdentifier, derived_uid(*of), HAS_OBS_CONTEXT)


def _lesions(findings: Items[Finding], images: _Images, document_uid: str) -> Iterator[ContentItem]:
    if not findings:
        yield code(codes.DCM.Finding, sr_codes.ABSENT, CONTAINS)
        yield text(codes.DCM.Finding, NOTHING_FOUND, CONTAINS)
    for finding in findings:
        yield container(codes.DCM.MeasurementGroup, _lesion(finding, images, document_uid), "1501")


def _lesion(finding: Finding, images: _Images, document_uid: str) -> Iterator[ContentItem]:
    """One lesion without its boxes (TID 1501)."""
    yield from _tracking(f"Finding {finding.id}", document_uid, finding.id)
    yield text(codes.DCM.LesionIdentifier, str(finding.id), HAS_OBS_CONTEXT)
    yield from source_items(finding.source)
    kind = property_codes(finding.label)[1]
    yield code(codes.DCM.Finding, sr_codes.private_name(finding.label) if kind == TISSUE else kind, CONTAINS)
    yield text(sr_codes.LABEL, finding.label, CONTAINS)
    if finding.track_id is not None:
        yield text(sr_codes.TRACK, str(finding.track_id), CONTAINS)
    yield _score(finding)
    for frame, score in finding.frame_scores.items():
        image = SourceImageForMeasurement(*images.reference(frame))
        yield number(sr_codes.CONFIDENCE, score, sr_codes.NO_UNITS, CONTAINS, [image])
    for concept, value in zip(sr_codes.BOX_LPS, finding.box_lps_mm, strict=True):
        yield number(concept, value, sr_codes.MM, CONTAINS)
    for concept, value in zip(sr_codes.CENTER_LPS, finding.center_lps_mm, strict=True):
        yield number(concept, value, sr_codes.MM, CONTAINS)
    for name, measurement in finding.measurements.items():
        yield _measurement(name, measurement.value, measurement.unit)


def _score(finding: Finding) -> ContentItem:
    """Confidence with its standard deviation (TID 311)."""
    spread = []
    if finding.score_std is not None:
        spread.append(number(codes.SCT.StandardDeviation, finding.score_std, sr_codes.NO_UNITS, HAS_PROPERTIES))
    return number(sr_codes.CONFIDENCE, finding.score, sr_codes.NO_UNITS, CONTAINS, spread)


def _measurement(name: str, value: float, unit: str) -> ContentItem:
    """TID 300; a name or unit that a code cannot hold stands beside it."""
    concept = sr_codes.MEASUREMENTS.get(name) or sr_codes.private_name(name)
    unit_code = sr_codes.unit_code(unit)
    exact = []
    if name not in sr_codes.MEASUREMENTS and concept.meaning != name:
        exact.append(text(sr_codes.EXACT_NAME, name, HAS_CONCEPT_MOD))
    if unit_code.scheme_designator != "UCUM" and unit_code.meaning != unit:
        exact.append(text(sr_codes.EXACT_UNIT, unit, HAS_CONCEPT_MOD))
    return number(concept, value, unit_code, CONTAINS, exact)
