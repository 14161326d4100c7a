# SPDX-License-Identifier: Apache-2.0
import json
import logging
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.utils.others.generic import get_mime_type
from torch import nn
from torch.nn.functional import avg_pool2d

from lib.configs import load_config, override
from lib.infers.lesion import LesionDetection, LesionSegmentation
from lib.infers.requests import requested_device
from lib.infers.writers import volume_affine_ras, write_labelmap
from lib.networks.heads import BoxMaps
from lib.networks.lesion_net import LesionOutput
from lib.registry import NETWORKS, build_network
from lib.transforms.geometry import VolumeGeometry
from lib.types import InputError
from lib.weights.files import file_sha256, save_weights
from lib.weights.versions import VersionStore

CONFIGS = Path(__file__).parents[2] / "configs"
TASKS = {"segmentation": LesionSegmentation, "detection": LesionDetection}
BLOB_RADIUS_MM = 12.0


class BrightNet(nn.Module):
    """Calls a lesion what is bright: a model whose right answer is known, for images of any size."""

    def __init__(self, config, n_classes):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))
        self.size_divisor = 4
        self.box_head = nn.Module()
        self.box_head.stride = 4
        self.size_px = 2 * BLOB_RADIUS_MM / 1.5

    def forward(self, frames):
        images = frames[0]
        logits = self.gain * (images - 2.5)
        cells = avg_pool2d(avg_pool2d(images, 4), 5, stride=1, padding=2)
        flat = torch.ones_like(cells).expand(-1, 2, -1, -1)
        log_size = flat * float(np.log(self.size_px / 4))
        boxes = BoxMaps(4 * (cells - 1.5)[None], log_size[None], flat[None] / 2, 4)
        return LesionOutput(logits[None], boxes, None, None, None)


class OutOfMemoryOnceNet(BrightNet):
    """Behaves at the first frame it sees as a GPU without memory to spare."""

    calls = 0

    def forward(self, frames):
        type(self).calls += 1
        if type(self).calls == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(frames)


@pytest.fixture(autouse=True)
def toy_networks_and_result_folder(monkeypatch, tmp_path):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "results"))
    monkeypatch.setitem(NETWORKS, "bright", BrightNet)
    monkeypatch.setitem(NETWORKS, "oom_once", OutOfMemoryOnceNet)


def small_config(task, network="bright", **changes):
    config = load_config(CONFIGS / f"mr_lesion_{task}.yaml")
    small = {"network.name": network, "network.channels": [8, 16, 24], "pretrained": "w.safetensors"}
    return override(config, {**small, **changes})


def make_task(folder, task="segmentation", network="bright", seed=0, **changes):
    """The task, its version store and weights that are shipped with it."""
    config = small_config(task, network, **changes)
    torch.manual_seed(seed)
    save_weights(build_network(config).state_dict(), folder / "shipped" / "w.safetensors", {})
    store = VersionStore(folder / "model", config, folder / "shipped")
    return TASKS[task](config, store), store


def affine_of(directions, spacing, degrees=0.0):
    """RAS affine of an array whose axes point to ``directions`` ("L", "P", "S" ...), tilted by an angle."""
    axes = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    rotation = np.stack([axes[d] for d in directions], axis=1).astype(float)
    a = np.deg2rad(degrees)
    tilt = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ tilt @ rotation * np.asarray(spacing)
    affine[:3, 3] = (-31.25, 17.5, 40.75)
    return affine


def bright_ball(shape, spacing, where=(0.4, 0.55, 0.5)):
    """A grey body with a bright ball off its centre: (image, ball), both (X, Y, Z)."""
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    rng = np.random.default_rng(1)
    body = sum(((g / max(n - 1, 1) - 0.5) / 0.46) ** 2 for g, n in list(zip(grid, shape, strict=True))[:3] if n > 1) < 1
    center = [round(w * (n - 1)) for w, n in zip(where, shape, strict=True)]
    ball = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, spacing, strict=True)) <= BLOB_RADIUS_MM**2
    image = body * 100.0 + rng.normal(0, 4, shape) * body
    image[ball] = 400
    return image.astype(np.float32), ball


