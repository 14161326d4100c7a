# SPDX-License-Identifier: Apache-2.0
"""A folder of image files and DICOM folders, with the labels beside them."""

from __future__ import annotations

import copy
import io
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from ..dicom.files import atomic_write
from ..dicom.worker import read_series_isolated
from ..reports import check_report
from ..transforms.labels import Grid, file_grid, write_mask
from ..types import InputError
from .archive import write_archive
from .dicom_grid import READ_TIMEOUT_S, linked_folder, read_seg_mask, series_grid, series_of
from .dicom_labels import part_of
from .documents import write_json
from .folders import FolderIndex, FolderSeries
from .frames import shown_image
from .incoming import Incoming, findings_json, read_label
from .local_index import (
    IMAGE_SUFFIXES,
    LABELS,
    StoreModel,
    find_images,
    find_labels,
    load_model,
    reconciled,
    save_model,
    signature,
    stem_and_suffix,
)
from .names import BOXES, FINAL, REPORT, check_image_id, check_tag

logger = logging.getLogger(__name__)
NEVER_READ, NO_FILE = 0, -1


class LocalStore(LocalDatastore):  # type: ignore[misc]
    """MONAI Label's LocalDatastore with DICOM folders as images, checked labels, and files that are whole or not there.

    The files are the truth, ``datastore_v2.json`` keeps what else is known: files that come or go are noticed at the
    next call.

    Args:
        folder: Of the studies; made if missing.
        auto_reload: Notice files that come or go while this runs.
        read_only: Never write anything on one's own account, only what a client saves.
    """

    kind = "local"
    image_suffixes = (*IMAGE_SUFFIXES, ".dcm")
    """Of the files that :meth:`add_image` takes."""

    def __init__(self, folder: Path, *, auto_reload: bool = True, read_only: bool = False) -> None:
        self._root = Path(folder).resolve()
        self._mutex = threading.RLock()
        self._file_lock = FileLock(str(self._root / ".lock"), thread_local=False)
        self._folders = FolderIndex()
        self._series: dict[str, FolderSeries] = {}
        self._follows, self._read_only = auto_reload, read_only
        self._seen: dict[str, int] | None = None
        self._config_ts = NEVER_READ
        patterns = tuple(f"*{suffix}" for suffix in IMAGE_SUFFIXES)
        super().__init__(str(self._root), extensions=patterns, auto_reload=False, read_only=True)
        self.refresh()

    # What the base class calls

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        """Read the index when another process has changed it; a broken one never stops the store."""
        path = Path(self._datastore_config_path)
        stamp = path.stat().st_mtime_ns if path.is_file() else 0
        if self._config_ts == NEVER_READ or stamp not in (0, self._config_ts):
            self._datastore = load_model(path)
            self._datastore.base_path = self._datastore_path
            self._config_ts = stamp or NO_FILE

    def _update_datastore_file(self, lock: bool = True) -> None:
        path = Path(self._datastore_config_path)
        with self._mutex, self._file_lock:
            save_model(self._datastore, path)
            self._config_ts = path.stat().st_mtime_ns

    def refresh(self) -> None:
        """Look at the files again."""
        with self._mutex:
            self._init_from_datastore_file()
            series = self._folders.series(self._root)
            images = find_images(self._root, series, {**self._datastore.missing, **self._datastore.objects})
            by_uid = {one.uid: one for one in reversed(series)}
            self._series = {
                image_id: by_uid[uid]
                for image_id, image in images.items()
                if (uid := image.info.get("SeriesInstanceUID")) in by_uid
            }
            tags = [p.name for p in (self._root / LABELS).iterdir() if p.is_dir()]
            labels = {tag: find_labels(self._label_folder(tag), tag) for tag in tags}
            changed = reconciled(self._datastore, images, labels)
            self._seen = signature(self._watched())
            if (changed or not Path(self._datastore_config_path).is_file()) and not self._read_only:
                self._update_datastore_file()

    def _watched(self) -> list[Path]:
        labels = self._root / LABELS
        return [self._root, labels, *sorted(p for p in labels.iterdir() if p.is_dir()), *self._folders.folders()]

    @contextmanager
    def _reading(self) -> Iterator[StoreModel]:
        with self._mutex:
            if self._follows and (self._seen is None or signature(self._watched()) != self._seen):
                self.refresh()
            else:
                self._init_from_datastore_file()
            yield self._datastore

    @contextmanager
    def _changing(self) -> Iterator[StoreModel]:
        """Hold the store against other threads and processes, and write the index at the end."""
        with self._mutex, self._file_lock:
            self._init_from_datastore_file()
            try:
                yield self._datastore
                self._update_datastore_file()
            except BaseException:
                self._config_ts = NEVER_READ  # what is in memory was not written: read it again
                raise

    def _image(self, model: StoreModel, image_id: str) -> ImageLabelModel:
        entry = model.objects.get(check_image_id(image_id))
        if entry is None:
            raise ImageNotFoundException(f"Image {image_id} not found")
        return entry

    def _label_folder(self, tag: str) -> Path:
        return self._root / LABELS / check_tag(tag)

    # Images

    def list_images(self) -> list[str]:
        """Ids of all images."""
        with self._reading() as model:
            return list(model.objects)

    def get_image_uri(self, image_id: str) -> str:
        """The image file, or a folder that holds the files of one DICOM series and nothing else.

        Raises:
            InputError: If the id is not a plain name.
            ImageNotFoundException: If there is no such image.
        """
        with self._reading() as model:
            entry = self._image(model, image_id)
            series = self._series.get(image_id)
            if series is None:
                return str((self._root / f"{image_id}{entry.image.ext}").resolve())
            if series.alone:
                return str(series.files[0].parent)
            return str(linked_folder(series.files, self._root / ".series" / image_id))

    def get_image(self, image_id: str, params: Any = None) -> io.BytesIO:
        """The content of an image file."""
        path = Path(self.get_image_uri(image_id))
        if path.is_dir():
            raise InputError(f"image '{image_id}' is a folder of DICOM files; they cannot be read as one")
        return io.BytesIO(path.read_bytes())

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known about an image; of a DICOM series also patient, study and modality."""
        path = self.get_image_uri(image_id)
        with self._reading() as model:
            return {**copy.deepcopy(self._image(model, image_id).image.info), "path": path}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Merge into what is known about an image."""
        with self._changing() as model:
            self._image(model, image_id).image.info.update(info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Copy an image file into the store; a DICOM file gets a folder of its own.

        Raises:
            InputError: If the file cannot be read as an image, or the id is not a plain name.
        """
        source = Path(image_filename)
        stem, suffix = stem_and_suffix(source.name, (*IMAGE_SUFFIXES, ".dcm"))
        if not suffix:
            raise InputError(f"{source.name}: an image ends in {', '.join(IMAGE_SUFFIXES)} or .dcm")
        image_id = check_image_id(image_id or stem)
        if suffix == ".dcm":
            read_series_isolated([source], READ_TIMEOUT_S)
        else:
            file_grid(source, image_id)
        target = self._root / image_id / source.name if suffix == ".dcm" else self._root / f"{image_id}{suffix}"
        with self._mutex, self._file_lock:
            with atomic_write(target) as temporary:
                shutil.copyfile(source, temporary)
            self.refresh()
        self.update_image_info(image_id, dict(image_info or {}))
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels."""
        with self._mutex, self._file_lock:
            with self._reading() as model:
                entry = copy.deepcopy(self._image(model, image_id))
            for tag, label in entry.labels.items():
                (self._label_folder(tag) / f"{image_id}{label.ext}").unlink(missing_ok=True)
            series = self._series.get(image_id)
            files = series.files if series else [self._root / f"{image_id}{entry.image.ext}"]
            for file in files:
                file.unlink(missing_ok=True)
            if series:
                _remove_empty(series.folder)
            shutil.rmtree(self._root / ".series" / image_id, ignore_errors=True)
            self.refresh()
            self._datastore.missing.pop(image_id, None)
            self._update_datastore_file()

    # Labels

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a label in place of the one with the same tag.

        Masks stay as they came if they hold every voxel of the image; part of it, and DICOM SEG, become NIfTI on the
        image's grid. ROIs of 3D Slicer become findings.

        Returns:
            The label's id, which is the image's.

        Raises:
            InputError: If the label is not what its tag says, does not fit the image, or would take the place of a
                signed report; the old one stays.
            ImageNotFoundException: If there is no such image.
        """
        path = Path(label_filename)
        image = Path(self.get_image_uri(image_id))
        part = part_of(label_info or {})
        grid = partial(_grid, image, image_id, part)
        seg = partial(read_seg_mask, folder=image, part=part)
        incoming = read_label(path, check_tag(label_tag), grid, lambda: shown_image(image, part).volumes, seg)
        if incoming.report is not None:
            check_report(self, image_id, incoming.report)
        target = self._label_folder(incoming.tag) / f"{image_id}{incoming.suffix}"
        with self._changing() as model:
            entry = self._image(model, image_id)
            old = entry.labels.get(incoming.tag)
            info = {**incoming.with_info(label_info or {}), "ts": int(time.time()), "name": target.name}
            _write(incoming, path, grid, target)
            entry.labels[incoming.tag] = DataModel(ext=incoming.suffix, info=info)
        if old is not None and old.ext != incoming.suffix:
            (self._label_folder(incoming.tag) / f"{image_id}{old.ext}").unlink(missing_ok=True)
        return image_id

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The label file; "" when there is none."""
        tag = check_tag(label_tag)
        with self._reading() as model:
            label = model.label(check_image_id(label_id), tag)
            return str(self._label_folder(tag) / f"{label_id}{label.ext}") if label else ""

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> io.BytesIO | None:
        """The content of a label file; None when there is none."""
        path = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(path).read_bytes()) if path else None

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Label id by tag."""
        with self._reading() as model:
            entry = model.objects.get(check_image_id(image_id))
            return dict.fromkeys(entry.labels, image_id) if entry else {}

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What is known about a label: what the client sent with it, ``ts`` and ``name``."""
        with self._reading() as model:
            label = model.label(check_image_id(label_id), check_tag(label_tag))
            return copy.deepcopy(label.info) if label else {}

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Merge into what is known about a label."""
        with self._changing() as model:
            label = model.label(check_image_id(label_id), check_tag(label_tag))
            if label is None:
                raise LabelNotFoundException(f"Label: {label_id} Tag: {label_tag} not found")
            label.info.update(info)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label; a signed report is an InputError."""
        tag = check_tag(label_tag)
        if tag == REPORT:
            check_report(self, label_id, None)
        with self._changing() as model:
            entry = self._image(model, label_id)
            label = entry.labels.pop(tag, None)
            if label is not None:
                (self._label_folder(tag) / f"{label_id}{label.ext}").unlink(missing_ok=True)

    # Lists

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Ids of the images with a label of this tag; without a tag, of those with the tag ``final``."""
        tag = check_tag(label_tag or FINAL)
        with self._reading() as model:
            return [image_id for image_id, entry in model.objects.items() if tag in entry.labels]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Ids of the other images."""
        labelled = set(self.get_labeled_images(label_tag))
        return [image_id for image_id in self.list_images() if image_id not in labelled]

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """File or folder of the image, and file of the mask, of every image with a final mask."""
        return [
            {"image": self.get_image_uri(image_id), "label": self.get_label_uri(image_id, FINAL)}
            for image_id in self.get_labeled_images()
        ]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Path of a ZIP archive of :meth:`datalist`, which the caller removes."""
        return write_archive(self.datalist(), self.json(), limit_cases)

    def status(self) -> dict[str, Any]:
        """How many images and labels there are, and which images have boxes or a report."""
        with self._reading() as model:
            counts = [tag for entry in model.objects.values() for tag in entry.labels]
            return {
                "kind": self.kind,
                "total": len(model.objects),
                "completed": counts.count(FINAL),
                "label_tags": {tag: counts.count(tag) for tag in sorted(set(counts))},
                "labelled": {tag: self.get_labeled_images(tag) for tag in (BOXES, REPORT)},
            }

    def json(self) -> dict[str, Any]:
        """Everything that is known."""
        with self._reading() as model:
            return dict(model.model_dump(exclude={"base_path", "missing"}))


def _remove_empty(folder: Path) -> None:
    for path in [*sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True), folder]:
        if not any(path.iterdir()):
            path.rmdir()


def _grid(image: Path, image_id: str, part: str | None) -> Grid:
    return series_grid(series_of(image, part), image_id) if image.is_dir() else file_grid(image, image_id)


def _write(incoming: Incoming, source: Path, grid: Callable[[], Grid], target: Path) -> None:
    if incoming.as_is:
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)
    elif incoming.mask is not None:
        write_mask(incoming.mask, grid(), target, incoming.said.get("label_names"))
    else:
        write_json(findings_json(incoming.findings or ()), target)
