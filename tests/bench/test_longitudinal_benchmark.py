# SPDX-License-Identifier: Apache-2.0
"""A small version of `lesionloop bench growth --longitudinal`, on phantoms written as the public patients are."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from lib.configs import load_config
from lib.phantom import head_visits, write_nifti
from lib.types import InputError
from monailabel_app.bench import longitudinal as bench
from monailabel_app.cli import app

CONFIG = load_config(Path(__file__).parents[2] / "configs" / "mr_lesion_segmentation.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One phantom patient whose lesions have doubled; the visits lie as they lie in the common space."""
    root = tmp_path_factory.mktemp("longitudinal")
    own = root / "patient01"
    own.mkdir()
    visits = head_visits(3, (0, 90), (1.0, 3.0), n_frames=12, size=96, spacing_mm=(2.5, 2.5, 8.0), n_lesions=2)
    for k, visit in enumerate(visits, start=1):
        write_nifti(visit, own / f"study{k}_FLAIR.nii.gz", root / f"mask{k}.nii.gz")
        sitk.WriteTransform(sitk.AffineTransform(3), str(own / f"study{k}_FLAIR_to_common_space.txt"))
    first, second = (nib.load(root / f"mask{k}.nii.gz") for k in (1, 2))
    image = nib.load(own / "study1_FLAIR.nii.gz")
    change = (np.asarray(first.dataobj) > 0) ^ (np.asarray(second.dataobj) > 0)
    pixels = image.get_fdata()
    for name, mask in (("gt", change), ("brainmask", pixels > 0.3 * np.percentile(pixels, 99))):
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), image.affine), own / f"{name}.nii.gz")
    return root


@pytest.fixture(scope="module")
def patient(folder) -> bench.Patient:
    return bench.read_patient(folder / "patient01", CONFIG)


def test_a_small_benchmark_gives_a_row_for_each_method(folder):
    scores = bench.benchmark_longitudinal(folder, CONFIG)
    assert [one.method for one in scores][:2] == ["mr_lesion_segmentation at both visits", "subtraction, 3 SD"]
    assert {one.true for one in scores} == {scores[0].true}
    assert scores[0].true > 0
    subtraction = [one for one in scores if one.method.startswith("subtraction")]
    assert subtraction[0].found >= subtraction[-1].found
    assert max(one.dice for one in subtraction) > 0.2
    table = bench.longitudinal_table(scores)
    assert table.count("| patient01 |") == len(scores)


def test_the_truth_scores_as_the_truth(patient):
    truth = patient.change.frames[:, 0] > 0
    exact = bench.score_change("truth", patient, truth)
    assert exact.found == exact.true > 0
    assert exact.false == 0
    assert exact.dice > 0.95  # regions below the smallest size are left out of what is marked
    nothing = bench.score_change("nothing", patient, np.zeros_like(truth))
    assert (nothing.found, nothing.false, nothing.dice) == (0, 0, 0.0)
    elsewhere = np.zeros_like(truth)
    elsewhere[:3, :20, :20] = True
    assert not (elsewhere & truth).any()
    assert bench.score_change("elsewhere", patient, elsewhere).false == 1
    unchanged = replace(patient, change=replace(patient.change, frames=0 * patient.change.frames))
    assert bench.score_change("nothing", unchanged, np.zeros_like(truth)).dice == 1.0


def test_a_published_transform_leads_back_to_the_common_space(tmp_path):
    transform = sitk.AffineTransform(3)
    transform.Rotate(0, 1, 0.3)
    transform.Translate((5.0, -3.0, 2.0))
    sitk.WriteTransform(transform, str(tmp_path / "t.txt"))
    to_common = bench.published_map(tmp_path / "t.txt")
    point = np.array([10.0, 20.0, -30.0])
    at_visit = np.array([*transform.TransformPoint(point.tolist()), 1.0])
    assert to_common @ at_visit == pytest.approx([*point, 1.0])
    (tmp_path / "t.txt").write_text("no transform")
    with pytest.raises(InputError, match=r"t\.txt: is no ITK transform"):
        bench.published_map(tmp_path / "t.txt")


def test_a_difference_is_told_in_standard_deviations_of_itself():
    rng = np.random.default_rng(0)
    first = rng.normal(100, 10, (6, 40, 40))
    second = 3 * first + 20 + rng.normal(0, 1, first.shape)
    second[3, 10:14, 10:14] += 200
    sds = bench.difference_in_sds(first, second, np.ones(first.shape, bool), (5.0, 1.0, 1.0))
    assert sds[3, 11:13, 11:13].min() > 10
    assert np.std(sds[:2]) == pytest.approx(1.0, abs=0.2)


def test_a_folder_without_patients_is_an_error(tmp_path):
    found = CliRunner().invoke(app, ["bench", "growth", "--longitudinal", str(tmp_path)]).exception
    assert isinstance(found, InputError)
    assert "no folder with a gt.nii.gz" in str(found)


def test_the_real_patients_can_be_read(shared_data):
    for name in ("patient01", "patient03", "patient12"):
        patient = bench.read_patient(shared_data / "ms_longitudinal" / name, CONFIG)
        assert patient.brain.shape == patient.change.frames[:, 0].shape
        assert (patient.change.frames[:, 0] > 0)[patient.brain].sum() > 2000
