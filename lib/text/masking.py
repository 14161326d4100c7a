# SPDX-License-Identifier: Apache-2.0
"""Names of diseases taken out of a clinical text, for a task that has to find the disease.

What names the disease is its names, its pathogen and a test for it. What only hints at it (where the patient has
travelled, what treatment was given, the date) stays: a model may learn from it, and a table of results should say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ..types.errors import InputError
from .tokens import DISEASE

DISEASES: dict[str, tuple[str, ...]] = {
    "covid": (
        r"severe acute respiratory syndrome corona ?virus(?:[- ]?2)?",
        r"(?:novel |2019 |new |human )*corona ?virus(?:es)?(?: disease)?(?:[- ]?(?:20)?19)?(?: pneumonia)?",
        r"covid(?:[- ]?(?:20)?19)?(?: pneumonia)?",
        r"sars[- ]?cov(?:[- ]?2)?",
        r"(?:2019[- ]?)?n-?cov(?:[- ]?2019)?(?: pneumonia)?",
        r"ncip",
        r"(?:rt-?|reverse[- ]transcriptase )?(?:pcr|polymerase chain reaction|nucleic acid)(?: (?:test(?:ing|s)?|"
        r"assay))?",
    ),
    "sars": (r"sars", r"severe acute respiratory syndrome"),
    "mers": (r"mers(?:[- ]?cov)?", r"middle east respiratory syndrome"),
    "ards": (r"ards", r"(?:acute|adult) respiratory distress syndrome"),
    "pneumonia": (r"(?:broncho)?-?pneumoni(?:as?|ae|tis|tides|c)",),
    "bacterial": (
        r"bacteri(?:a|al|um|aemia|emia)",
        r"strepto\w+",
        r"pneumococc\w+",
        r"klebsiell\w*",
        r"legionell\w*",
        r"legionnaires?'? ?(?:disease)?",
        r"myco-?plasm\w*",
        r"staphylo\w+",
        r"(?:e|escherichia)\.? ?coli",
        r"chlamyd\w+",
        r"nocardi\w+",
        r"ha?emophilus(?: influenzae)?",
        r"pseudomonas",
    ),
    "viral": (
        r"vir(?:us(?:es)?|al)",
        r"influenzae?",
        r"flu",
        r"h1n1",
        r"h7n9",
        r"varicella(?:[- ]zoster)?",
        r"chicken ?pox",
        r"herpes",
    ),
    "fungal": (r"fung(?:al|us|i)", r"pneumocystis(?: (?:jirovecii?|carinii))?", r"pcp", r"pjp", r"aspergill\w+"),
    "lipoid": (r"lipoid", r"mineral oil"),
    "tuberculosis": (r"tubercul\w+", r"tb", r"myco-?bacteri\w+"),
}
"""Patterns by the disease that they name."""


def mask_diseases(text: str, diseases: Iterable[str] | None = None) -> str:
    """A text with :data:`~lib.text.tokens.DISEASE` for each name of a disease.

    Args:
        text: Any.
        diseases: Keys of :data:`DISEASES`; None for all.

    Raises:
        InputError: If there is no such disease.
    """
    names = tuple(DISEASES) if diseases is None else tuple(diseases)
    if unknown := sorted(set(names) - set(DISEASES)):
        raise InputError(f"no names known of {unknown}; there are {sorted(DISEASES)}")
    return _pattern(names).sub(DISEASE, text) if names else text


@lru_cache(maxsize=32)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    patterns = [pattern for name in names for pattern in DISEASES[name]]
    one = f"(?:{'|'.join(patterns)})"
    return re.compile(rf"(?<!\w)(?:non-?)?{one}(?:[ /-]{one})*(?!\w)", re.IGNORECASE)
