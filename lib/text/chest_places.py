# SPDX-License-Identifier: Apache-2.0
"""Words for the places of a chest radiograph."""

from __future__ import annotations

from .lexicon import Patterns

LOCATIONS: dict[str, Patterns] = {
    "upper lobe": (r"upper (?:lobes?|lung(?: zone)?s?|zones?)",),
    "middle lobe": (r"(?:right )?middle lobe", r"rml"),
    "lower lobe": (r"lower (?:lobes?|lung(?: zone)?s?|zones?)",),
    "lingula": (r"lingula(?:r)?",),
    "base": (r"(?:lung )?bas(?:e|es|al|ilar)", r"bi-?bas(?:al|ilar)"),
    "apex": (r"(?:lung )?(?:apex|apices|apical)", r"bi-?apical"),
    "perihilar": (r"perihilar", r"parahilar"),
    "hilum": (r"hil(?:um|ar|a)",),
    "retrocardiac": (r"retrocardiac",),
    "mediastinum": (r"mediastin(?:um|al)",),
    "costophrenic angle": (r"(?:costophrenic|cp) (?:angles?|sulc(?:us|i))",),
    "midlung": (r"mid ?-?(?:lung|zone)s?(?: zones?)?",),
    "diaphragm": (r"(?:hemi)?diaphragm",),
    "spine": (r"(?:thoracic |lumbar )?spine",),
}
"""Patterns by the name of the place."""
SIDES = {"lingula": "left", "middle lobe": "right"}
"""Side of a place that is on one side only."""
