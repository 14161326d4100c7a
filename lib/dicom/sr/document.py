# SPDX-License-Identifier: Apache-2.0
"""What boxes and reports share as SR documents: patient, study, evidence, dates; opening one and telling it apart."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from highdicom.sr import ComprehensiveSR, ContentItem
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    generate_uid,
)
from pydicom.valuerep import DA, DT, TM

from ...types import InputError, Sequence
from ..codes import DEVICE_SERIAL_NUMBER, MODEL_NAME, software_version
from ..types import DicomSeries
from ..write import MANUFACTURER
from . import concepts as sr_codes
from .items import children, concept, container, language

FrameKey = tuple[str, int]
"""SOP Instance UID and frame number, from 1."""
SOP_CLASSES = (BasicTextSRStorage, EnhancedSRStorage, ComprehensiveSRStorage, Comprehensive3DSRStorage)
"""What boxes and reports come in. We write Comprehensive SR; OHIF's "Create SR" writes Enhanced SR."""
SERIES_NUMBER = 900
PRIVATE_GROUP, PRIVATE_CREATOR = 0x4C4D, "LESIONLOOP"
"""Of private elements (PS3.5 7.8), for what has no place in the content items."""
UNDEFINED_LENGTH = 0xFFFFFFFF
# Patient and study attributes that highdicom takes from the first image; anonymised files lack some (type 2).
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def frame_keys(series: DicomSeries) -> list[FrameKey]:
    """Where each frame of a series is stored; the volumes of a dynamic series follow each other.

    Raises:
        InputError: If the series does not come from DICOM.
    """
    volumes = [series.image] if isinstance(series.image, Sequence) else list(series.image.volumes)
    keys = [key for v in volumes for key in zip(v.sop_instance_uids, v.frame_numbers, strict=True)]
    if not keys or len(keys) != sum(len(v.positions) for v in volumes):
        raise InputError("a structured report refers to DICOM images; this sequence does not come from DICOM")
    return keys


def evidence(series: DicomSeries) -> list[Dataset]:
    """Every image of a series as highdicom wants it: the first one's patient and study, the others by their UIDs.

    Raises:
        InputError: If no file of the series can be read.
    """
    uids = list(dict.fromkeys(uid for uid, _ in frame_keys(series)))
    first = _header(series, uids)
    items = [first]
    for uid in uids:
        if uid == first.SOPInstanceUID:
            continue
        item = Dataset()
        item.StudyInstanceUID, item.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
        item.SOPClassUID, item.SOPInstanceUID = first.SOPClassUID, uid
        items.append(item)
    return items


def _header(series: DicomSeries, uids: list[str]) -> Dataset:
    reasons = []
    for path in (series.files[uid] for uid in uids if uid in series.files):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (OSError, ValueError, AttributeError, pydicom.errors.InvalidDicomError) as error:
            reasons.append(f"{path}: {error}")
            continue
        for keyword in _MAY_BE_EMPTY:
            if keyword not in header:
                setattr(header, keyword, "")
        return header
    raise InputError(f"no image of the series can be read to learn patient and study from: {'; '.join(reasons[:3])}")


def is_multiframe(series: DicomSeries, header: Dataset) -> bool:
    """Whether a reference to a frame must give its number (PS3.3 C.17.3.2: required for a multi-frame image)."""
    keys = frame_keys(series)
    return int(header.get("NumberOfFrames", 1) or 1) > 1 or any(number > 1 for _, number in keys)


def document(
    root: ContentItem,
    images: list[Dataset],
    *,
    description: str,
    created: datetime.datetime,
    complete: bool,
    referenced: Iterable[ContentItem] = (),
    verifier: tuple[str, str] | None = None,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
    series_number: int = SERIES_NUMBER,
    predecessor: Dataset | None = None,
) -> Dataset:
    """A Comprehensive SR (PS3.3 A.35.3) with the given content.

    highdicom gets a root that holds the referenced images only: it copies and searches the content several times, which
    takes seconds for a few hundred boxes. The content is put in afterwards, so the result is a plain data set.

    Args:
        root: Content tree.
        images: What was looked at, from :func:`evidence`.
        description: Series Description.
        created: Content Date and Time; with a time zone it is turned into local time, as DICOM means it.
        complete: Completion Flag.
        referenced: IMAGE items for the images that the content refers to: these are current, the others pertinent
            evidence (PS3.3 C.17.2.2).
        verifier: Person Name and organization of who signed it.
        series_instance_uid: Series to add the document to; a new one if None.
        sop_instance_uid: Of the document; a new one if None.
        series_number: Of the series.
        predecessor: The document that this one amends (Predecessor Documents Sequence, PS3.3 C.17.2).
    """
    outline = container(root.name, [*language(), *referenced], is_root=True)
    made = ComprehensiveSR(
        images,
        outline,
        series_instance_uid=series_instance_uid or generate_uid(prefix=None),
        series_number=series_number,
        sop_instance_uid=sop_instance_uid or generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=software_version(),
        device_serial_number=DEVICE_SERIAL_NUMBER,
        series_description=sr_codes.short(description),
        is_complete=complete,
        is_final=verifier is not None,
        is_verified=verifier is not None,
        verifying_observer_name=verifier[0] if verifier else None,
        verifying_organization=verifier[1] if verifier else None,
        previous_versions=[predecessor] if predecessor is not None else None,
    )
    dataset = Dataset(made)
    dataset.file_meta, dataset.preamble = made.file_meta, made.preamble
    dataset.is_little_endian, dataset.is_implicit_VR = made.is_little_endian, made.is_implicit_VR
    dataset.update(root)
    dataset.SpecificCharacterSet = "ISO_IR 192"  # UTF-8, which highdicom leaves out
    _set_dates(dataset, created)
    dataset.CodingSchemeIdentificationSequence = [sr_codes.coding_scheme(sr_codes.PRIVATE_SCHEME)]
    return dataset


