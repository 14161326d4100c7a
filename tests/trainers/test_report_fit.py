# SPDX-License-Identifier: Apache-2.0
"""Batches of studies with reports, and the loop that learns from them."""

import dataclasses

import numpy as np
import pytest
import torch

from lib.configs import TrainingConfig
from lib.configs.report import (
    BEGIN,
    END,
    PAD,
    UNKNOWN,
    BeamConfig,
    ImageTokensConfig,
    ReportDecoderConfig,
    ReportHeadsConfig,
    ReportNetConfig,
    TextEncoderConfig,
)
from lib.networks.report_net import ReportNet
from lib.text import Vocabulary
from lib.trainers.report_cases import ReportCase, ReportSampler, collate, drop_words, read_text
from lib.trainers.report_fit import ReportObjective, fit_report, probabilities, write_reports
from lib.types import InputError

CONFIG = ReportNetConfig(
    dim=16,
    text=TextEncoderConfig(vocabulary_size=12, hash_buckets=8, embedding=16, hidden=8, dropout=0.0),
    image=ImageTokensConfig(features=4, dropout=0.0),
    heads=ReportHeadsConfig(classes=2, findings=2, dropout=0.0),
    decoder=ReportDecoderConfig(hidden=24, attention_hidden=8, prompt=8, lesion_features=3, dropout=0.0),
)
SETTINGS = TrainingConfig(max_epochs=4, steps_per_epoch=15, batch_size=16, ema_decay=0.9)


def case(n: int, seed: int = 0) -> ReportCase:
    """Frame feature 0 decides the class and the first word; a word of the text decides the finding and the second."""
    rng = np.random.default_rng((n, seed))
    shown, told = rng.integers(2, size=2)
    image = rng.normal(0, 0.1, (int(rng.integers(1, 4)), 4)).astype(np.float32)
    image[:, 0] += 2 * shown - 1
    words = (4, 5 + int(told), 4) if n % 3 else (5 + int(told),)
    findings = np.array([told, np.nan], np.float32)
    return ReportCase(f"s{n}", f"p{n}", image, words, (), None, (8 + int(shown), 10 + int(told)), findings, int(shown))


def test_batches_are_filled_up_and_masked() -> None:
    first = ReportCase("a", "a", np.ones((2, 4), np.float32), (5, 1), ((), (3, 7)), np.ones((1, 3)), (8, 9, 10))
    second = ReportCase("b", "b", None, (), (), None, (), np.array([1.0, np.nan]), 1)
    batch = collate([first, second], 2)
    assert batch.inputs.image.shape == (2, 2, 4)
    assert batch.inputs.image_mask.tolist() == [[True, True], [False, False]]
    assert batch.inputs.words.tolist() == [[5, 1], [PAD, PAD]]
    assert batch.inputs.groups.tolist() == [[[-1, -1], [3, 7]], [[-1, -1], [-1, -1]]]
    assert batch.inputs.lesion_mask.tolist() == [[True], [False]]
    assert batch.report.tolist() == [[BEGIN, 8, 9, 10, END], [PAD] * 5]
    assert batch.findings[0].isnan().all()
    assert batch.findings[1, 0] == 1
    assert batch.classes.tolist() == [-1, 1]
    output = ReportNet(CONFIG)(batch.inputs, batch.report[:, :-1])
    assert torch.isfinite(ReportObjective().loss(output, batch))


def test_a_batch_of_nothing_but_reports() -> None:
    batch = collate([ReportCase("a", "a", report=(8,))])
    assert batch.inputs.image is batch.inputs.lesions is batch.inputs.groups is None
    assert batch.inputs.words.tolist() == [[PAD]]


@pytest.mark.parametrize(
    "odd",
    [
        ReportCase("odd", "b", np.zeros((2, 5), np.float32), lesions=np.zeros((1, 3))),
        ReportCase("odd", "b", np.zeros((2, 4), np.float32), lesions=np.zeros((1, 2))),
        ReportCase("odd", "b", np.zeros((2, 4), np.float32), findings=np.zeros(3)),
    ],
)
def test_shapes_that_do_not_fit_say_whose_they_are(odd: ReportCase) -> None:
    good = ReportCase("good", "a", np.zeros((2, 4), np.float32), lesions=np.zeros((1, 3)))
    with pytest.raises(InputError, match="odd"):
        collate([odd, good], 2)


