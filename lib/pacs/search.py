# SPDX-License-Identifier: Apache-2.0
"""Searching a folder of DICOM files with the methods of dicomweb_client's clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..types import InputError
from .files import NotInPacs, Uids, check_uid
from .headers import Json
from .index import PacsIndex
from .query import Level, check_values, matches, parse_filters, result


class PacsSearch:
    """Searching. All methods may be called from any thread; files that come and go are noticed by the next search.

    Args:
        folder: The files.
        index: Their index.
    """

    is_embedded = True
    """Tells it from a web client, also when this module was imported twice under two names."""
    scheme = "file"
    protocol = None
    qido_url_prefix = wado_url_prefix = stow_url_prefix = delete_url_prefix = None

    def __init__(self, folder: Path, index: PacsIndex) -> None:
        """Keep folder and index."""
        self.folder = folder
        self.index = index
        self.base_url = folder.as_uri()
        self.url_prefix = str(folder)

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def refresh(self) -> None:
        """Look for files that appeared, changed or went, at once."""
        self.index.refresh()

    def problems(self) -> dict[Path, str]:
        """Files of the folder that are not served, with the reason."""
        return self.index.problems()

    # -- search

    def search_for_studies(
        self,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: Mapping[str, Any] | None = None,
        get_remaining: bool = False,
    ) -> list[Json]:
        """List studies, the newest first; see :meth:`search_for_instances`."""
        return self._search(Level.STUDY, {}, fuzzymatching, limit, offset, fields, search_filters)

    def search_for_series(
        self,
        study_instance_uid: str | None = None,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: Mapping[str, Any] | None = None,
        get_remaining: bool = False,
    ) -> list[Json]:
        """List series of a study or of all, by number; see :meth:`search_for_instances`."""
        within = {"study": study_instance_uid}
        return self._search(Level.SERIES, within, fuzzymatching, limit, offset, fields, search_filters)

    def search_for_instances(
        self,
        study_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: Mapping[str, Any] | None = None,
        get_remaining: bool = False,
    ) -> list[Json]:
        """List instances of a series, a study or of all, by number.

        Args:
            study_instance_uid: Only in this study.
            series_instance_uid: Only in this series.
            fuzzymatching: Names match when each word begins a part of them.
            limit: Largest number of results.
            offset: Results to leave out at the beginning.
            fields: Further attributes to return, by keyword or tag, or ``all``.
            search_filters: Value by keyword or tag, with wildcards, ranges of dates and lists of UIDs.
            get_remaining: For the web client's sake: nothing is held back here.

        Returns:
            DICOM JSON of each, with the attributes of the levels above that are not given by UID (PS3.18 10.6.3.3).

        Raises:
            InputError: If a condition cannot be searched for.
        """
        within = {"study": study_instance_uid, "series": series_instance_uid}
        return self._search(Level.INSTANCE, within, fuzzymatching, limit, offset, fields, search_filters)

    def _search(
        self,
        level: Level,
        within: dict[str, str | None],
        fuzzy: bool | None,
        limit: int | None,
        offset: int | None,
        fields: Sequence[str] | None,
        search_filters: Mapping[str, Any] | None,
    ) -> list[Json]:
        filters = parse_filters(level, search_filters or {})
        check_values(filters)
        if min(limit or 0, offset or 0) < 0:
            raise InputError("limit and offset are not negative")
        uids: dict[str, list[str] | None] = {}
        for column, tag in (("study", "0020000D"), ("series", "0020000E"), ("instance", "00080018")):
            asked = [set(f.uids) for f in filters if f.path == (tag,)]
            if given := within.get(column):
                asked.append({check_uid(f"the {column}", given)})
            uids[column] = sorted(set.intersection(*asked)) if asked else None
        self.index.refresh(at_once=False)
        found = [entry for entry in self.index.entries(level, uids) if matches(entry, filters, bool(fuzzy))]
        found = found[offset or 0 :][:limit]
        levels = [at for at, column in zip(Level, ("study", "series", None), strict=True) if at <= level]
        levels = [at for at in levels if at is level or not within.get(("study", "series")[at])]
        return [result(entry, levels, fields) for entry in found]

    # -- where things are

    def instances(self, study: str, series: str | None = None, instance: str | None = None) -> list[tuple[Uids, Path]]:
        """The instances of a study or series, or one, each with its file.

        Raises:
            InputError: If a UID is malformed.
            NotInPacs: If there are none.
        """
        for name, uid in (("the study", study), ("the series", series), ("the instance", instance)):
            if uid is not None:
                check_uid(name, uid)
        found = self.index.instances(study, series, instance)
        if not found or not found[0][1].is_file():
            self.index.refresh()
            found = self.index.instances(study, series, instance)
        if not found:
            what = f"instance {instance}" if instance else f"series {series}" if series else f"study {study}"
            raise NotInPacs(f"There is no {what} here.")
        return found

    def instance_path(self, study: str, series: str, instance: str) -> Path:
        """The file of an instance; raises as :meth:`instances`."""
        return self.instances(study, series, instance)[0][1]