def _set_dates(dataset: Dataset, created: datetime.datetime) -> None:
    local = created.astimezone().replace(tzinfo=None) if created.tzinfo else created
    for group in ("Content", "Series", "InstanceCreation"):
        setattr(dataset, f"{group}Date", local.strftime("%Y%m%d"))
        setattr(dataset, f"{group}Time", local.strftime("%H%M%S.%f"))
    for verifier in dataset.get("VerifyingObserverSequence", ()):
        verifier.VerificationDateTime = DT(local.strftime("%Y%m%d%H%M%S.%f"))


def created_at(dataset: Dataset) -> str:
    """Content Date and Time as ISO 8601; "" where there is none."""
    try:
        date, time = DA(str(dataset.get("ContentDate", "") or "")), TM(str(dataset.get("ContentTime", "") or ""))
    except ValueError:
        return ""
    if date is None:
        return ""
    clock = datetime.time(time.hour, time.minute, time.second, time.microsecond) if time else datetime.time()
    return datetime.datetime.combine(date, clock).isoformat()


def referenced_series(dataset: Dataset) -> str:
    """UID of the first series that the document names as evidence (PS3.3 C.17.2); "" where it names none."""
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in dataset.get(keyword) or ():
            for series in study.get("ReferencedSeriesSequence") or ():
                return str(series.get("SeriesInstanceUID", "") or "")
    return ""


def predecessors(dataset: Dataset) -> tuple[str, ...]:
    """SOP Instance UIDs of the documents that this one amends."""
    return tuple(
        str(instance.ReferencedSOPInstanceUID)
        for study in dataset.get("PredecessorDocumentsSequence") or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for instance in series.get("ReferencedSOPSequence") or ()
    )


def is_measurement_report(dataset: Dataset) -> bool:
    """Whether a document follows TID 1500: by its template, its title, or the section it must have."""
    template = dataset.get("ContentTemplateSequence")
    identifier = str(template[0].get("TemplateIdentifier", "")) if template else ""
    if identifier:
        return identifier == "1500"
    titled = concept(dataset)[:2] == ("DCM", codes.DCM.ImagingMeasurementReport.value)
    return titled or bool(children(dataset, "CONTAINER", codes.DCM.ImagingMeasurements))


def kind_of(dataset: Dataset) -> str:
    """``boxes`` or ``report``; "" for what is neither (dose reports and CAD results have SOP classes of their own)."""
    if dataset.get("SOPClassUID") not in SOP_CLASSES or dataset.get("ValueType") != "CONTAINER":
        return ""
    return "boxes" if is_measurement_report(dataset) else "report"


@contextmanager
def opened(source: Dataset | str | os.PathLike[str]) -> Iterator[tuple[Dataset, str]]:
    """Yield a structured report and the name to call it in messages.

    Raises:
        InputError: If it cannot be read, there or in the block, or is no structured report.
    """
    name = f"SR {source.get('SOPInstanceUID', '')}" if isinstance(source, Dataset) else str(source)
    try:
        dataset = source if isinstance(source, Dataset) else pydicom.dcmread(Path(source))
        if _is_cut_short(dataset):
            raise InputError(f"{name}: the file ends in the middle of an element; get it from its source again")
        if dataset.get("ValueType") != "CONTAINER":
            raise InputError(f"{name}: no structured report (SOP class {dataset.get('SOPClassUID', 'unknown')})")
        if "ContentSequence" not in dataset:
            raise InputError(f"{name}: the structured report has no content")
        yield dataset, name
    except InputError:
        raise
    except Exception as error:  # elements are decoded when they are touched, and a damaged file fails in many ways
        raise InputError(f"{name}: the structured report cannot be read ({type(error).__name__}: {error})") from error


def _is_cut_short(dataset: Dataset) -> bool:
    """Whether an element holds fewer bytes than its length says, which pydicom lets pass."""
    return any(
        isinstance(element, RawDataElement)
        and element.value is not None
        and element.length not in (len(element.value), UNDEFINED_LENGTH)
        for element in dataset.values()
    )
