# SPDX-License-Identifier: Apache-2.0
"""Visits of a patient compared: which lesion is which, what has become of it, and what that means as a response."""

from .changes import FindingGrowth, LesionChange, growth_at
from .compare import REGISTRATION_ERROR_MM, Comparison, Pair, compare_visits
from .growth import Change, Growth
from .lesions import VisitFindings
from .response import Response, ResponseCourse, VisitResponse, recist_response
from .series import follow_visits
from .spread import Spread
from .timeline import Beginning, Ending, LesionTrack, Timeline
from .trend import Trend, trend_of
from .visit import findings_of_answer, findings_of_labels, findings_of_mask, shown_stack, without_pixels

__all__ = [
    "REGISTRATION_ERROR_MM",
    "Beginning",
    "Change",
    "Comparison",
    "Ending",
    "FindingGrowth",
    "Growth",
    "LesionChange",
    "LesionTrack",
    "Pair",
    "Response",
    "ResponseCourse",
    "Spread",
    "Timeline",
    "Trend",
    "VisitFindings",
    "VisitResponse",
    "compare_visits",
    "findings_of_answer",
    "findings_of_labels",
    "findings_of_mask",
    "follow_visits",
    "growth_at",
    "recist_response",
    "shown_stack",
    "trend_of",
    "without_pixels",
]
