# SPDX-License-Identifier: Apache-2.0
"""Visits of a patient compared: which lesion is which, what has become of it, and what that means as a response."""

from .compare import Comparison, Pair, compare_visits
from .growth import Change, Growth
from .lesions import VisitFindings
from .response import Response, ResponseCourse, VisitResponse, recist_response
from .series import follow_visits
from .spread import Spread
from .timeline import Beginning, Ending, LesionTrack, Timeline
from .trend import Trend, trend_of
from .visit import findings_of_answer, findings_of_mask, shown_stack

__all__ = [
    "Beginning",
    "Change",
    "Comparison",
    "Ending",
    "Growth",
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
    "findings_of_mask",
    "follow_visits",
    "recist_response",
    "shown_stack",
    "trend_of",
]
