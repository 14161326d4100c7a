# SPDX-License-Identifier: Apache-2.0
"""Stores in a PACS: a folder behind the client's interface, and a real Orthanc."""

import datetime
import json
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
import requests
from pydicom import dcmread

from lib.datastore.dicom import DicomStore
from lib.datastore.open import StoreSettings, open_store
from lib.datastore.pacs_labels import label_series_uid
from lib.dicom.seg import seg_dataset
from lib.dicom.series import read_series
from lib.dicom.write import Subject, write_mr_series
from lib.infers.writers import write_markups
from lib.pacs import open_pacs
from lib.transforms.geometry import sequence_box_lps
from lib.transforms.orient import oriented
from lib.types import Finding, InputError, Source
from tests.orthanc import Orthanc

from .conftest import (
    SHAPE,
    SUBJECT,
    Filled,
    findings,
    mask_array,
    report,
    same_mask,
    series_uid,
    stack_affine_ras,
    write_clip,
    write_json,
    write_mask,
    write_stack,
)

MODEL = {"model": "mr_lesion_segmentation", "params": {"version": "v0001", "label_names": {"lesion": 1, "cyst": 2}}}


def client_of(filled: Filled):
    return filled.store._pacs.client


def instances(filled: Filled, modality: str) -> list[str]:
    found = client_of(filled).search_for_instances(search_filters={"Modality": modality})
    return [item["00080018"]["Value"][0] for item in found]


def file_of(filled: Filled, folder: Path, mask: np.ndarray) -> str:
    return str(write_mask(folder / "mask.nii.gz", mask, filled.affine_ras))


def test_five_saves_leave_one_seg_and_one_sr_of_each_kind(pacs: Filled, tmp_path: Path) -> None:
    boxes, text = findings(), report()
    for round_number in range(5):
        mask = np.zeros(SHAPE, np.uint8)
        mask[round_number, 2:4, 2] = 1
        boxes["findings"][0]["score"] = round(0.5 + round_number / 10, 4)
        text["sections"]["impression"][0]["text"] = f"Version {round_number}."
        pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, mask), "final", MODEL)
        pacs.store.save_label(pacs.image, str(write_json(tmp_path / "b.json", boxes)), "boxes", MODEL)
        pacs.store.save_label(pacs.image, str(write_json(tmp_path / "r.json", text)), "report", MODEL)
        assert (len(instances(pacs, "SEG")), len(instances(pacs, "SR"))) == (1, 2)
    store = pacs.reopen()
    assert same_mask(store.get_label_uri(pacs.image, "final"), mask, pacs.affine_ras)
    assert json.loads(Path(store.get_label_uri(pacs.image, "boxes")).read_text()) == boxes
    assert json.loads(Path(store.get_label_uri(pacs.image, "report")).read_text()) == text
    assert store.status()["label_tags"] == {"final": 1, "boxes": 1, "report": 1}


def test_orthanc_itself_counts_one(dicomweb: Filled, orthanc: Orthanc, tmp_path: Path) -> None:
    for _ in range(5):
        dicomweb.store.save_label(dicomweb.image, file_of(dicomweb, tmp_path, mask_array()), "final", MODEL)
    assert orthanc.count("SEG") == 1
    assert orthanc.count("MR") == SHAPE[2]


def test_each_model_and_tag_keeps_its_own(pacs: Filled, tmp_path: Path) -> None:
    first, second = mask_array(), np.flip(mask_array(), 0)
    pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, first), "original", {"model": "a"})
    pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, second), "original", {"model": "b"})
    pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, first), "final", {"user": "anna"})
    assert len(instances(pacs, "SEG")) == 3
    assert same_mask(pacs.store.get_label_uri(pacs.image, "original"), second, pacs.affine_ras)
    assert same_mask(pacs.store.get_label_uri(pacs.image, "final"), first, pacs.affine_ras)
    info = pacs.reopen().get_label_info(pacs.image, "final")
    assert info["user"] == "anna"
    assert "model" not in info


