# SPDX-License-Identifier: Apache-2.0
"""DICOM series in the sub-folders of a folder of studies, without reading their pixels."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dicom.series import FoundSeries, find_series
from ..dicom.types import SeriesFacts

logger = logging.getLogger(__name__)

NOT_STUDIES = frozenset({"labels", "model", "logs", "bin"})
SETTLED_NS = 2 * 10**9
"""A folder that changed less than this long ago may change again without another time stamp."""
_INFO = {
    "PatientID": "patient_id",
    "StudyInstanceUID": "study_instance_uid",
    "SeriesInstanceUID": "series_instance_uid",
    "StudyDate": "study_date",
    "StudyTime": "study_time",
    "Modality": "modality",
    "SeriesDescription": "series_description",
}


@dataclass(frozen=True)
class FolderSeries:
    """A series inside a sub-folder.

    Attributes:
        folder: The sub-folder, directly in the folder of studies.
        files: In order of path.
        info: What an image's info says about it.
        alone: The files share one folder that holds no other DICOM file.
    """

    folder: Path
    files: tuple[Path, ...]
    info: dict[str, Any]
    alone: bool

    @property
    def uid(self) -> str:
        """(0020,000E)."""
        return str(self.info["SeriesInstanceUID"])


class FolderIndex:
    """What lies in the sub-folders; one is read again when the list of files in it, or below it, changes."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[dict[Path, int], list[FolderSeries]]] = {}

    def series(self, root: Path) -> list[FolderSeries]:
        """Every image series in the sub-folders of ``root``, by folder and series UID."""
        folders = sorted(p for p in root.iterdir() if p.is_dir() and p.name not in NOT_STUDIES and p.name[0] != ".")
        self._known = {folder: known for folder, known in self._known.items() if folder in folders}
        return [series for folder in folders for series in self._in(folder)]

    def folders(self) -> Iterator[Path]:
        """Every folder that was looked into."""
        for stamps, _ in self._known.values():
            yield from stamps

    def _in(self, folder: Path) -> list[FolderSeries]:
        stamps = {Path(parent): os.stat(parent).st_mtime_ns for parent, _, _ in os.walk(folder)}
        known = self._known.get(folder)
        settled = max(stamps.values(), default=0) < time.time_ns() - SETTLED_NS
        if known is None or known[0] != stamps or not settled:
            self._known[folder] = known = (stamps, _series_in(folder))
        return known[1]


def _series_in(folder: Path) -> list[FolderSeries]:
    found = find_series(folder)
    for path, reason in found.unreadable.items():
        logger.warning("%s: left out of the list of studies: %s", path, reason)
    series = [
        FolderSeries(folder, one.files, image_info(one.facts), _alone(one.files, one.uid, found))
        for one in found.series
        if one.uid
    ]
    return sorted(series, key=lambda one: one.uid)


def _alone(files: tuple[Path, ...], uid: str, found: FoundSeries) -> bool:
    homes = {path.parent for path in files}
    others = (path for one in (*found.series, *found.non_images) if one.uid != uid for path in one.files)
    return len(homes) == 1 and not any(path.parent in homes for path in others)


def image_info(facts: SeriesFacts) -> dict[str, Any]:
    """What an image's info says: the names of MONAI Label's own DICOM store, and ``patient``, which training uses."""
    info = {keyword: getattr(facts, name) for keyword, name in _INFO.items()}
    return {**{key: value for key, value in info.items() if value}, "patient": facts.patient_id}


def image_name(series: FolderSeries, taken: dict[str, str], siblings: int) -> str:
    """The id of a series: the folder's name for the only one, else with eight digits of the UID's hash behind it.

    The digits stand behind a double underscore, so that the folder still names the patient
    (:func:`lib.studies.patient_of`). A series keeps the id it has when others arrive in its folder.

    Args:
        series: Which one.
        taken: Series UID of each id that is in use already.
        siblings: How many series there are in the folder.
    """
    for image_id, uid in taken.items():
        if uid == series.uid and (image_id == series.folder.name or image_id.startswith(f"{series.folder.name}__")):
            return image_id
    if siblings == 1 and series.folder.name not in taken:
        return series.folder.name
    return f"{series.folder.name}__{hashlib.sha256(series.uid.encode()).hexdigest()[:8]}"
