# SPDX-License-Identifier: Apache-2.0
"""Weights made without a written report, on studies that the lesion model has seen before."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lib.configs import load_config
from lib.drafting.source import LesionSource, check_features
from lib.drafting.writer import StudyToReport, report_writer
from lib.registry import build_network
from lib.text import MeasuredLesion, MeasuredStudy, Side
from lib.trainers.report_folders import kept_studies, train_reports_on_folders
from lib.trainers.report_studies import ReportStudy, save_studies
from lib.types import InputError
from lib.weights.files import load_weights, read_metadata
from lib.weights.versions import VersionStore
from tests.drafting.test_writer import small

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def source(tmp_path: Path) -> LesionSource:
    config = load_config(CONFIGS / "mr_lesion_segmentation.yaml")
    return LesionSource(config, VersionStore(tmp_path / "none", config, tmp_path / "none"))


def studies(count: int) -> list[ReportStudy]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        lesion = MeasuredLesion(1, Side.LEFT, "frontal", float(rng.uniform(5, 50)), 4.0, 0.7)
        told = MeasuredStudy((lesion,) if i % 3 else ())
        features = rng.normal(size=(5, 6)).astype(np.float16)
        found.append(ReportStudy(f"s{i}", f"p{i}", features, told, told))
    return found


def test_weights_with_vocabulary_and_thresholds_that_write(source: LesionSource, tmp_path: Path) -> None:
    config = small(
        **{
            "report.network.text.vocabulary_size": 200,
            "training.max_epochs": 1,
            "training.steps_per_epoch": 3,
            "training.batch_size": 6,
        }
    )
    output = tmp_path / "made" / "report.safetensors"
    output.parent.mkdir()
    save_studies(studies(40), output.with_suffix(".studies.npz"))
    result = train_reports_on_folders(config, [], output, source, val_fraction=0.5)
    header = read_metadata(output)
    assert result.steps == 3
    assert len(header["train"]) == len(header["val"]) == 20
    assert header["thresholds"]["patients"] == {"lesion": 20}
    assert header["thresholds"]["thresholds"].keys() == {"lesion"}
    network = build_network(config)
    load_weights(network, output)
    writer = report_writer(config, network, torch.device("cpu"), output)
    assert "frontal" in writer.vocabulary
    assert writer.write(StudyToReport(measured=MeasuredStudy())).report.sections["findings"]
    again = train_reports_on_folders(config, [], tmp_path / "made" / "report.safetensors", source, start=output)
    assert again.steps == 3


def test_nothing_to_train_on_and_no_lesion_model(source: LesionSource, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no weights yet: train it"):
        kept_studies([], 1, source, tmp_path / "new.npz")


def test_a_lesion_model_of_another_size_or_kind_is_refused(source: LesionSource) -> None:
    check_features(load_config(CONFIGS / "report_brain_mr.yaml"), source.config)
    with pytest.raises(InputError, match="reads 6 features of each frame"):
        check_features(small(), source.config)
    with pytest.raises(InputError, match=r"'lung_ultrasound' \(clip_net\) gives none"):
        check_features(small(), load_config(CONFIGS / "lung_ultrasound.yaml"))
