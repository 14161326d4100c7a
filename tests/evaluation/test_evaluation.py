# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lib.configs import NetworkConfig, load_config
from lib.evaluation.comparison import comparison_table, find_arms, load_arm
from lib.evaluation.evaluate import evaluate_model, evaluate_study, score_case, summarise
from lib.findings.lesions import find_lesions
from lib.phantom import head_stack, write_nifti
from lib.prediction.predictor import FrameBox, Prediction, Predictor
from lib.registry import build_network
from lib.studies import CaseRef, find_labelled, patient_of
from lib.transforms.geometry import VolumeGeometry
from lib.types import InputError, Sequence, SequenceKind, Source
from lib.weights.files import save_weights
from monailabel_app.cli import app

CONFIGS = Path(__file__).parents[2] / "configs"
FEW = 50
"""Bootstrap resamples: enough to see that there is an interval."""
KEYS = {"model", "version", "n", "dice", "dice_ci95", "slice_auc", "ap10", "ap30", "ap50", "froc", "seconds_per_case"}
CASE_KEYS = {
    "image",
    "dice",
    "slice_auc",
    "lesions_true",
    "lesions_found",
    "false_positive_slices",
    "volume_true_ml",
    "volume_pred_ml",
    "seconds",
}


def config_for(task="segmentation"):
    config = load_config(CONFIGS / f"mr_lesion_{task}.yaml")
    network = NetworkConfig(channels=(8, 8, 8), norm_groups=4)
    return replace(config, network=network, input=replace(config.input, spacing_mm=4.0))


def phantom(seed, n_lesions=2):
    return head_stack(seed, n_frames=6, size=48, spacing_mm=(4.0, 4.0, 12.0), n_lesions=n_lesions)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Three patients, one of them healthy, one seen twice."""
    folder = tmp_path_factory.mktemp("studies")
    (folder / "labels" / "final").mkdir(parents=True)
    for name, seed, n_lesions in (("A", 1, 2), ("B__visit1", 2, 1), ("B__visit2", 3, 1), ("C", 4, 0)):
        image, mask = folder / f"{name}.nii.gz", folder / "labels" / "final" / f"{name}.nii.gz"
        write_nifti(phantom(seed, n_lesions), image, mask)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights whose mask and presence are not all zero."""
    torch.manual_seed(0)
    network = build_network(config_for())
    torch.nn.init.zeros_(next(p for n, p in network.mask_head.named_parameters() if n.endswith("bias")))
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_weights(network.state_dict(), path, {})
    return path


def scored(stack, probability, config, boxes=None, presence=None, name="A"):
    """Judge a prediction made by hand for a phantom."""
    geometry = VolumeGeometry.from_affine(stack.affine, stack.image.shape[::-1])
    frames = stack.image[:, None].astype(np.float32)
    positions = geometry.positions_mm(len(frames))
    sequence = Sequence(frames, SequenceKind.STACK, positions, geometry.spacing_mm[:2], geometry.affine_lps)
    if presence is None:
        presence = probability.max(axis=(1, 2, 3))
    if boxes is None:
        boxes = tuple(() for _ in frames)
    prediction = Prediction(probability.astype(np.float32), boxes, np.asarray(presence), None, None)
    reported = find_lesions(prediction, sequence, config, Source())
    ref = CaseRef(name, patient_of(name), Path("image"), Path("label"))
    return score_case(ref, sequence, prediction, reported, stack.mask[:, None] == 1, config, 0.5)


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_random_weights_give_every_number(task, studies, weights):
    seen = []
    result = evaluate_model(
        config_for(task),
        weights,
        "v0007",
        studies,
        progress=lambda done, total, image: seen.append((done, total)),
        resamples=FEW,
    )
    assert set(result) >= KEYS
    assert all(set(case) >= CASE_KEYS for case in result["cases"])
    assert json.loads(json.dumps(result)) == result
    assert (result["model"], result["version"]) == (f"mr_lesion_{task}", "v0007")
    assert (result["n"], result["n_studies"], len(result["cases"])) == (3, 4, 4)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for key in ("dice", "slice_auc", "ap10", "ap30", "ap50", "froc"):
        assert 0 <= result[key] <= 1
    assert result["dice_ci95"][0] <= result["dice"] <= result["dice_ci95"][1]
    by_image = {case["image"]: case for case in result["cases"]}
    assert by_image["C"]["slice_auc"] is None
    assert [by_image[i]["lesions_true"] for i in ("A", "B__visit1", "C")] == [2, 1, 0]


