# SPDX-License-Identifier: Apache-2.0
"""What a search (QIDO-RS, PS3.18 10.6) can ask for and gets, and how values match (PS3.4 C.2.2.2)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from ..types import InputError
from .headers import Json


class Level(IntEnum):
    """What a search lists."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


def _tags(keywords: str) -> tuple[str, ...]:
    return tuple(f"{tag_for_keyword(keyword):08X}" for keyword in keywords.split())


# Always in a result, empty when unknown (PS3.18 tables 10.6.3-3 to 10.6.3-5, types 1 and 2).
REQUIRED = {
    Level.STUDY: _tags(
        "StudyDate StudyTime AccessionNumber ModalitiesInStudy ReferringPhysicianName PatientName PatientID"
        " PatientBirthDate PatientSex StudyInstanceUID StudyID NumberOfStudyRelatedSeries"
        " NumberOfStudyRelatedInstances"
    ),
    Level.SERIES: _tags("Modality SeriesInstanceUID SeriesNumber NumberOfSeriesRelatedInstances"),
    Level.INSTANCE: _tags("SOPClassUID SOPInstanceUID InstanceNumber"),
}
# In a result when known. Descriptions and dates are more than the standard asks for: viewers show them.
KNOWN = {
    Level.STUDY: _tags("SpecificCharacterSet InstanceAvailability TimezoneOffsetFromUTC StudyDescription"),
    Level.SERIES: _tags(
        "SpecificCharacterSet TimezoneOffsetFromUTC SeriesDescription SeriesDate SeriesTime"
        " PerformedProcedureStepStartDate PerformedProcedureStepStartTime RequestAttributesSequence"
    ),
    Level.INSTANCE: _tags(
        "SpecificCharacterSet InstanceAvailability TimezoneOffsetFromUTC AvailableTransferSyntaxUID Rows Columns"
        " BitsAllocated NumberOfFrames"
    ),
}
# Indexed as well: can be searched for, and is returned on request (includefield).
_MORE = {
    Level.STUDY: _tags("IssuerOfPatientID OtherPatientIDs PatientAge PatientSize PatientWeight PatientComments"),
    Level.SERIES: _tags(
        "BodyPartExamined Laterality ProtocolName OperatorsName PerformingPhysicianName Manufacturer"
        " ManufacturerModelName StationName InstitutionName InstitutionalDepartmentName FrameOfReferenceUID"
        " PatientPosition"
    ),
    Level.INSTANCE: _tags(
        "InstanceCreationDate InstanceCreationTime AcquisitionNumber AcquisitionDate AcquisitionTime ContentDate"
        " ContentTime ImageType ContentLabel ContentDescription ContentCreatorName ConceptNameCodeSequence"
        " CompletionFlag VerificationFlag PreliminaryFlag DocumentTitle MIMETypeOfEncapsulatedDocument"
        " PhotometricInterpretation SliceLocation"
    ),
}
_COUNTED = _tags("NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances NumberOfSeriesRelatedInstances")
OFFERED = {level: REQUIRED[level] + KNOWN[level] + _MORE[level] for level in Level}
"""Attributes of each level that the index holds, as tags of 8 hex digits."""
_NOT_READ = {*_COUNTED, *_tags("ModalitiesInStudy InstanceAvailability AvailableTransferSyntaxUID")}
READ_TAGS = {level: tuple(int(tag, 16) for tag in OFFERED[level] if tag not in _NOT_READ) for level in Level}
"""Those that are read from the files; the others are counted or derived."""

_WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_LIST_VRS = frozenset({"UI", "CS"})
_RANGE_VRS = frozenset({"DA", "TM", "DT"})
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")


def tag_of(name: str) -> str:
    """Return the tag, 8 hex digits, of an attribute given by keyword or tag.

    Raises:
        InputError: If there is no such attribute.
    """
    found = _TAG.fullmatch(name)
    if found:
        return (found[1] + found[2]).upper()
    tag = tag_for_keyword(name)
    if tag is None:
        raise InputError(f"'{name[:80]}' is not a DICOM attribute: use a keyword (PatientID) or a tag (00100020)")
    return f"{tag:08X}"


@dataclass(frozen=True)
class Filter:
    """One condition of a search.

    Attributes:
        path: Tags down to the attribute, through sequences.
        vr: Value representation.
        values: Any of these matches.
    """

    path: tuple[str, ...]
    vr: str
    values: tuple[str, ...]

    @property
    def uids(self) -> tuple[str, ...]:
        """The values where they are plain UIDs at the top level, for the index to look up."""
        return self.values if self.vr == "UI" and len(self.path) == 1 else ()


def parse_filters(level: Level, filters: Mapping[str, Any]) -> list[Filter]:
    """Read search conditions: attribute (keyword, tag, or a path of them with dots) to value, or list of values.

    An empty value and ``*`` match everything.

    Raises:
        InputError: If an attribute does not exist or is not indexed at this level. It is never ignored: the answer
            would show more than was asked for.
    """
    known = {tag for at in Level if at <= level for tag in OFFERED[at]}
    parsed = []
    for name, value in filters.items():
        path = tuple(tag_of(part) for part in str(name).split("."))
        if path[0] not in known or path[0] in _COUNTED:
            keyword = keyword_for_tag(path[0]) or path[0]
            raise InputError(f"{keyword} cannot be searched for among {level.name.lower()} attributes")
        vr = dictionary_VR(path[-1])
        if vr == "SQ":
            raise InputError(f"{name} is a sequence; search for an attribute in it, as {name}.Keyword")
        values = tuple(v for one in (value if isinstance(value, list | tuple) else [value]) for v in _split(vr, one))
        if values and "*" not in values:
            parsed.append(Filter(path, vr, values))
    return parsed


