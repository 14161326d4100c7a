# SPDX-License-Identifier: Apache-2.0
"""Word diffs say exactly what was kept, removed and added."""

import random

import pytest

from lib.reports.changes import Kept, change_from_draft, compare_texts, word_spans
from lib.reports.versions import saved

from .making import T1, T2, draft, edited


def spans(before: str, after: str) -> list[tuple[str, str]]:
    return [(span.kind.value, span.text) for span in word_spans(before, after)[0]]


def test_a_corrected_number_is_one_word() -> None:
    assert spans("A lesion of 12.5 mm, left.", "A lesion of 14 mm, left.") == [
        ("kept", "A lesion of"),
        ("removed", " 12.5"),
        ("added", " 14"),
        ("kept", " mm, left."),
    ]
    counts = word_spans("A lesion of 12.5 mm, left.", "A lesion of 14 mm, left.")[1]
    assert (counts.kept, counts.removed, counts.added) == (7, 1, 1)
    assert counts.share == pytest.approx(2 / 16)


def test_the_ends_of_the_scale() -> None:
    assert word_spans("", "")[1].share == 0
    assert word_spans("Same words.", "Same words.")[1].share == 0
    assert word_spans("Same words.", "Same  words. ")[1].share == 0
    assert word_spans("left", "right")[1].share == 1
    assert word_spans("", "All new.")[1].share == 1
    assert spans("gone", "") == [("removed", "gone")]


@pytest.mark.parametrize("seed", range(20))
def test_spans_put_together_are_the_texts(seed: int) -> None:
    draw = random.Random(seed)
    parts = ["lesion", " ", "12.4", "mm", ".", ", ", "\n", "ä-b", "\u2019", "_", "左", "  ", "%"]
    before, after = ("".join(draw.choices(parts, k=draw.randint(0, 25))) for _ in range(2))
    found, counts = word_spans(before, after)
    assert "".join(s.text for s in found if s.kind is not Kept.REMOVED) == after
    old = "".join(s.text for s in found if s.kind is not Kept.ADDED)
    assert old.split() == before.split() or "".join(old.split()) == "".join(before.split())
    assert 0 <= counts.share <= 1
    assert word_spans(after, before)[1].share == pytest.approx(counts.share, abs=0.35)


def test_sentences_are_matched_by_their_id() -> None:
    before = {"findings": {"a": "One.", "b": "Two lesions.", "c": "Three."}, "impression": {"d": "Four."}}
    after = {"findings": {"x": "New.", "a": "One."}, "impression": {"c": "Three.", "d": "Five."}}
    change = compare_texts(before, after)
    told = [(s.id, s.section, s.kind.value) for s in change.sentences]
    assert told == [
        ("x", "findings", "added"),
        ("a", "findings", "same"),
        ("b", "findings", "removed"),
        ("c", "impression", "same"),
        ("d", "impression", "edited"),
    ]
    assert (change.counts.kept, change.counts.removed, change.counts.added) == (5, 4, 3)
    assert change.share == pytest.approx(7 / 17)


def test_what_is_gone_first_comes_first() -> None:
    assert [s.id for s in compare_texts({"f": {"a": "A", "b": "B"}}, {"f": {"c": "C"}}).sentences] == ["a", "b", "c"]


def test_how_much_a_correction_changed() -> None:
    first = saved(draft(), None, "net", T1)
    assert change_from_draft(first).share == 0
    second = saved(edited(first, f2=None, f3="The left ventricle is wide."), first, "Jane", T2)
    change = change_from_draft(second)
    kinds = {s.id: s.kind.value for s in change.sentences}
    assert kinds == {"c1": "same", "f1": "same", "f2": "removed", "f3": "edited", "i1": "same"}
    shares = {s.id: s.counts.share for s in change.sentences}
    assert shares["f2"] == 1
    assert shares["f3"] == pytest.approx(2 / 12)
    assert change.to_json()["counts"] == {"kept": 29, "removed": 6, "added": 1}
    assert change.to_json()["share"] == pytest.approx(7 / 65)