def save_ball(path, directions="LPS", shape=(120, 110, 14), spacing=(1.4, 1.4, 5.0), degrees=0.0):
    affine = affine_of(directions, spacing, degrees)
    image, ball = bright_ball(shape, spacing)
    nib.save(nib.Nifti1Image(image, affine), path)
    return ball, affine


def dice(a, b):
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


GEOMETRIES = {
    "axial, left-posterior": ("LPS", (120, 110, 14), (1.4, 1.4, 5.0), 0),
    "axial, right-anterior, top first": ("RAI", (120, 110, 14), (1.4, 1.4, 5.0), 0),
    "sagittal": ("PIR", (120, 110, 14), (1.4, 1.4, 5.0), 0),
    "sagittal, slices along the first axis": ("RAS", (14, 120, 110), (5.0, 1.4, 1.4), 0),
    "coronal, slices along the second axis": ("LAS", (120, 14, 110), (1.4, 5.0, 1.4), 0),
    "oblique": ("LPS", (120, 110, 14), (1.4, 1.4, 5.0), 17),
    "odd sizes, other pixels": ("LPS", (173, 201, 11), (0.9, 1.1, 6.5), 0),
    "isotropic": ("RSA", (96, 80, 88), (1.6, 1.6, 1.6), 5),
    "single slice": ("LPS", (120, 110, 1), (1.4, 1.4, 5.0), 0),
    "frames of different width and height": ("SPL", (140, 60, 16), (1.5, 1.9, 6.0), 0),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_labelmaps_lie_on_the_original_voxels(name, tmp_path):
    directions, shape, spacing, degrees = GEOMETRIES[name]
    ball, affine = save_ball(tmp_path / "image.nii.gz", directions, shape, spacing, degrees)
    task, _ = make_task(tmp_path)
    file, params = task({"image": str(tmp_path / "image.nii.gz")})
    result = nib.load(file)
    assert file.endswith(".nii.gz")
    assert result.shape == shape
    assert result.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(result.affine, nib.load(tmp_path / "image.nii.gz").affine)
    assert dice(np.asarray(result.dataobj) > 0, ball) > 0.9
    (finding,) = params["findings"]
    center = affine[:3, :3] @ np.argwhere(ball).mean(axis=0) + affine[:3, 3]
    assert finding["center_lps_mm"] == pytest.approx(np.array([-1, -1, 1]) * center, abs=1.0)
    assert params["n_frames"] == len(params["presence"])


@pytest.mark.parametrize("name", GEOMETRIES)
def test_nothing_is_lost_between_frames_and_file(name, tmp_path):
    directions, shape, spacing, degrees = GEOMETRIES[name]
    affine = affine_of(directions, spacing, degrees)
    volume = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    geometry = VolumeGeometry.from_affine(affine, shape)
    np.testing.assert_allclose(volume_affine_ras(geometry), affine, atol=1e-9)
    for extension in (".nii.gz", ".nii", ".nrrd", ".seg.nrrd"):
        path = tmp_path / f"labels{extension}"
        write_labelmap(geometry.to_frames(volume), geometry, {"a": 1, "b": 2}, path)
        read = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read).T, volume)
        assert read.GetSpacing() == pytest.approx(spacing, abs=1e-5)
        assert read.TransformIndexToPhysicalPoint((0, 0, 0)) == pytest.approx((31.25, -17.5, 40.75), abs=1e-4)
        corner = affine @ [*(n - 1 for n in shape), 1]
        last = read.TransformIndexToPhysicalPoint(tuple(n - 1 for n in shape))
        assert last == pytest.approx((-corner[0], -corner[1], corner[2]), abs=1e-3)