def test_a_perfect_segmentation():
    config = config_for()
    stacks = [phantom(seed) for seed in (1, 2, 3)]
    result = summarise([scored(s, s.mask[:, None], config, name=str(i)) for i, s in enumerate(stacks)], FEW)
    for key in ("dice", "slice_auc", "ap10", "ap30", "ap50", "froc"):
        assert result[key] == pytest.approx(1.0)
    for key in ("dice_ci95", "slice_auc_ci95", "ap30_ci95", "froc_ci95"):
        assert result[key] == pytest.approx([1.0, 1.0])
    assert result["false_positive_slices_per_volume"] == 0
    for case, stack in zip(result["cases"], stacks, strict=True):
        volume_ml = sum(lesion.volume_mm3 for lesion in stack.lesions) / 1000
        assert case["volume_true_ml"] == pytest.approx(volume_ml, rel=1e-4)
        assert case["volume_pred_ml"] == pytest.approx(volume_ml, rel=1e-4)
        assert case["lesions_found"] == case["lesions_true"] == 2


def test_a_perfect_detection():
    stack = phantom(1)
    boxes = tuple(
        tuple(FrameBox(lesion.frame_boxes[t], 0, 0.9) for lesion in stack.lesions if t in lesion.frame_boxes)
        for t in range(len(stack.mask))
    )
    case = scored(stack, stack.mask[:, None], config_for("detection"), boxes)
    assert (case.lesions_found, case.false_positive_slices, case.dice) == (2, 0, 1.0)
    result = summarise([case], FEW)
    assert [result[key] for key in ("ap10", "ap30", "ap50", "froc")] == pytest.approx([1.0] * 4)


def test_an_empty_prediction():
    stack = phantom(1)
    result = summarise([scored(stack, np.zeros_like(stack.mask[:, None]), config_for())], FEW)
    assert [result[key] for key in ("dice", "ap10", "ap30", "ap50", "froc")] == [0.0] * 5
    assert result["slice_auc"] == 0.5
    assert result["cases"][0]["lesions_found"] == 0


def test_without_any_lesion_nothing_is_undefined_but_named_none():
    stack = phantom(4, n_lesions=0)
    result = summarise([scored(stack, np.zeros_like(stack.mask[:, None]), config_for(), name=n) for n in "AB"], FEW)
    assert (result["dice"], result["dice_ci95"]) == (1.0, [1.0, 1.0])
    for key in ("slice_auc", "slice_auc_ci95", "ap10", "ap30", "ap30_ci95", "ap50", "froc", "froc_ci95"):
        assert result[key] is None


def test_false_positives_are_counted_by_slice():
    stack = phantom(1)
    probability = stack.mask[:, None].astype(np.float32)
    healthy = np.flatnonzero(~stack.mask.any(axis=(1, 2)))[:2]
    probability[healthy, 0, 20:30, 20:30] = 0.8
    case = scored(stack, probability, config_for())
    assert case.false_positive_slices == 2
    assert case.lesions_found == 2
    assert case.volume_pred_ml > case.volume_true_ml


def test_dice_is_a_mean_over_patients_not_studies():
    config, stack = config_for(), phantom(1)
    nothing = np.zeros_like(stack.mask[:, None])
    cases = [scored(stack, nothing, config, name=name) for name in ("B__visit1", "B__visit2", "B__visit3")]
    result = summarise([scored(stack, stack.mask[:, None], config), *cases], resamples=400)
    assert (result["n"], result["n_studies"], result["dice"]) == (2, 4, 0.5)
    assert result["dice_ci95"] == [0.0, 1.0]


def test_one_patient_has_no_interval():
    stack = phantom(1)
    result = summarise([scored(stack, stack.mask[:, None], config_for())], FEW)
    assert result["dice_ci95"] is result["slice_auc_ci95"] is result["froc_ci95"] is None


def test_values_that_are_no_class_are_background(studies, weights, tmp_path, caplog):
    source = nibabel.load(studies / "labels" / "final" / "A.nii.gz")
    label = tmp_path / "label.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.asarray(source.dataobj) * 2, source.affine), label)
    predictor = Predictor(config_for(), build_network(config_for()))
    case = evaluate_study(predictor, CaseRef("A", "A", studies / "A.nii.gz", label))
    assert case.lesions_true == 0
    assert "label.nii.gz" in caplog.text


