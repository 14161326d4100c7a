# SPDX-License-Identifier: Apache-2.0
"""The command `lesionloop explain`: picture, volumes, JSON and what it refuses."""

import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lib.configs import (
    FusionConfig,
)
from lib.phantom import head_stack, write_nifti
from lib.registry import build_network
from lib.types import InputError
from lib.weights.files import save_weights
from monailabel_app.cli import app
from monailabel_app.explain import Wanted, run_explain
from monailabel_app.explain_pictures import MOST_FRAMES, frames_with_evidence
from monailabel_app.roots import PRETRAINED_DIR

from .conftest import SMALL, model


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_the_command_writes_picture_volumes_and_json(tmp_path, task):
    image = tmp_path / "image.nii.gz"
    write_nifti(head_stack(700, n_frames=6, size=96, spacing_mm=(2.0, 2.0, 6.0)), image)
    weights = PRETRAINED_DIR / "mr_lesion.safetensors"
    options = [
        "--weights",
        weights,
        "--output",
        tmp_path / "out",
        "--volumes",
        ".nii.gz",
        "--set",
        "inference.flip_tta=false",
    ]
    result = run("explain", f"mr_lesion_{task}", image, *options)
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert sum(data["attention"]) == pytest.approx(1, abs=1e-3)
    assert len(data["presence"]) == 6
    assert data["explain"]["method"] == "hirescam"
    names = {
        f"heatmap-{'study' if m['finding'] is None else 'lesion-' + str(m['finding'])}.nii.gz"
        for m in data["explain"]["maps"]
    }
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"explanation.png", "explanation.json", *names}
    for name in names:
        heat = nib.load(tmp_path / "out" / name)
        np.testing.assert_allclose(heat.affine, nib.load(image).affine, atol=1e-4)
        assert heat.shape == nib.load(image).shape
    picture = np.asarray(Image.open(tmp_path / "out" / "explanation.png").convert("RGB")).astype(int)
    assert min(picture.shape[:2]) > 300
    assert (np.ptp(picture, axis=2) > 60).mean() > 0.001  # there is colour in it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mr_lesion_segmentation", "none.nii.gz"], r"none\.nii\.gz"),
        (["mr_lesion_segmentation", "IMAGE", "--volumes", ".png"], r"--volumes \.png: known are \.nrrd, \.nii\.gz"),
        (["mr_lesion_segmentation", "IMAGE", "--method", "lime"], "no explanation method 'lime'"),
        (["report_brain_mr", "IMAGE"], "writes reports: each of its sentences"),
        (["mr_three_channel_segmentation", "FLAIR"], "not made for studies without t1"),
        (["nonsense", "IMAGE"], "no model 'nonsense'"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, message):
    images = {"IMAGE": tmp_path / "image.nii.gz", "FLAIR": tmp_path / "image_flair.nii.gz"}
    for image in images.values():
        write_nifti(head_stack(700, n_frames=2, size=64, spacing_mm=(3.0, 3.0, 6.0)), image)
    arguments = [images.get(a, a) for a in arguments]
    result = run("explain", *arguments, "--output", tmp_path / "out", "--model-dir", tmp_path / "model")
    assert isinstance(result.exception, InputError)
    assert re.search(message, str(result.exception))
    assert not (tmp_path / "out").exists()


def test_a_classification_of_two_channels_is_shown_with_its_weights(tmp_path):
    network = replace(SMALL, name="clip_net", in_channels=2, fusion=FusionConfig("additive"))
    config = model(network, task="classification")
    torch.manual_seed(0)
    save_weights(build_network(config).state_dict(), tmp_path / "w.safetensors", {})
    both = np.random.default_rng(0).uniform(50, 60, (40, 48, 5, 1, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(both, np.diag([1.5, 1.5, 5, 1])), tmp_path / "both.nii")
    wanted = Wanted(tmp_path / "both.nii", tmp_path / "out", "hirescam")
    written = run_explain(config, tmp_path / "w.safetensors", "v1", wanted)
    assert [path.name for path in written] == ["explanation.png", "explanation.json", "heatmap-study.nrrd"]
    data = json.loads(written[1].read_text())
    assert sum(data["study"].values()) == pytest.approx(1, abs=1e-3)
    assert data["explain"]["maps"][0]["label"] == max(data["study"], key=data["study"].get)
    assert data["presence"] is None
    assert np.sum(data["modality_weights"], axis=1) == pytest.approx(1, abs=1e-3)
    assert data["modalities"][0]["weight"] + data["modalities"][1]["weight"] == pytest.approx(1, abs=1e-3)
    assert min(Image.open(written[0]).size) > 300


def test_the_picture_shows_the_frames_with_evidence():
    heat = np.zeros((30, 4, 4), np.float32)
    assert frames_with_evidence(heat) == [15]
    heat[3:25, 1, 1] = 0.5
    heat[10, 2, 2] = 1
    shown = frames_with_evidence(heat)
    assert len(shown) == MOST_FRAMES
    assert 10 in shown
    assert shown == sorted(set(shown))
