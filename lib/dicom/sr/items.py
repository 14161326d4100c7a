# SPDX-License-Identifier: Apache-2.0
"""Content items of a structured report (PS3.3 C.17.3): made with highdicom, read from plain data sets.

Reading goes by concept and value type and never trusts that anything is there: what OHIF and other systems write is
often less than the standard asks for, and highdicom refuses such documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    NumContentItem,
    PnameContentItem,
    RelationshipTypeValues,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ...types import Source
from ..codes import MODEL_NAME, person_name
from ..write import MANUFACTURER, derived_uid
from . import concepts as sr_codes

CONTAINS = RelationshipTypeValues.CONTAINS
HAS_CONCEPT_MOD = RelationshipTypeValues.HAS_CONCEPT_MOD
HAS_OBS_CONTEXT = RelationshipTypeValues.HAS_OBS_CONTEXT
HAS_PROPERTIES = RelationshipTypeValues.HAS_PROPERTIES
INFERRED_FROM = RelationshipTypeValues.INFERRED_FROM
SELECTED_FROM = RelationshipTypeValues.SELECTED_FROM
UNKNOWN_PERSON = "unknown"
_NOBODY = {"", "unknown", "unknown^unknown", "anonymous"}  # dcmjs writes unknown^unknown


# --- writing


def with_children(item: ContentItem, children: Iterable[ContentItem]) -> ContentItem:
    """The item with children after those that it has; a Content Sequence without items is not allowed."""
    if new := list(children):
        item.ContentSequence = ContentSequence([*item.get("ContentSequence", ()), *new])
    return item


def text(name: Code, value: str, relationship: RelationshipTypeValues) -> ContentItem:
    """A TEXT that comes back as it is.

    What a UT cannot hold (nothing at all, control characters, blanks at the end) is cleaned for others to read, and
    a child of the item holds the text as it was given.
    """
    shown = sr_codes.clean(value)
    item = TextContentItem(name, shown, relationship)
    if shown == value:
        return item
    return with_children(item, [TextContentItem(sr_codes.EXACT_TEXT, json.dumps(value), HAS_CONCEPT_MOD)])


def number(
    name: Code, value: float, unit: Code, relationship: RelationshipTypeValues, children: Iterable[ContentItem] = ()
) -> ContentItem:
    """A NUM whose Floating Point Value (0040,A161) holds all digits of the number."""
    return with_children(NumContentItem(name, float(value), unit, relationship_type=relationship), children)


def code(name: Code, value: Code, relationship: RelationshipTypeValues) -> ContentItem:
    """A CODE."""
    return CodeContentItem(name, value, relationship)


def container(
    name: Code, children: Iterable[ContentItem], template: str | None = None, *, is_root: bool = False
) -> ContentItem:
    """A CONTAINER, by a template of PS3.16 if it follows one."""
    relationship = None if is_root else CONTAINS
    return with_children(ContainerContentItem(name, template_id=template, relationship_type=relationship), children)


def ohif_free_text(name: Code, meaning: str) -> ContentItem:
    """The CODE in which OHIF keeps a label.

    Its Code Value has 19 characters where an SH takes 16. OHIF compares it literally, so it is written all the same.
    """
    item = CodeContentItem(name, Code("LABEL", sr_codes.OHIF_SCHEME, sr_codes.short(meaning)), CONTAINS)
    concept = item.ConceptCodeSequence[0]
    concept["CodeValue"]._value = sr_codes.OHIF_FREE_TEXT  # past pydicom's check of the length
    return item


def language() -> Iterator[ContentItem]:
    """TID 1204 Language of Content Item and Descendants: that of our codes; a report's author may use another."""
    yield from LanguageOfContentItemAndDescendants(Code("en-US", "RFC5646", "English (United States)"))


def observers(source: Source) -> Iterator[ContentItem]:
    """Who observed: TID 1002 with TID 1003 for a person, TID 1004 for a device; the program itself for nobody."""
    if source.author:
        yield code(codes.DCM.ObserverType, codes.DCM.Person, HAS_OBS_CONTEXT)
        yield PnameContentItem(codes.DCM.PersonObserverName, family_first(source.author), HAS_OBS_CONTEXT)
    if source.model or not source.author:
        uid = derived_uid("device", source.model, source.version, source.weights_sha256)
        yield code(codes.DCM.ObserverType, codes.DCM.Device, HAS_OBS_CONTEXT)
        yield UIDRefContentItem(codes.DCM.DeviceObserverUID, uid, HAS_OBS_CONTEXT)
        yield text(codes.DCM.DeviceObserverName, source.model or MODEL_NAME, HAS_OBS_CONTEXT)
        yield text(codes.DCM.DeviceObserverManufacturer, MANUFACTURER, HAS_OBS_CONTEXT)
        yield text(codes.DCM.DeviceObserverModelName, source.model or MODEL_NAME, HAS_OBS_CONTEXT)


