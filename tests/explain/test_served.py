# SPDX-License-Identifier: Apache-2.0
"""Explanations in the answers of the server's infer tasks."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydicom import dcmread

from lib.explain import MOST_FINDINGS
from lib.infers.classification import Classification
from lib.phantom import head_stack, write_dicom, write_nifti
from lib.registry import build_network
from lib.types import InputError
from lib.weights.files import save_weights
from lib.weights.versions import VersionStore

from .conftest import SMALL, decoded, model


def request(path, **params: object) -> dict:
    return {"image": str(path), "device": "cpu", "result_write_to_file": False, "mask_threshold": 0.0, **params}


def test_an_answer_says_why_when_asked(task, tmp_path):
    image = tmp_path / "image.nii.gz"
    write_nifti(head_stack(700, n_frames=3, size=64, spacing_mm=(3.0, 3.0, 6.0)), image)
    assert "explain" not in task(request(image))[1]
    params = task(request(image, explain=True))[1]
    why = json.loads(json.dumps(params["explain"]))
    assert [one["finding"] for one in why["maps"]] == [None, *(f["id"] for f in params["findings"][:MOST_FINDINGS])]
    assert len(why["maps"][0]["frames"]) == params["n_frames"] == len(params["attention"])
    assert sum(params["attention"]) == pytest.approx(1, abs=1e-3)
    assert params["latencies"]["explain"] > 0
    assert decoded(why).max() == 255
    with pytest.raises(InputError, match="'explain' is 'maybe'"):
        task(request(image, explain="maybe"))


def test_an_answer_for_a_viewer_is_on_the_stored_frames(task, tmp_path):
    """A head stored upside down and from above: models see no difference, a viewer does."""
    stack = head_stack(700, n_frames=4, size=64, spacing_mm=(3.0, 3.0, 6.0))
    (tmp_path / "turned").mkdir()
    for file in write_dicom(stack, tmp_path / "head", patient_id="P"):
        dataset = dcmread(file)
        dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[::-1, ::-1]).tobytes()
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x + 63 * 3, y + 63 * 3, z]
        dataset.save_as(tmp_path / "turned" / file.name)
    usual = task(request(tmp_path / "head", explain=True, frame_mask=True))[1]["explain"]
    turned = task(request(tmp_path / "turned", explain=True, frame_mask=True))[1]["explain"]
    assert len(usual["maps"]) == len(turned["maps"])
    for own, other in zip(turned["maps"], usual["maps"], strict=True):
        assert own["finding"] == other["finding"]
        assert own["peak"]["frame"] == other["peak"]["frame"]
        cell_px = (usual["extent"][2] - usual["extent"][0]) / usual["columns"]
        assert abs(own["peak"]["x"] - (64 - other["peak"]["x"])) <= cell_px
        assert abs(own["peak"]["y"] - (64 - other["peak"]["y"])) <= cell_px


def test_an_answer_of_a_classification_says_why(tmp_path):
    config = replace(model(replace(SMALL, name="clip_net"), task="classification"), pretrained="w.safetensors")
    torch.manual_seed(0)
    save_weights(build_network(config).state_dict(), tmp_path / "shipped" / "w.safetensors", {})
    task = Classification(config, VersionStore(tmp_path / "model", config, tmp_path / "shipped"))
    image = tmp_path / "image.nii.gz"
    write_nifti(head_stack(700, n_frames=3, size=64, spacing_mm=(3.0, 3.0, 6.0)), image)
    assert "explain" not in task(request(image))[1]
    params = task(request(image, explain=True))[1]
    (heatmap,) = params["explain"]["maps"]
    assert heatmap["label"] == max(params["study"], key=params["study"].get)
    assert len(heatmap["frames"]) == 3
