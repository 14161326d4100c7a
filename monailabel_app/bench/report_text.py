# SPDX-License-Identifier: Apache-2.0
"""The text encoder by itself on the Indiana chest reports, beside TF-IDF with logistic regression and the labeller."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..roots import lib_module
from .tfidf import tfidf_regression
from .toy import markdown_table

if TYPE_CHECKING:
    from lib.text.indiana import CodedReport

logger = logging.getLogger(__name__)
BoolArray = npt.NDArray[np.bool_]
ENCODER, RIVAL, RULES = "BiLSTM with attention", "TF-IDF + balanced logistic regression", "rule labeller"


def benchmark_text(folder: Path, seeds: Sequence[int], cpu_seconds: float, resamples: int = 2000) -> str:
    """Train and score; every seed has weights and a split of its own.

    Args:
        folder: With ``indiana_reports.csv``.
        seeds: Of the weights and the split; 0 is the split that the labeller's rules were written with.
        cpu_seconds: Processor time of each training of the encoder.
        resamples: Of the test reports, for the intervals.

    Returns:
        Markdown: macro and micro F1 on the test part, per split, with the paired difference to TF-IDF.

    Raises:
        InputError: If the folder holds no such table, or scikit-learn is not installed.
    """
    rows = [["split", "model", "macro F1", "micro F1", f"macro F1 less {RIVAL}"]]
    for seed in seeds:
        reports = lib_module("text.indiana").read_reports(folder / "indiana_reports.csv", seed)
        predicted, truth = predictions(reports, seed, cpu_seconds), _trainers().coded(_test(reports))
        sizes = [sum(one.part == name for one in reports) for name in ("train", "val", "test")]
        logger.info("split %d: %s reports in train, val, test", seed, sizes)
        for name, labels in predicted.items():
            rows.append([f"{seed} (n = {sizes[2]})", name, *_cells(labels, predicted[RIVAL], truth, resamples)])
    return markdown_table(rows)


def predictions(reports: Sequence[CodedReport], seed: int, cpu_seconds: float) -> dict[str, BoolArray]:
    """What each model reads in the test part, (N, K)."""
    encoder = _trainers().fit_reader(reports, seed, cpu_seconds)
    return {
        ENCODER: encoder.read(_test(reports)) > 0.5,
        RIVAL: regression_labels(reports),
        RULES: rule_labels(_test(reports)),
    }


def regression_labels(reports: Sequence[CodedReport]) -> BoolArray:
    """What :func:`monailabel_app.bench.tfidf.tfidf_regression` reads."""
    train = _trainers().part(reports, "train")
    texts = [one.text for one in train], [one.text for one in _test(reports)]
    return tfidf_regression(texts[0], _trainers().coded(train), texts[1]).astype(bool)


def rule_labels(reports: Sequence[CodedReport]) -> BoolArray:
    """What the rules of :mod:`lib.text.labeller` read."""
    indiana, label = lib_module("text.indiana"), lib_module("text.labeller").label_text
    lexicon = lib_module("text.lexicon_chest").CHEST
    read = [indiana.problems_of(label(one.text, lexicon)) for one in reports]
    return np.array([[name in problems for name in indiana.PROBLEMS] for problems in read], dtype=bool)


def _cells(labels: BoolArray, rival: BoolArray, truth: BoolArray, resamples: int) -> list[str]:
    f1, bootstrap = _trainers().label_f1, lib_module("metrics").bootstrap_ci

    def shown(statistic: Any, sign: str = "") -> str:
        low, high = bootstrap(len(truth), statistic, resamples)
        return f"{statistic(np.arange(len(truth))):{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"

    return [
        shown(lambda i: f1(labels[i], truth[i])),
        shown(lambda i: f1(labels[i], truth[i], macro=False)),
        "-" if labels is rival else shown(lambda i: f1(labels[i], truth[i]) - f1(rival[i], truth[i]), "+"),
    ]


def _test(reports: Sequence[CodedReport]) -> list[CodedReport]:
    return _trainers().part(reports, "test")  # type: ignore[no-any-return]


def _trainers() -> Any:
    return lib_module("trainers.report_text")
