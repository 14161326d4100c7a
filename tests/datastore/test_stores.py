# SPDX-License-Identifier: Apache-2.0
"""What holds for every store: local files, local DICOM folders, a folder as PACS, and a real Orthanc."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException

from lib.datastore.protocol import Store
from lib.infers.writers import write_markups
from lib.types import Finding, InputError

from .conftest import SHAPE, Filled, findings, mask_array, report, same_mask, write_json, write_mask

BAD_IDS = ("../outside", "/etc/passwd", "a/b", "a\\b", ".hidden", "a\0b", "..", "", "x" * 300)


def save_all(filled: Filled, folder: Path, info: dict | None = None) -> None:
    store, image = filled.store, filled.image
    mask = write_mask(folder / "mask.nii.gz", mask_array(), filled.affine_ras)
    store.save_label(image, str(mask), "final", dict(info or {}))
    store.save_label(image, str(write_json(folder / "b.json", findings())), "boxes", dict(info or {}))
    store.save_label(image, str(write_json(folder / "r.json", report())), "report", dict(info or {}))


def test_is_a_store_and_monai_labels_datastore(filled: Filled) -> None:
    assert isinstance(filled.store, Datastore)
    assert isinstance(filled.store, Store)
    assert filled.store.kind in ("local", "embedded", "dicomweb")
    assert filled.store.list_images() == [filled.image]


def test_mask_boxes_and_report_come_back_identical(filled: Filled, tmp_path: Path) -> None:
    save_all(filled, tmp_path)
    for store in (filled.store, filled.reopen()):
        assert same_mask(store.get_label_uri(filled.image, "final"), mask_array(), filled.affine_ras)
        assert json.loads(Path(store.get_label_uri(filled.image, "boxes")).read_text()) == findings()
        assert json.loads(Path(store.get_label_uri(filled.image, "report")).read_text()) == report()
        assert set(store.get_labels_by_image_id(filled.image)) == {"final", "boxes", "report"}


def test_lists_and_status_are_fresh_after_a_save(filled: Filled, tmp_path: Path) -> None:
    store, image = filled.store, filled.image
    assert store.get_unlabeled_images() == [image]
    assert store.datalist() == []
    save_all(filled, tmp_path)
    assert store.get_labeled_images() == [image]
    assert store.get_unlabeled_images() == []
    assert store.get_labeled_images("report") == [image]
    assert store.get_labeled_images("original") == []
    status = store.status()
    assert (status["total"], status["completed"]) == (1, 1)
    assert status["label_tags"] == {"final": 1, "boxes": 1, "report": 1}
    assert status["labelled"] == {"boxes": [image], "report": [image]}
    assert set(store.json()["objects"][image]["labels"]) == {"final", "boxes", "report"}
    [pair] = store.datalist()
    assert Path(pair["image"]).exists()
    assert same_mask(pair["label"], mask_array(), filled.affine_ras)


def test_an_empty_mask_and_no_findings_are_results(filled: Filled, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "m.nii.gz", np.zeros(SHAPE, np.uint8), filled.affine_ras)
    filled.store.save_label(filled.image, str(mask), "final", {})
    filled.store.save_label(filled.image, str(write_json(tmp_path / "b.json", {"findings": []})), "boxes", {})
    store = filled.reopen()
    assert same_mask(store.get_label_uri(filled.image, "final"), np.zeros(SHAPE, np.uint8), filled.affine_ras)
    assert json.loads(Path(store.get_label_uri(filled.image, "boxes")).read_text()) == {"findings": []}


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".mha"])
def test_a_mask_with_other_axes_lies_in_the_same_place(filled: Filled, tmp_path: Path, suffix: str) -> None:
    """Axes reversed and swapped, as another program may write them."""
    turned = mask_array()[::-1, :, ::-1].transpose(1, 0, 2)
    affine = filled.affine_ras.copy()
    affine[:3, 3] += affine[:3, 0] * (SHAPE[0] - 1) + affine[:3, 2] * (SHAPE[2] - 1)
    affine[:3, [0, 1, 2]] = np.c_[affine[:3, 1], -affine[:3, 0], -affine[:3, 2]]
    path = tmp_path / f"turned{suffix}"
    if suffix == ".nii":
        write_mask(path, turned, affine)
    else:
        write_with_itk(path, turned, affine)
    filled.store.save_label(filled.image, str(path), "final", {})
    stored = as_placed(filled.store.get_label_uri(filled.image, "final"))
    assert stored == placed(mask_array(), filled.affine_ras)


def write_with_itk(path: Path, array: np.ndarray, affine_ras: np.ndarray) -> None:
    import SimpleITK as sitk

    affine_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine_lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine_lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))


def placed(array: np.ndarray, affine_ras: np.ndarray) -> set[tuple]:
    """Every voxel that is not 0: place in mm and value."""
    index = np.argwhere(array)
    points = (np.c_[index, np.ones(len(index))] @ affine_ras.T)[:, :3].round(2) + 0.0
    return {(*point, int(array[tuple(i)])) for point, i in zip(points.tolist(), index, strict=True)}


def as_placed(path: str) -> set[tuple]:
    from lib.volumes.read import read_image_file

    file = read_image_file(Path(path))
    return placed(file.array[..., 0, 0], file.affine_ras)


def test_a_part_of_the_image_is_filled_up(filled: Filled, tmp_path: Path) -> None:
    """3D Slicer crops segmentations to their content."""
    part, affine = mask_array()[2:21, 1:18, 1:5], filled.affine_ras.copy()
    affine[:3, 3] = (affine @ [2, 1, 1, 1])[:3]
    affine_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    header = {
        "space": "left-posterior-superior",
        "space directions": affine_lps[:3, :3].T,
        "space origin": affine_lps[:3, 3],
        "kinds": ["domain"] * 3,
    }
    nrrd.write(str(tmp_path / "part.seg.nrrd"), part, header)
    filled.store.save_label(filled.image, str(tmp_path / "part.seg.nrrd"), "final", {})
    expected = mask_array()
    expected[0, 0, 0] = 0
    assert same_mask(filled.store.get_label_uri(filled.image, "final"), expected, filled.affine_ras)


def test_markups_of_slicer_become_findings_under_boxes(filled: Filled, tmp_path: Path) -> None:
    """Slicer's module submits ROIs as ``final``."""
    original = [Finding.from_json(item) for item in findings()["findings"]]
    write_markups(original, tmp_path / "roi.json")
    filled.store.save_label(filled.image, str(tmp_path / "roi.json"), "final", {"user": "anna"})
    assert filled.store.get_label_uri(filled.image, "final") == ""
    stored = json.loads(Path(filled.store.get_label_uri(filled.image, "boxes")).read_text())["findings"]
    assert [(f["id"], f["label"], f["score"]) for f in stored] == [(1, "lesion", 0.87), (2, "cyst of unusual name", 1)]
    for before, after in zip(original, stored, strict=True):
        assert np.allclose(after["box_lps_mm"], before.box_lps_mm, atol=1e-3)
        assert set(after["boxes"]) == {str(t) for t in before.boxes}
    assert np.allclose(stored[1]["boxes"]["4"], original[1].boxes[4], atol=0.01)


