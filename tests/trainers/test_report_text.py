# SPDX-License-Identifier: Apache-2.0
"""Problems read off reports: the split, the scores, and small trainings. All texts but the shared ones are invented."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lib.text.indiana import PROBLEMS, CodedReport, part_of, read_reports
from lib.trainers.report_text import SETTINGS, coded, fit_reader, label_f1, part
from monailabel_app.bench.report_text import regression_labels, rule_labels

TEXTS = {
    "normal": "The heart is normal in size. The lungs are clear.",
    "Cardiomegaly": "The heart is enlarged. The lungs are clear.",
    "Pleural Effusion": "There is a pleural effusion. The heart is normal in size.",
}


def reports(n: int) -> list[CodedReport]:
    names = list(TEXTS)
    parts = ("train", "train", "train", "val", "test")
    return [
        CodedReport(str(i), f"{TEXTS[names[i % 3]]} Study {i}.", frozenset({names[i % 3]}), parts[i % 5])
        for i in range(n)
    ]


def test_f1_of_labels() -> None:
    truth = np.array([[True, False, False], [True, True, False]])
    assert label_f1(truth, truth) == 1.0
    assert label_f1(~truth & False, truth) == 0.0
    one = np.array([[True, False, False], [True, False, False]])
    assert label_f1(one, truth) == 0.5  # the third stands in neither and does not count
    assert label_f1(one, truth, macro=False) == pytest.approx(0.8)


def test_another_seed_is_another_split() -> None:
    keys = [f"report {i}" for i in range(2000)]
    first, second = [part_of(key) for key in keys], [part_of(key, 1) for key in keys]
    assert first != second
    for split in (first, second):
        assert abs(split.count("train") / 2000 - 0.7) < 0.04
        assert abs(split.count("val") / 2000 - 0.1) < 0.03


def test_equal_texts_count_once(tmp_path: Path) -> None:
    table = tmp_path / "reports.csv"
    rows = [
        ["uid", "Problems", "findings", "impression", "indication"],
        ["1", "normal", "The lungs are clear.", "Normal.", "Cough"],
        ["2", "normal", "the lungs are CLEAR", "normal", "Pain"],
        ["3", "Cardiomegaly;Lung", "Large heart.", "", ""],
    ]
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    read = read_reports(table, 3)
    assert [one.uid for one in read] == ["1", "3"]
    assert read[0].indication == "Cough"


@pytest.mark.slow
def test_the_encoder_and_its_rival_learn_what_words_decide() -> None:
    pytest.importorskip("sklearn")
    given = reports(150)
    truth = coded(part(given, "test"))
    assert truth.shape == (30, len(PROBLEMS))
    reader = fit_reader(given, 0, settings=dataclasses.replace(SETTINGS, max_epochs=2))
    assert label_f1(reader.read(part(given, "test")) > 0.5, truth) > 0.9
    assert label_f1(regression_labels(given), truth) > 0.9
    assert label_f1(rule_labels(part(given, "test")), truth) > 0.9