@pytest.mark.parametrize("extension", [".nrrd", ".mha"])
def test_other_image_formats_keep_their_geometry_too(extension, tmp_path):
    ball, _ = save_ball(tmp_path / "image.nii.gz", degrees=11)
    path = str(tmp_path / f"image{extension}")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "image.nii.gz")), path)
    task, _ = make_task(tmp_path)
    file, _ = task({"image": path, "result_extension": ".nrrd"})
    image, result = sitk.ReadImage(path), sitk.ReadImage(file)
    assert result.GetSize() == image.GetSize()
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(result, name)() == pytest.approx(getattr(image, name)(), abs=1e-5)
    assert dice(sitk.GetArrayFromImage(result).T > 0, ball) > 0.9


def test_long_sequences_are_read_in_windows(tmp_path):
    ball, _ = save_ball(tmp_path / "image.nii.gz", shape=(61, 53, 300), spacing=(2.0, 2.0, 3.0))
    task, _ = make_task(tmp_path)
    file, params = task({"image": str(tmp_path / "image.nii.gz")})
    assert params["n_frames"] == 300
    assert dice(np.asarray(nib.load(file).dataobj) > 0, ball) > 0.9


def test_nrrd_carries_the_names_as_slicer_writes_them(tmp_path):
    save_ball(tmp_path / "image.nii.gz")
    task, _ = make_task(tmp_path)
    request = {"image": str(tmp_path / "image.nii.gz"), "result_extension": ".nrrd", "result_dtype": "uint8"}
    file, params = task(request)
    _, header = nrrd.read(file)
    assert header["Segment0_Name"] == "lesion"
    assert header["Segment0_LabelValue"] == "1"
    assert header["Segment0_Layer"] == "0"
    assert header["Segment0_Extent"] == "0 119 0 109 0 13"
    assert len(header["Segment0_Color"].split()) == 3
    assert header["encoding"] == "raw"
    assert header["type"] in ("uint8", "unsigned char")
    assert params["label_names"] == {"lesion": 1}
    _, header = nrrd.read(task({**request, "result_compress": "true", "result_dtype": "int16"})[0])
    assert (header["encoding"], header["type"]) == ("gzip", "int16")


def test_nifti_carries_the_names_in_its_header(tmp_path):
    save_ball(tmp_path / "image.nii.gz")
    file, _ = make_task(tmp_path)[0]({"image": str(tmp_path / "image.nii.gz")})
    (extension,) = nib.load(file).header.extensions
    assert json.loads(extension.get_content()) == {"label_names": {"lesion": 1}}


def test_params_of_a_segmentation(tmp_path):
    save_ball(tmp_path / "image.nii.gz")
    task, store = make_task(tmp_path, network="lesion_net")
    file, params = task({"image": str(tmp_path / "image.nii.gz"), "mask_threshold": 0, "score_threshold": "0"})
    assert json.loads(json.dumps(params)) == params
    assert set(params) == {
        *("label_names", "findings", "tracks", "presence", "attention", "study", "model", "version", "weights_sha256"),
        *("spacing_mm", "n_frames", "latencies", "kind", "positions", "position_unit", "affine_lps"),
        *("sop_instance_uids", "frame_numbers", "time_point", "part", "warnings", "modalities", "modality_weights"),
    }
    assert params["modalities"] == [{"channel": "flair", "present": True, "weight": None}]
    assert (params["kind"], params["position_unit"], params["warnings"]) == ("stack", "mm", [])
    assert set(params["latencies"]) == {"read", "infer", "post", "write", "total"}
    assert params["latencies"]["total"] >= sum(params["latencies"].values()) / 2 - 0.001
    assert (params["model"], params["version"]) == ("mr_lesion_segmentation", "pretrained")
    assert params["weights_sha256"] == file_sha256(store.current()[0])
    assert params["spacing_mm"] == pytest.approx([1.4, 1.4, 5.0])
    assert len(params["presence"]) == len(params["attention"]) == 14
    assert sum(params["attention"]) == pytest.approx(1, abs=0.01)
    assert set(params["study"]) == {"lesion"}
    (finding,) = params["findings"]  # with a mask threshold of 0 everything is one lesion
    (track,) = params["tracks"]
    assert (track["id"], track["findings"], track["first_frame"], track["last_frame"]) == (1, [1], 0, 13)
    assert finding["track_id"] == 1
    assert set(finding["measurements"]) == {"long_axis", "short_axis", "volume", "mean_intensity"}
    assert finding["source"]["version"] == "pretrained"
    assert (np.asarray(nib.load(file).dataobj) > 0).mean() > 0.3