def test_without_deletion_the_newest_is_current(pacs: Filled, tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(pacs.store._pacs, "remove", lambda key: False)
    for round_number in range(3):
        mask = np.zeros(SHAPE, np.uint8)
        mask[round_number] = 1
        pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, mask), "final", MODEL)
    assert len(instances(pacs, "SEG")) == 3
    assert "does not remove" in caplog.text
    store = pacs.reopen()
    assert same_mask(store.get_label_uri(pacs.image, "final"), mask, pacs.affine_ras)
    assert store.status()["label_tags"] == {"final": 1}
    store.save_label(pacs.image, file_of(pacs, tmp_path, mask_array()), "final", MODEL)  # this one may remove
    assert len(instances(pacs, "SEG")) == 1


def foreign_seg(pacs: Filled, folder: Path, mask: np.ndarray):
    """A clinician's SEG, by highdicom's own class."""
    files = sorted(Path(pacs.store.get_image_uri(pacs.image)).iterdir())
    images = sorted((dcmread(file) for file in files), key=lambda d: d.ImagePositionPatient[2])
    description = hd.seg.SegmentDescription(
        1, "nodule", hd.sr.CodedConcept("49755003", "SCT", "Abnormal"), hd.sr.CodedConcept("27925004", "SCT", "Nodule"),
        hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )  # fmt: skip
    seg = hd.seg.Segmentation(
        images, (mask.transpose(2, 1, 0) > 0).astype(np.uint8), hd.seg.SegmentationTypeValues.BINARY, [description],
        hd.UID(), 7, hd.UID(), 1, "Somebody", "Viewer", "1", "1",
    )  # fmt: skip
    seg.ContentDate, seg.ContentTime = datetime.datetime.now().strftime("%Y%m%d %H%M%S.%f").split()
    return seg


def test_what_clinicians_store_elsewhere_counts_and_is_never_removed(pacs: Filled, tmp_path: Path) -> None:
    pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, mask_array()), "final", MODEL)
    drawn = np.roll(mask_array() > 0, 2, axis=0).astype(np.uint8)
    seg = foreign_seg(pacs, tmp_path, drawn)
    client_of(pacs).store_instances([seg])
    pacs.store.refresh()
    assert same_mask(pacs.store.get_label_uri(pacs.image, "final"), drawn, pacs.affine_ras)
    with pytest.raises(InputError, match="another program"):
        pacs.store.remove_label(pacs.image, "final")
    pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, mask_array()), "final", MODEL)
    assert same_mask(pacs.store.get_label_uri(pacs.image, "final"), mask_array(), pacs.affine_ras)
    assert seg.SOPInstanceUID in instances(pacs, "SEG")
    assert len(instances(pacs, "SEG")) == 2


def test_a_seg_of_images_that_are_gone_is_named_and_hides_nothing(pacs: Filled, tmp_path: Path) -> None:
    files = write_stack(tmp_path / "other", seed=5)
    other = read_series(files)
    seg = seg_dataset(np.ones((SHAPE[2], SHAPE[1], SHAPE[0]), np.uint8), {"lesion": 1}, other, Source(), tag="final")
    seg.ReferencedSeriesSequence[0].SeriesInstanceUID = pacs.image
    client_of(pacs).store_instances([seg])
    with pytest.raises(InputError, match=r"not in series"):
        pacs.store.get_label_uri(pacs.image, "final")
    assert pacs.store.datalist() == []
    assert pacs.store.get_labeled_images() == [pacs.image]


def test_the_label_files_of_a_store_can_be_saved_again_as_seg(pacs: Filled, local_folder: Filled, tmp_path) -> None:
    """A DICOM SEG is a label too, for a PACS and for a local folder."""
    series = read_series(sorted(Path(local_folder.store.get_image_uri("patient")).iterdir()))
    frames = mask_array().transpose(2, 1, 0)
    seg = seg_dataset(frames, {"lesion": 1, "cyst": 2}, series, Source(author="anna"), tag="final")
    seg.save_as(tmp_path / "mask.dcm", write_like_original=False)
    for filled in (pacs, local_folder):
        filled.store.save_label(filled.image, str(tmp_path / "mask.dcm"), "final", {})
        assert same_mask(filled.store.get_label_uri(filled.image, "final"), mask_array(), filled.affine_ras)


