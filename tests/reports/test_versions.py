# SPDX-License-Identifier: Apache-2.0
"""From the draft to the signature and beyond: what each step keeps, and what it refuses."""

from dataclasses import replace

import pytest

from lib.reports.versions import (
    ReportConflict,
    amended,
    check_follows,
    saved,
    signed,
    texts_of,
    version_of,
    versions_of,
    with_ids,
)
from lib.types import InputError
from lib.types.report import Decision, Report, ReportStatus, Sentence, Support

from .making import T1, T2, T3, draft, edited

DECIDED = {"f2": None, "f3": "The left ventricle is wide."}


def by_id(report: Report) -> dict[str, Sentence]:
    return {sentence.id: sentence for sentence in report.sentences}


def corrected() -> Report:
    first = saved(draft(), None, "report_brain_mr", T1)
    return saved(edited(first, **DECIDED), first, "Jane Doe", T2)


def test_the_way_of_a_report() -> None:
    first = saved(draft(), None, "report_brain_mr", T1)
    second = saved(edited(first, **DECIDED), first, "Jane Doe", T2)
    third = signed(second, "Jane Doe", T3)
    fourth = amended(edited(third, i1="One lesion, left frontal."), third, "John Roe", "place was missing", T3)
    told = [(v.version, v.status.value, v.author, v.signer, v.changed_at) for v in versions_of(fourth)]
    assert told == [
        (1, "draft", "report_brain_mr", "", T1),
        (2, "corrected", "Jane Doe", "", T2),
        (3, "signed", "Jane Doe", "Jane Doe", T3),
        (4, "amended", "John Roe", "John Roe", T3),
    ]
    assert {v.created_at for v in versions_of(fourth)} == {T1}
    assert version_of(fourth, 3) == third.alone
    assert version_of(fourth, 9) is None
    assert (fourth.model, fourth.weights_sha256) == ("report_brain_mr", "ab" * 32)
    assert fourth.draft == texts_of(first) == first.draft
    assert fourth.amendment_reason == "place was missing"
    assert Report.from_json(fourth.to_json()) == fourth


def test_decisions_agree_with_the_words() -> None:
    first = saved(draft(), None, "net", T1)
    new = edited(first, f2=None, f3="The left ventricle is wide.")
    accepted = replace(new.sections["impression"][0], decision=Decision.ACCEPTED)
    new = replace(new, sections={**new.sections, "impression": (accepted, Sentence("Follow up in 3 months."))})
    sentences = by_id(saved(new, first, "Jane", T2))
    assert {one: sentence.decision.value for one, sentence in sentences.items()} == {
        "c1": "drafted",
        "f1": "drafted",
        "f2": "struck",
        "f3": "edited",
        "i1": "accepted",
        "impression-1": "added",
    }
    assert sentences["impression-1"].support is Support.NOT_ASSESSED


def test_evidence_of_other_words_is_dropped() -> None:
    first = saved(draft(), None, "net", T1)
    sentence = by_id(saved(edited(first, f1="There is a lesion of 14 mm on the left."), first, "Jane", T2))["f1"]
    assert (sentence.facts, sentence.support, sentence.frame_attention) == ((), Support.NOT_ASSESSED, {})
    assert sentence.finding_ids == (1,)
    checked = edited(first, f1="There is a lesion of 14 mm on the left.")
    facts = ({"finding": "lesion", "size_mm": 14.0},)
    own = tuple(replace(s, facts=facts, support=Support.CONTRADICTED) if s.id == "f1" else s for s in checked.sentences)
    sentence = by_id(saved(replace(checked, sections={"findings": own}), first, "Jane", T2))["f1"]
    assert (sentence.facts, sentence.support) == (facts, Support.CONTRADICTED)


def test_words_put_back_are_the_drafts_again() -> None:
    first = saved(draft(), None, "net", T1)
    second = saved(edited(first, i1="Two lesions."), first, "Jane", T2)
    third = saved(edited(second, i1="One lesion on the left."), second, "Jane", T3)
    assert [by_id(r)["i1"].decision.value for r in (first, second, third)] == ["drafted", "edited", "accepted"]


def test_nothing_new_is_no_version() -> None:
    second = corrected()
    assert saved(second.alone, second, "Somebody Else", T3) is second


def test_a_report_without_a_draft_is_all_added() -> None:
    report = saved(Report({"findings": (Sentence("Normal."),)}, ReportStatus.CORRECTED), None, "Jane", T1)
    [sentence] = report.sentences
    assert (sentence.id, sentence.decision, sentence.support) == ("findings-1", Decision.ADDED, Support.NOT_ASSESSED)
    assert (report.version, report.draft, report.history) == (1, {}, ())


