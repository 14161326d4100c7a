# SPDX-License-Identifier: Apache-2.0
"""Coded terms of our structured reports (PS3.16): standard ones where they exist, else our own coding scheme.

Our own codes carry the designator ``99LESIONLOOP``; designators that start with 99 are for private use (PS3.16 8.2).
Every document declares it (Coding Scheme Identification Sequence, PS3.3 C.12.1.1.17).
"""

from __future__ import annotations

import hashlib
import unicodedata

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99LESIONLOOP"
OHIF_SCHEME = "CORNERSTONEJS"
OHIF_FREE_TEXT = "CORNERSTONEFREETEXT"
OHIF_RECTANGLE = "Cornerstone3DTools@^0.1.0:RectangleROI"
MAX_MEANING = 64  # Code Meaning is an LO


def private(value: str, meaning: str) -> Code:
    """A code of our own scheme."""
    return Code(value, PRIVATE_SCHEME, meaning)


def private_name(name: str) -> Code:
    """A code of our own scheme for a name somebody else chose, the same for the same name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return private(f"N{digest[:12]}", short(name))


TITLE_NOTHING_FOUND = private("NOTHING_FOUND", "Imaging Measurement Report: nothing found")
"""Title instead of (126000, DCM): OHIF's measurement viewer cannot open a report without boxes, its text viewer can.