def test_errors_say_what_is_missing(studies, weights, tmp_path):
    with pytest.raises(InputError, match="no weights"):
        evaluate_model(config_for(), None, "", studies)
    with pytest.raises(InputError, match="no image with a mask"):
        evaluate_model(config_for(), weights, "v1", tmp_path)
    broken = tmp_path / "labels" / "final"
    broken.mkdir(parents=True)
    shutil.copy(studies / "A.nii.gz", tmp_path)
    (broken / "A.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"A\.nii\.gz: cannot be read"):
        evaluate_model(config_for(), weights, "v1", tmp_path)


def test_studies_are_found_with_their_patients(studies):
    refs = find_labelled(studies)
    assert [(ref.image_id, ref.patient) for ref in refs] == [
        ("A", "A"),
        ("B__visit1", "B"),
        ("B__visit2", "B"),
        ("C", "C"),
    ]


def write_result(path, shift, patients=8):
    """A made-up evaluation: presence ``shift`` separates lesion frames, Dice lies ``shift`` above a patient's own."""
    rng = np.random.default_rng(7)
    cases = []
    for i in range(patients):
        presence = rng.uniform(0, 0.6, 10)
        presence[4:7] += shift
        dice = float(rng.uniform(0.3, 0.9) + shift / 10)
        cases.append({"image": f"P{i}", "patient": f"P{i}", "dice": dice, "presence": presence.tolist()})
        cases[-1]["lesion_frames"] = [4, 5, 6]
    scalars = {"slice_auc": 0.9, "slice_auc_ci95": [0.8, 0.95], "ap30": 0.7, "froc": None}
    path.write_text(json.dumps({**scalars, "false_positive_slices_per_volume": 1.5, "cases": cases[::-1]}))
    return path


def test_comparison_pairs_patients_over_seeds(tmp_path):
    plain = write_result(tmp_path / "plain.json", 0.1)
    for seed in (0, 1):
        write_result(tmp_path / f"memory{seed}.json", 0.3 + 0.1 * seed)
    arms = find_arms([plain], {"memory": str(tmp_path / "memory*.json")})
    header, rule, first, second = (line.split(" | ") for line in comparison_table(arms, FEW).strip("|\n").split("\n"))
    assert len(header) == len(rule) == len(first) == len(second) == 9
    assert first[3].strip() == "0.900 [0.800, 0.950]"
    assert (second[1], second[4], second[5]) == ("2", "0.700 (0.700 to 0.700)", "-")
    assert second[7] == "+0.025 [+0.025, +0.025]"  # every patient gains the same: no spread in the difference
    gain = float(second[8].split()[0])
    assert gain == pytest.approx(arms[1].auc(np.arange(8)) - arms[0].auc(np.arange(8)), abs=5e-4)
    assert gain > 0.1


def test_comparison_needs_the_same_studies(tmp_path):
    first, second = write_result(tmp_path / "a.json", 0.1), write_result(tmp_path / "b.json", 0.1, patients=7)
    with pytest.raises(InputError, match="P7"):
        comparison_table(find_arms([first, second], {}))
    with pytest.raises(InputError, match="P7"):
        load_arm("both", [first, second])


def test_comparison_refuses_other_files(tmp_path):
    other = tmp_path / "other.json"
    other.write_text('{"cases": []}')
    with pytest.raises(InputError, match="not a result"):
        load_arm("x", [other])
    with pytest.raises(InputError, match="no evaluation file"):
        find_arms([], {"x": str(tmp_path / "*.nothing")})


def test_commands_write_json_and_tables(tmp_path):
    final = tmp_path / "studies" / "labels" / "final"
    final.mkdir(parents=True)
    write_nifti(phantom(1), final.parents[1] / "A.nii.gz", final / "A.nii.gz")
    config = load_config(CONFIGS / "mr_lesion_segmentation.yaml")
    weights, output = tmp_path / "w.safetensors", tmp_path / "out" / "a.json"
    save_weights(build_network(config).state_dict(), weights, {})
    command = ["evaluate", "mr_lesion_segmentation", "--studies", str(tmp_path / "studies"), "--weights", str(weights)]
    shown = CliRunner().invoke(app, [*command, "--output", str(output)])
    assert shown.exit_code == 0, shown.output
    assert "1 patients" in shown.output
    result = json.loads(output.read_text())
    assert (result["version"], result["n"]) == ("w", 1)
    compared = CliRunner().invoke(app, ["compare", str(output), "--arm", f"again={output}"])
    assert compared.exit_code == 0, compared.output
    assert compared.output.count("\n| a") == 2
