# SPDX-License-Identifier: Apache-2.0
"""Reports of a store: the current one of an image, and those that a model may learn from."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..types import InputError
from ..types.report import Report, ReportStatus
from .changes import ReportChange, change_from_draft
from .versions import ReportConflict, check_follows

logger = logging.getLogger(__name__)

TAG = "report"


class ReportStore(Protocol):
    """What is needed of a store (``lib.datastore.protocol.Store``)."""

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """A local file with the label, "" when there is none."""

    def get_labeled_images(self, label_tag: str | None = None) -> list[str]:
        """Ids of the images with a label of this tag."""


@dataclass(frozen=True)
class TrainingReport:
    """A report that a person stands for, to learn from.

    Attributes:
        image: Of the store.
        report: Corrected, signed or amended; struck sentences are in it, and not in ``report.standing``.
        change: From the draft that it came from.
    """

    image: str
    report: Report
    change: ReportChange


def stored_report(store: ReportStore, image: str) -> Report | None:
    """The current report of an image; None where there is none.

    Raises:
        InputError: If what is stored is no report.
    """
    path = store.get_label_uri(image, TAG)
    if not path:
        return None
    try:
        return Report.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"the stored report of image '{image}' cannot be read: {error}") from error


def check_report(store: ReportStore, image: str, new: Report | None) -> None:
    """Keep what a person stands for from being replaced, or removed where ``new`` is None, by something else.

    Raises:
        ReportConflict: If the current report is signed, or corrected and the new one a draft.
    """
    current = _readable(store, image)
    if current is None:
        return
    if new is not None:
        check_follows(new, current)
    elif current.status.is_final:
        raise ReportConflict(f"the report of image '{image}' is {current.status.value}; it is amended, never removed")


def check_upload(store: ReportStore, image: str) -> None:
    """Keep a report that a person has worked on from being replaced in a way that makes no version of it.

    Raises:
        ReportConflict: If the current report is corrected, signed or amended.
    """
    current = _readable(store, image)
    if current is None or current.status is ReportStatus.DRAFT:
        return
    how = "amend it" if current.status.is_final else "save its next version with the report routes"
    raise ReportConflict(f"the report of image '{image}' is {current.status.value}: {how}, which keeps its versions")


def training_reports(store: ReportStore) -> list[TrainingReport]:
    """The reports that count for training: those that a person has corrected, signed or amended, never mere drafts."""
    found = []
    for image in store.get_labeled_images(TAG):
        report = _readable(store, image)
        if report is not None and report.status is not ReportStatus.DRAFT:
            found.append(TrainingReport(image, report, change_from_draft(report)))
    return found


def _readable(store: ReportStore, image: str) -> Report | None:
    try:
        return stored_report(store, image)
    except InputError as error:
        logger.warning("%s; it is left out", error)
        return None
