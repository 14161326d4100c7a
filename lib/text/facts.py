# SPDX-License-Identifier: Apache-2.0
"""What a sentence of a report says: one fact for each finding it speaks of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from ..types.errors import InputError


class Side(StrEnum):
    """Side of the patient."""

    LEFT = "left"
    RIGHT = "right"
    BILATERAL = "bilateral"
    MIDLINE = "midline"


class Change(StrEnum):
    """What has become of a finding since an earlier examination."""

    NEW = "new"
    GROWN = "grown"
    STABLE = "stable"
    SHRUNK = "shrunk"
    GONE = "gone"


class Certainty(StrEnum):
    """How sure the writer is."""

    STATED = "stated"
    LIKELY = "likely"
    POSSIBLE = "possible"


@dataclass(frozen=True)
class Fact:
    """One finding and what is said of it; None is "not said".

    Attributes:
        finding: Name of the finding in the lexicon.
        present: Whether it is there; None where the sentence leaves it open ("possible", "cannot be excluded").
        side: Side of the patient.
        location: Regions in the order of the alphabet, joined by ``+``, such as ``frontal`` or ``base+lower lobe``.
        size_mm: Extents in mm as written, the longest first.
        volume_ml: Volume in ml.
        count: How many.
        change: Against an earlier examination. "No new lesion" is ``present=False`` with ``change="new"``.
        percent: Of the change; negative where the finding has shrunk.
        certainty: How sure the writer is.
        days: Since the earlier examination.
    """

    finding: str
    present: bool | None = True
    side: Side | None = None
    location: str | None = None
    size_mm: tuple[float, ...] | None = None
    volume_ml: float | None = None
    count: int | None = None
    change: Change | None = None
    percent: float | None = None
    certainty: Certainty = Certainty.STATED
    days: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what is not said is left out."""
        data = {key: value for key, value in asdict(self).items() if value is not None or key == "present"}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fact:
        """Build a fact from :meth:`to_json`'s values.

        Raises:
            InputError: If a key is unknown or missing, or a value is none of those possible.
        """
        try:
            values = dict(data)
            for key, kind in (("side", Side), ("change", Change), ("certainty", Certainty)):
                if values.get(key) is not None:
                    values[key] = kind(values[key])
            if values.get("size_mm") is not None:
                values["size_mm"] = tuple(float(value) for value in values["size_mm"])
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise InputError(f"fact {data}: {error}") from error


SAID = tuple(field.name for field in fields(Fact) if field.default is None)
"""Names of the attributes that a sentence may leave out."""


def joined(first: Fact, second: Fact) -> Fact | None:
    """The two as one fact, where they speak of one finding and do not contradict each other; else None."""
    if (first.finding, first.present, first.certainty) != (second.finding, second.present, second.certainty):
        return None
    both = [(name, getattr(first, name), getattr(second, name)) for name in SAID]
    if any(a is not None and b is not None and a != b for _, a, b in both):
        return None
    return replace(first, **{name: b for name, a, b in both if a is None})