def test_a_network_without_memory_has_no_attention_and_no_study(tmp_path):
    save_ball(tmp_path / "image.nii.gz")
    _, params = make_task(tmp_path)[0]({"image": str(tmp_path / "image.nii.gz")})
    assert params["attention"] is None
    assert params["study"] == {}
    assert max(params["presence"]) > 0.9


def check_markups(document):
    """What markups-schema-v1.0.3.json asks of an ROI, and what MONAI Label's Slicer module relies on."""
    assert set(document) == {"@schema", "markups"}
    assert document["@schema"].endswith("/markups-schema-v1.0.3.json#")
    for markup in document["markups"]:
        assert markup["type"] == "ROI"
        assert markup["roiType"] == "Box"
        assert markup["coordinateSystem"] == "LPS"
        assert markup["coordinateUnits"] == "mm"
        assert np.shape(markup["center"]) == np.shape(markup["size"]) == (3,)
        assert min(markup["size"]) > 0
        assert np.linalg.det(np.reshape(markup["orientation"], (3, 3))) == pytest.approx(1)
        (point,) = markup["controlPoints"]
        assert point["position"] == markup["center"]
        assert point["positionStatus"] == "defined"
        assert point["label"] == markup["name"]
        assert all(isinstance(point[key], bool) for key in ("selected", "locked", "visibility"))


def test_boxes_are_slicer_rois_with_label_and_score(tmp_path):
    ball, affine = save_ball(tmp_path / "image.nii.gz")
    task, _ = make_task(tmp_path, "detection")
    file, params = task({"image": str(tmp_path / "image.nii.gz"), "result_extension": ".nrrd"})
    assert file.endswith(".json")
    assert get_mime_type(file) == "application/json"
    document = json.loads(Path(file).read_text())
    check_markups(document)
    (roi,) = document["markups"]
    (finding,) = params["findings"]
    assert roi["name"] == f"lesion 1 {finding['score']:.2f}"
    center = affine[:3, :3] @ np.argwhere(ball).mean(axis=0) + affine[:3, 3]
    assert roi["center"] == pytest.approx([-center[0], -center[1], center[2]], abs=4)
    assert roi["size"][:2] == pytest.approx([2 * BLOB_RADIUS_MM] * 2, abs=6)
    assert set(finding["measurements"]) == {"width", "height", "depth"}


@pytest.mark.parametrize("task", TASKS)
def test_result_files_lie_where_no_client_saves_its_own(task, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((40, 40, 5), np.int16), affine_of("LPS", (1.4, 1.4, 5.0))), tmp_path / "i.nii.gz")
    file, _ = make_task(tmp_path, task)[0]({"image": str(tmp_path / "i.nii.gz")})
    assert Path(file).parent != Path(tempfile.gettempdir())


@pytest.mark.parametrize("task", TASKS)
def test_an_image_without_a_lesion_gives_an_empty_result(task, tmp_path):
    affine = affine_of("LPS", (1.4, 1.4, 5.0))
    nib.save(nib.Nifti1Image(np.zeros((64, 60, 9), np.int16), affine), tmp_path / "image.nii.gz")
    file, params = make_task(tmp_path, task)[0]({"image": str(tmp_path / "image.nii.gz")})
    assert params["findings"] == []
    if task == "detection":
        document = json.loads(Path(file).read_text())
        (note,) = document["markups"]  # Slicer refuses an empty list
        assert (note["name"], note["controlPoints"]) == ("no lesion found", [])
    else:
        result = nib.load(file)
        assert result.shape == (64, 60, 9)
        assert not np.asarray(result.dataobj).any()


