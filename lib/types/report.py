# SPDX-License-Identifier: Apache-2.0
"""The part of the data contract that is about reports."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from .errors import InputError
from .json_values import at, items_of, known_keys, number, share, text, texts, timestamp, whole

Texts = dict[str, dict[str, str]]
"""Text of each sentence by section and sentence id, in order."""
MOST_SENTENCES, LONGEST_SENTENCE = 1000, 20_000
"""What a report may hold, and how many characters a sentence; an indication is one sentence."""


class ReportStatus(StrEnum):
    """How far a report has come."""

    DRAFT = "draft"
    CORRECTED = "corrected"
    SIGNED = "signed"
    AMENDED = "amended"

    @property
    def is_final(self) -> bool:
        """Whether a person stands for it; what is final is never changed, only amended by a new version."""
        return self in (ReportStatus.SIGNED, ReportStatus.AMENDED)


class Support(StrEnum):
    """What the findings say of a sentence's facts."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNSUPPORTED = "unsupported"
    NOT_ASSESSED = "not_assessed"


class Decision(StrEnum):
    """What the clinician has made of a sentence."""

    DRAFTED = "drafted"
    ACCEPTED = "accepted"
    EDITED = "edited"
    STRUCK = "struck"
    ADDED = "added"


DOUBTED = {
    Support.CONTRADICTED: "[contradicted by the findings] ",
    Support.UNSUPPORTED: "[not supported by any finding] ",
}
"""How a doubtful sentence begins wherever it is shown before a person has decided on it."""


