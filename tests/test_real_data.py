# SPDX-License-Identifier: Apache-2.0
"""The shipped weights on real MR stacks. They trained on these patients: it checks the way through, not the quality."""

import subprocess
import sys
from pathlib import Path

import pytest

from lib.configs import load_config
from lib.evaluation.evaluate import evaluate_study
from lib.prediction.predictor import Predictor
from lib.registry import build_network
from lib.studies import find_labelled
from lib.weights.files import load_weights
from monailabel_app.roots import CONFIGS_DIR, PRETRAINED_DIR


@pytest.fixture(scope="module")
def studies(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lgg") / "studies"
    subprocess.run([sys.executable, shared_data / "to_studies.py", folder, "--split", "val"], check=True)
    return folder


@pytest.mark.parametrize("model", ["mr_lesion_segmentation", "mr_lesion_detection"])
def test_the_lesion_of_every_patient_is_found(model: str, studies: Path) -> None:
    config = load_config(CONFIGS_DIR / f"{model}.yaml")
    network = build_network(config)
    load_weights(network, PRETRAINED_DIR / "mr_lesion.safetensors")
    predictor = Predictor(config, network)
    scores = [evaluate_study(predictor, ref) for ref in find_labelled(studies)]
    assert len(scores) == 5
    assert min(score.dice for score in scores) > 0.7
    assert all(score.lesions_found >= 1 for score in scores)