def test_images_of_every_modality_are_listed_with_their_facts(pacs: Filled, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.dcm")
    uid = pacs.store.add_image("", str(clip), {"site": "x"})
    assert set(pacs.store.list_images()) == {pacs.image, uid}
    info = pacs.store.get_image_info(pacs.image)
    assert (info["patient"], info["Modality"], info["StudyDate"]) == ("P07", "MR", "20240301")
    assert info["SeriesDescription"] == "Phantom"
    assert pacs.store.get_image_info(uid)["site"] == "x"
    with pytest.raises(InputError):
        pacs.store.remove_image(uid)
    assert pacs.store.get_image(uid).read()[128:132] == b"DICM"


def test_a_clip_keeps_mask_and_boxes(pacs: Filled, tmp_path: Path) -> None:
    uid = pacs.store.add_image("", str(write_clip(tmp_path / "clip.dcm")), {})
    mask = np.zeros((40, 32, 5), np.uint8)
    mask[4:9, 6:8, 1:3] = 1
    series = read_series(sorted(Path(pacs.store.get_image_uri(uid)).iterdir()))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ series.image.affine_lps
    boxes = findings()
    boxes["findings"][0]["boxes"] = {"0": [4.0, 6.0, 9.0, 8.0], "3": [5.5, 6.0, 9.0, 8.25]}
    boxes["findings"][0]["frame_scores"] = {"0": 0.5, "3": 0.25}
    pacs.store.save_label(uid, str(write_mask(tmp_path / "m.nii.gz", mask, affine)), "final", {})
    pacs.store.save_label(uid, str(write_json(tmp_path / "b.json", boxes)), "boxes", {})
    store = pacs.reopen()
    assert np.array_equal(np.asarray(nib.load(store.get_label_uri(uid, "final")).dataobj), mask)
    assert json.loads(Path(store.get_label_uri(uid, "boxes")).read_text()) == boxes


def test_boxes_on_other_planes_than_the_stored_ones_come_back(tmp_path: Path) -> None:
    """An isotropic sagittal volume is looked at in axial frames."""
    frames = np.random.default_rng(1).integers(0, 900, (12, 16, 20)).astype(np.uint16)
    files = write_mr_series(
        frames, tmp_path / "pacs" / "iso", Subject("P1", datetime.date(2024, 1, 1)),
        spacing_mm=(1.0, 1.0, 1.0), origin_lps_mm=(0.0, 0.0, 0.0),
    )  # fmt: skip
    for file in files:
        dataset = dcmread(file)
        number = int(dataset.InstanceNumber) - 1
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [float(number), 0, 0]
        dataset.save_as(file)
    store = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "cache1", kind="embedded")
    [image] = store.list_images()
    boxes = findings()
    boxes["findings"][0]["boxes"] = {"14": [2.0, 3.0, 5.0, 9.0], "15": [2.0, 4.0, 6.0, 9.5]}
    boxes["findings"][0]["frame_scores"] = {"14": 0.5, "15": 0.25}
    store.save_label(image, str(write_json(tmp_path / "b.json", boxes)), "boxes", {})
    again = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "cache2", kind="embedded")
    assert json.loads(Path(again.get_label_uri(image, "boxes")).read_text()) == boxes


def test_a_failed_store_leaves_the_old_label(pacs: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, mask_array()), "final", MODEL)

    def fail(*_: object, **__: object) -> None:
        raise requests.ConnectionError("unplugged")

    monkeypatch.setattr(client_of(pacs), "store_instances", fail)
    with pytest.raises(requests.ConnectionError):
        pacs.store.save_label(pacs.image, file_of(pacs, tmp_path, mask_array() * 0), "final", MODEL)
    assert same_mask(pacs.reopen().get_label_uri(pacs.image, "final"), mask_array(), pacs.affine_ras)


