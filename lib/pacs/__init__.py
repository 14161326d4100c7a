# SPDX-License-Identifier: Apache-2.0
"""A PACS for people who have none: a folder of DICOM files behind the interface of dicomweb_client's clients.

It implements ``dicomweb_client.protocol.DICOMClient``. The library's own file client is not used behind it, because
(0.60.1, tried on pydicom's test files) a search for a date range or description that it does not know silently
returns every study, it may be used from one thread only, deleting leaves the index as it was, each update reads all
files again and switches pydicom's validation for the whole process, and frames in implicit VR, big endian, deflated
or RLE files are errors.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pydicom.dataset import Dataset

from ..dicom.files import atomic_write
from ..types import InputError
from .files import Incoming, NotInPacs, check_incoming, instance_uids, made
from .headers import read_header
from .index import FILE_NAME, PacsIndex
from .retrieve import PacsRetrieve
from .store import (
    CANNOT_UNDERSTAND,
    DUPLICATE_INSTANCE,
    OTHER_STUDY,
    OUT_OF_RESOURCES,
    StoreError,
    StoreReport,
)

__all__ = ["EmbeddedPacs", "NotInPacs", "StoreError", "StoreReport", "open_pacs"]

logger = logging.getLogger(__name__)

INDEX_FOLDER = ".lesionloop"


def open_pacs(folder: Path, index_folder: Path | None = None) -> EmbeddedPacs:
    """Open a folder of DICOM files as a PACS; its index is made or brought up to date.

    Args:
        folder: The files, in any subfolders.
        index_folder: Where the index is kept; by default in ``folder``, or in memory if that cannot be written to.

    Raises:
        InputError: If there is no such folder.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that holds the DICOM files")
    file: Path | None = (index_folder or folder / INDEX_FOLDER) / FILE_NAME
    try:
        index = PacsIndex(folder, file)
    except OSError as error:
        logger.warning("the index of %s is kept in memory and made again at each start: %s", folder, error)
        index = PacsIndex(folder, None)
    index.refresh()
    return EmbeddedPacs(folder, index)


class EmbeddedPacs(PacsRetrieve):
    """The PACS: what :class:`PacsRetrieve` does, storing and deleting."""

    # -- store

    def store_instances(self, datasets: Sequence[Dataset], study_instance_uid: str | None = None) -> Dataset:
        """Store instances.

        Args:
            datasets: Each with file meta information, or at least the transfer syntax it was read with.
            study_instance_uid: The study that all must belong to.

        Returns:
            The response module (PS3.18 10.5.3): what was stored, and what was not, with reasons.
        """
        report = StoreReport(self.base_url)
        with tempfile.TemporaryDirectory(prefix="lesionloop-") as folder:
            for number, dataset in enumerate(datasets):
                file = Path(folder) / f"{number}.dcm"
                try:
                    dataset.save_as(file, write_like_original=False)
                except Exception as error:  # pydicom raises anything on values that cannot be written
                    report.failed.append((None, CANNOT_UNDERSTAND, f"it cannot be written: {error}"))
                    continue
                self._store_file(file, report, study_instance_uid)
                file.unlink()
        return report.dataset()

    def store_files(
        self, files: Iterable[Path], base_url: str, study_instance_uid: str | None = None
    ) -> tuple[int, Dataset]:
        """Store the instances in files, byte for byte.

        Args:
            files: DICOM Part 10 files; they are copied.
            base_url: Address of the service, for the answer.
            study_instance_uid: The study that all must belong to.

        Returns:
            HTTP status and response module (PS3.18 10.5.3).
        """
        report = StoreReport(base_url)
        for file in files:
            self._store_file(file, report, study_instance_uid)
        return report.status, report.dataset()

    def _store_file(self, file: Path, report: StoreReport, study_instance_uid: str | None) -> None:
        incoming = None
        try:
            incoming = check_incoming(file)
            if study_instance_uid and incoming.uids[0] != study_instance_uid:
                raise StoreError(OTHER_STUDY, "it belongs to another study than the address says")
            self._keep(incoming)
            report.stored.append(incoming)
        except (InputError, OSError) as error:
            reason = getattr(error, "reason", OUT_OF_RESOURCES if isinstance(error, OSError) else CANNOT_UNDERSTAND)
            logger.warning("an instance was not stored: %s", error)
            report.failed.append((incoming, reason, str(error)))

    def _keep(self, incoming: Incoming) -> None:
        study, series, instance = incoming.uids
        with self.index.lock:
            known = [path for _, path in self.index.instances(study, series, instance) if path.is_file()]
            target = known[0] if known else self.folder / study / series / f"{instance}.dcm"
            if known:
                _check_replacement(target, incoming)
            elif target.is_file():
                raise StoreError(
                    DUPLICATE_INSTANCE, "another file has the name that it would get; see the server's log"
                )
            with atomic_write(target) as temporary:
                shutil.copyfile(incoming.path, temporary)
            self.index.add(target)

    # -- delete

    def delete_instance(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> None:
        """Delete an instance: every file of the folder that holds it.

        Raises:
            NotInPacs: If there is none.
        """
        self._delete(study_instance_uid, series_instance_uid, sop_instance_uid)

    def delete_series(self, study_instance_uid: str, series_instance_uid: str) -> None:
        """Delete a series."""
        self._delete(study_instance_uid, series_instance_uid)

    def delete_study(self, study_instance_uid: str) -> None:
        """Delete a study."""
        self._delete(study_instance_uid)

    def _delete(self, study: str, series: str | None = None, instance: str | None = None) -> None:
        with self.index.lock:
            self.instances(study, series, instance)
            files = self.index.files(study, series, instance)
            for file in files:
                if not file.parent.resolve().is_relative_to(self.folder):
                    raise InputError(f"{file} lies outside the studies folder and is not deleted")
            for file in files:
                file.unlink(missing_ok=True)
            self.index.remove(files)
            _remove_empty({file.parent for file in files}, self.folder)


def _check_replacement(old: Path, new: Incoming) -> None:
    """Check that an instance may take the place of one with the same UIDs.

    Raises:
        StoreError: If it is older, or of another kind.
    """
    try:
        header = read_header(old)
        instance_uids(header)
    except InputError:
        return  # what cannot be read is no loss
    if str(header.dataset.SOPClassUID) != new.sop_class_uid:
        raise StoreError(DUPLICATE_INSTANCE, "an instance of another SOP class has its UID")
    if new.made < made(header.dataset):
        raise StoreError(DUPLICATE_INSTANCE, "a newer instance with its UID is there")


def _remove_empty(folders: Iterable[Path], root: Path) -> None:
    for folder in folders:
        while folder != root and folder.is_relative_to(root):
            with suppress(OSError):
                folder.rmdir()
            if folder.is_dir():
                break
            folder = folder.parent
