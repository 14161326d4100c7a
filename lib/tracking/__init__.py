# SPDX-License-Identifier: Apache-2.0
"""Detections linked into lesions: through slices, through a clip, or frame by frame as they come.

Lesions over visits are in :mod:`lib.followup`, whose pairs know the patient's axes and the error of the registration.
"""

from .affinity import Detections
from .boxes import Track, link_boxes
from .causal import CausalTracker, TrackerRules, TrackUpdate
from .linking import Linking, TrackEvent, TrackEventKind, link_frames, track_events
from .parts import part_events

__all__ = [
    "CausalTracker",
    "Detections",
    "Linking",
    "Track",
    "TrackEvent",
    "TrackEventKind",
    "TrackUpdate",
    "TrackerRules",
    "link_boxes",
    "link_frames",
    "part_events",
    "track_events",
]
