# SPDX-License-Identifier: Apache-2.0
"""The local store: files that come, go or break, DICOM folders, MONAI Label's own format."""

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monailabel.datastore.local import LocalDatastore
from PIL import Image

from lib.configs import load_config
from lib.datastore.frames import shown_image
from lib.datastore.local import LocalStore
from lib.transforms.load import load_sequence
from lib.types import InputError

from .conftest import (
    SHAPE,
    SUBJECT,
    Filled,
    findings,
    mask_array,
    same_mask,
    series_uid,
    volume,
    write_clip,
    write_json,
    write_mask,
    write_stack,
)

ROOT = Path(__file__).resolve().parents[2]


def write_image(path: Path, n_times: int = 1) -> Path:
    data = volume().transpose(2, 1, 0).astype(np.int16)
    nib.save(nib.Nifti1Image(data if n_times == 1 else np.stack([data] * n_times, -1), np.eye(4)), path)
    return path


def label_of(filled: Filled, folder: Path, mask: np.ndarray | None = None) -> str:
    return str(write_mask(folder / "m.nii.gz", mask_array() if mask is None else mask, filled.affine_ras))


def test_files_that_come_and_go_are_noticed(local: Filled, tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    write_image(studies / "second.nii")
    assert set(local.store.list_images()) == {local.image, "second"}
    (studies / "second.nii").unlink()
    assert local.store.list_images() == [local.image]
    write_mask(studies / "labels" / "final" / f"{local.image}.nii.gz", mask_array(), local.affine_ras)
    assert local.store.get_labeled_images() == [local.image]
    (studies / "labels" / "final" / f"{local.image}.nii.gz").unlink()
    assert local.store.get_labeled_images() == []


def test_pictures_are_images_and_come_after_volumes(local: Filled, tmp_path: Path, caplog) -> None:
    studies = tmp_path / "studies"
    for name in ("chest.png", "film.jpg", "other.jpeg", f"{local.image}.png"):
        Image.fromarray(np.full((4, 5), 7, np.uint8)).save(studies / name)
    (studies / "pairs.csv").write_text("image,finding\n")
    assert set(local.store.list_images()) == {local.image, "chest", "film", "other"}
    assert local.store.get_image_uri(local.image).endswith(".nii.gz")
    assert local.store.get_image_uri("film") == str((studies / "film.jpg").resolve())
    assert local.store.get_image("chest").read(4) == b"\x89PNG"
    assert shown_image(studies / "chest.png").volumes[0].shape == (1, 4, 5)
    mask = np.zeros((5, 4, 1), np.uint8)
    mask[1:3, 2:, 0] = 1
    place = np.diag([-1.0, -1.0, 1.0, 1.0])
    local.store.save_label("chest", str(write_mask(tmp_path / "m.nii.gz", mask, place)), "final", {})
    assert same_mask(local.store.get_label_uri("chest", "final"), mask, place)
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(tmp_path / "new.png")
    assert local.store.add_image("added", str(tmp_path / "new.png"), {}) == "added"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no PNG or JPEG file"):
        local.store.add_image("bad", str(tmp_path / "bad.png"), {})


def test_labels_survive_an_image_that_is_away_for_a_while(local: Filled, tmp_path: Path) -> None:
    """A network drive that is not there at the moment."""
    image = tmp_path / "studies" / f"{local.image}.nii.gz"
    local.store.save_label(local.image, label_of(local, tmp_path), "final", {"user": "anna"})
    shutil.move(image, tmp_path / "away.nii.gz")
    assert local.store.list_images() == []
    assert local.reopen().list_images() == []
    shutil.move(tmp_path / "away.nii.gz", image)
    store = local.reopen()
    assert same_mask(store.get_label_uri(local.image, "final"), mask_array(), local.affine_ras)
    assert store.get_label_info(local.image, "final")["user"] == "anna"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": 3}', b"\xff\xfe\x00"])
def test_a_broken_index_is_put_aside_and_made_again(local: Filled, tmp_path: Path, content: bytes, caplog) -> None:
    local.store.save_label(local.image, label_of(local, tmp_path), "final", {})
    index = tmp_path / "studies" / "datastore_v2.json"
    index.write_bytes(content)
    for store in (local.store, local.reopen()):
        assert same_mask(store.get_label_uri(local.image, "final"), mask_array(), local.affine_ras)
    [aside] = index.parent.glob("datastore_v2.broken-*.json")
    assert aside.read_bytes() == content
    assert "is broken" in caplog.text
    assert local.image in json.loads(index.read_text())["objects"]


def test_an_index_cannot_lead_out_of_the_folder(local: Filled, tmp_path: Path, caplog) -> None:
    index = tmp_path / "studies" / "datastore_v2.json"
    secret = write_image(tmp_path / "secret.nii.gz")
    data = json.loads(index.read_text())
    data["objects"]["../secret"] = {"image": {"ext": ".nii.gz"}, "labels": {}}
    data["objects"][local.image]["image"]["ext"] = "/../../secret.nii.gz"
    data["labels_dir"] = "/etc"
    index.write_text(json.dumps(data))
    store = local.reopen()
    assert store.list_images() == [local.image]
    assert store.get_image_uri(local.image) != str(secret)
    assert "would leave the folder" in caplog.text


def test_an_index_that_vanishes_is_written_again(local: Filled, tmp_path: Path) -> None:
    index = tmp_path / "studies" / "datastore_v2.json"
    local.store.save_label(local.image, label_of(local, tmp_path), "final", {"user": "anna"})
    index.unlink()
    local.store.refresh()
    assert json.loads(index.read_text())["objects"][local.image]["labels"]["final"]["info"]["user"] == "anna"


def test_no_half_written_file_has_a_labels_name(local: Filled, tmp_path: Path, monkeypatch) -> None:
    local.store.save_label(local.image, label_of(local, tmp_path), "final", {})

    def disk_full(source: object, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib.datastore.local.shutil.copyfile", disk_full)
    with pytest.raises(OSError, match="No space"):
        local.store.save_label(local.image, label_of(local, tmp_path, mask_array() * 0), "final", {})
    folder = tmp_path / "studies" / "labels" / "final"
    assert [p.name for p in folder.iterdir()] == [f"{local.image}.nii.gz"]
    assert same_mask(local.store.get_label_uri(local.image, "final"), mask_array(), local.affine_ras)


def test_a_label_in_another_format_replaces_the_old_file(local: Filled, tmp_path: Path) -> None:
    local.store.save_label(local.image, label_of(local, tmp_path), "final", {})
    path = str(write_mask(tmp_path / "m.nii", mask_array() * 0, local.affine_ras))
    local.store.save_label(local.image, path, "final", {})
    folder = tmp_path / "studies" / "labels" / "final"
    assert [p.name for p in folder.iterdir()] == [f"{local.image}.nii"]


def test_a_label_stays_as_it_came(local: Filled, tmp_path: Path) -> None:
    path = label_of(local, tmp_path)
    local.store.save_label(local.image, path, "final", {})
    assert Path(local.store.get_label_uri(local.image, "final")).read_bytes() == Path(path).read_bytes()


def test_dicom_folders_are_images(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    write_stack(studies / "one")
    uids = sorted(
        [series_uid(write_stack(studies / "two" / "a", 1)), series_uid(write_stack(studies / "two" / "b", 2))]
    )
    mixed = [write_stack(studies / "mixed", seed)[0] for seed in (4,)]
    for number, path in enumerate(write_stack(tmp_path / "more", 5)):
        shutil.move(path, studies / "mixed" / f"other{number}.dcm")
    write_clip(studies / "clip" / "clip.dcm")
    (studies / "notes").mkdir()
    (studies / "notes" / "readme.txt").write_text("no image")
    store = LocalStore(studies)
    ids = store.list_images()
    assert {"one", "clip"} <= set(ids)
    assert len(ids) == 6
    two = [image_id for image_id in ids if image_id.startswith("two__")]
    assert sorted(store.get_image_info(image_id)["SeriesInstanceUID"] for image_id in two) == uids
    assert store.get_image_info("one")["patient"] == SUBJECT.patient_id
    config = load_config(ROOT / "configs" / "mr_lesion_segmentation.yaml")
    for image_id in ids:
        if image_id != "clip":
            sequence, geometry = load_sequence(Path(store.get_image_uri(image_id)), config.input)
            assert (len(sequence.frames), geometry.shape) == (SHAPE[2], SHAPE)
    assert len({store.get_image_uri(image_id) for image_id in ids}) == 6
    assert mixed[0].is_file()


def test_a_series_keeps_its_id_when_another_arrives(local_folder: Filled, tmp_path: Path) -> None:
    local_folder.store.save_label("patient", label_of(local_folder, tmp_path), "final", {})
    uid = local_folder.store.get_image_info("patient")["SeriesInstanceUID"]
    write_stack(tmp_path / "studies" / "patient" / "later", seed=9)
    for store in (local_folder.store, local_folder.reopen()):
        assert len(store.list_images()) == 2
        assert store.get_image_info("patient")["SeriesInstanceUID"] == uid
        assert store.get_labeled_images() == ["patient"]


def test_a_removed_folder_image_takes_only_its_own_files(tmp_path: Path) -> None:
    write_stack(tmp_path / "two" / "a", 1)
    write_stack(tmp_path / "two" / "b", 2)
    store = LocalStore(tmp_path)
    first, second = store.list_images()
    store.remove_image(first)
    assert store.list_images() == [second]
    assert len(list(Path(store.get_image_uri(second)).iterdir())) == SHAPE[2]


def test_time_series_take_a_mask_of_one_volume(tmp_path: Path) -> None:
    write_image(tmp_path / "dynamic.nii.gz", n_times=7)
    store = LocalStore(tmp_path)
    path = write_mask(tmp_path.parent / "mask.nii.gz", mask_array(), np.eye(4))
    store.save_label("dynamic", str(path), "final", {})
    assert same_mask(store.get_label_uri("dynamic", "final"), mask_array(), np.eye(4))


def test_images_are_added_whole_and_checked(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "studies")
    assert store.add_image("", str(write_image(tmp_path / "new.nii.gz")), {"site": "x"}) == "new"
    assert store.get_image_info("new")["site"] == "x"
    assert store.add_image("4: T2 FLAIR", str(write_image(tmp_path / "other.nii")), {}) == "4: T2 FLAIR"
    assert store.add_image("clip", str(write_clip(tmp_path / "c.dcm")), {}) == "clip"
    assert store.get_image_info("clip")["Modality"] == "US"
    (tmp_path / "broken.nii.gz").write_bytes(b"not an image")
    (tmp_path / "text.txt").write_bytes(b"text")
    for name, image_id in (("broken.nii.gz", ""), ("text.txt", ""), ("new.nii.gz", "../x"), ("new.nii.gz", ".x")):
        with pytest.raises(InputError):
            store.add_image(image_id, str(tmp_path / name), {})
    assert set(store.list_images()) == {"new", "4: T2 FLAIR", "clip"}
    assert not list((tmp_path / "studies").glob(".*nii*"))


def test_monai_labels_own_store_reads_what_ours_wrote(local: Filled, tmp_path: Path) -> None:
    local.store.save_label(local.image, label_of(local, tmp_path), "final", {"user": "anna"})
    stock = LocalDatastore(str(tmp_path / "studies"), auto_reload=False)
    assert stock.get_labeled_images() == [local.image]
    assert stock.get_label_info(local.image, "final")["user"] == "anna"
    assert local.reopen().get_label_info(local.image, "final")["user"] == "anna"


def test_two_processes_share_a_folder(local: Filled, tmp_path: Path) -> None:
    other = local.reopen()
    other.save_label(local.image, label_of(local, tmp_path), "final", {"user": "ben"})
    local.store.save_label(local.image, str(write_json(tmp_path / "b.json", findings())), "boxes", {})
    assert local.store.get_label_info(local.image, "final")["user"] == "ben"
    assert set(other.get_labels_by_image_id(local.image)) == {"final", "boxes"}


def test_many_threads_save_and_list(local: Filled, tmp_path: Path) -> None:
    for number in range(6):
        write_image(tmp_path / "studies" / f"i{number}.nii.gz")
    mask = str(write_mask(tmp_path / "m.nii.gz", mask_array(), np.eye(4)))

    def work(number: int) -> int:
        local.store.save_label(f"i{number % 6}", mask, ("final", "original")[number % 2], {"n": number})
        return len(local.store.list_images()) + len(local.store.get_labeled_images())

    with ThreadPoolExecutor(6) as pool:
        assert min(pool.map(work, range(24))) >= 7
    tags = local.reopen().status()["label_tags"]
    assert tags == {"final": 3, "original": 3}


def test_names_that_cannot_be_ids_are_left_out_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("good.nii.gz", "a..b.nii.gz", ".hidden.nii.gz"):
        write_image(tmp_path / name)
    shutil.copy(tmp_path / "good.nii.gz", tmp_path / "good2.nii.gz")
    write_image(tmp_path / "good.nii")
    with caplog.at_level(logging.WARNING):
        assert LocalStore(tmp_path).list_images() == ["good", "good2"]
    assert "a..b.nii.gz" in caplog.text
    assert "another image has the id 'good'" in caplog.text
