# SPDX-License-Identifier: Apache-2.0
"""How well lesion classes are told apart: judged on what is found, pooled over patients."""

import json
from pathlib import Path

import numpy as np
import pytest

from lib.configs import InferenceConfig, InputConfig, ModelConfig, NetworkConfig
from lib.evaluation.classes import CaseClasses, ClassedLesion, case_classes, class_summary
from lib.evaluation.evaluate import evaluate_model
from lib.metrics import ScoredBoxes
from lib.phantom import CHEST_LABELS, chest_stack, write_nifti
from lib.registry import build_network
from lib.types import Finding
from lib.weights.files import save_weights

NAMES = ("a", "b", "c")
FEW = 40


def finding(label: str, probabilities: dict[str, float] | None = None, possible: tuple[str, ...] = ()) -> Finding:
    told = {"class_probabilities": probabilities or {}, "possible_labels": possible}
    return Finding(1, label, 0.9, {}, (0.0,) * 6, (0.0,) * 3, **told)


def boxes(*rows: tuple[float, int]) -> ScoredBoxes:
    """Cubes of 4 voxels at a place along x, each with a class."""
    return ScoredBoxes.of([([x, 0, 0, x + 4, 4, 4], k, 0.9) for x, k in rows], 3)


def masks(found: slice, there: slice) -> tuple[np.ndarray, np.ndarray]:
    pair = np.zeros((2, 1, 3, 4, 20), bool)
    pair[0, 0, 0, :, found] = pair[1, 0, 1, :, there] = True
    return pair[0], pair[1]


def judged(findings: list[Finding], reported: ScoredBoxes, truth: ScoredBoxes) -> CaseClasses:
    case = case_classes(findings, reported, reported, truth, masks(slice(0, 4), slice(2, 6)), NAMES, 0.1)
    assert case is not None
    return case


def lesion(true: int, *probabilities: float, possible: tuple[bool, ...] = ()) -> ClassedLesion:
    return ClassedLesion(true, probabilities, possible)


def patient(*lesions: ClassedLesion) -> list[CaseClasses | None]:
    empty = boxes()
    case = judged([], empty, empty)
    return [CaseClasses(NAMES, lesions, case.matches, 0.5)]


def test_a_found_lesion_has_the_class_of_the_true_one_it_overlaps_whatever_it_is_called() -> None:
    told = {"a": 0.1, "b": 0.7, "c": 0.2}
    findings = [finding("b", told, ("b", "c")), finding("c"), finding("a")]
    case = judged(findings, boxes((0, 1), (10, 2), (16, 0)), boxes((1, 0), (10, 2)))
    assert [(x.true, x.possible) for x in case.lesions] == [(0, (False, True, True)), (2, ())]
    assert case.lesions[0].probabilities == (0.1, 0.7, 0.2)
    assert case.lesions[1].probabilities == (0.0, 0.0, 1.0), "a model that tells none is sure of its label"
    assert case.dice == pytest.approx(0.5)
    data = json.loads(json.dumps(case.to_json()))
    assert data[0] == {"true": "a", "probabilities": told, "possible": ["b", "c"]}


def test_each_true_lesion_is_hit_once_by_the_surest_finding() -> None:
    case = judged([finding("a"), finding("b")], boxes((0, 0), (1, 1)), boxes((1, 1)))
    assert [x.probabilities for x in case.lesions] == [(1.0, 0.0, 0.0)]


def test_one_class_has_nothing_to_tell() -> None:
    empty = boxes()
    assert case_classes([], empty, empty, empty, masks(slice(0), slice(0)), ("a",), 0.1) is None
    assert class_summary([[None], [None]], FEW) == {}


def test_the_numbers_are_those_of_the_lesions() -> None:
    sets = (True, True, False)
    groups = [
        patient(lesion(0, 0.8, 0.1, 0.1, possible=sets), lesion(1, 0.1, 0.8, 0.1, possible=sets)),
        patient(lesion(2, 0.9, 0.05, 0.05, possible=(True, False, False))),
        patient(),
    ]
    result = class_summary(groups, FEW)
    assert result["class_confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert result["class_accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert result["class_macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-5)
    # confidence .8, .8 (right) and .9 (wrong) in two bins: (2 * .2 + .9) / 3
    assert result["class_ece"] == pytest.approx((0.4 + 0.9) / 3, abs=1e-5)
    assert result["class_coverage"] == pytest.approx(2 / 3, abs=1e-5)
    assert result["class_set_size"] == pytest.approx(5 / 3, abs=1e-5)
    low, high = result["class_accuracy_ci95"]
    assert 0 <= low <= result["class_accuracy"] <= high <= 1
    assert result["dice_any_class"] == 0.5
    assert result["froc_any_class"] is None, "no true lesion"
    json.dumps(result)


def test_without_a_found_lesion_or_a_calibration_numbers_are_undefined() -> None:
    nothing = class_summary([patient(), patient()], FEW)
    assert nothing["class_accuracy"] is None
    assert nothing["class_accuracy_ci95"] is None
    assert nothing["class_confusion"] == [[0] * 3] * 3
    plain = class_summary([patient(lesion(0, 0.8, 0.1, 0.1)), patient()], FEW)
    assert (plain["class_coverage"], plain["class_set_size"]) == (None, None)
    assert plain["class_accuracy"] == 1.0


def test_evaluate_tells_the_classes_of_a_model_with_several(tmp_path: Path) -> None:
    for name, seed in (("A", 1), ("B", 2)):
        stack = chest_stack(seed, n_frames=5, size=(72, 104), spacing_mm=(3.4, 3.4, 6.0), kinds=("solid",))
        write_nifti(stack, tmp_path / f"{name}.nii.gz", tmp_path / "labels" / "final" / f"{name}.nii.gz")
    config = ModelConfig(
        "segmentation",
        "test",
        {name: i for i, name in enumerate(CHEST_LABELS, 1)},
        network=NetworkConfig(channels=(8, 8, 8), norm_groups=4),
        input=InputConfig(spacing_mm=5.0, intensity_range=(-1000, 400), foreground_fraction=0.5),
        inference=InferenceConfig(mask_threshold=0.0, score_threshold=0.0, flip_tta=False),
        name="chest",
    )
    calibration = {"temperature": 1.5, "threshold": 0.9, "error_rate": 0.1, "patients": 12, "scores_of": "held_out"}
    weights = tmp_path / "w.safetensors"
    save_weights(build_network(config).state_dict(), weights, {"calibration": calibration})
    result = evaluate_model(config, weights, "w", tmp_path, resamples=FEW)
    assert result["class_names"] == list(CHEST_LABELS)
    assert np.shape(result["class_confusion"]) == (4, 4)
    assert {"froc_any_class", "dice_any_class", "class_coverage_ci95"} <= set(result)
    assert all("lesion_classes" in case for case in result["cases"])
    json.dumps(result)
