# SPDX-License-Identifier: Apache-2.0
"""Reports as JSON: nothing is lost, nothing unknown is taken, old documents are read."""

import json
import random
from dataclasses import replace

import pytest

from lib.types import InputError
from lib.types.report import Decision, Report, ReportStatus, Sentence, Support

from .making import SHIFT, SIDE, SIZE, T1, draft


def test_every_field_comes_back() -> None:
    first = draft(version=1, created_at=T1, changed_at=T1, prior_image="1.2.3", draft={"findings": {"f1": "x"}})
    report = replace(
        first,
        version=4,
        status=ReportStatus.AMENDED,
        author="net",
        signer="Jane Doe",
        signed_at=T1,
        amendment_reason="wrong side",
        history=(first, replace(first, version=3, status=ReportStatus.SIGNED)),
    )
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert report.to_json()["sections"]["findings"][0] == {
        "id": "f1",
        "text": SIZE.text,
        "finding_ids": [1],
        "facts": [
            {"finding": "lesion", "present": True, "side": "left", "size_mm": [12.0, 9.5], "location": "frontal"}
        ],
        "support": "supported",
        "confidence": 0.83,
        "frame_attention": {"3": 0.7, "4": 0.3},
        "word_attention": [["headache", 0.6], ["left", 0.4]],
        "alternatives": [{"text": "A left frontal lesion measures 12 mm.", "confidence": 0.4}],
        "decision": "drafted",
    }


def test_old_documents_are_read() -> None:
    old = {
        "sections": {
            "findings": [
                {"text": "A.", "finding_ids": [1], "confidence": 0.75, "supported": True},
                {"text": "B.", "supported": False},
                {"text": "C."},
            ]
        },
        "status": "signed",
        "author": "Dr A",
        "changed_at": "2026-01-02T03:04:05",
    }
    report = Report.from_json(old)
    assert [s.support for s in report.sentences] == [Support.SUPPORTED, Support.UNSUPPORTED, Support.SUPPORTED]
    assert (report.status, report.version, report.author) == (ReportStatus.SIGNED, 1, "Dr A")
    assert Report.from_json({"sections": {}}) == Report({})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sction": {}}, "unknown key 'sction'"),
        ({"status": "final"}, "status: 'final'"),
        ({"version": 0}, "version: must be a whole number from 1"),
        ({"version": True}, "version: must be a whole number"),
        ({"signed_at": "2026-03-01T10:00:00"}, "does not say its time zone"),
        ({"signed_at": "yesterday"}, "signed_at: "),
        ({"author": 3}, "author: must be a text"),
        ({"sections": []}, "sections: must be an object, not list"),
        ({"sections": None}, "sections: must be an object, not nothing"),
        ({"sections": {"findings": {}}}, "must be a list"),
        ({"draft": {"findings": {"f1": 3}}}, "draft: must be a text"),
        ({"history": [{"sections": {}, "version": 1}]}, "history: holds earlier versions"),
        ({"history": [{"sections": {}, "x": 1}]}, "history: unknown key 'x'"),
    ],
)
def test_a_wrong_report_is_refused_by_its_place(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=f"report: .*{words}"):
        Report.from_json({"sections": {}, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"txt": "x"}, "unknown key 'txt'; known are alternatives, confidence"),
        ({"text": None}, "text: must be a text, not nothing"),
        ({"support": "maybe"}, "support: 'maybe'"),
        ({"decision": "liked"}, "decision: 'liked'"),
        ({"confidence": 1.5}, "confidence: must lie between 0 and 1"),
        ({"confidence": float("nan")}, "confidence: must be a number"),
        ({"finding_ids": ["1"]}, "finding_ids: must be a whole number"),
        ({"frame_attention": {"x": 1}}, "frame_attention: "),
        ({"word_attention": ["x"]}, "word_attention: "),
        ({"alternatives": [{"text": "x", "score": 1}]}, "alternatives: unknown key 'score'"),
        ({"facts": [{"side": "left"}]}, "facts: finding: must be a text"),
        ({"facts": [{"finding": "lesion", "size_mm": {}}]}, "facts: size_mm: must be a number"),
        ({"id": 4}, "id: must be a text"),
    ],
)
def test_a_wrong_sentence_is_refused_by_its_place(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=f"report: sections: findings, sentence 2: {words}"):
        Report.from_json({"sections": {"findings": [{"text": "A."}, {"text": "B.", **change}]}})


def test_ids_are_not_given_twice() -> None:
    with pytest.raises(InputError, match="two sentences have the id 'f1'"):
        Report.from_json({"sections": {"a": [{"id": "f1", "text": "A."}], "b": [{"id": "f1", "text": "B."}]}})


def test_a_doubtful_sentence_says_so_until_someone_decides() -> None:
    assert SHIFT.shown == "[not supported by any finding] The midline is shifted."
    assert SIDE.shown == "[contradicted by the findings] The right ventricle is wide."
    for decision in (Decision.ACCEPTED, Decision.EDITED, Decision.ADDED):
        assert replace(SHIFT, decision=decision).shown == SHIFT.text
    assert replace(SHIFT, support=Support.NOT_ASSESSED).shown == SHIFT.text


@pytest.mark.parametrize("seed", range(5))
def test_any_report_comes_back(seed: int) -> None:
    draw = random.Random(seed)
    words = ["ä", "🎉", '"', "\\", "\n", "\x00", "\ud83d", "lesion", " "]

    def text() -> str:
        return "".join(draw.choices(words, k=draw.randint(0, 6)))

    def sentence(number: int) -> Sentence:
        return Sentence(
            text(),
            tuple(draw.sample(range(9), draw.randint(0, 3))),
            draw.random(),
            draw.choice(list(Support)),
            f"s{number}",
            ({"finding": text(), "present": draw.choice([True, False, None]), "volume_ml": draw.random()},),
            {draw.randrange(40): draw.random()},
            ((text(), draw.random()),),
            (),
            draw.choice(list(Decision)),
        )

    report = Report({text() + str(k): tuple(sentence(10 * k + i) for i in range(3)) for k in range(4)}, author=text())
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_a_report_and_a_sentence_have_a_limit():
    with pytest.raises(InputError, match="at most 1000"):
        Report.from_json({"sections": {"findings": [{"text": "a"}] * 1001}})
    with pytest.raises(InputError, match="findings, sentence 1: text: has 20001 characters"):
        Report.from_json({"sections": {"findings": [{"text": "a" * 20001}]}})
