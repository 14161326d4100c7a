# SPDX-License-Identifier: Apache-2.0
"""``datastore_v2.json``, and what it must say after a look at the files."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastoreModel
from pydantic import Field, ValidationError

from ..dicom.files import atomic_write
from ..transforms.labels import MASK_SUFFIXES
from ..types import InputError
from ..volumes.picture import PICTURES
from .folders import SETTLED_NS, FolderSeries, image_name
from .names import BOXES, FINAL, ORIGINAL, REPORT, check_image_id, check_tag

logger = logging.getLogger(__name__)

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
IMAGE_SUFFIXES = (*VOLUME_SUFFIXES, *PICTURES)
LABELS = "labels"


class StoreModel(LocalDatastoreModel):  # type: ignore[misc]
    """MONAI Label's model, and what is known about images that are not there at the moment.

    Attributes:
        missing: Image id -> what was known when its file disappeared; it comes back with the file.
    """

    missing: dict[str, ImageLabelModel] = Field(default_factory=dict)


def load_model(path: Path) -> StoreModel:
    """Read the index; one that is broken is moved aside, so that a new one can be made from the files."""
    fresh = StoreModel(name="new-dataset", description="New Dataset", images_dir=".", labels_dir=LABELS)
    if not path.is_file():
        return fresh
    try:
        model: StoreModel = StoreModel.model_validate_json(path.read_bytes())
    except (ValidationError, UnicodeDecodeError) as error:
        aside = path.with_name(f"{path.stem}.broken-{time.strftime('%Y%m%d-%H%M%S')}.json")
        with suppress(OSError):  # a folder that cannot be written to keeps it where it is
            path.replace(aside)
        logger.error("%s is broken (%s); kept as %s and made anew from the files", path, _first_line(error), aside.name)
        return fresh
    model.images_dir, model.labels_dir = ".", LABELS  # never another folder, whatever the file says
    for objects in (model.objects, model.missing):
        for image_id in [image_id for image_id in objects if not _usable(image_id, objects[image_id])]:
            logger.error("%s: entry %r would leave the folder; ignored", path, image_id[:80])
            del objects[image_id]
    return model


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _usable(image_id: str, entry: ImageLabelModel) -> bool:
    try:
        check_image_id(image_id)
        for tag in entry.labels:
            check_tag(tag)
    except InputError:
        return False
    return not any(os.sep in part.ext or ".." in part.ext for part in (entry.image, *entry.labels.values()))


def save_model(model: StoreModel, path: Path) -> None:
    """Write the index, whole or not at all."""
    data = json.dumps(model.model_dump(exclude={"base_path"}), indent=2, default=str)
    with atomic_write(path) as temporary:
        temporary.write_text(data, encoding="utf-8")


def stem_and_suffix(name: str, suffixes: Iterable[str]) -> tuple[str, str]:
    """Split a file name at a known suffix; ("", "") when it has none."""
    suffix = next((s for s in suffixes if name.endswith(s) and len(name) > len(s)), "")
    return (name.removesuffix(suffix), suffix) if suffix else ("", "")


def find_images(root: Path, series: list[FolderSeries], known: dict[str, ImageLabelModel]) -> dict[str, DataModel]:
    """Image files in a folder and DICOM series in its sub-folders, by id.

    A file comes before a series of the same name, and .nii.gz before other suffixes.

    Args:
        root: The folder of studies.
        series: What its sub-folders hold.
        known: Ids in use, which series keep.
    """
    found: dict[str, DataModel] = {}
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_file())
    for suffix in IMAGE_SUFFIXES:
        for name in names:
            stem, own = stem_and_suffix(name, IMAGE_SUFFIXES)
            if own == suffix and _accepted(stem, found, root / name):
                found[stem] = DataModel(ext=suffix, info={"ts": int(time.time()), "name": name})
    taken = {image_id: str(entry.image.info.get("SeriesInstanceUID", "")) for image_id, entry in known.items()}
    for one in series:
        siblings = sum(other.folder == one.folder for other in series)
        image_id = image_name(one, taken, siblings)
        if _accepted(image_id, found, one.folder):
            taken[image_id] = one.uid
            found[image_id] = DataModel(ext="", info={"ts": int(time.time()), "name": one.folder.name, **one.info})
    return found


def _accepted(image_id: str, found: dict[str, DataModel], path: Path) -> bool:
    if image_id.startswith("."):
        return False  # hidden: files that are being written
    try:
        check_image_id(image_id)
    except InputError:
        logger.warning("%s: left out of the list of studies: its name cannot be an image id", path)
        return False
    if image_id in found:
        logger.warning("%s: left out of the list of studies: another image has the id '%s'", path, image_id)
        return False
    return True


def find_labels(folder: Path, tag: str) -> dict[str, list[str]]:
    """Suffixes of the label files in the folder of a tag, by image id."""
    suffixes: tuple[str, ...] = (*MASK_SUFFIXES, ".json", ".dcm", ".xml", ".png")
    if tag in (FINAL, ORIGINAL):
        suffixes = MASK_SUFFIXES if tag == FINAL else (*MASK_SUFFIXES, ".json")
    elif tag in (BOXES, REPORT):
        suffixes = (".json",)
    found: dict[str, list[str]] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        stem, suffix = stem_and_suffix(entry.name, suffixes)
        if suffix and entry.is_file() and not entry.name.startswith("."):
            found.setdefault(stem, []).append(suffix)
    return found


def reconciled(model: StoreModel, images: dict[str, DataModel], labels: dict[str, dict[str, list[str]]]) -> bool:
    """Change the index to what the files say; returns whether anything changed.

    Args:
        model: The index.
        images: Image id -> what was found.
        labels: Tag -> image id -> suffixes of the label files.
    """
    before = model.model_dump(exclude={"base_path"})
    known = {**model.missing, **model.objects}
    for image_id in set(model.objects) - set(images):
        logger.warning("image '%s' is gone; what is known about it is kept until it comes back", image_id)
    model.objects = {image_id: _entry(image_id, found, known, labels) for image_id, found in images.items()}
    model.missing = {image_id: entry for image_id, entry in known.items() if image_id not in images}
    for tag, by_id in labels.items():
        for stem in set(by_id) - set(images) - set(model.missing):
            logger.warning("%s/%s: label of an image that is not there; left as it is", tag, stem)
    return bool(model.model_dump(exclude={"base_path"}) != before)


def _entry(
    image_id: str, found: DataModel, known: dict[str, ImageLabelModel], labels: dict[str, dict[str, list[str]]]
) -> ImageLabelModel:
    old = known.get(image_id)
    image = (
        DataModel(ext=found.ext, info={**found.info, **old.image.info, "name": found.info["name"]}) if old else found
    )
    entry = ImageLabelModel(image=image)
    for tag in sorted(labels):
        suffixes = labels[tag].get(image_id)
        recorded = old.labels.get(tag) if old else None
        if suffixes and recorded and recorded.ext in suffixes:
            entry.labels[tag] = recorded
        elif suffixes:
            entry.labels[tag] = DataModel(
                ext=suffixes[0], info={"ts": int(time.time()), "name": f"{image_id}{suffixes[0]}"}
            )
        elif recorded:
            logger.warning("label '%s' of image '%s' is gone from the folder", tag, image_id)
    return entry


def signature(folders: Iterable[Path]) -> dict[str, int] | None:
    """Time stamps of folders; None while one of them changed so recently that its time stamp says nothing."""
    stamps = {}
    for folder in folders:
        try:
            stamps[str(folder)] = os.stat(folder).st_mtime_ns
        except OSError:
            stamps[str(folder)] = 0
    return stamps if max(stamps.values(), default=0) < time.time_ns() - SETTLED_NS else None
