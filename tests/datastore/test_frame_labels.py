# SPDX-License-Identifier: Apache-2.0
"""Labels on the frames that viewers show, in every store: frames of an image, masks by frames, boxes, who and when."""

import copy
import datetime
import json
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from lib.datastore.dicom import DicomStore
from lib.datastore.frames import boxes_by_frames, boxes_for_models, frames_json, mask_by_frames
from lib.datastore.local import LocalStore
from lib.dicom.write import Subject, write_mr_series
from lib.pacs import open_pacs
from lib.types import InputError

from .conftest import (
    SHAPE,
    Filled,
    findings,
    mask_array,
    same_mask,
    write_clip,
    write_json,
    write_mask,
    write_stack,
)
from .test_dicom import write_dynamic

LABELS = {"lesion": 1, "cyst": 2}


def frames_of(store: Any, image: str, **which: Any) -> dict[str, Any]:
    return frames_json(Path(store.get_image_uri(image)), **which)


def by_frames(store: Any, image: str, tag: str = "final", **which: Any) -> dict[str, Any]:
    label, info = Path(store.get_label_uri(image, tag)), store.get_label_info(image, tag)
    return mask_by_frames(Path(store.get_image_uri(image)), label, info, **which)


def drawn(store: Any, image: str, **which: Any) -> dict[str, Any]:
    """The test mask as a client draws it, written down here pixel by pixel."""
    frames = frames_of(store, image, **which)
    parts = {label: {"label": label, "finding": None, "frames": {}} for label in LABELS}
    mask = mask_array()
    for label, value in LABELS.items():
        for z in range(SHAPE[2]):
            runs = [n for y in range(SHAPE[1]) for x in range(SHAPE[0]) if mask[x, y, z] == value
                    for n in (y * SHAPE[0] + x, 1)]  # fmt: skip
            if runs:
                parts[label]["frames"][str(z)] = runs
    keep = ("rows", "columns", "sop_instance_uids", "frame_numbers")
    return {**{key: frames[key] for key in keep}, "labels": LABELS, "parts": list(parts.values())}


def save(store: Any, image: str, folder: Path, document: dict, tag: str = "final", **info: Any) -> None:
    store.save_label(image, str(write_json(folder / "mask.json", document)), tag, info)


def test_frames_say_what_is_shown(filled: Filled) -> None:
    frames = frames_of(filled.store, filled.image)
    dicom = filled.store.kind != "local" or Path(filled.store.get_image_uri(filled.image)).is_dir()
    assert (frames["kind"], frames["position_unit"]) == ("stack", "mm")
    assert (frames["rows"], frames["columns"]) == (SHAPE[1], SHAPE[0])
    assert frames["positions"] == [5.0 * t for t in range(SHAPE[2])]
    assert frames["spacing_mm"] == [1.5, 1.5, 5.0]
    assert (frames["time_point"], frames["time_points"]) == (None, 1)
    assert len(frames["sop_instance_uids"]) == len(frames["frame_numbers"]) == (SHAPE[2] if dicom else 0)
    files = [dcmread(f) for f in Path(filled.store.get_image_uri(filled.image)).iterdir()] if dicom else []
    heights = {str(ds.SOPInstanceUID): float(ds.ImagePositionPatient[2]) for ds in files}
    assert [heights[uid] for uid in frames["sop_instance_uids"]] == sorted(heights.values())


@pytest.mark.parametrize("tag", ["final", "original"])
def test_a_mask_by_frames_is_a_mask_like_any_other(filled: Filled, tmp_path: Path, tag: str) -> None:
    save(filled.store, filled.image, tmp_path, drawn(filled.store, filled.image), tag, user="Dr A")
    for store in (filled.store, filled.reopen()):
        assert same_mask(store.get_label_uri(filled.image, tag), mask_array(), filled.affine_ras)
        back = by_frames(store, filled.image, tag)
        assert back["labels"] == LABELS
        assert [part["label"] for part in back["parts"]] == list(LABELS)
        assert [part["finding"] for part in back["parts"]] == [None, None]
        assert same_pixels(back, drawn(filled.store, filled.image))
    save(filled.store, filled.image, tmp_path, back, tag)
    assert same_mask(filled.store.get_label_uri(filled.image, tag), mask_array(), filled.affine_ras)


def same_pixels(one: dict, other: dict) -> bool:
    def pixels(document: dict) -> dict:
        return {
            (part["label"], frame): {p for a, n in zip(runs[::2], runs[1::2], strict=True) for p in range(a, a + n)}
            for part in document["parts"]
            for frame, runs in part["frames"].items()
        }

    return pixels(one) == pixels(other)


def test_names_of_labels_reach_the_seg(pacs: Filled, tmp_path: Path) -> None:
    save(pacs.store, pacs.image, tmp_path, {**drawn(pacs.store, pacs.image), "labels": {"cyst": 2, "lesion": 1}})
    key = pacs.store._labels.current(pacs.image, "final").key
    segments = pacs.store._pacs.instance(key).SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == ["lesion", "cyst"]


