# SPDX-License-Identifier: Apache-2.0
"""Radiographs with notes: what is read and what is written, folds, and small trainings. All notes are invented."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.configs import load_config, override
from lib.losses.report import UNKNOWN_CLASS
from lib.text.indiana import CodedReport
from lib.trainers import report_chest as chest
from lib.trainers.report_notes import CLASSES, ChestNote, load_image, note_folds, read_notes, shifted, split_note
from lib.types import InputError
from monailabel_app.bench.report_chest import Said, accuracy, class_table, macro_f1, macro_recall, text_table
from monailabel_app.bench.report_scores import score_reports

NOTE = "A man of 50 with cough for 5 days. COVID-19 was proven. The radiograph shows a left lower lobe consolidation."
CONFIG = override(
    load_config(Path(__file__).parents[2] / "configs" / "report_chest.yaml"),
    {"report.findings": [], "report.network.heads.findings": 0},
)
REPORTS = [CodedReport(str(i), "The heart is normal. No effusion.", frozenset(), "train", "Cough.") for i in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(8):
        name = f"images/{i}.png"
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 60), np.uint8)).save(tmp_path / name)
        finding = ("COVID-19", "Klebsiella", "Pneumonia", "todo")[i % 4]
        rows.append(
            {
                "image": name,
                "patientid": i // 2,
                "finding": finding,
                "modality": "X-ray",
                "clinical_notes": NOTE + str(i),
            }
        )
    rows[7]["modality"] = "CT"
    rows[6]["clinical_notes"] = " "
    _write(tmp_path / "pairs.csv", rows)
    return tmp_path


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def note(i: int, patient: str, text: str = "", study_class: int = 0) -> ChestNote:
    return ChestNote(str(i), patient, Path("none.png"), "cough", "clear lungs", study_class, text or f"note {i}")


def test_a_note_is_a_history_to_read_and_a_description_to_write() -> None:
    history, description = split_note(NOTE)
    assert "cough" in history
    assert "COVID" not in history
    assert description == "The radiograph shows a left lower lobe consolidation."
    assert split_note("") == ("", "")


def test_radiographs_with_a_note_are_read(folder: Path) -> None:
    notes = read_notes(folder)
    assert [one.study_id for one in notes] == list("012345")
    assert [one.study_class for one in notes[:4]] == [0, 1, UNKNOWN_CLASS, UNKNOWN_CLASS]
    _write(folder / "pairs.csv", [{"image": "x"}])
    with pytest.raises(InputError, match="columns"):
        read_notes(folder)
    with pytest.raises(InputError, match="not there"):
        read_notes(folder / "images")


@pytest.mark.parametrize("seed", range(5))
def test_folds_keep_patients_and_equal_notes_together_and_spread_the_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    notes = [note(i, str(rng.integers(30)), study_class=int(rng.integers(4))) for i in range(90)]
    notes += [note(90 + i, f"other {i}", "The  SAME note" if i % 2 else "the same note") for i in range(6)]
    folds = note_folds(notes, 5, seed)
    for key in ({one.patient for one in notes}, {"the same note"}):
        for value in key:
            own = [
                f
                for one, f in zip(notes, folds, strict=True)
                if value in (one.patient, " ".join(one.note.lower().split()))
            ]
            assert len(set(own)) == 1
    assert set(folds) == set(range(5))
    assert np.bincount(folds).max() - np.bincount(folds).min() < 25


def test_images_are_scaled_and_moved_but_never_mirrored(folder: Path) -> None:
    image = load_image(folder / "images" / "0.png", 32)
    assert image.shape == (1, 1, 32, 32)
    assert (abs(float(image.mean())) < 1e-4, round(float(image.std()), 3)) == (True, 1.0)
    ramp = np.tile(np.arange(32, dtype=np.float32), (32, 1))[None, None]
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert (np.diff(shifted(ramp, rng)[0, 0], axis=1) >= 0).all()
    (folder / "broken.png").write_text("no image")
    with pytest.raises(InputError, match=r"broken\.png"):
        load_image(folder / "broken.png", 32)


def test_words_of_the_notes_come_after_those_of_the_reports() -> None:
    base = chest.indiana_vocabulary(REPORTS)
    more = chest.add_words(base, [dataclasses.replace(note(i, "p"), history="new words here") for i in range(2)])
    assert more.tokens[: len(base)] == base.tokens
    assert "words" in more
    assert "words" not in base


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "cnn", "attention"])
def test_an_arm_learns_from_notes_after_reports(folder: Path, name: str) -> None:
    notes = read_notes(folder)
    base = chest.indiana_vocabulary(REPORTS)
    start = chest.pretrain(chest.sized(CONFIG, base), REPORTS, base, 0, 0.05)
    vocabulary = chest.add_words(base, notes)
    cases = chest.note_cases(notes, vocabulary, chest.load_images(notes, 96))
    arm = chest.fit_arm(chest.sized(CONFIG, vocabulary), name, cases, vocabulary, 0, 0.05, start)
    probabilities = arm.classify(cases)
    assert probabilities.shape == (6, len(CLASSES))
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    texts = arm.write(cases[:2])
    assert len(texts) == 2
    assert not any(character.isdigit() for text in texts for character in text)


def test_weights_are_taken_over_where_they_fit() -> None:
    base = chest.indiana_vocabulary(REPORTS)
    start = chest.pretrain(chest.sized(CONFIG, base), REPORTS, base, 0, 0.01)
    vocabulary = chest.add_words(base, [note(i, "p") for i in range(2)])
    network = chest.ReportNet(chest.report_twin(chest.sized(CONFIG, vocabulary).report.network, "bilstm"))
    shared = chest.warm_start(network, start)
    rows = network.embedding.words.weight[: len(base)]
    assert (rows == start["embedding.words.weight"]).all()
    assert "text_encoder.lstm.forwards.0.weight_ih_l0" in shared
    assert not any("image" in name for name in shared)


def test_scores_of_classes() -> None:
    truth, guess = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    assert (accuracy(guess, truth), macro_recall(guess, truth)) == (0.75, 0.5)
    assert macro_f1(guess, truth) == pytest.approx((6 / 7) / 2)
    assert macro_f1(truth, truth) == 1.0


def test_the_tables_have_a_row_for_each_arm() -> None:
    notes = [note(i, f"p{i // 2}", study_class=i % 3 - 1) for i in range(12)]
    right = np.array([one.study_class for one in notes])
    said = {"CNN": Said(np.zeros(12, int), ["clear"] * 12), "full": Said(right, ["clear lungs"] * 12)}
    table = class_table(notes, said, 20)
    assert "8 studies of 6 patients" in table
    assert "| full | 1.000 [1.000, 1.000] | - |" in table
    assert "| counted words | 0.500" in class_table(notes, {**said, "counted words": Said(np.zeros(12, int), None)}, 20)
    from lib.text import CHEST

    scores = {
        name: score_reports(one.texts, [n.description for n in notes], CHEST, meteor=False)
        for name, one in said.items()
    }
    assert "| full | +0.000" in text_table(scores, np.array([one.patient for one in notes]), 20)
