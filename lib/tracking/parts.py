# SPDX-License-Identifier: Apache-2.0
"""Where the outline of one lesion falls into parts, or parts of it come together, from a frame to the next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .linking import TrackEvent, TrackEventKind

NEIGHBOURS_8 = np.ones((3, 3))
LEAST_PART = 0.1
"""Area of the smallest part that counts, relative to the largest one: less is the ragged border of an outline."""


def part_events(mask: npt.NDArray[np.bool_], first_frame: int = 0, track: int = 0) -> list[TrackEvent]:
    """Splits and merges within a lesion, in the order of the frames.

    Parts of neighbouring frames belong together where they touch, be it at a corner.

    Args:
        mask: The lesion's pixels (t, h, w) in a part of its sequence.
        first_frame: Frame of the sequence that ``mask`` starts at.
        track: For the events.
    """
    events = []
    before, n_before = _parts(mask[0])
    for t in range(1, len(mask)):
        after, n_after = _parts(mask[t])
        touching = _touching(before, after, n_before, n_after)
        for parts in touching.sum(axis=1):
            if parts > 1:
                events.append(TrackEvent(TrackEventKind.SPLIT, track, first_frame + t, parts=int(parts)))
        for parts in touching.sum(axis=0):
            if parts > 1:
                events.append(TrackEvent(TrackEventKind.MERGE, track, first_frame + t - 1, parts=int(parts)))
        before, n_before = after, n_after
    return sorted(events, key=lambda event: event.frame)


def _parts(frame: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], int]:
    """The parts of a frame that count, numbered from 1, and how many there are."""
    labelled, count = ndimage.label(frame, NEIGHBOURS_8)
    areas = np.bincount(labelled.ravel(), minlength=count + 1)
    areas[0] = 0
    kept = areas >= max(LEAST_PART * areas.max(), 1)
    return np.where(kept, np.cumsum(kept), 0)[labelled], int(kept.sum())


def _touching(
    before: npt.NDArray[np.intp], after: npt.NDArray[np.intp], n_before: int, n_after: int
) -> npt.NDArray[np.bool_]:
    """Which part of a frame touches which of the next, (before, after)."""
    found = np.zeros((n_before, n_after), np.bool_)
    for number in range(1, n_before + 1):
        reached = np.unique(after[ndimage.binary_dilation(before == number, NEIGHBOURS_8)])
        found[number - 1, reached[reached > 0] - 1] = True
    return found