def test_a_mask_of_another_kind_is_given_by_frames(filled: Filled, tmp_path: Path) -> None:
    path = write_mask(tmp_path / "m.nii.gz", mask_array(), filled.affine_ras)
    filled.store.save_label(filled.image, str(path), "final", {"label_info": [{"name": "lesion"}, {"name": "cyst"}]})
    back = by_frames(filled.store, filled.image)
    assert same_pixels(back, drawn(filled.store, filled.image))


def test_what_does_not_fit_is_refused_and_the_old_mask_stays(filled: Filled, tmp_path: Path) -> None:
    good = drawn(filled.store, filled.image)
    save(filled.store, filled.image, tmp_path, good)
    before = filled.store.get_label_info(filled.image, "final")
    wrong = [copy.deepcopy(good) for _ in range(4)]
    wrong[0]["rows"] += 1
    wrong[1]["parts"][0]["frames"]["99"] = [0, 1]
    wrong[2]["parts"][0]["frames"]["1"] = [SHAPE[0] * SHAPE[1], 1]
    wrong[3] |= {"sop_instance_uids": ["1.2.3"], "frame_numbers": [1]}
    for document in wrong:
        with pytest.raises(InputError, match=r"^mask\.json: .{20}"):
            save(filled.store, filled.image, tmp_path, document)
    assert same_mask(filled.store.get_label_uri(filled.image, "final"), mask_array(), filled.affine_ras)
    assert filled.store.get_label_info(filled.image, "final") == before


def test_boxes_and_reports_are_still_told_apart(local_folder: Filled, tmp_path: Path) -> None:
    store, image = local_folder.store, local_folder.image
    store.save_label(image, str(write_json(tmp_path / "b.json", {**findings(), "parts": []})), "final", {})
    assert store.get_label_uri(image, "final") == ""
    assert json.loads(Path(store.get_label_uri(image, "boxes")).read_text())["findings"] == findings()["findings"]
    for tag in ("boxes", "report"):
        with pytest.raises(InputError, match=r"boxes are|sections"):
            store.save_label(image, str(write_json(tmp_path / "m.json", drawn(store, image))), tag, {})


def test_a_clip(tmp_path: Path) -> None:
    write_clip(tmp_path / "pacs" / "clip.dcm")
    store = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "c1", kind="embedded")
    [image] = store.list_images()
    frames = frames_of(store, image)
    assert (frames["kind"], frames["position_unit"], frames["spacing_mm"][2]) == ("cine", "s", 0.0)
    assert frames["frame_numbers"] == [1, 2, 3, 4, 5]
    assert len(set(frames["sop_instance_uids"])) == 1
    parts = [{"label": "lesion", "finding": 1, "frames": {"2": [3 * 40 + 7, 5], "4": [0, 40 * 32]}}]
    keep = ("rows", "columns", "sop_instance_uids", "frame_numbers")
    save(store, image, tmp_path, {**{k: frames[k] for k in keep}, "labels": {"lesion": 1}, "parts": parts})
    mask = np.asarray(nib.load(store.get_label_uri(image, "final")).dataobj)
    expected = np.zeros((40, 32, 5), np.uint8)
    expected[7:12, 3, 2] = expected[:, :, 4] = 1
    assert np.array_equal(mask, expected)
    assert by_frames(store, image)["parts"] == [{**parts[0], "finding": None}]


@pytest.mark.parametrize("kind", ["embedded", "local"])
def test_a_dynamic_series(tmp_path: Path, kind: str) -> None:
    """The instances say which volume it is; without time_point the frames are those of the first."""
    write_dynamic(tmp_path / "studies" / "dynamic")

    def reopen(cache: str) -> Any:
        folder = tmp_path / "studies"
        return LocalStore(folder) if kind == "local" else DicomStore(open_pacs(folder), tmp_path / cache, kind=kind)

    store = reopen("c1")
    [image] = store.list_images()
    first, third = frames_of(store, image), frames_of(store, image, time_point=2)
    assert (first["kind"], first["time_point"], first["time_points"], third["time_point"]) == ("dynamic", 0, 3, 2)
    assert not set(first["sop_instance_uids"]) & set(third["sop_instance_uids"])
    with pytest.raises(InputError, match="no time point 3"):
        frames_of(store, image, time_point=3)
    save(store, image, tmp_path, drawn(store, image, time_point=2), user="Dr A")
    assert store.get_label_info(image, "final")["time_point"] == 2
    for again in (store, reopen("c2")):
        assert same_pixels(by_frames(again, image, time_point=2), drawn(store, image))
        assert by_frames(again, image, time_point=1)["parts"] == []
        assert by_frames(again, image, time_point=2)["sop_instance_uids"] == third["sop_instance_uids"]
    with pytest.raises(InputError, match="time_point is 0, but the mask names frames of time point 2"):
        save(store, image, tmp_path, drawn(store, image, time_point=2), time_point=0)