def test_an_interrupted_download_leaves_nothing(dicomweb: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    client, store = client_of(dicomweb), dicomweb.store
    whole = client.iter_series

    def broken(*args: object, **kwargs: object):
        for number, dataset in enumerate(whole(*args, **kwargs)):
            if number == 3:
                raise requests.ConnectionError("unplugged")
            yield dataset

    monkeypatch.setattr(client, "iter_series", broken)
    with pytest.raises(requests.ConnectionError):
        store.get_image_uri(dicomweb.image)
    assert list((store._cache / "images").iterdir()) == []
    monkeypatch.undo()
    assert len(list(Path(store.get_image_uri(dicomweb.image)).iterdir())) == SHAPE[2]


def test_a_series_that_grows_is_fetched_again(pacs: Filled, tmp_path: Path) -> None:
    assert len(list(Path(pacs.store.get_image_uri(pacs.image)).iterdir())) == SHAPE[2]
    extra = dcmread(next(Path(pacs.store.get_image_uri(pacs.image)).iterdir()))
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = f"{pacs.image[:50]}.9"
    extra.ImagePositionPatient = [*extra.ImagePositionPatient[:2], 60.0]
    client_of(pacs).store_instances([extra])
    pacs.store.refresh()
    assert len(list(Path(pacs.store.get_image_uri(pacs.image)).iterdir())) == SHAPE[2] + 1


def test_a_pacs_that_is_down_is_a_request_exception(tmp_path: Path) -> None:
    store = open_store("http://127.0.0.1:9/dicom-web", StoreSettings(cache_folder=str(tmp_path)))
    assert store.status()["error"] == "the PACS does not answer"
    for call in (store.list_images, store.get_labeled_images, lambda: store.get_image_uri("1.2.3")):
        with pytest.raises(requests.RequestException):
            call()


def test_lists_ask_the_pacs_a_few_times_only(dicomweb: Filled, tmp_path: Path) -> None:
    dicomweb.store.save_label(dicomweb.image, file_of(dicomweb, tmp_path, mask_array()), "final", MODEL)
    dicomweb.store.status()
    asked: list[str] = []
    session = client_of(dicomweb)._session
    session.hooks["response"].append(lambda answer, *_, **__: asked.append(answer.url))
    for _ in range(10):
        dicomweb.store.status()
        dicomweb.store.get_unlabeled_images()
        dicomweb.store.datalist()
    assert len(asked) <= 3, asked


def test_many_threads_save_and_read(pacs: Filled, tmp_path: Path) -> None:
    masks = []
    for number in range(4):
        mask = np.zeros(SHAPE, np.uint8)
        mask[number] = 1
        masks.append(str(write_mask(tmp_path / f"m{number}.nii.gz", mask, pacs.affine_ras)))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda mask: pacs.store.save_label(pacs.image, mask, "final", MODEL), masks))
    assert len(instances(pacs, "SEG")) == 1
    assert np.asarray(nib.load(pacs.store.get_label_uri(pacs.image, "final")).dataobj).sum() == SHAPE[1] * SHAPE[2]


def test_the_series_of_a_label_depends_on_image_tag_and_model() -> None:
    uids = {
        label_series_uid(image, tag, model, "SR")
        for image in ("1.2", "1.3")
        for tag in ("boxes", "report")
        for model in ("", "a")
    }
    assert len(uids) == 8


def unpack(shared_data: Path, name: str, target: Path) -> None:
    """Copy a real data set, which may be packed."""
    folder, archive = shared_data / "dicom" / name, shared_data / "dicom" / f"{name}.tar.xz"
    if folder.is_dir():
        shutil.copytree(folder, target)
    elif archive.is_file():
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
    else:
        pytest.skip(f"no {name} in {shared_data / 'dicom'}")


def test_the_real_seg_of_a_liver_is_the_final_mask_of_its_ct(shared_data: Path, tmp_path: Path) -> None:
    unpack(shared_data, "ct_liver_seg", tmp_path / "pacs")
    store = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "cache", kind="embedded")
    [image] = store.get_labeled_images()
    mask = nib.load(store.get_label_uri(image, "final"))
    assert np.asarray(mask.dataobj).any()
    assert store.get_label_info(image, "final")["Modality"] == "SEG"


