# SPDX-License-Identifier: Apache-2.0
"""A person's words beside what the draft was written of."""

from typing import Any

import pytest

from lib.drafting.earlier import EarlierVisit, History
from lib.drafting.recheck import Evidence, Written, compared, written_of
from lib.text import BRAIN_MR, CHEST, Change
from lib.types import Finding, InputError, Measurement

BRAIN = (-70.0, -90.0, -60.0, 70.0, 90.0, 60.0)


def finding(number: int, x: float, long_mm: float, short_mm: float, **measured: float) -> dict[str, Any]:
    """A lesion in the front of the brain; LPS, so that the patient's left has a positive x."""
    sizes = {"long_axis": Measurement(long_mm, "mm"), "short_axis": Measurement(short_mm, "mm")}
    volume = {name: Measurement(value, "ml") for name, value in measured.items()}
    box = (x - 5, -65.0, -5.0, x + 5, -55.0, 5.0)
    return Finding(number, "lesion", 1.0, {}, box, (x, -60.0, 0.0), measurements={**sizes, **volume}).to_json()


FINDINGS = [finding(1, 40.0, 30.0, 20.0, volume=12.0), finding(2, -40.0, 10.0, 8.0, volume=0.5)]
EARLIER = EarlierVisit(90.0, {1: History(Change.GROWN, 40.0, 8.6), 2: History(Change.NEW)}, ((40.0, 50.0, 0.0),))


def said(text: str, known: tuple[int, ...] = (), **evidence: Any) -> dict[str, Any]:
    given = {"findings": FINDINGS, "opinions": {"lesion": "there"}, **evidence}
    [answer] = compared([Written(text, known)], Evidence.from_json(given).scene(BRAIN_MR, BRAIN))
    return answer


@pytest.mark.parametrize(
    ("text", "known", "support", "finding_ids"),
    [
        ("There are two lesions.", (), "supported", [1, 2]),
        ("A left lesion measures 30 x 20 mm.", (), "supported", [1]),
        ("A left lesion measures 10 x 8 mm.", (), "contradicted", [1]),
        ("There are two lesions. Both lie on the left.", (), "unsupported", [1, 2]),
        ("There is not no lesion.", (), "contradicted", [1, 2]),
        ("Seen by Dr A.", (), "unsupported", []),
        ("It measures 30 x 20 mm.", (1,), "supported", [1]),
        ("It measures 30 x 20 mm.", (2,), "not_assessed", []),
        ("It measures 30 x 20 mm.", (), "not_assessed", []),
        ("The left lesion has grown.", (), "not_assessed", []),
        ("No progression.", (), "not_assessed", []),
        ("", (), "not_assessed", []),
    ],
)
def test_words_are_compared(text: str, known: tuple[int, ...], support: str, finding_ids: list[int]) -> None:
    answer = said(text, known)
    assert answer["support"] == support, answer
    assert bool(answer["reason"]) == (support != "supported")
    if support == "supported":
        assert answer["finding_ids"] == finding_ids
        assert answer["facts"]


def test_changes_are_compared_with_the_earlier_visit() -> None:
    earlier = EARLIER.to_json()
    assert said("The left lesion has grown by 40 %.", earlier=earlier)["support"] == "supported"
    assert said("The left lesion has grown by 60 %.", earlier=earlier)["support"] == "contradicted"
    assert said("The left lesion has shrunk.", earlier=earlier)["support"] == "contradicted"


@pytest.mark.parametrize(
    "text",
    [
        "No new lesions and the left frontal lesion is stable.",
        "No new lesion is seen and the left lesion has not grown.",
        "The left frontal lesion shows no change, and there are no new lesions.",
    ],
)
def test_a_denial_ends_where_a_clause_of_its_own_begins(text: str) -> None:
    stable = EarlierVisit(90.0, {1: History(Change.STABLE, 0.0, 12.0), 2: History(Change.GROWN, 40.0, 0.3)})
    assert said(text, earlier=stable.to_json())["support"] == "supported"
    grown = EarlierVisit(90.0, {1: History(Change.GROWN, 40.0, 8.6), 2: History(Change.NEW)})
    assert said(text, earlier=grown.to_json())["support"] != "supported"


def test_an_earlier_visit_is_read_back() -> None:
    assert EarlierVisit.from_json(EARLIER.to_json()) == EARLIER


def test_where_nothing_is_measured_the_findings_head_is_asked() -> None:
    scene = Evidence.from_json({"opinions": {"pneumothorax": "not there"}}).scene(CHEST, None)
    first, second = compared([Written("No pneumothorax."), Written("There is a pneumothorax.")], scene)
    assert (first["support"], second["support"]) == ("supported", "contradicted")


@pytest.mark.parametrize(
    ("evidence", "named"),
    [
        ({"findings": [{"id": 1}]}, "findings"),
        ({"findings": [{**FINDINGS[0], "measurements": {}}]}, "long_axis"),
        ({"findings": FINDINGS * 501}, "1002 are too many"),
        ({"opinions": {"lesion": "maybe"}}, "opinions"),
        ({"opinions": ["x"]}, "must be an object"),
        ({"earlier": {"days": "soon"}}, "earlier"),
        ({"earlier": {"lesions": {"1": {"change": "odd"}}}}, "earlier"),
        ({"earlier": {"gone": [[1, 2]]}}, "earlier"),
    ],
)
def test_wrong_evidence_is_named(evidence: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Evidence.from_json(evidence)


@pytest.mark.parametrize("sentences", [None, [{"words": "x"}], [{"text": "x" * 2001}], [{"text": "x"}] * 101, ["x"]])
def test_wrong_sentences_are_named(sentences: Any) -> None:
    with pytest.raises(InputError, match="sentences"):
        written_of(sentences)
