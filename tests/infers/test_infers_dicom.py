# SPDX-License-Identifier: Apache-2.0
"""A DICOM series and a NIfTI file of the same voxels give the same lesions; other kinds of series are told apart."""

import datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from lib.configs import load_config
from lib.dicom.write import Subject, write_mr_series, write_us_multiframe
from lib.infers.lesion import LesionDetection, LesionSegmentation
from lib.phantom import head_stack, write_dicom, write_nifti
from lib.types import Box, InputError
from lib.weights.versions import VersionStore

ROOT = Path(__file__).parents[2]
TASKS = {"segmentation": LesionSegmentation, "detection": LesionDetection}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    """A head with lesions, as ``head.nii.gz`` and as the series in ``head``; the files' names say nothing."""
    folder = tmp_path_factory.mktemp("phantom")
    stack = head_stack(12)
    write_nifti(stack, folder / "head.nii.gz")
    files = write_dicom(stack, folder / "head", patient_id="P1")
    for number, file in enumerate(np.random.default_rng(0).permutation(files)):
        Path(file).rename(folder / "head" / f"{number:03d}-image")
    return folder


def shipped(kind: str, folder: Path):
    config = load_config(ROOT / "configs" / f"mr_lesion_{kind}.yaml")
    return TASKS[kind](config, VersionStore(folder / "model", config, ROOT / "monailabel_app" / "pretrained"))


@pytest.mark.parametrize("kind", TASKS)
def test_a_series_gives_what_the_file_gives(phantom, tmp_path, kind):
    task = shipped(kind, tmp_path)
    _, of_file = task({"image": str(phantom / "head.nii.gz")})
    _, of_series = task({"image": str(phantom / "head")})
    assert of_series["findings"]
    for own, other in zip(of_series["findings"], of_file["findings"], strict=True):
        assert own["boxes"] == other["boxes"]
        assert own["score"] == pytest.approx(other["score"], abs=1e-3)
        assert own["box_lps_mm"] == pytest.approx(other["box_lps_mm"], abs=1e-3)
    assert of_series["presence"] == pytest.approx(of_file["presence"], abs=1e-3)
    assert (of_file["sop_instance_uids"], of_series["warnings"]) == ([], [])


def test_each_frame_names_its_image_and_where_it_lies(phantom, tmp_path):
    _, params = shipped("detection", tmp_path)({"image": str(phantom / "head")})
    by_uid = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, (phantom / "head").iterdir())}
    assert len(params["sop_instance_uids"]) == params["n_frames"] == len(by_uid)
    for frame, uid in enumerate(params["sop_instance_uids"]):
        first_pixel = np.array(params["affine_lps"]) @ [0, 0, frame, 1]
        assert first_pixel[:3] == pytest.approx([float(v) for v in by_uid[uid].ImagePositionPatient], abs=1e-3)
    assert params["frame_numbers"] == [1] * len(by_uid)


def test_the_mask_of_a_series_lies_in_its_own_geometry(phantom, tmp_path):
    task = shipped("segmentation", tmp_path)
    of_series, of_file = (task({"image": str(phantom / name)})[0] for name in ("head", "head.nii.gz"))
    own, other = (nib.as_closest_canonical(nib.load(file)) for file in (of_series, of_file))
    np.testing.assert_allclose(own.affine, other.affine, atol=1e-3)
    assert np.array_equal(np.asarray(own.dataobj), np.asarray(other.dataobj))


def test_another_modality_runs_with_a_warning(phantom, tmp_path):
    folder = tmp_path / "ct"
    folder.mkdir()
    for file in (phantom / "head").iterdir():
        dataset = dcmread(file)
        dataset.Modality = "CT"
        dataset.save_as(folder / file.name)
    _, params = shipped("detection", tmp_path)({"image": str(folder)})
    assert "the model was made for MR, this image is CT" in params["warnings"]


def test_what_the_reader_noticed_reaches_the_client(phantom, tmp_path):
    folder = tmp_path / "gap"
    folder.mkdir()
    for file in (phantom / "head").iterdir():
        dataset = dcmread(file)
        if dataset.InstanceNumber != 8:
            dataset.save_as(folder / file.name)
    _, params = shipped("detection", tmp_path)({"image": str(folder)})
    assert any(warning.startswith("Missing slices: 1") for warning in params["warnings"])


