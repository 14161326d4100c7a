# SPDX-License-Identifier: Apache-2.0
"""Which store is opened for what the user points at."""

from pathlib import Path

import numpy as np
import pytest
from monailabel.config import settings
from PIL import Image

from lib.datastore.open import StoreSettings, kind_of_folder, open_store
from lib.types import InputError
from tests.orthanc import Orthanc

from .conftest import SHAPE, write_clip, write_stack
from .test_local import write_image

PLAIN = StoreSettings()


def test_folders(tmp_path: Path) -> None:
    for name in ("empty", "files", "both"):
        (tmp_path / name).mkdir()
    write_image(tmp_path / "files" / "a.nii.gz")
    write_image(tmp_path / "both" / "a.nii.gz")
    write_stack(tmp_path / "both" / "patient")
    write_stack(tmp_path / "dicom" / "patient" / "study" / "series")
    write_clip(tmp_path / "loose" / "clip")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "readme.txt").write_text("no images")
    kinds = {
        name: kind_of_folder(tmp_path / name) for name in ("new", "empty", "files", "both", "dicom", "loose", "text")
    }
    local = dict.fromkeys(("new", "empty", "files", "both", "text"), "local")
    assert kinds == {**local, "dicom": "embedded", "loose": "embedded"}
    assert open_store(str(tmp_path / "both"), PLAIN).list_images() == ["a", "patient"]


def test_a_folder_of_pictures_is_local_unless_there_are_dicom_files(tmp_path: Path) -> None:
    for name in ("pictures", "dicom"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / name / "chest.png")
    write_stack(tmp_path / "dicom" / "patient")
    assert [kind_of_folder(tmp_path / name) for name in ("pictures", "dicom")] == ["local", "embedded"]


def test_the_choice_of_the_user_wins(tmp_path: Path) -> None:
    write_stack(tmp_path / "dicom" / "patient")
    embedded = open_store(str(tmp_path / "dicom"), PLAIN)
    assert (embedded.kind, len(embedded.list_images())) == ("embedded", 1)
    local = open_store(str(tmp_path / "dicom"), PLAIN, "local")
    assert (local.kind, local.list_images()) == ("local", ["patient"])
    assert open_store(str(tmp_path / "dicom"), PLAIN).list_images() == ["patient"]  # it has an index of ours now
    (tmp_path / "empty").mkdir()
    assert open_store(str(tmp_path / "empty"), PLAIN, "embedded").list_images() == []
    for studies, store in (
        (str(tmp_path), "pacs"),
        ("http://127.0.0.1:1", "local"),
        (str(tmp_path / "gone"), "embedded"),
    ):
        with pytest.raises(InputError):
            open_store(studies, PLAIN, store)


def test_an_address_is_a_pacs(orthanc: Orthanc, tmp_path: Path) -> None:
    store = open_store(f"{orthanc.dicom_web}/", StoreSettings(cache_folder=str(tmp_path / "cache")))
    assert (store.kind, store.list_images()) == ("dicomweb", [])
    for path in write_stack(tmp_path / "s"):
        uid = store.add_image("", str(path), {})
    assert store.list_images() == [uid]
    only_ct = StoreSettings(cache_folder=str(tmp_path / "c"), search_filter={"Modality": "CT"})
    assert open_store(orthanc.dicom_web, only_ct).list_images() == []
    assert len(list(Path(store.get_image_uri(uid)).iterdir())) == SHAPE[2]
    orthanc.clear()


def test_settings_of_monai_label(monkeypatch: pytest.MonkeyPatch) -> None:
    assert StoreSettings.from_monailabel(settings).search_filter == {}, "its default, CT only, is no choice of the user"
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_SEARCH_FILTER", {"Modality": "MR"})
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_USERNAME", "anna")
    chosen = StoreSettings.from_monailabel(settings)
    assert (chosen.search_filter, chosen.username) == ({"Modality": "MR"}, "anna")
