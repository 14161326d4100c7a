# SPDX-License-Identifier: Apache-2.0
"""The part of the data contract that is about reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from .errors import InputError


class ReportStatus(StrEnum):
    """How far a report has come."""

    DRAFT = "draft"
    CORRECTED = "corrected"
    SIGNED = "signed"


@dataclass(frozen=True)
class Sentence:
    """One sentence with its evidence.

    Attributes:
        text: The sentence.
        finding_ids: The findings it speaks of; empty and ``supported`` False when none backs its facts.
        confidence: In [0, 1].
        supported: False marks a sentence whose facts no finding supports; it is never shown as a fact.
    """

    text: str
    finding_ids: tuple[int, ...] = ()
    confidence: float = 1.0
    supported: bool = True


@dataclass(frozen=True)
class Report:
    """A report by section (``indication``, ``comparison``, ``findings``, ``impression``).

    Attributes:
        sections: Sentences by section, in order.
        status: How far it has come.
        author: The model or person that wrote or signed it.
        changed_at: ISO 8601 date and time of the last change.
    """

    sections: dict[str, tuple[Sentence, ...]]
    status: ReportStatus = ReportStatus.DRAFT
    author: str = ""
    changed_at: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        sections = {
            name: [{**asdict(s), "finding_ids": list(s.finding_ids)} for s in sentences]
            for name, sentences in self.sections.items()
        }
        return {**asdict(self), "sections": sections, "status": self.status.value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Report:
        """Build a report from :meth:`to_json`'s values.

        Raises:
            InputError: If a value is missing or of the wrong type.
        """
        try:
            sections = {str(name): tuple(_sentence(s) for s in part) for name, part in data["sections"].items()}
            status = ReportStatus(data.get("status", "draft"))
            return cls(sections, status, str(data.get("author", "")), str(data.get("changed_at", "")))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"report: {reason}") from error


def _sentence(data: dict[str, Any]) -> Sentence:
    return Sentence(
        text=str(data["text"]),
        finding_ids=tuple(int(i) for i in data.get("finding_ids", ())),
        confidence=float(data.get("confidence", 1.0)),
        supported=bool(data.get("supported", True)),
    )
