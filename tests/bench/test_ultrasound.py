# SPDX-License-Identifier: Apache-2.0
"""The lung ultrasound benchmark: who is the same patient, what the tables say, and a small run of all of it."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from lib.configs import load_config, override
from lib.trainers.clips import Clip
from lib.trainers.crossval import Arm, ArmRuns, patient_folds, run_arm
from lib.trainers.crossval_scores import conformal_scores, f1_difference, score_arm
from lib.types import InputError
from lib.weights.files import read_metadata
from monailabel_app.bench import ultrasound

ROOT = Path(__file__).resolve().parents[2]
EMPTY = {"Patient ID / Name": "", "URL (Video Name)": "", "Gender": "", "Age": "", "Source ID": "", "file": "v.mp4"}
TINY = {
    "network.channels": [4, 8],
    "network.norm_groups": 2,
    "network.frame_recurrence.hidden": 4,
    "input.max_size_px": 16,
    "training.size_px": 16,
    "training.window": 2,
    "training.batch_size": 2,
}


def clips_of(patients: int, per_patient: int = 2, size: int = 16) -> list[Clip]:
    rng = np.random.default_rng(0)
    return [
        Clip(f"c{p}-{i}", f"p{p:02d}", rng.normal(size=(4, 1, size, size)).astype(np.float16), p % 4)
        for p in range(patients)
        for i in range(per_patient)
    ]


def perfect(clips: list[Clip], folds: np.ndarray, sure: float = 4.0) -> ArmRuns:
    """What an arm that is always right would leave."""
    logits = sure * np.eye(4)[[clip.class_index for clip in clips]]
    numbers = range(int(folds.max()) + 1)
    return ArmRuns([logits], {(f, j): logits for f in numbers for j in numbers if f < j}, 10, [1, 2])


# --- patients


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ({"Patient ID / Name": "7.0"}, {"Patient ID / Name": "7"}, True),
        ({"Patient ID / Name": "7"}, {"Patient ID / Name": "8"}, False),
        ({"Patient ID / Name": "Lotte"}, {"Patient ID / Name": "Lotte", "file": "w.mp4"}, False),  # a shifted column
        ({"URL (Video Name)": "https://x.org/a/ - third video"}, {"URL (Video Name)": "https://x.org/a#b"}, True),
        ({"URL (Video Name)": "a hospital"}, {"URL (Video Name)": "a hospital", "file": "w.mp4"}, False),
        ({"Gender": "m", "Age": "45", "Source ID": "18"}, {"Gender": "m", "Age": "45", "Source ID": "18.0"}, True),
        ({"Gender": "m", "Age": "45", "Source ID": "18"}, {"Gender": "m", "Age": "45", "Source ID": "16"}, False),
        ({"Gender": "nd", "Age": "45", "Source ID": "1"}, {"Gender": "nd", "Age": "45", "Source ID": "1"}, True),
    ],
)
def test_who_is_the_same_patient(a: dict[str, str], b: dict[str, str], same: bool) -> None:
    first, second = ultrasound.same_patient([ultrasound.patient_keys({**EMPTY, **row}) for row in (a, b)])
    assert (first == second) is same


def test_a_chain_of_shared_keys_is_one_patient() -> None:
    names = ultrasound.same_patient([{"a"}, {"c"}, {"x"}, {"a", "b"}, {"b", "c"}])
    assert names[0] == names[1] == names[3] == names[4] != names[2]


def test_the_real_list_has_25_patients(shared_data: Path) -> None:
    path = shared_data / "lung_ultrasound" / "videos.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    patients = dict(
        zip(rows, ultrasound.same_patient([ultrasound.patient_keys(r) for r in rows.values()]), strict=True)
    )
    assert (len(rows), len(set(patients.values()))) == (43, 25)
    assert patients["Vir_or_Pneu_prospective_file4.mp4"] == patients["Vir_prospective_file2.mp4"]  # the same video
    assert patients["Reg_liftl_case3_clip2.mp4"] == patients["Pneu_liftl_pneu_case3_clip3.mp4"]


# --- folds and scores


@pytest.mark.parametrize("seed", range(5))
def test_folds_keep_patients_together_and_deal_classes_evenly(seed: int) -> None:
    clips = clips_of(23)
    folds = patient_folds(clips, 5, seed)
    for patient in {clip.patient for clip in clips}:
        assert len({int(f) for f, clip in zip(folds, clips, strict=True) if clip.patient == patient}) == 1
    for k in range(4):
        counts = np.bincount(folds[[clip.class_index == k for clip in clips]], minlength=5)
        assert counts.max() - counts.min() <= 2  # a patient has two clips
    with pytest.raises(InputError, match="3 patients cannot be split into 5"):
        patient_folds(clips_of(3), 5, 0)


def test_an_arm_that_is_always_right() -> None:
    clips = clips_of(20)
    folds = patient_folds(clips, 5, 0)
    runs = perfect(clips, folds)
    scores = score_arm(runs, clips, folds, [0.2], 50)
    assert scores["macro_f1"] == scores["accuracy"] == 1
    assert scores["macro_f1_ci95"] == pytest.approx((1, 1))
    assert scores["calibration"]["ece_after"] <= scores["calibration"]["ece_before"]
    assert scores["conformal"]["0.2"]["coverage_patients"] == scores["conformal"]["0.2"]["sure"] == 1
    assert f1_difference(runs, runs, clips, 50) == {"mean": 0, "ci95": (0, 0)}
    assert json.loads(json.dumps(scores)) is not None


@pytest.mark.parametrize("rate", [0.1, 0.2])
def test_cross_conformal_sets_of_a_noisy_arm_cover_held_out_patients(rate: float) -> None:
    rng, covered, clips = np.random.default_rng(0), [], clips_of(25)
    folds = patient_folds(clips, 5, 0)
    for _ in range(40):
        runs = perfect(clips, folds, 1.5)
        runs.held_out = [runs.held_out[0] + rng.normal(size=(len(clips), 4))]
        runs.pairs = dict.fromkeys(runs.pairs, runs.held_out[0])
        covered.append(conformal_scores(runs, clips, folds, rate)["coverage_patients"])
    assert np.mean(covered) >= 1 - rate - 3 * np.std(covered) / math.sqrt(len(covered))


def test_the_shape_of_a_file_is_judged_on_other_folds_only() -> None:
    clips = [Clip(f"{i}", f"p{i}", np.zeros((1, 1, 1, 1), np.float16), i % 4) for i in range(8)]
    rows = [{"file": f"{i}", "width": str(10 ** (1 + i % 4)), "height": "9", "n_frames_decoded": "9"} for i in range(8)]
    apart, together = np.arange(8) // 4, np.arange(8) % 4
    assert ultrasound.file_control(rows, clips, apart) == {"macro_f1": 1, "accuracy": 1}
    assert ultrasound.file_control(rows, clips, together) == {"macro_f1": 0, "accuracy": 0}


def test_an_arm_never_trains_on_what_it_is_tested_on() -> None:
    config = override(load_config(ROOT / "configs" / "lung_ultrasound.yaml"), TINY)
    clips = clips_of(6, 1)
    folds = patient_folds(clips, 3, 0)
    runs = run_arm(Arm("a", calibrated=True), clips, folds, config, [0, 1], 0.05)
    assert [np.isfinite(logits).all() for logits in runs.held_out] == [True, True]
    assert len(runs.pairs) == 3
    for (f, j), logits in runs.pairs.items():
        assert (np.isfinite(logits).all(1) == ((folds == f) | (folds == j))).all()
    assert len(runs.steps) == 2 * 3 + 3
    assert min(runs.steps) >= 1


# --- all of it


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients with a video each, in the form of the public set."""
    av = pytest.importorskip("av", reason="videos are read with PyAV (pip install 'lesionloop[bench]')")
    folder, rng, rows = tmp_path_factory.mktemp("pocus"), np.random.default_rng(0), []
    (folder / "videos").mkdir()
    for i in range(10):
        shape = {"width": "48", "height": "48", "n_frames_decoded": "6"}
        row = {
            **EMPTY,
            **shape,
            "file": f"v{i}.avi",
            "Patient ID / Name": str(i),
            "Label": list(ultrasound.CLASSES)[i % 4],
        }
        with av.open(str(folder / "videos" / row["file"]), "w") as container:
            stream = container.add_stream("mpeg4", rate=20)
            stream.width = stream.height = 48
            for _ in range(70 if i == 0 else 6):
                image = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        rows.append(row)
    with (folder / "videos.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_videos_are_grey_and_long_ones_are_thinned(videos: Path) -> None:
    frames, rate = ultrasound.read_video(videos / "videos" / "v0.avi")
    assert frames.shape == (70, 48, 48)
    assert rate == pytest.approx(20)
    clips = ultrasound.load_videos(videos, load_config(ROOT / "configs" / "lung_ultrasound.yaml"))
    assert [len(clip.frames) for clip in clips[:2]] == [35, 6]
    assert clips[0].frames.shape[2:] == (64, 64)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"x\.mp4: cannot be read as a video"):
        ultrasound.read_video(tmp_path / "x.mp4")
    with pytest.raises(InputError, match=r"videos\.csv is missing"):
        ultrasound.load_videos(tmp_path, None)


def test_a_small_run_of_the_benchmark(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = override(load_config(ROOT / "configs" / "lung_ultrasound.yaml"), TINY)
    arms = [Arm(ultrasound.BASELINE, {"network.frame_recurrence.cell": "mlp"}), Arm("GRU", calibrated=True)]
    monkeypatch.setattr(ultrasound, "arms_of", lambda _: arms)
    settings = ultrasound.Settings(videos, [0], 0.05, tmp_path / "w.safetensors", 0.1, 50)
    result = ultrasound.run_benchmark(settings, config)
    ultrasound.write_results(result, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["patients"] == 10
    assert set(result["against_frame_average"]) == {"GRU"}
    facts = read_metadata(tmp_path / "w.safetensors")
    assert facts["calibration"]["scores_of"] == "folds"
    assert facts["calibration"]["patients"] == 10
    table = ultrasound.markdown(result)
    assert "| GRU |" in table
    assert "| frame average |" in table
