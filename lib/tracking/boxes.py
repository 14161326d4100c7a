# SPDX-License-Identifier: Apache-2.0
"""Boxes of neighbouring frames linked into lesions.

Between frames the pairs with the greatest total overlap are linked (Bewley et al. SORT. ICIP 2016, without the motion
model: slices of one lesion lie on top of each other). A lesion may be missed on one frame in between.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..types import Box
from .affinity import Detections, assign, overlap_benefit

MAX_GAP_FRAMES = 1
Track = dict[int, int]
"""Frame index -> index of the box among the boxes of that frame."""


def link_boxes(frames: Sequence[Sequence[Box]], min_overlap: float, max_gap: int = MAX_GAP_FRAMES) -> list[Track]:
    """Link the boxes of a sequence into tracks; every box belongs to exactly one.

    Args:
        frames: Boxes of each frame, in frame order.
        min_overlap: Share of the smaller box that must lie in the other for both to be one lesion (the tip of a
            lesion is a few pixels beside a large box: its IoU says nothing).
        max_gap: Frames without a box that a track may skip.

    Returns:
        Tracks in the order of their first frame.
    """
    tracks: list[Track] = []
    for t, boxes in enumerate(frames):
        open_tracks = [track for track in tracks if t - max(track) <= max_gap + 1]
        last = [frames[max(track)][track[max(track)]] for track in open_tracks]
        linked = assign(overlap_benefit(Detections(last), Detections(boxes), min_overlap))
        for row, column in linked.items():
            open_tracks[row][t] = column
        taken = set(linked.values())
        tracks.extend({t: i} for i in range(len(boxes)) if i not in taken)
    return tracks