def _split(vr: str, value: Any) -> Iterable[str]:
    text = "" if value is None else str(value)
    parts = re.split(r"[\\,]", text) if vr in _LIST_VRS else [text]
    return [part.strip() for part in parts if part.strip()]


def matches(attributes: Json, filters: Iterable[Filter], fuzzy: bool = False) -> bool:
    """Whether attributes (DICOM JSON) fulfil all conditions."""
    return all(
        any(_match(f.vr, wanted, value, fuzzy) for value in _values(attributes, f.path) for wanted in f.values)
        for f in filters
    )


def _values(attributes: Json, path: tuple[str, ...]) -> list[Any]:
    values = attributes.get(path[0], {}).get("Value", [])
    if len(path) == 1:
        return [value.strip() if isinstance(value, str) else value for value in values if value not in (None, "")]
    return [value for item in values for value in _values(item, path[1:])]


def _match(vr: str, wanted: str, value: Any, fuzzy: bool) -> bool:
    if vr == "PN":
        names = value.values() if isinstance(value, dict) else [value]
        return any(_match_name(wanted, str(name), fuzzy) for name in names if name)
    if vr in _RANGE_VRS:
        return _match_time(vr, wanted, str(value))
    if vr in _WILDCARD_VRS and ("*" in wanted or "?" in wanted):
        return _wildcard(wanted)(str(value)) is not None
    try:
        return str(value) == wanted or float(value) == float(wanted)
    except (TypeError, ValueError):
        return False


def _wildcard(wanted: str) -> Callable[[str], re.Match[str] | None]:
    # fnmatch's expressions take linear time, however many stars; its sets ([a-z]) are not DICOM's.
    return re.compile(fnmatch.translate(wanted.replace("[", "[[]"))).match


def _match_name(wanted: str, name: str, fuzzy: bool) -> bool:
    """Names match without regard to case; fuzzy: each word wanted begins a part of the name."""
    wanted, name = wanted.rstrip("^ ").casefold(), name.rstrip("^ ").casefold()
    if _wildcard(wanted)(name):
        return True
    if not fuzzy:
        return False
    parts = re.split(r"[\s^]+", name)
    words = [word for word in re.split(r"[\s^*?,]+", wanted) if word]
    return bool(words) and all(any(part.startswith(word) for part in parts) for word in words)


def _match_time(vr: str, wanted: str, value: str) -> bool:
    """A date or time within what is wanted: one value, as exact as it is given, or a range ``A-B``, ``A-``, ``-B``."""
    wanted, value = wanted.strip(), re.sub(r"[:\s]" if vr != "DA" else r"[.\s]", "", value)
    low, dash, high = _range(vr, wanted)
    if not dash:
        return value.startswith(low) or (vr == "TM" and low.startswith(value) and not low[len(value) :].strip("0."))
    return (not low or value >= low) and (not high or value <= high or value.startswith(high))


def _range(vr: str, wanted: str) -> tuple[str, str, str]:
    """Split a range; a date-time may end in an offset such as -0500, which is not a range."""
    pattern = {"DA": r"[.\s]", "TM": r"[:\s]", "DT": r"\s"}[vr]
    text = re.sub(pattern, "", wanted)
    number = r"[0-9.]+(?:[+-][0-9]{4})?" if vr == "DT" else r"[0-9.]+"
    found = re.fullmatch(rf"({number})?(-)({number})?|({number})", text)
    if not found or text == "-":
        raise InputError(f"'{wanted[:40]}' is not a date or time (YYYYMMDD, HHMMSS), nor a range of them (A-B, A-, -B)")
    if found[4]:
        return found[4], "", ""
    return found[1] or "", "-", found[3] or ""


def check_values(filters: Iterable[Filter]) -> None:
    """Check the dates and times among search conditions.

    Raises:
        InputError: If one is neither a date or time nor a range.
    """
    for condition in filters:
        if condition.vr in _RANGE_VRS:
            for value in condition.values:
                _range(condition.vr, value)


def result(attributes: Json, levels: Iterable[Level], fields: Iterable[str] | None) -> Json:
    """What a search returns of an entry.

    Args:
        attributes: All that is known about it.
        levels: Levels whose attributes belong to the answer.
        fields: Further attributes by keyword or tag, or ``all``.

    Raises:
        InputError: If a field is not an attribute.
    """
    wanted = {tag for level in levels for tag in REQUIRED[level] + KNOWN[level]}
    for field in fields or ():
        wanted |= set(attributes) if field == "all" else {tag_of(field.split(".")[0])}
    required = {tag for level in levels for tag in REQUIRED[level]}
    found = {
        tag: attributes[tag] for tag in wanted if tag in attributes and (tag in required or len(attributes[tag]) > 1)
    }
    found.update({tag: {"vr": dictionary_VR(tag)} for tag in required if tag not in found})
    return dict(sorted(found.items()))