def test_a_clip_is_refused_by_a_model_of_stacks(tmp_path):
    clip = np.random.default_rng(0).integers(0, 255, (8, 40, 60)).astype(np.uint8)
    subject = Subject("P2", datetime.date(2026, 1, 1))
    write_us_multiframe(clip, tmp_path / "clip.dcm", subject, frame_time_ms=40, pixel_spacing_mm=(1, 1))
    with pytest.raises(InputError, match=r"clip\.dcm: a cine, but the model reads a stack"):
        shipped("segmentation", tmp_path)({"image": str(tmp_path / "clip.dcm")})


@pytest.mark.parametrize("time_point", [None, 5, -1, "late", 1.5])
def test_an_image_with_several_volumes_asks_which(phantom, tmp_path, time_point):
    volume = np.asarray(nib.load(phantom / "head.nii.gz").dataobj)
    image = nib.Nifti1Image(np.stack([volume] * 5, axis=-1), nib.load(phantom / "head.nii.gz").affine)
    nib.save(image, tmp_path / "dynamic.nii.gz")
    request = {"image": str(tmp_path / "dynamic.nii.gz"), "time_point": time_point}
    with pytest.raises(InputError, match=r"time_point|time point 5"):
        shipped("detection", tmp_path)(request)


def test_the_chosen_volume_is_the_one_that_is_read(phantom, tmp_path):
    file = nib.load(phantom / "head.nii.gz")
    volume = np.asarray(file.dataobj)
    nib.save(nib.Nifti1Image(np.stack([volume[::-1]] * 4 + [volume], axis=-1), file.affine), tmp_path / "d.nii.gz")
    task = shipped("detection", tmp_path)
    _, alone = task({"image": str(phantom / "head.nii.gz")})
    _, chosen = task({"image": str(tmp_path / "d.nii.gz"), "time_point": "4"})
    assert chosen["findings"] == alone["findings"]


def painted(mask: dict, finding: int | None = None) -> np.ndarray:
    """A mask by frames as pixels (T, H, W), of one finding or all."""
    pixels = np.zeros((len(mask["sop_instance_uids"]), mask["rows"] * mask["columns"]), np.uint8)
    for part in mask["parts"]:
        for frame, runs in part["frames"].items() if finding in (None, part["finding"]) else ():
            for start, length in zip(runs[::2], runs[1::2], strict=True):
                assert not pixels[int(frame), start : start + length].any()
                pixels[int(frame), start : start + length] = mask["labels"][part["label"]]
    return pixels.reshape(-1, mask["rows"], mask["columns"])


def tight_boxes(pixels: np.ndarray) -> dict[str, Box]:
    found = {}
    for t in np.flatnonzero(pixels.any(axis=(1, 2))):
        rows, columns = np.flatnonzero(pixels[t].any(axis=1)), np.flatnonzero(pixels[t].any(axis=0))
        found[str(t)] = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return found


def check_tracks(params: dict) -> None:
    """Every finding is in one track, which is on the frames of its findings."""
    by_id = {finding["id"]: finding for finding in params["findings"]}
    assert sorted(i for track in params["tracks"] for i in track["findings"]) == sorted(by_id)
    for track in params["tracks"]:
        frames = sorted({int(t) for i in track["findings"] for t in by_id[i]["boxes"]})
        assert (track["first_frame"], track["last_frame"], track["n_frames"]) == (frames[0], frames[-1], len(frames))
        assert {by_id[i]["track_id"] for i in track["findings"]} == {track["id"]}
        born = [event["frame"] for event in track["events"] if event["kind"] == "birth"]
        assert born == ([frames[0]] if frames[0] > 0 else [])


def test_a_mask_by_frames_has_the_voxels_of_each_finding(phantom, tmp_path):
    task = shipped("segmentation", tmp_path)
    file, params = task({"image": str(phantom / "head"), "frame_mask": True})
    _, plain = task({"image": str(phantom / "head")})
    mask = params.pop("mask")
    assert {key for key in params if params[key] != plain[key]} <= {"latencies"}
    assert [part["finding"] for part in mask["parts"]] == [finding["id"] for finding in params["findings"]]
    assert params["tracks"]
    check_tracks(params)
    for finding in params["findings"]:
        assert tight_boxes(painted(mask, finding["id"])) == finding["boxes"]
    assert mask["sop_instance_uids"] == params["sop_instance_uids"]
    labelmap = np.asarray(nib.load(file).dataobj).transpose(2, 1, 0)
    truth = head_stack(12).mask  # (T, H, W) as the DICOM files store it
    assert np.array_equal(painted(mask), labelmap)
    assert 2 * (painted(mask) & truth).sum() / (painted(mask).sum() + truth.sum()) > 0.6
    _, boxes = shipped("detection", tmp_path)({"image": str(phantom / "head"), "frame_mask": True})
    assert "mask" not in boxes