@pytest.mark.parametrize("task", TASKS)
def test_findings_can_be_the_result_file(task, tmp_path):
    save_ball(tmp_path / "image.nii.gz")
    request = {"image": str(tmp_path / "image.nii.gz"), "result_extension": ".findings.json"}
    file, params = make_task(tmp_path, task)[0](request)
    assert json.loads(Path(file).read_text()) == {"findings": params["findings"]}
    assert len(params["findings"]) == 1


def test_thresholds_of_the_request_count(tmp_path):
    save_ball(tmp_path / "image.nii.gz")
    task, _ = make_task(tmp_path)
    request = {"image": str(tmp_path / "image.nii.gz"), "result_write_to_file": False}
    file, params = task(request)
    assert file is None
    (finding,) = params["findings"]
    volume_ml = finding["measurements"]["volume"]["value"]
    assert task({**request, "min_volume_ml": volume_ml + 0.1})[1]["findings"] == []
    assert len(task({**request, "min_volume_ml": str(volume_ml - 0.1)})[1]["findings"]) == 1
    assert len(task({**request, "score_threshold": finding["score"] - 0.01})[1]["findings"]) == 1
    lower = task({**request, "mask_threshold": 1e-4})[1]["findings"][0]
    assert lower["measurements"]["volume"]["value"] > volume_ml


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("mask_threshold", v) for v in ("high", 1.5, -0.1, float("nan"), True, [0.5])),
        *(("min_volume_ml", v) for v in (-1, float("inf"))),
        ("result_extension", ".exe"),
        ("result_extension", "/../../x.nrrd"),
        ("result_dtype", "object"),
        ("result_compress", "perhaps"),
        *(("device", v) for v in ("cuda:99" if torch.cuda.is_available() else "meta", "quantum", 3, "mps")),
        *(("image", v) for v in (None, "", 7)),
    ],
)
def test_what_cannot_be_used_is_named(key, value, tmp_path):
    save_ball(tmp_path / "image.nii.gz", shape=(40, 40, 3))
    task, _ = make_task(tmp_path)
    request = {"image": str(tmp_path / "image.nii.gz"), "result_extension": ".nrrd", key: value}
    with pytest.raises(InputError, match=key):
        task(request)


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.nii\.gz"):
        make_task(tmp_path)[0]({"image": str(tmp_path / "broken.nii.gz")})


@pytest.mark.parametrize("device", [None, "", "cpu", ["cpu"]])
def test_devices_a_request_may_name(device):
    assert requested_device({"device": device}).type in ("cpu", "cuda")


def test_without_weights_the_model_is_not_served(tmp_path):
    config = small_config("segmentation")
    store = VersionStore(tmp_path / "model", config, tmp_path / "nowhere")
    task = LesionSegmentation(config, store)
    assert not task.is_valid()
    save_ball(tmp_path / "image.nii.gz", shape=(40, 40, 3))
    with pytest.raises(InputError, match="no weights yet"):
        task({"image": str(tmp_path / "image.nii.gz")})
    store.add(build_network(config).state_dict(), publish=True, reason="first", parent="", details={})
    assert task.is_valid()
    assert task({"image": str(tmp_path / "image.nii.gz")})[1]["version"] == "v0001"


def test_lost_weights_take_the_model_out_of_service_and_say_so(tmp_path, caplog):
    task, store = make_task(tmp_path)
    store.add(build_network(small_config("segmentation")).state_dict(), publish=True, reason="", parent="", details={})
    store.current()[0].unlink()
    assert not task.is_valid()
    assert "rollback mr_lesion_segmentation" in caplog.text


def test_a_new_version_serves_the_next_request(tmp_path):
    save_ball(tmp_path / "image.nii.gz")
    task, store = make_task(tmp_path, network="lesion_net")
    request = {"image": str(tmp_path / "image.nii.gz"), "result_write_to_file": False}
    before = task(request)[1]
    under_way = task._predictors.get(torch.device("cpu"), store.current()[0])
    torch.manual_seed(5)
    other = build_network(small_config("segmentation", "lesion_net")).state_dict()
    record = store.add(other, publish=True, reason="better", parent="pretrained", details={})
    after = task(request)[1]
    assert (before["version"], after["version"]) == ("pretrained", "v0001")
    assert after["weights_sha256"] == record.sha256 != before["weights_sha256"]
    assert after["presence"] != before["presence"]
    assert task.info()["version"] == "v0001"
    assert task._predictors.get(torch.device("cpu"), store.current()[0]) is not under_way
    store.rollback()
    assert task(request)[1]["presence"] == before["presence"]