def test_a_first_version_has_no_past() -> None:
    claimed = replace(draft(), version=7, signer="Nobody", signed_at=T1, history=(draft(),))
    report = saved(claimed, None, "net", T2)
    assert (report.version, report.signer, report.signed_at, report.history) == (1, "", "", ())


def test_ids_are_found_again_by_the_words() -> None:
    first = saved(draft(), None, "net", T1)
    nameless = {name: tuple(replace(s, id="") for s in part) for name, part in first.sections.items()}
    nameless["findings"] = (Sentence("No shift."), *nameless["findings"][:1])
    second = saved(replace(first, sections=nameless, status=ReportStatus.CORRECTED), first, "Jane", T2)
    assert [sentence.id for sentence in second.sentences] == ["c1", "findings-1", "f1", "i1"]
    gone = replace(second, sections={**second.sections, "findings": second.sections["findings"][1:]})
    third = saved(gone, second, "Jane", T3)
    more = replace(third, sections={**third.sections, "findings": (Sentence("Other."), *third.sections["findings"])})
    assert saved(more, third, "Jane", T3).sections["findings"][0].id == "findings-2"


def test_the_same_words_twice_get_two_ids() -> None:
    report = with_ids(Report({"findings": (Sentence("A."), Sentence("A."))}), {"findings": {"x": "A."}})
    assert [sentence.id for sentence in report.sentences] == ["x", "findings-1"]


def test_signing_takes_decisions_first() -> None:
    first = saved(draft(), None, "net", T1)
    with pytest.raises(InputError, match=r"2 sentences are doubtful .*not supported.*The midline is shifted"):
        signed(first, "Jane", T2)
    done = signed(corrected(), " Jane ", T3)
    assert {s.decision.value for s in done.sentences} == {"accepted", "struck", "edited"}
    assert (done.signer, done.signed_at, done.status) == ("Jane", T3, ReportStatus.SIGNED)
    assert done.standing["findings"][0].facts == draft().sections["findings"][0].facts


def test_what_cannot_be_signed() -> None:
    with pytest.raises(InputError, match="name of who signs"):
        signed(corrected(), "  ", T3)
    nothing = saved(edited(draft(), c1=None, f1=None, f2=None, f3=None, i1=None), None, "Jane", T1)
    with pytest.raises(InputError, match="says nothing"):
        signed(nothing, "Jane", T2)
    with pytest.raises(InputError, match="not saved as signed"):
        saved(replace(draft(), status=ReportStatus.SIGNED), None, "Jane", T1)


def test_a_signed_report_never_changes() -> None:
    done = signed(corrected(), "Jane", T3)
    for change in (
        lambda: saved(edited(done.alone, i1="Nothing."), done, "John", T3),
        lambda: saved(draft(), done, "net", T3),
        lambda: check_follows(draft(), done),
        lambda: check_follows(replace(done, author="John"), done),
    ):
        with pytest.raises(ReportConflict, match=r"version 3 of the report \(signed by Jane, .*amend it"):
            change()
    with pytest.raises(ReportConflict, match="cannot be signed again"):
        signed(done, "John", T3)
    assert signed(corrected(), "Jane", T3) == done


def test_amendments_say_why_and_change_something() -> None:
    done = signed(corrected(), "Jane", T3)
    other = edited(done, i1="Two lesions.")
    with pytest.raises(InputError, match="needs its reason"):
        amended(other, done, "Jane", " ", T3)
    with pytest.raises(InputError, match="says what version 3 says"):
        amended(done, done, "Jane", "why not", T3)
    with pytest.raises(ReportConflict, match="not signed"):
        amended(other, corrected(), "Jane", "too early", T3)
    once = amended(other, done, "Jane", "missed one", T3)
    twice = amended(edited(once, i1="Three lesions."), once, "Jane", "missed another", T3)
    assert [v.amendment_reason for v in versions_of(twice)] == ["", "", "", "missed one", "missed another"]
    doubtful = Sentence("The midline is shifted.", support=Support.UNSUPPORTED, id="f2")
    sections = {**done.sections, "findings": (*done.sections["findings"][:1], doubtful)}
    with pytest.raises(InputError, match="doubtful"):
        amended(replace(done, sections=sections), done, "Jane", "struck by mistake", T3)


def test_a_draft_does_not_replace_a_correction() -> None:
    second = corrected()
    with pytest.raises(ReportConflict, match="not replaced by a draft"):
        saved(draft(), second, "net", T3)
    with pytest.raises(ReportConflict, match="not replaced by a draft"):
        check_follows(draft(), second)
    check_follows(saved(edited(second, i1="X."), second, "Jane", T3), second)
    first = saved(draft(), None, "net", T1)
    again = saved(edited(draft(), f1="Another draft.").alone, first, "net", T2)
    assert again.version == 2
    check_follows(draft(author="another"), first)
    check_follows(draft(), None)