@pytest.mark.parametrize("name", ["ct_chest_lungcancer_A0002_B40f", "us_multiframe", "ct_head_ge_tilt"])
def test_real_images_keep_mask_and_boxes(name: str, shared_data: Path, tmp_path: Path) -> None:
    """The chest CT, a tilted head CT and an ultrasound clip."""
    unpack(shared_data, name, tmp_path / "pacs")
    store = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "cache", kind="embedded")
    for image in store.list_images()[:1]:
        series = read_series(sorted(Path(store.get_image_uri(image)).iterdir()))
        frames, _, height, width = series.image.frames.shape
        mask = np.zeros((width, height, frames), np.uint8)
        mask[5:50, 30:60, frames // 2 :] = 1
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ series.image.affine_lps
        boxes = findings()
        boxes["findings"][0]["boxes"] = {"0": [5.0, 6.0, 9.5, 12.25]}
        boxes["findings"][0]["frame_scores"] = {"0": 0.5}
        boxes["findings"][1]["boxes"] = {str(frames - 1): [15.0, 6.0, 19.5, 12.25]}
        store.save_label(image, str(write_mask(tmp_path / "m.nii.gz", mask, affine)), "final", {})
        store.save_label(image, str(write_json(tmp_path / "b.json", boxes)), "boxes", {})
        again = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "cache2", kind="embedded")
        assert same_mask(again.get_label_uri(image, "final"), mask, affine)
        assert json.loads(Path(again.get_label_uri(image, "boxes")).read_text()) == boxes


def test_boxes_of_a_dynamic_series_stay_on_their_volume(tmp_path: Path) -> None:
    write_dynamic(tmp_path / "pacs")
    store, image = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "c1", kind="embedded"), "1.2.840.99.1"
    path = str(write_json(tmp_path / "b.json", findings()))
    with pytest.raises(InputError, match="3 volumes: say"):
        store.save_label(image, path, "boxes", {})
    store.save_label(image, path, "boxes", {"params": {"time_point": 2}})
    series = read_series(sorted(Path(store.get_image_uri(image)).iterdir()))
    third = set(series.image.volumes[2].sop_instance_uids)
    document = dcmread(store._pacs.client.instances(*store._labels.current(image, "boxes").key)[0][1])
    referred = {str(e.value) for e in document.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    drawn = {t for finding in findings()["findings"] for t in finding["boxes"]}
    assert len(referred & third) >= len(drawn)
    again = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "c2", kind="embedded")
    saved = Path(again.get_label_uri(image, "boxes"))
    assert json.loads(saved.read_text()) == {**findings(), "time_point": 2}
    store.save_label(image, str(saved), "boxes", {})
    again.refresh()
    assert json.loads(Path(again.get_label_uri(image, "boxes")).read_text()) == {**findings(), "time_point": 2}
    two = {**findings(), "time_points": [0, 2]}
    store.save_label(image, str(write_json(tmp_path / "two.json", two)), "boxes", {})
    again.refresh()
    assert json.loads(Path(again.get_label_uri(image, "boxes")).read_text()) == two
    with pytest.raises(InputError, match="time_points are 2"):
        store.save_label(image, str(write_json(tmp_path / "b.json", {**two, "time_points": [1]})), "boxes", {})