@pytest.mark.parametrize("kind", TASKS)
def test_the_pixels_are_those_that_the_files_store(phantom, tmp_path, kind):
    """The same head, stored upside down and from above: models see no difference, a viewer does."""
    folder = tmp_path / "turned"
    folder.mkdir()
    for file in (phantom / "head").iterdir():
        dataset = dcmread(file)
        dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[::-1, ::-1]).tobytes()
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        y_mm, x_mm = (float(v) for v in dataset.PixelSpacing)
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x + (dataset.Columns - 1) * x_mm, y + (dataset.Rows - 1) * y_mm, z]
        dataset.save_as(folder / file.name)
    task = shipped(kind, tmp_path)
    _, usual = task({"image": str(phantom / "head"), "frame_mask": True})
    _, turned = task({"image": str(folder), "frame_mask": True})
    assert turned["sop_instance_uids"] == usual["sop_instance_uids"]
    assert turned["tracks"] == usual["tracks"]
    assert turned["presence"] == pytest.approx(usual["presence"], abs=1e-3)
    height, width = head_stack(12).mask.shape[1:]
    for own, other in zip(turned["findings"], usual["findings"], strict=True):
        rotated = {
            t: [width - x1, height - y1, width - x0, height - y0] for t, (x0, y0, x1, y1) in other["boxes"].items()
        }
        assert own["boxes"].keys() == rotated.keys()
        for t, box in rotated.items():
            assert own["boxes"][t] == pytest.approx(box, abs=0.02)
        assert own["frame_scores"].keys() == other["frame_scores"].keys()
        assert own["center_lps_mm"] == pytest.approx(other["center_lps_mm"], abs=0.01)
    if kind == "segmentation":
        assert np.array_equal(painted(turned["mask"]), painted(usual["mask"])[:, ::-1, ::-1])
        for finding in turned["findings"]:
            assert tight_boxes(painted(turned["mask"], finding["id"])) == finding["boxes"]


def test_a_volume_that_models_cut_across_is_shown_as_stored(tmp_path):
    """An isotropic sagittal head: no frame that the model sees is one of the stored images."""
    stack = head_stack(12, n_frames=40, size=64, spacing_mm=(4.0, 4.0, 4.0), n_lesions=1)
    subject = Subject("P3", datetime.date(2026, 1, 1))
    sagittal = np.ascontiguousarray(stack.image.transpose(2, 0, 1)[:, ::-1])  # (x, -z, y): slices to the left
    files = write_mr_series(sagittal, tmp_path / "head", subject, spacing_mm=(4, 4, 4), origin_lps_mm=(0, 0, 0))
    for number, file in enumerate(files):
        dataset = dcmread(file)
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [4.0 * number, 0, 0]
        dataset.save_as(file)
    task = shipped("segmentation", tmp_path)
    request = {"image": str(tmp_path / "head"), "mask_threshold": 0.05, "score_threshold": 0.0}
    file, params = task({**request, "frame_mask": "true"})
    mask = params["mask"]
    assert params["findings"]
    assert (mask["rows"], mask["columns"], params["n_frames"]) == (40, 64, 64)
    assert mask["sop_instance_uids"] == params["sop_instance_uids"]
    assert mask["sop_instance_uids"] == [str(dcmread(f).SOPInstanceUID) for f in reversed(files)]  # along the normal
    assert params["presence"] is None
    check_tracks(params)
    assert np.array_equal(painted(mask), np.asarray(nib.load(file).dataobj).transpose(2, 1, 0))
    for finding in params["findings"]:
        for t, (x0, y0, x1, y1) in tight_boxes(painted(mask, finding["id"])).items():
            outline = finding["boxes"][t]
            assert outline[0] <= x0 < x1 <= outline[2]
            assert outline[1] <= y0 < y1 <= outline[3]
    assert task(request)[1]["sop_instance_uids"] == []


@pytest.mark.parametrize("value", ["maybe", 3, [1]])
def test_frame_mask_is_a_yes_or_no(phantom, tmp_path, value):
    with pytest.raises(InputError, match="frame_mask"):
        shipped("segmentation", tmp_path)({"image": str(phantom / "head"), "frame_mask": value})