@dataclass(frozen=True)
class Alternative:
    """Another way to put a sentence, with the model's confidence in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True)
class Sentence:
    """One sentence with its evidence.

    Attributes:
        text: The sentence.
        finding_ids: The findings it speaks of.
        confidence: In [0, 1].
        support: What the findings say of its facts.
        id: The same in every version of a report; "" before the report is first stored.
        facts: What it says, each with ``finding`` and what is said of it (``present``, ``side``, ``size_mm``,
            ``volume_ml``, ``count``, ``change``, ``percent`` ...); plain values.
        frame_attention: Weight of each frame that it rests on.
        word_attention: Words of the clinical text that it rests on, in their order, with their weights.
        alternatives: Other ways to put it, the best first.
        decision: What the clinician has made of it.
    """

    text: str
    finding_ids: tuple[int, ...] = ()
    confidence: float = 1.0
    support: Support = Support.SUPPORTED
    id: str = ""
    facts: tuple[dict[str, Any], ...] = ()
    frame_attention: dict[int, float] = field(default_factory=dict)
    word_attention: tuple[tuple[str, float], ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    decision: Decision = Decision.DRAFTED

    @property
    def is_doubtful(self) -> bool:
        """Whether the findings do not bear it out and no person has decided on it: it is not shown as a fact."""
        return self.decision is Decision.DRAFTED and self.support in DOUBTED

    @property
    def stands(self) -> bool:
        """Whether it is part of the report: nobody has struck it."""
        return self.decision is not Decision.STRUCK

    @property
    def shown(self) -> str:
        """The text as a reader without the evidence should see it."""
        return (DOUBTED[self.support] if self.is_doubtful else "") + self.text

    def to_json(self) -> dict[str, Any]:
        """Return the sentence as plain JSON values."""
        return {
            "id": self.id,
            "text": self.text,
            "finding_ids": list(self.finding_ids),
            "facts": [dict(fact) for fact in self.facts],
            "support": self.support.value,
            "confidence": self.confidence,
            "frame_attention": {str(frame): weight for frame, weight in self.frame_attention.items()},
            "word_attention": [[word, weight] for word, weight in self.word_attention],
            "alternatives": [{"text": other.text, "confidence": other.confidence} for other in self.alternatives],
            "decision": self.decision.value,
        }

    @classmethod
    def from_json(cls, data: Any) -> Sentence:
        """Build a sentence from :meth:`to_json`'s values; ``supported`` (true or false) is what once was ``support``.

        Raises:
            InputError: If a key is unknown or missing, or a value is not what it should be.
        """
        known_keys(data, {"supported", *(own.name for own in fields(cls))})
        with at("text"):
            words = text(data.get("text"))
            if len(words) > LONGEST_SENTENCE:
                raise InputError(f"has {len(words)} characters; at most {LONGEST_SENTENCE} are kept")
        with at("finding_ids"):
            finding_ids = tuple(whole(one) for one in items_of(data.get("finding_ids", [])))
        with at("confidence"):
            confidence = share(data.get("confidence", 1.0))
        with at("support"):
            support = Support(data.get("support", _old_support(data)))
        with at("facts"):
            facts = tuple(_fact(fact) for fact in items_of(data.get("facts", [])))
        with at("frame_attention"):
            frames = {whole(int(t)): number(w) for t, w in known_keys(data.get("frame_attention", {})).items()}
        with at("word_attention"):
            attended = tuple((text(word), number(w)) for word, w in items_of(data.get("word_attention", [])))
        with at("alternatives"):
            others = tuple(_alternative(other) for other in items_of(data.get("alternatives", [])))
        with at("decision"):
            decision = Decision(data.get("decision", "drafted"))
        with at("id"):
            own_id = text(data.get("id", ""))
        return cls(words, finding_ids, confidence, support, own_id, facts, frames, attended, others, decision)


def _old_support(data: dict[str, Any]) -> Support:
    return Support.SUPPORTED if data.get("supported", True) else Support.UNSUPPORTED


def _fact(data: Any) -> dict[str, Any]:
    with at("finding"):
        text(known_keys(data).get("finding"))
    for key, value in data.items():
        for part in items_of(value, one=True):
            if part is not None and not isinstance(part, str | bool):
                with at(key):
                    number(part)
    return dict(data)


def _alternative(data: Any) -> Alternative:
    known_keys(data, {"text", "confidence"})
    return Alternative(text(data.get("text")), share(data.get("confidence", 1.0)))


@dataclass(frozen=True)
class Report:
    """A version of a report by section (``indication``, ``comparison``, ``findings``, ``impression``).

    Times are ISO 8601 with their zone; "" where they are not known.

    Attributes:
        sections: Sentences by section, in order.
        status: How far it has come.
        author: The model or person that wrote this version.
        changed_at: When it was written; of older documents whatever they say.
        version: From 1, counting what was stored.
        created_at: When the first version was stored.
        signer: Who signed this version.
        signed_at: When.
        model: The model that drafted it; "" where a person wrote it from the start.
        model_version: Of the model.
        weights_sha256: Of the model.
        prior_image: Image of the earlier visit that it compares with.
        draft: Text of the draft that it came from.
        amendment_reason: Why a signed report was amended.
        history: The versions before this one, the oldest first; they have no history of their own.
    """

    sections: dict[str, tuple[Sentence, ...]]
    status: ReportStatus = ReportStatus.DRAFT
    author: str = ""
    changed_at: str = ""
    version: int = 1
    created_at: str = ""
    signer: str = ""
    signed_at: str = ""
    model: str = ""
    model_version: str = ""
    weights_sha256: str = ""
    prior_image: str = ""
    draft: Texts = field(default_factory=dict)
    amendment_reason: str = ""
    history: tuple[Report, ...] = ()

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """Of all sections, also the struck ones."""
        return tuple(sentence for part in self.sections.values() for sentence in part)

    @property
    def standing(self) -> dict[str, tuple[Sentence, ...]]:
        """The sections without struck sentences."""
        return {name: tuple(s for s in part if s.stands) for name, part in self.sections.items()}

    @property
    def alone(self) -> Report:
        """This version without its history."""
        return replace(self, history=())

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        plain = {own.name: getattr(self, own.name) for own in fields(self)}
        sections = {name: [sentence.to_json() for sentence in part] for name, part in self.sections.items()}
        history = [version.to_json() for version in self.history]
        draft = {name: dict(part) for name, part in self.draft.items()}
        return {**plain, "sections": sections, "status": self.status.value, "draft": draft, "history": history}

    @classmethod
    def from_json(cls, data: Any) -> Report:
        """Build a report from :meth:`to_json`'s values; what older documents lack has its default.

        Raises:
            InputError: If a key is unknown or missing, or a value is not what it should be; it says where.
        """
        with at("report"):
            return cls._read(data)

    @classmethod
    def _read(cls, data: Any) -> Report:
        known_keys(data, {own.name for own in fields(cls)})
        with at("sections"):
            parts = known_keys(data.get("sections"))
            if (count := sum(len(items_of(part)) for part in parts.values())) > MOST_SENTENCES:
                raise InputError(f"{count} sentences; a report has at most {MOST_SENTENCES}")
            sections = {name: _section(name, part) for name, part in parts.items()}
        with at("status"):
            status = ReportStatus(data.get("status", "draft"))
        with at("version"):
            version = whole(data.get("version", 1), least=1)
        with at("draft"):
            draft = {name: texts(part) for name, part in known_keys(data.get("draft", {})).items()}
        with at("history"):
            history = tuple(cls._read(entry) for entry in items_of(data.get("history", [])))
        _check_ids(sections)
        _check_history(version, history)
        plain = {key: timestamp(data.get(key, ""), key) for key in ("created_at", "signed_at")}
        for key in ("author", "changed_at", "signer", "model", "model_version", "weights_sha256", "prior_image"):
            with at(key):
                plain[key] = text(data.get(key, ""))
        with at("amendment_reason"):
            reason = text(data.get("amendment_reason", ""))
        return cls(sections, status, version=version, draft=draft, history=history, amendment_reason=reason, **plain)


def _section(name: str, part: Any) -> tuple[Sentence, ...]:
    sentences = []
    for place, sentence in enumerate(items_of(part), 1):
        with at(f"{name}, sentence {place}"):
            sentences.append(Sentence.from_json(sentence))
    return tuple(sentences)


def _check_ids(sections: dict[str, tuple[Sentence, ...]]) -> None:
    ids = [sentence.id for part in sections.values() for sentence in part if sentence.id]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise InputError(f"two sentences have the id '{twice[0]}'")


def _check_history(version: int, history: tuple[Report, ...]) -> None:
    numbers = [entry.version for entry in history]
    if numbers and (numbers != sorted(set(numbers)) or numbers[-1] >= version or any(e.history for e in history)):
        raise InputError("history: holds earlier versions, the oldest first, each without a history of its own")