def family_first(name: str) -> str:
    """A name as a Person Name: ``Jane Doe`` -> ``Doe^Jane`` (PS3.5 6.2.1)."""
    known = person_name(sr_codes.short(name)) if name.strip() else ""
    if not known:
        return f"{UNKNOWN_PERSON}^"
    if "^" in known:
        return known
    given, _, family = known.rpartition(" ")
    return f"{family}^{given}"


def source_items(source: Source) -> Iterator[ContentItem]:
    """Who or what: TID 4019 Algorithm Identification, and the author; what is empty is left out."""
    concepts = {
        codes.DCM.AlgorithmName: source.model,
        codes.DCM.AlgorithmVersion: source.version,
        sr_codes.WEIGHTS: source.weights_sha256,
        sr_codes.AUTHOR: source.author,
    }
    return (text(concept, value, HAS_CONCEPT_MOD) for concept, value in concepts.items() if value)


# --- reading


def concept(item: Dataset, keyword: str = "ConceptNameCodeSequence") -> tuple[str, str, str]:
    """Scheme, value and meaning of a coded entry; empty where it is missing."""
    sequence = item.get(keyword)
    if not sequence:
        return "", "", ""
    entry = sequence[0]
    value = entry.get("CodeValue") or entry.get("LongCodeValue") or entry.get("URNCodeValue") or ""
    return str(entry.get("CodingSchemeDesignator", "")), str(value), str(entry.get("CodeMeaning", "") or "")


def is_named(item: Dataset, name: Code) -> bool:
    """Whether the item's concept is ``name``."""
    return concept(item)[:2] == (name.scheme_designator, name.value)


def children(item: Dataset, value_type: str = "", name: Code | None = None) -> list[Dataset]:
    """Children of an item in order, by value type and concept where these are given."""
    return [
        child
        for child in item.get("ContentSequence") or ()
        if (not value_type or child.get("ValueType") == value_type) and (name is None or is_named(child, name))
    ]


def read_text(item: Dataset) -> str:
    """Value of a TEXT, as it was given."""
    for exact in children(item, "TEXT", sr_codes.EXACT_TEXT):
        return str(json.loads(str(exact.TextValue)))
    return str(item.get("TextValue", "") or "")


def text_of(parent: Dataset, name: Code, default: str = "") -> str:
    """Text of the first TEXT child of that name."""
    for item in children(parent, "TEXT", name):
        return read_text(item)
    return default


def read_number(item: Dataset) -> float | None:
    """Value of a NUM; None where it is empty, as OHIF writes it."""
    measured: Any = item.get("MeasuredValueSequence")
    if not measured:
        return None
    value = measured[0].get("FloatingPointValue")
    if value is None:
        value = measured[0].get("NumericValue")
    return None if value is None or value == "" else float(value)


def number_of(parent: Dataset, name: Code) -> float | None:
    """Value of the first NUM child of that name."""
    for item in children(parent, "NUM", name):
        return read_number(item)
    return None


def read_source(parent: Dataset) -> Source:
    """What :func:`source_items` wrote."""
    return Source(
        model=text_of(parent, codes.DCM.AlgorithmName),
        version=text_of(parent, codes.DCM.AlgorithmVersion),
        weights_sha256=text_of(parent, sr_codes.WEIGHTS),
        author=text_of(parent, sr_codes.AUTHOR),
    )


def read_observer(root: Dataset) -> str:
    """Name of the person who made a document of another system; "unknown" where it names nobody."""
    names = [verifier.get("VerifyingObserverName") for verifier in root.get("VerifyingObserverSequence") or ()]
    names += [item.get("PersonName") for item in children(root, "PNAME", codes.DCM.PersonObserverName)]
    names += [author.get("PersonName") for author in root.get("AuthorObserverSequence") or ()]
    for name in names:
        if str(name or "").lower() not in _NOBODY:
            return given_first(str(name))
    return UNKNOWN_PERSON


def given_first(name: str) -> str:
    """A Person Name as people write it: ``Doe^Jane`` -> ``Jane Doe``; of its forms of writing the first."""
    family, given, middle, prefix, suffix = ([*name.split("=")[0].split("^"), *[""] * 5])[:5]
    return " ".join(part for part in (prefix, given, middle, family, suffix) if part)
