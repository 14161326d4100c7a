# SPDX-License-Identifier: Apache-2.0
"""The grammar and the labeller agree: what the one means, the other reads."""

import random
from collections import Counter

import pytest

from lib.text.facts import Change, Fact, Side
from lib.text.grammar import MeasuredLesion, MeasuredStudy, write_report
from lib.text.labeller import label_sentence
from lib.text.lexicon_brain import BRAIN_MR
from lib.text.phrases import HAS_CHANGED, NAMES, PHRASES, Kind
from lib.text.sentences import split_sentences
from lib.types.errors import InputError

REGIONS = ("frontal", "parietal", "temporal", "occipital", "insular", "central", "cerebellar", "frontal+parietal")
SEEDS = 400
READ_SEEDS = 120
"""Every sentence of these is read, and every phrasing at least once."""


def lesion_of(draw: random.Random, number: int, compared: bool) -> MeasuredLesion:
    long_mm = draw.uniform(0.4, 90)
    change = draw.choice([None, *Change]) if compared else None
    gone = change is Change.GONE
    volume_ml = draw.choice([None, draw.uniform(0.02, 180)])
    percent = (
        draw.uniform(0.2, 400)
        if change is Change.GROWN
        else -draw.uniform(0.2, 95)
        if change is Change.SHRUNK
        else None
    )
    return MeasuredLesion(
        id=number,
        side=draw.choice([Side.LEFT, Side.RIGHT]),
        region=draw.choice(REGIONS),
        long_mm=None if gone else long_mm,
        short_mm=None if gone or draw.random() < 0.2 else long_mm * draw.uniform(0.2, 1),
        volume_ml=None if gone else volume_ml,
        change=change,
        percent=percent,
        volume_before_ml=draw.choice([None, draw.uniform(0.02, 90)])
        if change in (Change.GROWN, Change.SHRUNK)
        else None,
    )


def study_of(seed: int) -> MeasuredStudy:
    draw = random.Random(seed)
    compared = draw.random() < 0.6
    lesions = tuple(lesion_of(draw, i + 1, compared) for i in range(draw.choice([0, 1, 1, 2, 3, 6, 14])))
    return MeasuredStudy(lesions, compared, draw.choice([None, 1, 92, 400]) if compared else None)


def test_labeller_reads_what_the_grammar_means():
    used = Counter()
    for seed in range(SEEDS):
        for sentence in write_report(study_of(seed), seed):
            first = (sentence.kind, sentence.phrase) not in used
            used[sentence.kind, sentence.phrase] += 1
            if first or seed < READ_SEEDS:
                read = label_sentence(sentence.text, BRAIN_MR)
                assert read == sentence.facts, f"seed {seed}: {sentence.text!r} ({sentence.kind})"
    everything = {(kind, i) for kind, phrases in PHRASES.items() for i in range(len(phrases))}
    assert set(used) == everything, f"never written: {everything - set(used)}"


def test_every_sentence_is_one_sentence_and_well_formed():
    for seed in range(200):
        sentences = [one.text for one in write_report(study_of(seed), seed)]
        assert split_sentences(" ".join(sentences)) == sentences
        for text in sentences:
            assert text[0] == text[0].upper()
            assert text.endswith(".")
            assert "{" not in text
            assert "  " not in text


def test_there_are_many_phrasings():
    assert sum(map(len, PHRASES.values())) >= 80
    assert min(map(len, PHRASES.values())) >= 3
    assert set(PHRASES) == set(Kind)
    assert set(HAS_CHANGED) == {change.value for change in Change}
    assert all(len(names) > 1 for names in NAMES.values())


def test_same_seed_same_report():
    study = study_of(11)
    assert write_report(study, 5) == write_report(study, 5)
    assert len({tuple(one.text for one in write_report(study, seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_a_report_of_one_lesion(side):
    lesion = MeasuredLesion(7, side, "frontal", 32.4, 20.6, 8.43)
    sentences = write_report(MeasuredStudy((lesion,)), 3)
    assert {one.section for one in sentences} == {"findings", "impression"}
    facts = [fact for one in sentences for fact in one.facts]
    assert {fact.side for fact in facts} - {None} == {side}
    assert {fact.size_mm for fact in facts} - {None} == {(32.0, 21.0)}
    assert all(one.lesions == (7,) for one in sentences)
    assert not any(fact.change for fact in facts)


def test_no_lesion():
    sentences = write_report(MeasuredStudy(), 0)
    assert [one.facts for one in sentences] == [(Fact("lesion", False),)] * 2
    assert all(one.lesions == () for one in sentences)


def test_a_change_needs_an_earlier_examination():
    lesion = MeasuredLesion(1, Side.LEFT, "frontal", 10.0, change=Change.GROWN)
    with pytest.raises(InputError, match="compared is False"):
        MeasuredStudy((lesion,))
    with pytest.raises(InputError, match="no long_mm"):
        MeasuredStudy((MeasuredLesion(1, Side.LEFT, "frontal"),))