def test_a_proposal_of_a_model_never_replaces_boxes(filled: Filled, tmp_path: Path) -> None:
    filled.store.save_label(filled.image, str(write_json(tmp_path / "b.json", findings())), "boxes", {})
    proposal = {"findings": findings()["findings"][1:]}
    filled.store.save_label(
        filled.image, str(write_json(tmp_path / "p.json", proposal)), "original", {"model": "mr_lesion_detection"}
    )
    assert json.loads(Path(filled.store.get_label_uri(filled.image, "boxes")).read_text()) == findings()
    assert json.loads(Path(filled.store.get_label_uri(filled.image, "original")).read_text()) == proposal


def bad_labels(folder: Path, affine: np.ndarray) -> dict[str, tuple[Path, str]]:
    elsewhere, coarse = affine.copy(), affine.copy()
    elsewhere[0, 3] += 100
    coarse[:3, 0] *= 2
    off_frame = findings()
    off_frame["findings"][0]["boxes"]["99"] = [0, 0, 1, 1]
    negative = np.full(SHAPE, -1, np.int16)
    cut = write_mask(folder / "cut.nii.gz", mask_array(), affine)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return {
        "shape": (write_mask(folder / "shape.nii.gz", np.ones((9, 9, 9), np.uint8), np.eye(4)), "final"),
        "elsewhere": (write_mask(folder / "else.nii.gz", mask_array(), elsewhere), "final"),
        "spacing": (write_mask(folder / "coarse.nii.gz", mask_array(), coarse), "final"),
        "values": (write_mask(folder / "neg.nii.gz", negative, affine), "final"),
        "cut short": (cut, "final"),
        "not json": (write_text(folder / "no.json", "{"), "boxes"),
        "no findings": (write_json(folder / "none.json", {"boxes": []}), "boxes"),
        "frame": (write_json(folder / "frame.json", off_frame), "boxes"),
        "no sections": (write_json(folder / "sections.json", {"text": "x"}), "report"),
        "mask as report": (write_mask(folder / "ok.nii.gz", mask_array(), affine), "report"),
        "text as mask": (write_text(folder / "mask.txt", "x"), "final"),
        "tag": (write_mask(folder / "tag.nii.gz", mask_array(), affine), "../final"),
    }