def test_labels_of_a_part_refer_to_its_images(tmp_path: Path) -> None:
    for echo in (20, 90):
        for file in write_stack(tmp_path / "pacs" / f"echo{echo}", seed=echo):
            dataset = dcmread(file)
            dataset.SeriesInstanceUID, dataset.EchoTime = "1.2.840.99.2", echo
            dataset.save_as(file)
    store, image = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "c1", kind="embedded"), "1.2.840.99.2"
    path = str(write_mask(tmp_path / "m.nii.gz", mask_array(), stack_affine_ras()))
    with pytest.raises(InputError, match="EchoTime"):
        store.save_label(image, path, "final", {})
    store.save_label(image, path, "final", {"params": {"part": "EchoTime 90 ms"}})
    seg = dcmread(store._pacs.client.instances(*store._labels.current(image, "final").key)[0][1])
    referred = {str(e.value) for e in seg.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert referred == {str(dcmread(f).SOPInstanceUID) for f in (tmp_path / "pacs" / "echo90").iterdir()}
    assert same_mask(store.get_label_uri(image, "final"), mask_array(), stack_affine_ras())


def test_an_roi_of_slicer_on_uneven_slices_stays_on_its_slices(tmp_path: Path) -> None:
    volume, gaps = np.zeros((24, 20, 24), np.uint16), np.r_[np.arange(12) * 2.0, 24 + np.arange(12) * 6.0]
    files = write_mr_series(volume, tmp_path / "pacs", SUBJECT, spacing_mm=(1, 1, 2), origin_lps_mm=(0, 0, 0))
    for file, z in zip(files, gaps, strict=True):
        dataset = dcmread(file)
        dataset.ImagePositionPatient = [0, 0, z]
        dataset.save_as(file)
    store = DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / "c1", kind="embedded")
    image = series_uid(files)
    sequence, _ = oriented(read_series(files).image)
    boxes = {t: (5.0, 6.0, 11.0, 12.0) for t in (9, 10, 11)}
    box = sequence_box_lps(sequence, boxes)
    center = tuple((a + b) / 2 for a, b in zip(box[:3], box[3:], strict=True))
    write_markups([Finding(1, "lesion", 0.5, boxes, box, center)], tmp_path / "roi.json")
    store.save_label(image, str(tmp_path / "roi.json"), "final", {})
    (found,) = json.loads(Path(store.get_label_uri(image, "boxes")).read_text())["findings"]
    assert {int(t): tuple(v) for t, v in found["boxes"].items()} == boxes


def write_dynamic(folder: Path) -> None:
    """3 time points x 6 slices in one series."""
    for time in range(3):
        for file in write_stack(folder / f"t{time}", seed=time):
            dataset = dcmread(file)
            dataset.SeriesInstanceUID = "1.2.840.99.1"
            dataset.TemporalPositionIdentifier, dataset.NumberOfTemporalPositions = time + 1, 3
            dataset.AcquisitionTime = f"12000{time}"
            dataset.InstanceNumber = time * SHAPE[2] + dataset.InstanceNumber
            dataset.save_as(file)


def test_a_dynamic_series_keeps_masks_of_one_and_of_several_times(tmp_path: Path) -> None:
    write_dynamic(tmp_path / "pacs")

    def reopen(cache: str) -> DicomStore:
        return DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / cache, kind="embedded")

    store, image = reopen("c1"), "1.2.840.99.1"
    path = str(write_mask(tmp_path / "m.nii.gz", mask_array(), stack_affine_ras()))
    store.save_label(image, path, "final", {"time_point": 2})
    third = np.stack([mask_array() * 0, mask_array() * 0, mask_array()], -1)
    saved = reopen("c2").get_label_uri(image, "final")
    assert same_mask(saved, third, stack_affine_ras())
    store.save_label(image, saved, "final", {})  # what was read says which volume it is of
    assert same_mask(reopen("c4").get_label_uri(image, "final"), third, stack_affine_ras())
    seg = dcmread(store._pacs.client.instances(*store._labels.current(image, "final").key)[0][1])
    assert {int(g.FrameContentSequence[0].get("TemporalPositionIndex", 3)) for g in seg[0x52009230]} == {3}
    several = np.stack([mask_array(), mask_array() * 0, mask_array()[::-1]], -1)
    path = str(write_mask(tmp_path / "m.nii.gz", several, stack_affine_ras()))
    store.save_label(image, path, "final", {})
    assert same_mask(reopen("c3").get_label_uri(image, "final"), several, stack_affine_ras())
    with pytest.raises(InputError, match="3 volumes: say"):
        store.save_label(image, str(write_mask(tmp_path / "n.nii.gz", mask_array(), stack_affine_ras())), "final", {})
    with pytest.raises(InputError, match="time point 3"):
        store.save_label(image, str(write_mask(tmp_path / "m.nii.gz", mask_array(), stack_affine_ras())), "final",
                         {"time_point": 3})  # fmt: skip