def test_weights_replaced_in_place_are_noticed(tmp_path):
    task, store = make_task(tmp_path, network="lesion_net")
    path = store.current()[0]
    first = task._predictors.get(torch.device("cpu"), path)
    assert task._predictors.get(torch.device("cpu"), path) is first
    torch.manual_seed(5)
    save_weights(build_network(small_config("segmentation", "lesion_net")).state_dict(), path, {})
    assert task._predictors.get(torch.device("cpu"), path) is not first


def test_requests_at_the_same_time_give_what_each_gives_alone(tmp_path):
    images = [tmp_path / f"image{i}.nii.gz" for i in range(2)]
    save_ball(images[0], shape=(90, 80, 12))
    save_ball(images[1], "PIR", shape=(70, 96, 9))
    task, _ = make_task(tmp_path, network="lesion_net")
    alone = [task({"image": str(image), "mask_threshold": 0.0})[1] for image in images]
    task, _ = make_task(tmp_path, network="lesion_net")  # nothing loaded yet
    barrier = threading.Barrier(4)

    def run(i):
        barrier.wait()
        return task({"image": str(images[i % 2]), "mask_threshold": 0.0})

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    for i, (_, params) in enumerate(results):
        assert params["presence"] == pytest.approx(alone[i % 2]["presence"], abs=1e-3)
        assert params["findings"] == alone[i % 2]["findings"]
    assert len({file for file, _ in results}) == 4


def test_out_of_gpu_memory_falls_back_once(tmp_path, caplog):
    save_ball(tmp_path / "image.nii.gz")
    OutOfMemoryOnceNet.calls = 0
    task, _ = make_task(tmp_path, network="oom_once")
    _, params = task({"image": str(tmp_path / "image.nii.gz")})
    assert len(params["findings"]) == 1
    assert "out of GPU memory" in caplog.text


def test_the_request_is_left_as_it_was_and_may_keep_out_of_the_log(tmp_path, caplog):
    save_ball(tmp_path / "image.nii.gz", shape=(40, 40, 3))
    task, _ = make_task(tmp_path)
    request = {"image": str(tmp_path / "image.nii.gz"), "logging": "WARNING", "model": "m", "unknown": [1]}
    copy = {**request}
    with caplog.at_level(logging.INFO, "lib.infers.lesion"):
        task(request)
        assert "latencies" not in caplog.text
        task({**request, "logging": "INFO"})
    assert "latencies" in caplog.text
    assert request == copy


def test_no_file_is_left_when_writing_fails(tmp_path):
    save_ball(tmp_path / "image.nii.gz", shape=(40, 40, 3))
    task, _ = make_task(tmp_path)
    with pytest.raises(InputError):
        task({"image": str(tmp_path / "image.nii.gz"), "result_dtype": "complex64"})
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("name", TASKS)
def test_info_says_what_clients_need(name, tmp_path):
    task, _ = make_task(tmp_path, name)
    info = task.info()
    assert json.loads(json.dumps(info)) == {
        "type": name,
        "labels": {"lesion": 1},
        "dimension": 3,
        "description": task.description,
        "config": {},
        "version": "pretrained",
        "input": {"kind": "stack", "channels": ["flair"], "modalities": ["MR"], "required": []},
        "streams": False,
    }
    assert info["type"] in [kind.value for kind in InferType]


def test_the_detection_model_differs_from_the_segmentation_model_in_its_task_and_thresholds_only():
    configs = [load_config(CONFIGS / f"mr_lesion_{task}.yaml") for task in TASKS]
    same = {"task": "detection", "name": "", "description": "", "inference": configs[0].inference}
    blank = [replace(config, **same) for config in configs]
    assert blank[0] == blank[1]
