# SPDX-License-Identifier: Apache-2.0
"""Boxes of neighbouring frames linked into lesions.

Between frames the pairs with the greatest total overlap are linked (Bewley et al. SORT. ICIP 2016, without the motion
model: slices of one lesion lie on top of each other). A lesion may be missed on one frame in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.data.box_utils import box_area, box_iou
from scipy.optimize import linear_sum_assignment

from .types import Box, FloatArray

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
        linked = _assign(last, boxes, min_overlap)
        for row, column in linked.items():
            open_tracks[row][t] = column
        taken = set(linked.values())
        tracks.extend({t: i} for i in range(len(boxes)) if i not in taken)
    return tracks


def _assign(last: Sequence[Box], boxes: Sequence[Box], min_overlap: float) -> dict[int, int]:
    """Pairs (index in ``last`` -> index in ``boxes``) that share enough, with the greatest total of share and IoU."""
    if not last or not boxes:
        return {}
    a, b = np.array(last, np.float32), np.array(boxes, np.float32)
    iou: FloatArray = np.asarray(box_iou(a, b))
    areas_a, areas_b = np.asarray(box_area(a))[:, None], np.asarray(box_area(b))[None]
    intersection = iou / (1 + iou) * (areas_a + areas_b)
    share = intersection / np.maximum(np.minimum(areas_a, areas_b), 1e-6)
    benefit = np.where(share >= min_overlap, share + iou, 0.0)
    rows, columns = linear_sum_assignment(benefit, maximize=True)
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if benefit[r, c] > 0}