def test_text_is_read_with_the_letters_of_unknown_words() -> None:
    vocabulary = Vocabulary.build(["the heart is large", "the heart is small"], minimum_count=1, buckets=8)
    ids, groups = read_text("The heart is cardiomegalic", vocabulary)
    assert ids[3] == UNKNOWN
    assert [bool(word) for word in groups] == [False, False, False, True]
    assert len(read_text("the " * 50, vocabulary, max_words=7)[0]) == 7


def test_every_study_comes_once_before_any_comes_twice() -> None:
    cases = [case(n) for n in range(6)]
    drawn: list[str] = []

    def note(one: ReportCase, rng: np.random.Generator) -> ReportCase:
        drawn.append(one.study_id)
        return dataclasses.replace(one, study_class=int(rng.integers(2)))

    sampler = ReportSampler(cases, 4, 2, 0, note)
    for _ in range(3):
        assert len(sampler.batch().classes) == 4
    assert sorted(drawn[:6]) == sorted(drawn[6:12]) == sorted(one.study_id for one in cases)
    assert len(ReportSampler(cases[:2], 4, 2, 0).batch().classes) == 2


def test_a_batch_holds_reports_of_like_length() -> None:
    """Each pool of 4 x 4 studies has the lengths 1 to 16: a batch has four neighbours, in any order."""
    cases = [ReportCase(str(n), str(n), report=(9,) * n) for n in range(1, 17)]
    sampler = ReportSampler(cases, 4, 0, 0)
    for _ in range(2):
        longest = [sampler.batch().report.shape[1] - 2 for _ in range(ReportSampler.POOL)]
        assert sorted(longest) == [4, 8, 12, 16]
        assert longest != [4, 8, 12, 16]


def test_dropped_words_are_unknown_and_their_letters_gone() -> None:
    inputs = collate([ReportCase("a", "a", words=(5, 1, 6), groups=((), (2,), ())), ReportCase("b", "b", words=(7,))])
    dropped = drop_words(inputs.inputs, 1.0, torch.Generator())
    assert dropped.words.tolist() == [[UNKNOWN] * 3, [UNKNOWN, PAD, PAD]]
    assert dropped.groups.max() == -1
    assert drop_words(inputs.inputs, 0.0, torch.Generator()) is inputs.inputs


@pytest.mark.slow
def test_it_learns_and_keeps_the_best() -> None:
    train, val = [case(n) for n in range(96)], [case(n, 1) for n in range(40)]
    torch.manual_seed(0)
    network = ReportNet(CONFIG)
    lines: list[str] = []
    fit = fit_report(
        network, train, val, SETTINGS, ReportObjective(smoothing=0.0, coverage=0.01, word_dropout=0.02),
        learning_rate=2e-2, on_epoch=lambda progress, state: lines.append(progress.line()),
    )  # fmt: skip
    assert len(lines) == 4
    assert "ETA" in lines[-1]
    assert fit.val_score == max(one.val_score for one in fit.history)
    assert fit.steps == 60
    network.load_state_dict(fit.state)
    classes, findings = probabilities(network, val)
    assert (classes.argmax(1) == [one.study_class for one in val]).mean() > 0.95
    assert ((findings[:, 0] > 0.5) == [one.findings[0] for one in val]).mean() > 0.95
    found = write_reports(network, val, BeamConfig(beams=2, alternatives=1, max_length=4))
    assert np.mean([best.ids == one.report for (best,), one in zip(found, val, strict=True)]) > 0.95


def test_the_same_seed_gives_the_same_weights_and_the_budget_ends_it() -> None:
    settings = dataclasses.replace(SETTINGS, max_epochs=1, steps_per_epoch=3)
    cases, states = [case(n) for n in range(20)], []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(fit_report(ReportNet(CONFIG), cases, [], settings, learning_rate=1e-2).state)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    endless = dataclasses.replace(SETTINGS, max_epochs=10**6)
    assert fit_report(ReportNet(CONFIG), cases, [], endless, learning_rate=1e-2, cpu_budget_s=0.2).steps < 100


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(InputError, match="no study"):
        fit_report(ReportNet(CONFIG), [], [], SETTINGS, learning_rate=1e-2)