@contextmanager
def case(name: str) -> Iterator[None]:
    """Say which of several cases failed."""
    try:
        yield
    except pytest.fail.Exception as failure:
        pytest.fail(f"{name}: {failure}")


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_what_does_not_fit_is_refused_and_the_old_label_stays(filled: Filled, tmp_path: Path) -> None:
    save_all(filled, tmp_path)
    before = filled.store.get_label_info(filled.image, "final")
    for name, (path, tag) in bad_labels(tmp_path, filled.affine_ras).items():
        with case(name), pytest.raises(InputError, match=r".{20}"):
            filled.store.save_label(filled.image, str(path), tag, {})
    assert same_mask(filled.store.get_label_uri(filled.image, "final"), mask_array(), filled.affine_ras)
    assert json.loads(Path(filled.store.get_label_uri(filled.image, "boxes")).read_text()) == findings()
    assert json.loads(Path(filled.store.get_label_uri(filled.image, "report")).read_text()) == report()
    assert filled.store.get_label_info(filled.image, "final") == before


@pytest.mark.parametrize("image_id", BAD_IDS)
def test_ids_cannot_leave_the_store(local: Filled, embedded: Filled, image_id: str, tmp_path: Path) -> None:
    mask = str(write_mask(tmp_path / "m.nii.gz", mask_array(), local.affine_ras))
    for store in (local.store, embedded.store):
        for call in (
            lambda store=store: store.get_image_uri(image_id),
            lambda store=store: store.get_image_info(image_id),
            lambda store=store: store.get_label_uri(image_id, "final"),
            lambda store=store: store.get_label_info(image_id, "final"),
            lambda store=store: store.save_label(image_id, mask, "final", {}),
            lambda store=store: store.remove_label(image_id, "final"),
            lambda store=store: store.remove_image(image_id),
            lambda store=store: store.update_image_info(image_id, {}),
        ):
            with pytest.raises(InputError):
                call()


def test_an_unknown_image_is_not_found(filled: Filled) -> None:
    with pytest.raises(ImageNotFoundException):
        filled.store.get_image_uri("1.2.3.4")
    assert filled.store.get_label_uri("1.2.3.4", "final") == ""


def test_info_of_labels_and_images_is_kept(filled: Filled, tmp_path: Path) -> None:
    params = {"version": "v0003", "presence": [0.1, 0.9]}
    info = {"user": "anna", "model": "mr_lesion_segmentation", "params": params}
    save_all(filled, tmp_path, info)
    store, image = filled.store, filled.image
    stored = store.get_label_info(image, "final")
    assert {key: stored[key] for key in info} == info
    assert stored["ts"] > 1.6e9
    store.update_label_info(image, "final", {"reviewed": True})
    assert store.get_label_info(image, "final")["reviewed"] is True
    store.update_image_info(image, {"strategy": {"first": 1}})
    assert store.get_image_info(image)["strategy"] == {"first": 1}


def test_a_removed_label_is_gone(filled: Filled, tmp_path: Path) -> None:
    save_all(filled, tmp_path)
    filled.store.remove_label(filled.image, "final")
    for store in (filled.store, filled.reopen()):
        assert store.get_label_uri(filled.image, "final") == ""
        assert set(store.get_labels_by_image_id(filled.image)) == {"boxes", "report"}


def test_archive_holds_images_and_labels(filled: Filled, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        filled.store.get_dataset_archive(None)
    save_all(filled, tmp_path)
    path = Path(filled.store.get_dataset_archive(5))
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert filled.image in json.loads(archive.read("metadata.json"))["objects"]
    path.unlink()
    images = [name for name in names if name.startswith("image/")]
    assert len(images) == (1 if images[0].endswith(".nii.gz") else SHAPE[2])
    assert sum(name.startswith("label/") for name in names) == 1


def test_training_reads_what_is_stored(filled: Filled, tmp_path: Path) -> None:
    """Image and label of the training list lie on one grid."""
    from lib.trainers.lesion import stored_cases

    save_all(filled, tmp_path)
    [case] = stored_cases(filled.store)
    assert case.patient in ("P07", "patient")
    assert nib.load(case.label).shape == SHAPE
