# SPDX-License-Identifier: Apache-2.0
"""Chest radiographs with notes: the ablation CNN / BiLSTM / attention / full, cross-validated by patient.

What is predicted is the disease, from the image and the history with the names of diseases masked; what is written is
what the note says of the image (see :mod:`lib.trainers.report_notes`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cli_options import model_config
from ..roots import lib_module
from .report_scores import ReportScores, nearest_reports, plain_words, score_reports, scores_table, template_report
from .tfidf import tfidf_regression
from .toy import markdown_table

logger = logging.getLogger(__name__)
ARMS = {"CNN": "cnn", "BiLSTM": "bilstm", "attention": "attention", "full": "full"}
N_FOLDS, FOLD_SEED = 5, 0
MODEL, WITHOUT_FINDINGS = "report_chest", ("report.findings=[]", "report.network.heads.findings=0")
"""What is scored is the class and the text; findings are told in too few notes."""
REGRESSION, TEMPLATE, NEAREST = "TF-IDF + logistic regression", "constant template", "nearest history"
Indices = npt.NDArray[np.intp]
Statistic = Callable[[Indices], float]


@dataclass(frozen=True)
class ChestSettings:
    """What the benchmark does.

    Attributes:
        notes: Folder of the radiographs with notes.
        indiana: Folder of the Indiana reports; None for no training on them.
        seed: Of the weights; the folds have a seed of their own.
        cpu_seconds: Processor time of each arm in each fold; None for the epochs of the configuration.
        pretraining_seconds: Processor time of the training on Indiana reports.
        output: JSON file for what each arm said of each study; None for none.
        resamples: Of the patients, for the intervals.
    """

    notes: Path
    indiana: Path | None
    seed: int = 0
    cpu_seconds: float | None = None
    pretraining_seconds: float = 900.0
    output: Path | None = None
    resamples: int = 2000


@dataclass
class Said:
    """What one way said of all studies.

    Attributes:
        classes: Index of the class, (N,); None for what only writes.
        texts: What it wrote; None for what only tells the class.
    """

    classes: Indices | None
    texts: list[str] | None


def benchmark_chest(settings: ChestSettings) -> str:
    """Train every arm in every fold and score what they said of the fold left out; Markdown."""
    notes = _notes().read_notes(settings.notes)
    said = cross_validate(notes, settings)
    if settings.output is not None:
        _write(settings.output, notes, said)
    return tables(notes, said, settings.resamples)


def cross_validate(notes: Sequence[Any], settings: ChestSettings) -> dict[str, Said]:
    """What every arm, the template and the retrieval said of every study, each in the fold where it is left out."""
    chest, config = lib_module("trainers.report_chest"), model_config(MODEL, list(WITHOUT_FINDINGS))
    indiana = _indiana(settings)
    base = chest.indiana_vocabulary(indiana)
    start = None
    if indiana:
        start = chest.pretrain(chest.sized(config, base), indiana, base, settings.seed, settings.pretraining_seconds)
    images = chest.load_images(notes, config.input.max_size_px)
    folds = _notes().note_folds(notes, N_FOLDS, FOLD_SEED)
    said = {name: Said(np.zeros(len(notes), np.intp), [""] * len(notes)) for name in ARMS}
    said |= {name: Said(None, [""] * len(notes)) for name in (TEMPLATE, NEAREST)}
    said[REGRESSION] = Said(np.zeros(len(notes), np.intp), None)
    for fold in range(N_FOLDS):
        own, test = [one for one, f in zip(notes, folds, strict=True) if f != fold], np.flatnonzero(folds == fold)
        vocabulary = chest.add_words(base, own)
        train = chest.note_cases(own, vocabulary, images)
        cases = chest.note_cases([notes[i] for i in test], vocabulary, images)
        own_config = chest.sized(config, vocabulary)
        for name, twin in ARMS.items():
            arm = chest.fit_arm(own_config, twin, train, vocabulary, settings.seed, settings.cpu_seconds, start)
            logger.info("fold %d, %s: %s, %d steps", fold, name, arm.fit.history[-1].line(), arm.fit.steps)
            said[name].classes[test] = arm.classify(cases).argmax(1)  # type: ignore[index]
            _put(said[name], test, arm.write(cases))
        said[REGRESSION].classes[test] = _regression(own, [notes[i] for i in test])  # type: ignore[index]
        written = [one for one in own if one.description]
        _put(said[TEMPLATE], test, [template_report([one.description for one in written])] * len(test))
        _put(said[NEAREST], test, _nearest(written, [notes[i] for i in test]))
    return said


def _put(said: Said, places: Indices, texts: Sequence[str]) -> None:
    assert said.texts is not None
    for place, text in zip(places, texts, strict=True):
        said.texts[place] = text


def _regression(train: Sequence[Any], test: Sequence[Any]) -> Indices:
    """The class that counted words of the history speak for."""
    known = [one for one in train if one.study_class >= 0]
    classes = np.array([one.study_class for one in known])
    return tfidf_regression([one.history for one in known], classes, [one.history for one in test])


def _nearest(train: Sequence[Any], test: Sequence[Any]) -> list[str]:
    """The description of the training note with the most similar history (words that many notes have count less)."""
    words = [set(plain_words(one.history)) for one in (*train, *test)]
    counted: dict[str, int] = {}
    for own in words[: len(train)]:
        for word in own:
            counted[word] = counted.get(word, 0) + 1
    rarity = {word: np.log(len(train) / n) for word, n in counted.items()}
    vectors = np.array([[weight * (word in own) for word, weight in rarity.items()] for own in words])
    return nearest_reports(vectors[: len(train)], [one.description for one in train], vectors[len(train) :])


def _indiana(settings: ChestSettings) -> list[Any]:
    if settings.indiana is None:
        return []
    return list(lib_module("text.indiana").read_reports(settings.indiana / "indiana_reports.csv"))


def tables(notes: Sequence[Any], said: dict[str, Said], resamples: int) -> str:
    """Class scores with intervals over patients, then the scores of the texts."""
    described = [i for i, one in enumerate(notes) if one.description]
    wanted, lexicon = [notes[i].description for i in described], lib_module("text.lexicon_chest").CHEST
    written = {name: one.texts for name, one in said.items() if one.texts is not None}
    scores = {name: score_reports([texts[i] for i in described], wanted, lexicon) for name, texts in written.items()}
    patients = np.array([notes[i].patient for i in described])
    return "\n".join(
        [class_table(notes, said, resamples), scores_table(scores), "", text_table(scores, patients, resamples)]
    )


def class_table(notes: Sequence[Any], said: dict[str, Said], resamples: int) -> str:
    """Accuracy, macro recall and macro F1 where the class is known, and each less that of the full model."""
    classes = np.array([one.study_class for one in notes])
    known = np.flatnonzero(classes >= 0)
    truth, patients = classes[known], np.array([notes[i].patient for i in known])
    rows = [["arm", *(cell for name in CLASS_SCORES for cell in (name, "less full"))]]
    common = np.full(len(known), np.bincount(truth).argmax())
    guesses = {"most frequent class": common}
    guesses |= {name: one.classes[known] for name, one in said.items() if one.classes is not None}
    for name, guess in guesses.items():
        row = [name]
        for score in CLASS_SCORES.values():
            row.append(_shown(lambda i, g=guess, s=score: s(g[i], truth[i]), patients, resamples))  # type: ignore[misc]
            full = guesses["full"]
            row.append(
                "-"
                if name == "full"
                else _shown(
                    lambda i, g=guess, s=score, f=full: s(g[i], truth[i]) - s(f[i], truth[i]),  # type: ignore[misc]
                    patients,
                    resamples,
                    "+",
                )
            )
        rows.append(row)
    return f"{len(known)} studies of {len(set(patients))} patients\n\n{markdown_table(rows)}"


def text_table(scores: dict[str, ReportScores], patients: npt.NDArray[Any], resamples: int) -> str:
    """ROUGE-L and fact F1 less those of the full model, with intervals over patients."""
    total = lib_module("text.fact_scores").total_score
    full = scores["full"]
    rows = [["arm", "ROUGE-L less full", "fact F1 less full"]]
    for name, one in scores.items():
        rouge, best = np.array(one.rouge_l), np.array(full.rouge_l)
        rows.append(
            [
                name,
                _shown(lambda i, a=rouge, b=best: float((a - b)[i].mean()), patients, resamples, "+"),  # type: ignore[misc]
                _shown(
                    lambda i, a=one: total(a.each[k] for k in i).f1 - total(full.each[k] for k in i).f1,  # type: ignore[misc]
                    patients,
                    min(resamples, 500),
                    "+",
                ),
            ]
        )
    return f"{len(patients)} notes that describe the image, of {len(set(patients))} patients\n\n{markdown_table(rows)}"


def _shown(statistic: Statistic, patients: npt.NDArray[Any], resamples: int, sign: str = "") -> str:
    """A statistic and its 95 % interval over patients."""
    own = [np.flatnonzero(patients == one) for one in np.unique(patients)]
    interval = lib_module("metrics").bootstrap_ci(
        len(own), lambda drawn: statistic(np.concatenate([own[k] for k in drawn])), resamples
    )
    shown = f"{statistic(np.arange(len(patients))):{sign}.3f}"
    return shown if interval is None else f"{shown} [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"


def accuracy(guess: Indices, truth: Indices) -> float:
    """Share that is right."""
    return float((guess == truth).mean())


def macro_recall(guess: Indices, truth: Indices) -> float:
    """Mean over the classes that are there."""
    return float(np.mean([(guess[truth == k] == k).mean() for k in np.unique(truth)]))


def macro_f1(guess: Indices, truth: Indices) -> float:
    """Mean over the classes that are there or guessed."""
    counts = [
        ((guess == k).sum() + (truth == k).sum(), ((guess == k) & (truth == k)).sum()) for k in np.union1d(guess, truth)
    ]
    return float(np.mean([2 * right / total for total, right in counts]))


CLASS_SCORES = {"accuracy": accuracy, "macro recall": macro_recall, "macro F1": macro_f1}


def _write(path: Path, notes: Sequence[Any], said: dict[str, Said]) -> None:
    """No text of a note: only what the arms said."""
    rows = {
        name: [
            {
                "study": note.study_id,
                "class": None if one.classes is None else int(one.classes[i]),
                "text": None if one.texts is None else one.texts[i],
            }
            for i, note in enumerate(notes)
        ]
        for name, one in said.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _notes() -> Any:
    return lib_module("trainers.report_notes")
