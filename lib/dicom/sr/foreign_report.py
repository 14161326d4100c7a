# SPDX-License-Identifier: Apache-2.0
"""Text of reports that other systems wrote as structured reports, whatever template they follow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydicom.dataset import Dataset

from ...types import InputError, Sentence
from . import concepts as sr_codes
from .items import concept, read_number

UNNAMED_SECTION = "report"
"""Section of sentences that stand under no heading."""
MAX_DEPTH = 16
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])|\s*\n\s*")


def foreign_sections(root: Dataset) -> dict[str, tuple[Sentence, ...]]:
    """Sentences by section: every container with text is a section, and texts are cut into sentences.

    Raises:
        InputError: If the content is nested too deep.
    """
    sections: dict[str, list[Sentence]] = {}
    for name, statement in _statements(root, "", 0):
        sentences = [part.strip() for part in _SENTENCE_END.split(statement) if part.strip()]
        sections.setdefault(name, []).extend(Sentence(sentence) for sentence in sentences)
    return {name: tuple(sentences) for name, sentences in sections.items()}


def _statements(parent: Dataset, section: str, depth: int) -> Iterator[tuple[str, str]]:
    """Section and text of everything that a document says, in its order."""
    if depth > MAX_DEPTH:
        raise InputError(f"the content is nested more than {MAX_DEPTH} levels deep")
    for item in parent.get("ContentSequence") or ():
        if item.get("RelationshipType") in ("HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT"):
            continue  # says something about the document, not about the patient
        scheme, value, meaning = concept(item)
        known = sr_codes.section_name(scheme, value)
        if item.get("ValueType") == "CONTAINER":
            yield from _statements(item, known or meaning or section, depth + 1)
            continue
        if said := _said(item, meaning):
            yield section or known or UNNAMED_SECTION, said
        yield from _statements(item, section or known or UNNAMED_SECTION, depth + 1)


def _said(item: Dataset, name: str) -> str:
    """What one item says, in words; "" for images and coordinates."""
    kind = item.get("ValueType")
    if kind == "TEXT":
        return str(item.get("TextValue", "") or "")
    if kind == "CODE":
        value = concept(item, "ConceptCodeSequence")[2]
    elif kind == "NUM":
        measured = read_number(item)
        unit = concept(item.MeasuredValueSequence[0], "MeasurementUnitsCodeSequence")[1] if measured is not None else ""
        value = "" if measured is None else f"{measured:g} {unit}".removesuffix(" 1")
    elif kind in ("DATE", "TIME", "DATETIME"):
        value = str(item.get({"DATE": "Date", "TIME": "Time", "DATETIME": "DateTime"}[kind], "") or "")
    else:
        return ""
    return f"{name}: {value}." if value else ""
