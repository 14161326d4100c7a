# SPDX-License-Identifier: Apache-2.0
"""What the store asks of a PACS, over any client with dicomweb_client's interface."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from pydicom import dcmread
from pydicom.dataset import Dataset

from ..dicom.worker import read_series_isolated
from ..types import InputError
from .modalities import is_image

logger = logging.getLogger(__name__)

INFO_KEYWORDS = (
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyDate",
    "StudyTime",
    "Modality",
    "SeriesDescription",
)

LIST_SECONDS = 3.0
"""How long a list counts as fresh; a save clears it at once."""
LABEL_MODALITIES = ("SEG", "SR")
LEFTOVER_S = 86400.0
AS_STORED = (("application/dicom", "*"),)
"""Any transfer syntax: the files as the PACS holds them (PS3.18 8.7.3.5.2)."""
REFUSALS = frozenset({400, 401, 403, 404, 405, 501})
NO_SUCH_SERVICE = frozenset({405, 501})
InstanceKey = tuple[str, str, str]
"""Study, series and SOP Instance UID."""


class Pacs:
    """A PACS.

    Args:
        client: ``dicomweb_client.DICOMwebClient`` or one like it.
        search_filter: Attributes that image series must have; empty for all.
    """

    def __init__(self, client: Any, search_filter: dict[str, Any] | None = None) -> None:
        self.client = client
        self._filter = dict(search_filter or {})
        self._lock = threading.RLock()
        self._lists: dict[str, tuple[float, Any]] = {}
        self._generation = 0
        self._asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._orthanc_url: str | None = None
        self._orthanc_known = False
        self._delete_refused = False

    def forget(self) -> None:
        """Ask anew next time."""
        with self._lock:
            self._generation += 1
            self._lists.clear()

    def images(self) -> dict[str, dict[str, Any]]:
        """What is known about each image series, by Series Instance UID.

        Raises:
            requests.RequestException: If the PACS does not answer.
        """
        return dict(self._fresh("images", lambda: self._image_series(self._filter)))

    def image(self, uid: str) -> dict[str, Any] | None:
        """What is known about one image series; None when there is none."""
        with self._lock:
            known = self._lists.get("images")
        if known and uid in known[1]:
            return dict(known[1][uid])
        return self._image_series({**self._filter, "SeriesInstanceUID": uid}).get(uid)

    def label_instances(self) -> list[InstanceKey]:
        """Every SEG and SR."""
        return list(self._fresh("labels", self._label_instances))

    def _fresh(self, name: str, ask: Any) -> Any:
        """A list, asked for by one thread at a time; others that have a fresh one do not wait for it."""
        known, _ = self._known(name)
        if known is not None:
            return known
        with self._asking[name]:
            known, generation = self._known(name)
            if known is not None:
                return known
            asked, answer = time.monotonic(), ask()
            with self._lock:
                if generation == self._generation:  # nothing was saved meanwhile
                    self._lists[name] = (asked, answer)
            return answer

    def _known(self, name: str) -> tuple[Any, int]:
        """The list if it is fresh, else None; and how often lists have been forgotten."""
        with self._lock:
            asked, answer = self._lists.get(name, (-LIST_SECONDS, None))
            return (answer if time.monotonic() - asked <= LIST_SECONDS else None), self._generation

    def _image_series(self, search_filter: dict[str, Any]) -> dict[str, dict[str, Any]]:
        fields = [*INFO_KEYWORDS, "NumberOfSeriesRelatedInstances"]
        answers = self.client.search_for_series(search_filters=search_filter, fields=fields, get_remaining=True)
        found = {}
        for answer in answers:
            series = Dataset.from_json(answer)
            info = {key: str(value) for key in fields if (value := series.get(key)) not in (None, "")}
            if info.get("SeriesInstanceUID") and is_image(info.get("Modality", "")):
                found[info["SeriesInstanceUID"]] = {**info, "patient": info.get("PatientID", "")}
        return found

    def _label_instances(self) -> list[InstanceKey]:
        found = []
        for modality in LABEL_MODALITIES:
            answers = self.client.search_for_instances(search_filters={"Modality": modality}, get_remaining=True)
            found += [_instance_key(answer) for answer in answers]
        return found

    def instances(self, study: str, series: str) -> list[str]:
        """SOP Instance UIDs of a series; none when the PACS does not have it."""
        return [str(answer["00080018"]["Value"][0]) for answer in self.client.search_for_instances(study, series)]

    def metadata(self, key: InstanceKey) -> Dataset:
        """The attributes of an instance, without bulk data."""
        answer = self.client.retrieve_instance_metadata(*key)
        return Dataset.from_json(answer[0] if isinstance(answer, list) else answer, lambda *_: b"")

    def instance(self, key: InstanceKey) -> Dataset:
        """A whole instance."""
        return self.client.retrieve_instance(*key, media_types=AS_STORED)

    def download(self, study: str, series: str, folder: Path) -> None:
        """Get the files of a series into a folder, all of them or none.

        Args:
            study: Study Instance UID.
            series: Series Instance UID.
            folder: Takes the place of one that is there.

        Raises:
            InputError: If the PACS has no instance of the series.
            requests.RequestException: If it does not answer.
        """
        temporary, old = (folder.with_name(f".{uuid.uuid4().hex}") for _ in range(2))
        temporary.mkdir(parents=True)
        try:
            if not self._link(study, series, temporary):
                for number, dataset in enumerate(self.client.iter_series(study, series, media_types=AS_STORED)):
                    dataset.save_as(temporary / f"{number:05d}.dcm", write_like_original=False)
            if not any(temporary.iterdir()):
                raise InputError(f"series {series}: the PACS sent no instance of it")
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def _link(self, study: str, series: str, folder: Path) -> bool:
        """Link the files of a PACS that is a folder here; False for one that is not."""
        if not getattr(self.client, "is_embedded", False):
            return False
        for number, (_, file) in enumerate(self.client.instances(study, series)):
            (folder / f"{number:05d}.dcm").symlink_to(file)
        return True

    def store(self, dataset: Dataset) -> None:
        """Store an instance and see that it is there.

        Raises:
            requests.RequestException: If the PACS does not take it.
        """
        answer = self.client.store_instances([dataset])
        self.forget()
        failed = answer.get("FailedSOPSequence") or []
        key = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
        if failed or key[2] not in self.instances(*key[:2]):
            reason = (
                f"failure reason {failed[0].get('FailureReason', 'unknown')}" if failed else "it is not found after"
            )
            raise requests.RequestException(f"the PACS did not store instance {key[2]}: {reason}")

    def store_file(self, path: Path) -> str:
        """Store a DICOM image; returns its Series Instance UID.

        Raises:
            InputError: If the file is none.
        """
        series = read_series_isolated([path]).facts.series_instance_uid
        self.store(dcmread(path))
        return series

    def remove(self, key: InstanceKey) -> bool:
        """Remove an instance: by DICOMweb, else by Orthanc's own interface; False when the PACS offers neither.

        Raises:
            requests.RequestException: If the PACS does not answer.
        """
        try:
            return self._delete(key) or self._delete_from_orthanc(key)
        finally:
            self.forget()

    def _delete(self, key: InstanceKey) -> bool:
        try:
            if not self._delete_refused:
                self.client.delete_instance(*key)
                return True
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code not in REFUSALS:
                raise
            self._delete_refused = error.response.status_code in NO_SUCH_SERVICE
        return False

    def _orthanc(self) -> str | None:
        """Where Orthanc's own interface answers, above the DICOMweb address; None for another PACS."""
        if not self._orthanc_known:
            parts = urlsplit(str(getattr(self.client, "base_url", "")))
            root = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/").rpartition("/")[0], "", ""))
            self._orthanc_url = root if parts.scheme in ("http", "https") and self._is_orthanc(root) else None
            self._orthanc_known = True
        return self._orthanc_url

    def _is_orthanc(self, root: str) -> bool:
        answer = self._session.get(f"{root}/system")
        try:
            system = answer.json() if answer.ok else {}
        except ValueError:
            return False
        return isinstance(system, dict) and {"ApiVersion", "DatabaseVersion", "DicomAet"} <= set(system)

    def _delete_from_orthanc(self, key: InstanceKey) -> bool:
        root = self._orthanc()
        if root is None:
            return False
        found = self._session.post(f"{root}/tools/lookup", data=key[2])
        found.raise_for_status()
        paths = [item["Path"] for item in found.json() if item.get("Type") == "Instance"]
        for path in paths:
            self._session.delete(f"{root}{path}").raise_for_status()
        return bool(paths)

    @property
    def _session(self) -> requests.Session:
        """The client's own, with its credentials and time limits; it offers no public way to it."""
        session = self.client._session
        assert isinstance(session, requests.Session)
        return session


def clear_leftovers(folder: Path) -> None:
    """Remove what downloads left that were cut off with the process, a day ago or longer."""
    for leftover in folder.glob(".*"):
        if leftover.stat().st_mtime < time.time() - LEFTOVER_S:
            shutil.rmtree(leftover, ignore_errors=True)


def _instance_key(answer: dict[str, Any]) -> InstanceKey:
    return tuple(str(answer[tag]["Value"][0]) for tag in ("0020000D", "0020000E", "00080018"))  # type: ignore[return-value]
