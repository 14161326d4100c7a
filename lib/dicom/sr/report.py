# SPDX-License-Identifier: Apache-2.0
"""Reports as text SR (PS3.16 TID 2000 Basic Diagnostic Imaging Report), and text reports of other systems.

A section is a CONTAINER headed by a code of CID 7001, a sentence a TEXT named by a code of CID 7002 (TID 2002). What a
sentence rests on hangs below it: the lesions it speaks of (INFERRED FROM) and a confidence (HAS PROPERTIES). A
sentence that the findings do not bear out is named by a code that says so, and because viewers such as OHIF show a
sentence without its name, the text itself begins with a mark until a person has decided on it. Struck sentences are
left out.

What has no place in these items (attention, alternatives, decisions, earlier versions) stands in a private element
(PS3.5 7.8) as the whole report in JSON. It counts only while it says what the items say, which is what people see.

========= =============== ================= ==========================================
status    Completion Flag Verification Flag beside (PS3.3 C.17.2)
========= =============== ================= ==========================================
draft     PARTIAL         UNVERIFIED
corrected COMPLETE        UNVERIFIED
signed    COMPLETE        VERIFIED          Verifying Observer Sequence: who and when
amended   COMPLETE        VERIFIED          the same, and Predecessor Documents Sequence
========= =============== ================= ==========================================
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from highdicom.sr import ContentItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.valuerep import DT

from ...types import InputError, Report, ReportStatus, Sentence, Source
from ...types.report import DOUBTED, Support
from ..types import DicomSeries
from . import concepts as sr_codes
from . import document as sr_document
from .foreign_report import foreign_sections
from .items import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    HAS_PROPERTIES,
    INFERRED_FROM,
    children,
    concept,
    container,
    family_first,
    is_named,
    language,
    number,
    number_of,
    observers,
    read_observer,
    read_text,
    text,
    text_of,
    with_children,
)

REPORT_ELEMENT = 0x02
SUPPORT_CODES = {
    Support.UNSUPPORTED: sr_codes.UNSUPPORTED,
    Support.CONTRADICTED: sr_codes.CONTRADICTED,
    Support.NOT_ASSESSED: sr_codes.NOT_ASSESSED,
}


@dataclass(frozen=True)
class StoredReport:
    """A report as it was read.

    Attributes:
        report: Sections, status, author, date.
        created: ISO 8601 date and time of the document's content; "" where it does not say.
        sop_instance_uid: Of the document.
        series_instance_uid: Of the document.
        referenced_series_uid: Series of the images that it names as evidence; "" where it names none.
        predecessor_uids: Documents that it amends.
        tag: Under which it was saved; ``report`` for documents of other systems.
    """

    report: Report
    created: str
    sop_instance_uid: str
    series_instance_uid: str
    referenced_series_uid: str
    predecessor_uids: tuple[str, ...] = ()
    tag: str = "report"


def report_dataset(
    report: Report,
    series: DicomSeries,
    *,
    source: Source | None = None,
    tag: str = "report",
    organization: str = "unknown",
    created: datetime.datetime | None = None,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
    series_number: int = sr_document.SERIES_NUMBER + 1,
    predecessor: Dataset | None = None,
) -> Dataset:
    """A report as a Comprehensive SR that :func:`read_report` gives back as it was.

    Args:
        report: The report.
        series: Images that it was made from.
        source: The model or person that wrote it. Without it, the author of a draft counts as a model and that of
            any other report as a person; who signed counts more.
        tag: Kind of result, for the store.
        organization: Of the person who signed (Verifying Organization, a type 1 attribute; PS3.3 C.17.2.5).
        created: Date and time of the content; if None what ``report.changed_at`` says, else now.
        series_instance_uid: Series to add the document to; a new one if None.
        sop_instance_uid: Of the document; a new one if None.
        series_number: Of the document's series.
        predecessor: The document that this one amends.

    Returns:
        The data set, with file meta information.

    Raises:
        InputError: If the series does not come from DICOM.
    """
    headers = sr_document.evidence(series)
    draft = report.status is ReportStatus.DRAFT
    root = container(
        codes.LN.DiagnosticImagingReport,
        [
            *language(),
            text(sr_codes.TAG, tag, HAS_CONCEPT_MOD),
            text(sr_codes.AUTHOR, report.author, HAS_CONCEPT_MOD),
            text(sr_codes.CHANGED_AT, report.changed_at, HAS_CONCEPT_MOD),
            *observers(_observer(report, source)),
            *(_section(name, sentences) for name, sentences in report.standing.items()),
        ],
        template="2000",
        is_root=True,
    )
    dataset = sr_document.document(
        root,
        headers,
        description=f"{tag}: {report.status.value}" + (f" by {report.author}" if report.author else ""),
        created=created or _moment(report.changed_at) or datetime.datetime.now(),
        complete=not draft,
        verifier=(family_first(report.signer or report.author), sr_codes.short(organization))
        if report.status.is_final
        else None,
        series_instance_uid=series_instance_uid,
        sop_instance_uid=sop_instance_uid,
        series_number=series_number,
        predecessor=predecessor,
    )
    _set_verified(dataset, _moment(report.signed_at))
    block = dataset.private_block(sr_document.PRIVATE_GROUP, sr_document.PRIVATE_CREATOR, create=True)
    block.add_new(REPORT_ELEMENT, "UT", json.dumps(report.to_json()))
    return dataset


def _observer(report: Report, source: Source | None) -> Source:
    """Who wrote it: of what a person has read that person, whoever sent it, and the model that drafted it."""
    if report.status is ReportStatus.DRAFT:
        named = Source(report.model or report.author, report.model_version, report.weights_sha256)
        return source or named
    source = source or Source(report.model, report.model_version, report.weights_sha256)
    person = report.signer or source.author or report.author
    return Source(source.model, source.version, source.weights_sha256, person)


def _set_verified(dataset: Dataset, moment: datetime.datetime | None) -> None:
    """Verification DateTime (0040,A030) of a signature whose time is known, with its zone (PS3.5 6.2, DT)."""
    for verifier in dataset.get("VerifyingObserverSequence", ()) if moment else ():
        verifier.VerificationDateTime = DT(f"{moment:%Y%m%d%H%M%S.%f%z}")


def _moment(iso: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(iso)
    except ValueError:
        return None


def _section(name: str, sentences: Iterable[Sentence]) -> ContentItem:
    heading, statement = sr_codes.SECTIONS.get(name, (sr_codes.private_name(name), sr_codes.STATEMENT))
    named = [] if heading.meaning == name or name in sr_codes.SECTIONS else [_exact_name(name)]
    return container(heading, [*named, *(_sentence(s, statement) for s in sentences)])


def _exact_name(name: str) -> ContentItem:
    return text(sr_codes.EXACT_NAME, name, HAS_CONCEPT_MOD)


def _sentence(sentence: Sentence, statement: Code) -> ContentItem:
    evidence = [text(codes.DCM.LesionIdentifier, str(i), INFERRED_FROM) for i in sentence.finding_ids]
    confidence = number(sr_codes.CONFIDENCE, sentence.confidence, sr_codes.NO_UNITS, HAS_PROPERTIES)
    name = SUPPORT_CODES.get(sentence.support, statement)
    return with_children(text(name, sentence.shown, CONTAINS), [*evidence, confidence])


def read_report(dataset_or_path: Dataset | str | os.PathLike[str]) -> StoredReport:
    """A text report, ours or of another system.

    Of other systems every container with text is a section, and texts are cut into sentences. Their reports count as
    signed when they are verified, else as corrected when they are complete, else as drafts.

    Raises:
        InputError: If it cannot be read, is a measurement report, or holds no text.
    """
    with sr_document.opened(dataset_or_path) as (dataset, name):
        if sr_document.is_measurement_report(dataset):
            raise InputError(f"{name}: a measurement report (TID 1500), not a text report; read its boxes instead")
        ours = bool(children(dataset, "TEXT", sr_codes.CHANGED_AT))
        sections = _our_sections(dataset) if ours else foreign_sections(dataset)
        if not ours and not sections:
            raise InputError(f"{name}: the structured report {concept(dataset)[2]!r} holds no text")
        created = sr_document.created_at(dataset)
        report = Report(
            sections=sections,
            status=_status(dataset),
            author=text_of(dataset, sr_codes.AUTHOR) if ours else read_observer(dataset),
            changed_at=text_of(dataset, sr_codes.CHANGED_AT) if ours else created,
        )
        return StoredReport(
            report=_whole(dataset, report) or report,
            created=created,
            sop_instance_uid=str(dataset.get("SOPInstanceUID", "")),
            series_instance_uid=str(dataset.get("SeriesInstanceUID", "")),
            referenced_series_uid=sr_document.referenced_series(dataset),
            predecessor_uids=sr_document.predecessors(dataset),
            tag=text_of(dataset, sr_codes.TAG, "report"),
        )


def _whole(dataset: Dataset, read: Report) -> Report | None:
    """The report of the private element; None where there is none, or it says something else than the items."""
    try:
        block = dataset.private_block(sr_document.PRIVATE_GROUP, sr_document.PRIVATE_CREATOR)
        value = block[REPORT_ELEMENT].value
        report = Report.from_json(json.loads(value if isinstance(value, str) else value.decode()))
    except (KeyError, ValueError, AttributeError):
        return None
    same = report.status.is_final == read.status.is_final and _words(report) == _words(read)
    return report if same else None


def _words(report: Report) -> list[tuple[str, list[str]]]:
    return [(name, [sentence.text for sentence in part]) for name, part in report.standing.items()]


def _status(dataset: Dataset) -> ReportStatus:
    if dataset.get("VerificationFlag") == "VERIFIED":
        return ReportStatus.SIGNED
    return ReportStatus.CORRECTED if dataset.get("CompletionFlag") == "COMPLETE" else ReportStatus.DRAFT


def _our_sections(root: Dataset) -> dict[str, tuple[Sentence, ...]]:
    return {_our_name(part): tuple(_read_sentences(part)) for part in children(root, "CONTAINER")}


def _our_name(section: Dataset) -> str:
    scheme, value, meaning = concept(section)
    known = None if scheme == sr_codes.PRIVATE_SCHEME else sr_codes.section_name(scheme, value)
    return known or text_of(section, sr_codes.EXACT_NAME, meaning)


def _read_sentences(section: Dataset) -> Iterator[Sentence]:
    for item in children(section, "TEXT"):
        if is_named(item, sr_codes.EXACT_NAME):
            continue
        confidence = number_of(item, sr_codes.CONFIDENCE)
        support = next((s for s, code in SUPPORT_CODES.items() if is_named(item, code)), Support.SUPPORTED)
        yield Sentence(
            text=read_text(item).removeprefix(DOUBTED.get(support, "")),
            finding_ids=tuple(int(read_text(i)) for i in children(item, "TEXT", codes.DCM.LesionIdentifier)),
            confidence=1.0 if confidence is None else confidence,
            support=support,
        )
