# SPDX-License-Identifier: Apache-2.0
"""The versions of a report: a draft, corrections, the signature, amendments. Each is kept; what is signed stays.

======================= ===================================== ============
what is done            to a report that is                   becomes
======================= ===================================== ============
:func:`saved`, a draft  not there yet, draft                  draft
:func:`saved`           not there yet, draft, corrected       corrected
:func:`signed`          draft, corrected                      signed
:func:`amended`         signed, amended                       amended
======================= ===================================== ============
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..types import InputError
from ..types.report import Decision, Report, ReportStatus, Sentence, Support, Texts


class ReportConflict(InputError):
    """What is stored does not allow what was asked; nothing is wrong with the request by itself."""


def saved(new: Report, current: Report | None, author: str, moment: str) -> Report:
    """The version that takes the place of the current one when somebody saves a draft or a correction.

    Decisions are made to agree with the words: a sentence that differs from the draft is edited, one that the draft
    does not have is added. Evidence that belongs to other words is dropped from it.

    Args:
        new: What was sent; of its attributes only sections, status, model, prior image and draft count.
        current: What is stored; None for the first version.
        author: Who sent it; for a draft the model that wrote it.
        moment: ISO 8601 date and time with zone.

    Returns:
        The new version with its history, or the current one if nothing differs.

    Raises:
        InputError: If it says that it is signed.
        ReportConflict: If the current one is signed, or a draft would take the place of a correction.
    """
    if new.status.is_final:
        raise InputError(f"a report is not saved as {new.status.value}: save it as corrected, then sign or amend it")
    if current is None:
        first = replace(new, version=1, history=(), signer="", signed_at="", amendment_reason="")
        return _worded(replace(first, author=author, changed_at=moment, created_at=moment))
    _check_open(current, new.status)
    origin = new if new.model else current
    next_one = replace(
        _next(current, author, moment),
        sections=new.sections,
        status=new.status,
        model=origin.model,
        model_version=origin.model_version,
        weights_sha256=origin.weights_sha256,
        prior_image=new.prior_image or current.prior_image,
        draft=new.draft or current.draft,
    )
    next_one = _worded(next_one)
    return current if _without_dates(next_one) == _without_dates(current) else next_one


def signed(current: Report, signer: str, moment: str) -> Report:
    """The current words as a signed version; what the signer left as it was counts as accepted.

    Raises:
        InputError: If nobody signs, nothing is written, or a doubtful sentence has not been decided on.
        ReportConflict: If it is signed already.
    """
    if current.status.is_final:
        raise ReportConflict(f"{_told(current)} cannot be signed again; amend it to change it")
    next_one = replace(with_ids(_next(current, current.author, moment)), status=ReportStatus.SIGNED)
    return _closed(next_one, signer, moment)


def amended(new: Report, current: Report, signer: str, reason: str, moment: str) -> Report:
    """Other words in place of signed ones, signed as they are made.

    Args:
        new: What was sent; of its attributes only the sections count.
        current: A signed or amended report.
        signer: Who amends.
        reason: Why, in plain words.
        moment: ISO 8601 date and time with zone.

    Raises:
        InputError: If nobody signs, no reason is given, nothing differs, or a doubtful sentence is undecided.
        ReportConflict: If the current one is not signed.
    """
    if not current.status.is_final:
        raise ReportConflict(f"{_told(current)} is not signed: save or sign it; only signed reports are amended")
    if not reason.strip():
        raise InputError("an amendment needs its reason")
    next_one = replace(_next(current, signer, moment), status=ReportStatus.AMENDED, amendment_reason=reason.strip())
    next_one = _worded(replace(next_one, sections=new.sections))
    if texts_of(next_one) == texts_of(with_ids(current)):
        raise InputError(f"the amendment says what version {current.version} says; change a sentence")
    return _closed(next_one, signer, moment)


def check_follows(new: Report, current: Report | None) -> None:
    """Let a version of another origin than :func:`saved` only take the place of what may be lost.

    Raises:
        ReportConflict: If the current one is signed, or a draft would take the place of a correction, and the new one
            does not keep it in its history.
    """
    if current is not None and new != current and current.alone not in new.history:
        _check_open(current, new.status)


def versions_of(report: Report) -> tuple[Report, ...]:
    """All versions without their history, the oldest first."""
    return (*report.history, report.alone)


def version_of(report: Report, number: int) -> Report | None:
    """One version; None where there is no such."""
    return next((version for version in versions_of(report) if version.version == number), None)


def texts_of(report: Report) -> Texts:
    """The words of a report; struck sentences are none."""
    return {name: {s.id: s.text for s in part} for name, part in report.standing.items()}


def with_ids(report: Report, known: Texts | None = None) -> Report:
    """Give each sentence that has no id one: of the known sentence in its section with the same text, else a new one.

    Args:
        report: Of any origin.
        known: Sentences of the draft or of earlier versions.
    """
    known = known or {}
    taken = {sentence.id for sentence in report.sentences} | {one for part in known.values() for one in part}
    given = {sentence.id for sentence in report.sentences}
    sections = {}
    for name, part in report.sections.items():
        sections[name] = tuple(s if s.id else replace(s, id=_id(s, name, known, given, taken)) for s in part)
    return replace(report, sections=sections)


def _id(sentence: Sentence, section: str, known: Texts, given: set[str], taken: set[str]) -> str:
    same = (one for one, words in known.get(section, {}).items() if words == sentence.text and one not in given)
    number, own = 1, next(same, "")
    while not own or own in given:
        own = "" if f"{section}-{number}" in taken else f"{section}-{number}"
        number += 1
    given.add(own)
    taken.add(own)
    return own


def _next(current: Report, author: str, moment: str) -> Report:
    return replace(
        current,
        version=current.version + 1,
        author=author,
        changed_at=moment,
        created_at=current.created_at or moment,
        amendment_reason="",
        history=versions_of(current),
    )


def _without_dates(report: Report) -> Report:
    return replace(report, version=1, author="", changed_at="", created_at="", history=())


def _worded(report: Report) -> Report:
    """With ids, the draft that it came from, and decisions that agree with the words."""
    earlier = [with_ids(version) for version in report.history]
    if report.status is ReportStatus.DRAFT:
        report = with_ids(report, _joined(map(texts_of, earlier)))
        plain = {n: tuple(replace(s, decision=Decision.DRAFTED) for s in p) for n, p in report.sections.items()}
        return replace(report, sections=plain, draft={n: {s.id: s.text for s in p} for n, p in plain.items()})
    report = with_ids(report, _joined([*map(texts_of, earlier), report.draft]))
    drafted = {one: words for part in report.draft.values() for one, words in part.items()}
    before = {sentence.id: sentence for sentence in (earlier[-1].sentences if earlier else ())}
    sections = {
        name: tuple(_own_words(_decided(s, drafted), before.get(s.id)) for s in part)
        for name, part in report.sections.items()
    }
    return replace(report, sections=sections)


def _joined(several: Iterable[Texts]) -> Texts:
    joined: Texts = {}
    for texts in several:
        for name, part in texts.items():
            joined[name] = {**joined.get(name, {}), **part}
    return joined


def _decided(sentence: Sentence, drafted: dict[str, str]) -> Sentence:
    if not sentence.stands:
        return sentence
    if sentence.id not in drafted:
        return replace(sentence, decision=Decision.ADDED)
    if sentence.text != drafted[sentence.id]:
        return replace(sentence, decision=Decision.EDITED)
    untouched = sentence.decision is Decision.DRAFTED
    return sentence if untouched else replace(sentence, decision=Decision.ACCEPTED)


def _own_words(sentence: Sentence, earlier: Sentence | None) -> Sentence:
    """Drop evidence that was found for other words, or for none."""
    if sentence.decision not in (Decision.EDITED, Decision.ADDED):
        return sentence
    if earlier is None:
        unfounded = sentence.decision is Decision.ADDED and not sentence.facts
        return replace(sentence, support=Support.NOT_ASSESSED) if unfounded else sentence
    evidence = sentence.facts, sentence.support
    if sentence.text == earlier.text or evidence != (earlier.facts, earlier.support):
        return sentence
    return replace(
        sentence, facts=(), support=Support.NOT_ASSESSED, confidence=1.0, frame_attention={}, word_attention=()
    )


def _closed(report: Report, signer: str, moment: str) -> Report:
    if not signer.strip():
        raise InputError("a signature needs the name of who signs")
    standing = [sentence for sentence in report.sentences if sentence.stands]
    if not any(sentence.text.strip() for sentence in standing):
        raise InputError("the report says nothing: a signature needs at least one sentence")
    _check_decided(standing)
    return replace(_accepted(report), signer=signer.strip(), signed_at=moment)


def _accepted(report: Report) -> Report:
    return replace(
        report,
        sections={
            name: tuple(replace(s, decision=Decision.ACCEPTED) if s.decision is Decision.DRAFTED else s for s in part)
            for name, part in report.sections.items()
        },
    )


def _check_decided(sentences: Iterable[Sentence]) -> None:
    doubtful = [sentence for sentence in sentences if sentence.is_doubtful]
    if doubtful:
        raise InputError(
            f"{len(doubtful)} sentences are doubtful and undecided; the first is {doubtful[0].shown!r}: accept, edit "
            "or strike each before signing"
        )


def _check_open(current: Report, status: ReportStatus) -> None:
    if current.status.is_final:
        raise ReportConflict(f"{_told(current)} stays as it is: amend it, which makes a new version")
    if current.status is ReportStatus.CORRECTED and status is ReportStatus.DRAFT:
        raise ReportConflict(f"{_told(current)} is not replaced by a draft: save it as corrected, or remove it first")


def _told(report: Report) -> str:
    """Which version, what was done to it, by whom and when."""
    who = report.signer if report.status.is_final and report.signer else report.author
    by = f" by {who}" if who else ""
    when = report.signed_at or report.changed_at
    return f"version {report.version} of the report ({report.status.value}{by}{f', {when}' if when else ''})"