@pytest.mark.parametrize("kind", ["embedded", "local"])
def test_a_part_of_a_series(tmp_path: Path, kind: str) -> None:
    for echo in (20, 90):
        for file in write_stack(tmp_path / "studies" / "a" / f"echo{echo}", seed=echo):
            dataset = dcmread(file)
            dataset.SeriesInstanceUID, dataset.EchoTime = "1.2.840.99.2", echo
            dataset.save_as(file)
    folder = tmp_path / "studies"
    store = LocalStore(folder) if kind == "local" else DicomStore(open_pacs(folder), tmp_path / "c", kind=kind)
    [image] = store.list_images()
    with pytest.raises(InputError, match="EchoTime"):
        frames_of(store, image)
    document = drawn(store, image, part="EchoTime 90 ms")
    assert set(document["sop_instance_uids"]) == {
        str(dcmread(file).SOPInstanceUID) for file in (tmp_path / "studies" / "a" / "echo90").iterdir()
    }
    save(store, image, tmp_path, document, part="EchoTime 90 ms")
    assert by_frames(store, image)["sop_instance_uids"] == document["sop_instance_uids"]
    assert same_pixels(by_frames(store, image), document)
    with pytest.raises(InputError, match="is not in this image"):
        save(store, image, tmp_path, document, part="EchoTime 20 ms")


@pytest.mark.parametrize(
    ("orientation", "step", "sees_stored_planes"),
    [([-1, 0, 0, 0, -1, 0], (0, 0, 5.0), True), ([0, 1, 0, 0, 0, -1], (1.5, 0, 0), False)],
    ids=["prone", "isotropic sagittal"],
)
def test_where_models_see_other_frames_boxes_are_moved(
    tmp_path: Path, orientation: list[int], step: tuple[float, float, float], sees_stored_planes: bool
) -> None:
    """A box at the left edge of the stored image is at the right edge for a model of a prone patient."""
    pixels = np.random.default_rng(1).integers(0, 900, (6, 16, 20)).astype(np.uint16)
    spacing_mm = (1.5, 1.5, max(step))
    subject = Subject("P1", datetime.date(2024, 1, 1))
    for number, file in enumerate(
        write_mr_series(pixels, tmp_path / "pacs" / "a", subject, spacing_mm=spacing_mm, origin_lps_mm=(0, 0, 0))
    ):
        dataset = dcmread(file)
        dataset.ImageOrientationPatient = orientation
        dataset.ImagePositionPatient = [number * mm for mm in step]
        dataset.save_as(file)
    store = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "c1", kind="embedded")
    [image] = store.list_images()
    frames = frames_of(store, image)
    assert (frames["rows"], frames["columns"], len(frames["sop_instance_uids"])) == (16, 20, 6)
    shown = findings()
    shown["findings"] = shown["findings"][:1]
    shown["findings"][0] |= {"boxes": {"2": [0.0, 1.0, 4.0, 3.0]}, "frame_scores": {}}
    folder = Path(store.get_image_uri(image))
    kept = boxes_for_models(folder, write_json(tmp_path / "b.json", shown), {})
    if sees_stored_planes:
        assert kept["findings"][0]["boxes"] == {"2": [16.0, 13.0, 20.0, 15.0]}
    store.save_label(image, str(write_json(tmp_path / "b.json", kept)), "boxes", {})
    again = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "c2", kind="embedded")
    assert boxes_by_frames(folder, Path(again.get_label_uri(image, "boxes")), {}) == shown
    document = dcmread(store._pacs.client.instances(*store._labels.current(image, "boxes").key)[0][1])
    referred = {str(e.value) for e in document.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert frames["sop_instance_uids"][2] in referred


@pytest.mark.parametrize("tag", ["final", "boxes"])
def test_nobody_is_not_called_unknown(filled: Filled, tmp_path: Path, tag: str) -> None:
    save(filled.store, filled.image, tmp_path, drawn(filled.store, filled.image) if tag == "final" else findings(), tag)
    for store in (filled.store, filled.reopen()):
        assert "user" not in store.get_label_info(filled.image, tag)


@pytest.mark.parametrize("tag", ["final", "boxes"])
@pytest.mark.parametrize("model", ["", "mr_lesion_detection"])
def test_who_and_when_are_kept_also_by_the_dicom_itself(filled: Filled, tmp_path: Path, tag: str, model: str) -> None:
    start = time.time()
    content = drawn(filled.store, filled.image) if tag == "final" else findings()
    save(filled.store, filled.image, tmp_path, content, tag, user="Dr A", **({"model": model} if model else {}))
    for store in (filled.store, filled.reopen()):  # a PACS store opens with an empty cache
        info = store.get_label_info(filled.image, tag)
        assert info["user"] == "Dr A"
        assert start - 2 <= info["ts"] <= time.time() + 1
        assert info.get("model", "") == model
