# SPDX-License-Identifier: Apache-2.0
"""The correction loop on a live server, driven by MONAI Label's own client.

The clinician's images are phantoms with inverted contrast (lesions dark, as on T1): the shipped model, which learned
FLAIR, misses them; two corrected masks later it does not.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient

from lib.phantom import PhantomStack, head_stack, write_nifti
from monailabel_app.process import free_port, start_server
from monailabel_app.roots import APP_DIR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MODEL = "mr_lesion_segmentation"
SEEDS = (310, 311, 312)
TRAINING = {"max_epochs": 4, "steps_per_epoch": 15, "learning_rate": 2e-3, "val_split": 0.4}
TRAINING_LIMIT_S = 540


@dataclass
class Loop:
    """A live server, a client, its studies and the truth by image id."""

    url: str
    client: MONAILabelClient
    truth: dict[str, np.ndarray]
    folder: Path


def inverted(seed: int) -> PhantomStack:
    """A small phantom with one clear lesion and inverted contrast inside the head."""
    stack = head_stack(seed, n_frames=12, size=128, spacing_mm=(1.88, 1.88, 9.0), n_lesions=1)
    head = stack.image > 0.1 * stack.image.max()
    image = np.where(head, stack.image.max() - stack.image, 0).astype(stack.image.dtype)
    return replace(stack, image=image)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("loop")
    studies, truth = folder / "studies", folder / "truth"
    studies.mkdir()
    truth.mkdir()
    for seed in SEEDS:
        write_nifti(inverted(seed), studies / f"p{seed}.nii.gz", truth / f"p{seed}.nii.gz")
    masks = {f"p{seed}": np.asarray(nib.load(truth / f"p{seed}.nii.gz").dataobj) for seed in SEEDS}
    conf = {"model_dir": str(folder / "model")}
    with start_server(APP_DIR, studies, conf, port=free_port(), log=folder / "server.log") as server:
        yield Loop(server.url, MONAILabelClient(server.url), masks, folder)


def dice(file: Path, truth: np.ndarray) -> float:
    predicted = np.asarray(nib.load(file).dataobj) > 0
    return float(2 * (predicted & (truth > 0)).sum() / max(1, predicted.sum() + (truth > 0).sum()))


def run(loop: Loop, image: str, kind: str) -> tuple[Path | None, dict]:
    """Infer through the REST interface; returns the file (None for json) and the parameters."""
    response = requests.post(f"{loop.url}/infer/{MODEL}", params={"image": image, "output": kind}, timeout=120)
    response.raise_for_status()
    if kind == "json":
        return None, response.json()
    path = loop.folder / f"{image}-{kind}.nii.gz"
    path.write_bytes(response.content)
    return path, {}


def test_info_names_models_trainers_and_strategies(loop: Loop) -> None:
    info = loop.client.info()
    assert info["models"][MODEL]["type"] == "segmentation"
    assert info["models"]["mr_lesion_detection"]["type"] == "detection"
    assert set(info["trainers"]) == {file.stem for file in (APP_DIR.parent / "configs").glob("*.yaml")}
    assert {"random", "first"} <= set(info["strategies"])
    assert info["models"][MODEL]["version"] == "pretrained"


def test_each_kind_of_output(loop: Loop) -> None:
    image = f"p{SEEDS[0]}"
    file, _ = run(loop, image, "image")
    assert file is not None
    assert nib.load(file).shape == loop.truth[image].shape
    _, params = run(loop, image, "json")
    assert params["label_names"] == {"lesion": 1}
    assert len(params["presence"]) == 12
    stored, both = loop.client.infer(MODEL, image, {})
    try:
        assert nib.load(stored).shape == loop.truth[image].shape
        assert both["latencies"]["total"] > 0
    finally:
        Path(stored).unlink(missing_ok=True)


def test_correct_train_publish_and_roll_back(loop: Loop) -> None:
    image = f"p{SEEDS[0]}"
    before = dice(run(loop, image, "image")[0], loop.truth[image])
    for _ in SEEDS:
        sample = loop.client.next_sample("first", {})
        label = loop.folder / "truth" / f"{sample['id']}.nii.gz"
        corrected = loop.folder / f"corrected-{sample['id']}.nii.gz"
        shutil.copy(label, corrected)
        loop.client.save_label(sample["id"], str(corrected), tag="final", params={"label_info": [{"name": "lesion"}]})
    assert loop.client.info()["datastore"]["completed"] == len(SEEDS)

    loop.client.train_start(MODEL, TRAINING)
    log = wait_for_training(loop)
    assert any("ETA" in line and "loss" in line for line in log), log

    info = requests.get(f"{loop.url}/info/", timeout=30).json()
    assert info["models"][MODEL]["version"] == "v0001", info["train_stats"][MODEL]
    assert info["train_stats"][MODEL]["last_training"]["published"] is True
    after_file, _ = run(loop, image, "image")
    after = dice(after_file, loop.truth[image])
    assert after > before + 0.2, f"Dice {before:.3f} before, {after:.3f} after training"
    roll_back(loop)


def wait_for_training(loop: Loop) -> list[str]:
    end = time.monotonic() + TRAINING_LIMIT_S
    while time.monotonic() < end:
        status = requests.get(f"{loop.url}/train/", timeout=30).json()
        if status["status"] in ("DONE", "ERROR", "STOPPED"):
            assert status["status"] == "DONE", json.dumps(status, indent=1)
            return list(status["details"])
        time.sleep(1)
    pytest.fail(f"training did not end within {TRAINING_LIMIT_S} s: {status}")


def roll_back(loop: Loop) -> None:
    """The command line goes back while the server runs; the next inference uses the earlier version."""
    from typer.testing import CliRunner

    from monailabel_app.cli import app

    result = CliRunner().invoke(app, ["rollback", MODEL, "--model-dir", str(loop.folder / "model")])
    assert result.exit_code == 0, result.output
    _, params = run(loop, f"p{SEEDS[0]}", "json")
    assert params["version"] == "pretrained"


def test_a_training_run_can_be_stopped(loop: Loop) -> None:
    loop.client.train_start("mr_lesion_detection", {**TRAINING, "max_epochs": 500})
    time.sleep(3)
    loop.client.train_stop()
    deadline = time.monotonic() + 30
    while requests.get(f"{loop.url}/train/", timeout=30).json()["status"] == "RUNNING":
        assert time.monotonic() < deadline, "the run did not stop"
        time.sleep(0.5)
    assert requests.get(f"{loop.url}/info/", timeout=30).json()["models"]["mr_lesion_detection"]["version"] == (
        "pretrained"
    )
