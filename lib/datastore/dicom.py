# SPDX-License-Identifier: Apache-2.0
"""A store in a PACS: series are images; masks, boxes and reports are SEG and SR in the same studies."""

from __future__ import annotations

import copy
import io
import json
import logging
import threading
import time
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from ..dicom.seg import read_seg
from ..dicom.sr.items import UNKNOWN_PERSON
from ..reports import check_report
from ..transforms.shown import shown_frames
from ..types import InputError, volumes_of
from .archive import write_archive
from .dicom_grid import mask_of_frames, series_grid, series_of
from .dicom_labels import from_dicom, label_suffix, part_of, to_dicom
from .documents import write_json
from .incoming import read_label
from .names import BOXES, FINAL, REPORT, TAGS, check_tag, check_uid
from .pacs_client import Pacs, clear_leftovers
from .pacs_labels import LabelFacts, LabelIndex

logger = logging.getLogger(__name__)


class DicomStore(Datastore):  # type: ignore[misc]
    """Images, masks, boxes and reports in a PACS, or in a folder of DICOM files that acts as one.

    An image's id is its Series Instance UID. What the PACS holds is the truth; the cache may be removed at any time.

    Attributes:
        kind: ``dicomweb`` or ``embedded``.
        client: What answers DICOMweb requests.

    Args:
        client: ``dicomweb_client.DICOMwebClient``, or one with the same interface.
        cache_folder: For downloaded series, converted labels, and what DICOM has no place for.
        kind: ``dicomweb`` or ``embedded``.
        search_filter: Attributes that images must have, e.g. ``{"Modality": "CT"}``; None for every image series.
    """

    image_suffixes = (".dcm",)
    """Of the files that :meth:`add_image` takes."""

    def __init__(
        self,
        client: Any,
        cache_folder: Path,
        *,
        kind: str = "dicomweb",
        search_filter: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.client = client
        self._cache = Path(cache_folder)
        self._pacs = Pacs(client, search_filter)
        clear_leftovers(self._cache / "images")
        self._labels = LabelIndex(self._pacs, self._cache / "objects")
        self._saving = threading.RLock()
        self._image_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._name = str(getattr(client, "base_url", kind))
        self._description = "DICOM images of a PACS" if kind == "dicomweb" else "A folder of DICOM images"

    def name(self) -> str:
        """The PACS' address."""
        return self._name

    def set_name(self, name: str) -> None:
        """Call the store something else, until the server stops."""
        self._name = name

    def description(self) -> str:
        """What this is."""
        return self._description

    def set_description(self, description: str) -> None:
        """Describe it otherwise, until the server stops."""
        self._description = description

    def refresh(self) -> None:
        """Ask the PACS anew at the next call."""
        self._pacs.forget()

    # Images

    def list_images(self) -> list[str]:
        """Series Instance UIDs of all images."""
        return list(self._pacs.images())

    def _image(self, image_id: str) -> dict[str, Any]:
        info = self._pacs.image(check_uid(image_id))
        if info is None:
            raise ImageNotFoundException(f"Image {image_id} not found")
        return info

    def get_image_uri(self, image_id: str) -> str:
        """A folder that holds the files of the series, fetched from the PACS where it is not there yet.

        Raises:
            InputError: If the id is no UID.
            ImageNotFoundException: If the PACS has no such image.
            requests.RequestException: If it does not answer.
        """
        info = self._image(image_id)
        folder = self._cache / "images" / image_id
        count = int(info.get("NumberOfSeriesRelatedInstances") or 0)
        with self._image_locks[image_id]:
            present = len(list(folder.iterdir())) if folder.is_dir() else 0
            if not present or (count and present != count) or any(not file.exists() for file in folder.iterdir()):
                self._pacs.download(info["StudyInstanceUID"], image_id, folder)
        return str(folder)

    def get_image(self, image_id: str, params: Any = None) -> io.BytesIO:
        """The content of the only file of an image, such as a clip."""
        files = list(Path(self.get_image_uri(image_id)).iterdir())
        if len(files) > 1:
            raise InputError(f"image '{image_id}' is {len(files)} DICOM files; they cannot be read as one")
        return io.BytesIO(files[0].read_bytes())

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Patient, study, date, modality and description, and what clients have added."""
        info = {**self._image(image_id), **_read(self._image_file(image_id))}
        folder = self._cache / "images" / image_id
        return {**info, "path": str(folder)} if folder.is_dir() else info

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known about an image; kept in the cache, because the image is not ours to change."""
        self._image(image_id)
        with self._saving:
            write_json({**_read(self._image_file(image_id)), **_plain(info)}, self._image_file(image_id))

    def _image_file(self, image_id: str) -> Path:
        return self._cache / "info" / f"image-{image_id}.json"

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store a DICOM file; its id is its series' UID, whatever ``image_id`` says.

        Raises:
            InputError: If the file is not a DICOM image.
        """
        uid = self._pacs.store_file(Path(image_filename))
        if image_info:
            self.update_image_info(uid, image_info)
        return uid

    def remove_image(self, image_id: str) -> None:
        """Refused: images belong to the PACS.

        Raises:
            InputError: Always.
        """
        self._image(image_id)
        raise InputError(f"image '{image_id}' belongs to the PACS and is not removed from here; remove it there")

    # Labels

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label in the PACS, then remove the earlier versions by the same model that this app stored.

        Returns:
            The label's id, which is the image's.

        Raises:
            InputError: If the label is not what its tag says, does not fit the image, or would replace a signed report.
            ImageNotFoundException: If the PACS has no such image.
            requests.RequestException: If it does not answer, or does not take the label; the old one stays.
        """
        tag = _known_tag(label_tag)
        info = _plain(label_info or {})
        series = series_of(Path(self.get_image_uri(image_id)), part_of(info))
        label = read_label(
            Path(label_filename),
            tag,
            lambda: series_grid(series, image_id),
            lambda: tuple(map(shown_frames, volumes_of(series.image))),
            lambda path: mask_of_frames(read_seg(path, series).mask, series),
        )
        info = label.with_info(info)
        with self._saving:
            if label.report is not None:
                check_report(self, image_id, label.report)
            amends = self._labels.signed_report(image_id) if label.report is not None else None
            dataset = to_dicom(label, series, info, self._next_time(image_id, label.tag), amends)
            self._pacs.store(dataset)
            self._labels.learn(dataset)
            uid = str(dataset.SOPInstanceUID)
            write_json({**info, "ts": int(time.time()), "name": f"{uid}.dcm"}, self._label_file(uid))
            self._remove_earlier(image_id, label.tag, str(dataset.SeriesInstanceUID), uid)
        return image_id

    def _next_time(self, image_id: str, tag: str) -> datetime:
        """Now, or just after the current label, if a clock somewhere is ahead."""
        current = self._labels.current(image_id, tag)
        now = datetime.now()
        if current is None or not current.created:
            return now
        return max(now, datetime.fromisoformat(current.created) + timedelta(microseconds=1))

    def _remove_earlier(self, image_id: str, tag: str, series_uid: str, current_uid: str) -> None:
        """Only what this app wrote into the series that a label's versions share, and never what a person signed."""
        for facts in self._labels.of(image_id, tag):
            if not facts.ours or facts.signed or facts.key[1] != series_uid or facts.key[2] == current_uid:
                continue
            try:
                removed = self._remove(facts)
            except requests.RequestException as error:  # the new label is stored; the next save tries again
                logger.warning("label %s could not be removed: %s", facts.key[2], error)
                continue
            if not removed:
                logger.warning("the PACS does not remove instances; label %s stays, as an old version", facts.key[2])

    def _remove(self, facts: LabelFacts) -> bool:
        removed = self._pacs.remove(facts.key)
        if removed:
            for file in (self._label_file(facts.key[2]), *self._cache.glob(f"labels/*/{facts.key[2]}.*")):
                file.unlink(missing_ok=True)
        return removed

    def _label_file(self, uid: str) -> Path:
        return self._cache / "info" / f"label-{uid}.json"

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """A file that holds the current label: a mask as NIfTI on the image's grid, else JSON; "" when there is none.

        Raises:
            InputError: If the SEG or SR cannot be read, or does not fit the image.
        """
        tag = check_tag(label_tag)
        facts = self._labels.current(check_uid(label_id), tag)
        if facts is None:
            return ""
        count = self._image(label_id).get("NumberOfSeriesRelatedInstances", "")  # a series may grow
        path = self._cache / "labels" / label_id / f"{facts.key[2]}.{count}{label_suffix(facts)}"
        if not path.is_file():
            part = part_of(_read(self._label_file(facts.key[2])))
            series = series_of(Path(self.get_image_uri(label_id)), part)
            from_dicom(self._pacs.instance(facts.key), facts, series, path)
        return str(path)

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> io.BytesIO | None:
        """The content of :meth:`get_label_uri`; None when there is none."""
        path = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(path).read_bytes()) if path else None

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Label id by tag."""
        return dict.fromkeys(self._labels.by_image().get(check_uid(image_id), {}), image_id)

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The label's id; "" when there is none."""
        return self.get_labels_by_image_id(image_id).get(check_tag(tag), "")

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What the client sent with a label, and what the SEG or SR says."""
        facts = self._labels.current(check_uid(label_id), check_tag(label_tag))
        return self._label_info(facts) if facts else {}

    def _label_info(self, facts: LabelFacts) -> dict[str, Any]:
        study, series, instance = facts.key
        said = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "SOPInstanceUID": instance,
            "Modality": facts.modality,
            "SeriesDescription": facts.description,
            "created": facts.created,
            "ts": int(datetime.fromisoformat(facts.created).timestamp()) if facts.created else None,
            "user": "" if facts.author == UNKNOWN_PERSON else facts.author,
            "model": facts.model,
        }
        return {**{key: value for key, value in said.items() if value}, **_read(self._label_file(instance))}

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known about the current label; kept in the cache."""
        facts = self._labels.current(check_uid(label_id), check_tag(label_tag))
        if facts is None:
            raise LabelNotFoundException(f"Label: {label_id} Tag: {label_tag} not found")
        with self._saving:
            file = self._label_file(facts.key[2])
            write_json({**_read(file), **_plain(info)}, file)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove every version of a label that this app stored.

        Raises:
            InputError: If another program stored the current one, it is a signed report, or the PACS removes nothing.
        """
        tag = check_tag(label_tag)
        if tag == REPORT:
            check_report(self, label_id, None)
        with self._saving:
            labels = self._labels.of(check_uid(label_id), tag)
            if labels and not labels[-1].ours:
                raise InputError(f"the label '{tag}' of {label_id} was stored by another program; remove it there")
            for facts in labels:
                if facts.ours and not self._remove(facts):
                    raise InputError("this PACS does not let this app remove instances; remove the label there")

    # Lists

    def _by_image(self) -> dict[str, dict[str, LabelFacts]]:
        """The current labels of every image, images without any too."""
        labels = self._labels.by_image()
        return {image_id: labels.get(image_id, {}) for image_id in self.list_images()}

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Ids of the images with a label of this tag; without a tag, of those with the tag ``final``."""
        tag = check_tag(label_tag or FINAL)
        return [image_id for image_id, own in self._by_image().items() if tag in own]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Ids of the other images."""
        tag = check_tag(label_tag or FINAL)
        return [image_id for image_id, own in self._by_image().items() if tag not in own]

    def datalist(self) -> list[dict[str, Any]]:
        """Folder of the image and file of the mask of every image with a final mask; one that fails is left out."""
        pairs = []
        for image_id in self.get_labeled_images():
            try:
                pairs.append({"image": self.get_image_uri(image_id), "label": self.get_label_uri(image_id, FINAL)})
            except InputError as error:
                logger.warning("image %s is left out of the training list: %s", image_id, error)
        return pairs

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Path of a ZIP archive of :meth:`datalist`, which the caller removes."""
        return write_archive(self.datalist(), self.json(), limit_cases)

    def status(self) -> dict[str, Any]:
        """How many images and labels there are, and which images have boxes or a report."""
        try:
            images = self._by_image()
        except requests.RequestException as error:  # models can be listed, and images sent along, without the PACS
            logger.error("%s does not answer", self._name, exc_info=error)
            return {
                "kind": self.kind,
                "total": 0,
                "completed": 0,
                "label_tags": {},
                "error": "the PACS does not answer",
            }
        counts = [tag for own in images.values() for tag in own]
        return {
            "kind": self.kind,
            "total": len(images),
            "completed": counts.count(FINAL),
            "label_tags": {tag: counts.count(tag) for tag in sorted(set(counts))},
            "labelled": {tag: [i for i, own in images.items() if tag in own] for tag in (BOXES, REPORT)},
        }

    def json(self) -> dict[str, Any]:
        """Everything that is known, in the form of MONAI Label's local store."""
        images = self._pacs.images()
        objects = {
            image_id: {
                "image": {"ext": "", "info": {**images[image_id], **_read(self._image_file(image_id))}},
                "labels": {
                    tag: {"ext": label_suffix(facts), "info": self._label_info(facts)} for tag, facts in own.items()
                },
            }
            for image_id, own in self._by_image().items()
            if image_id in images
        }
        return {"name": self.name(), "description": self.description(), "objects": objects}


def _known_tag(tag: str) -> str:
    tag = check_tag(tag)
    if tag not in TAGS:
        raise InputError(f"label tag '{tag}': a PACS keeps {', '.join(TAGS)}")
    return tag


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    """Without values that JSON cannot hold."""
    return dict(copy.deepcopy(json.loads(json.dumps(info, default=str))))


def _read(file: Path) -> dict[str, Any]:
    """What was written with :func:`write_json`; {} for a file that is not there or broken."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s: not usable (%s)", file, error)
        return {}