PS3.16 CID 7021, where the titles of TID 1500 come from, is extensible.
"""
ABSENT = Code("373572006", "SCT", "Clinical finding absent")

LABEL = private("LABEL", "Label")
TRACK = private("TRACK", "Track of lesion across frames and visits")
CONFIDENCE = private("CONFIDENCE", "Confidence (0 to 1)")  # (111012, DCM, "Certainty of Finding") runs from 0 to 100
AUTHOR = private("AUTHOR", "Author")
CHANGED_AT = private("CHANGED_AT", "Date and time of last change")
WEIGHTS = private("WEIGHTS_SHA256", "SHA-256 of the model weights")
TAG = private("TAG", "Kind of result")
EXACT_NAME = private("EXACT_NAME", "Name as it was given")
EXACT_UNIT = private("EXACT_UNIT", "Unit as it was given")
EXACT_TEXT = private("EXACT_TEXT", "Text as it was given, as a JSON string")
UNSUPPORTED = private("UNSUPPORTED", "Not supported by any finding")
CONTRADICTED = private("CONTRADICTED", "Contradicted by the findings")
NOT_ASSESSED = private("NOT_ASSESSED", "Not assessed against the findings")
BOX_LPS = tuple(
    private(f"BOX_{axis}_{end}".upper(), f"{end}imum {axis} of the box in patient coordinates")
    for end in ("min", "max")
    for axis in "xyz"
)
CENTER_LPS = tuple(private(f"CENTER_{axis}".upper(), f"Centre {axis} in patient coordinates") for axis in "xyz")

NO_UNITS = Code("1", "UCUM", "no units")
MM = Code("mm", "UCUM", "mm")
MM2 = Code("mm2", "UCUM", "mm2")

# Unit as we spell it -> UCUM (PS3.16 7.2.2, CID 7181). The meaning is our spelling, so that it comes back.
_UCUM = {
    "": "1",
    "1": "1",
    "%": "%",
    "mm": "mm",
    "cm": "cm",
    "mm2": "mm2",
    "mm3": "mm3",
    "cm3": "cm3",
    "ml": "mL",
    "mL": "mL",
    "HU": "[hnsf'U]",
    "ms": "ms",
    "s": "s",
    "min": "min",
    "h": "h",
    "days": "d",
    "d": "d",
    "degrees": "deg",
    "ml/day": "mL/d",
    "mm/day": "mm/d",
    "%/day": "%/d",
    "g/ml{SUVbw}": "g/ml{SUVbw}",
}
_SPELLING = {code: unit for unit, code in reversed(_UCUM.items())}


def unit_code(unit: str) -> Code:
    """The UCUM code of a unit; of our own scheme where we know none."""
    if unit in _UCUM:
        return Code(_UCUM[unit], "UCUM", unit or NO_UNITS.meaning)
    return private_name(unit)


def unit_name(code: Dataset) -> str:
    """How we spell the unit of an item of Measurement Units Code Sequence."""
    value, scheme, meaning = (str(code.get(k, "")) for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))
    if scheme != "UCUM":
        return meaning
    return meaning if _UCUM.get(meaning) == value else _SPELLING.get(value, value)


MEASUREMENTS: dict[str, Code] = {
    "long_axis": codes.SCT.LongAxis,
    "short_axis": codes.SCT.ShortAxis,
    "volume": codes.SCT.Volume,
    "area": codes.SCT.Area,
    "length": codes.SCT.Length,
    "perimeter": codes.SCT.Perimeter,
    "mean_intensity": codes.SCT.Mean,
    "std_intensity": codes.SCT.StandardDeviation,
}
"""Name of a measurement -> its concept (PS3.16 CID 7464, 7469 to 7472)."""

# The same concepts as OHIF writes them: SNOMED RT, which DICOM has retired.
_RETIRED_SNOMED = {
    "G-A185": "long_axis",
    "G-A186": "short_axis",
    "G-A166": "area",
}
_NAMES = {(code.scheme_designator, code.value): name for name, code in MEASUREMENTS.items()}
_NAMES |= {("SRT", value): name for value, name in _RETIRED_SNOMED.items()}


def measurement_name(scheme: str, value: str) -> str | None:
    """Our name of a measured concept; None for one that we do not know."""
    return _NAMES.get((scheme, value))


SECTIONS: dict[str, tuple[Code, Code]] = {
    "indication": (codes.cid7001.IndicationsForProcedure, codes.DCM.PatientPresentation),
    "history": (codes.cid7001.History, codes.cid7002.History),
    "comparison": (codes.cid7001.PreviousFindings, codes.DCM.PreviousFinding),
    "technique": (codes.cid7001.CurrentProcedureDescriptions, codes.DCM.ProcedureDescription),
    "findings": (codes.cid7001.Findings, codes.DCM.Finding),
    "impression": (codes.cid7001.Impressions, codes.DCM.Impression),
    "recommendation": (codes.cid7001.Recommendations, codes.DCM.Recommendation),
}
"""Section -> its heading (PS3.16 CID 7001) and the concept of a sentence in it (CID 7002)."""

STATEMENT = codes.DCM.Summary
"""Concept of a sentence in a section that has no code (CID 7002)."""

# What other systems write: the DICOM codes that LOINC replaced, the codes of single statements, and near synonyms.
_FOREIGN_SECTIONS = {
    ("DCM", "121060"): "history",
    ("DCM", "121064"): "technique",
    ("DCM", "121068"): "comparison",
    ("DCM", "121070"): "findings",
    ("DCM", "121072"): "impression",
    ("DCM", "121074"): "recommendation",
    ("DCM", "121109"): "indication",
    ("DCM", "121077"): "impression",
    ("DCM", "121076"): "impression",
    ("LN", "55110-1"): "impression",
}


def section_name(scheme: str, value: str) -> str | None:
    """Our name of a section by the code of its heading or of a statement in it; None for an unknown one."""
    for name, (heading, statement) in SECTIONS.items():
        if (scheme, value) in {(c.scheme_designator, c.value) for c in (heading, statement)}:
            return name
    return _FOREIGN_SECTIONS.get((scheme, value))


def clean(text: str) -> str:
    """Text that may stand in a UT and comes back as it is: no control characters, no blanks at the end."""
    allowed = "".join(" " if _forbidden(character) else character for character in text)
    return allowed.rstrip() or "(empty)"


def _forbidden(character: str) -> bool:
    # Cc control characters; Cs halves of surrogate pairs, which UTF-8 cannot hold.
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")


def short(text: str, length: int = MAX_MEANING) -> str:
    """Text cut to what an LO holds: one line, no backslash (PS3.5 6.2)."""
    line = " ".join(clean(text).replace("\\", "/").split()) or "(empty)"
    return line[:length].rstrip()


_SCHEMES = {
    PRIVATE_SCHEME: ("Codes used by LesionLoop", "LesionLoop"),
    OHIF_SCHEME: ("Codes used by Cornerstone3D and OHIF", "https://github.com/cornerstonejs/cornerstone3D"),
}


def coding_scheme(designator: str) -> Dataset:
    """Item of the Coding Scheme Identification Sequence for a scheme that is not in the standard."""
    item = Dataset()
    item.CodingSchemeDesignator = designator
    item.CodingSchemeName, item.CodingSchemeResponsibleOrganization = _SCHEMES[designator]
    return item
