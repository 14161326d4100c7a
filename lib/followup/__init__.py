# SPDX-License-Identifier: Apache-2.0
"""Two visits of a patient compared: which lesion is which, and what has become of it."""

from .compare import Comparison, Pair, compare_visits
from .growth import Change, Growth
from .lesions import VisitFindings
from .visit import findings_of_answer, findings_of_mask, shown_stack

__all__ = [
    "Change",
    "Comparison",
    "Growth",
    "Pair",
    "VisitFindings",
    "compare_visits",
    "findings_of_answer",
    "findings_of_mask",
    "shown_stack",
]
