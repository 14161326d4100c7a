# SPDX-License-Identifier: Apache-2.0
"""A whole clip linked into lesions, with what has become of each: born, lost for some frames, merged, split, gone.

The links are those of :class:`lib.tracking.causal.CausalTracker`; knowing the whole clip, a track that was confirmed
has also the detections from before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from .affinity import Detections, overlaps
from .boxes import Track
from .causal import CausalTracker, TrackerRules

PART_SHARE = 0.5
"""Part of the smaller of two lesions that lies in the other from which on the one can have become part of the other."""


class TrackEventKind(StrEnum):
    """What can happen to a track."""

    BIRTH = "birth"
    DEATH = "death"
    GAP = "gap"
    MERGE = "merge"
    SPLIT = "split"


@dataclass(frozen=True)
class TrackEvent:
    """Something that has happened to a track.

    Attributes:
        kind: What.
        track: Index of the track.
        frame: First frame with it (birth, split), last frame with it (death, merge), or first frame without (gap).
        frames: Of a gap: how many; else 0.
        other: Of a merge: the track that it has become part of; of a split: the track that it was part of.
        parts: Of a merge or a split within a track: how many parts became one, or one became; else 0.
    """

    kind: TrackEventKind
    track: int
    frame: int
    frames: int = 0
    other: int | None = None
    parts: int = 0


@dataclass(frozen=True)
class Linking:
    """The lesions of a clip.

    Attributes:
        tracks: In the order of their first frame; a detection belongs to one at most.
        events: In the order of their frames.
    """

    tracks: tuple[Track, ...]
    events: tuple[TrackEvent, ...]


def link_frames(frames: Sequence[Detections], rules: TrackerRules | None = None) -> Linking:
    """Link the detections of a sequence into lesions.

    A track that is there from the first frame on has no birth, one that is there on the last has no death: the clip
    does not show them. A merge or a split replaces the death or the birth.

    Args:
        frames: What was found on each frame, in frame order.
        rules: When detections are one lesion.

    Raises:
        InputError: If embeddings or masks differ in size.
    """
    tracker = CausalTracker(rules)
    members: dict[int, Track] = {}
    confirmed: set[int] = set()
    for t, found in enumerate(frames):
        update = tracker.update(found)
        confirmed.update(update.started)
        for index, track in enumerate(update.candidates):
            if track is not None:
                members.setdefault(track, {})[t] = index
    tracks = [members[number] for number in sorted(confirmed)]
    return Linking(tuple(tracks), track_events(tracks, frames))


def track_events(
    tracks: Sequence[Track], frames: Sequence[Detections], *, touching: bool = True
) -> tuple[TrackEvent, ...]:
    """What has become of each track, in the order of the frames.

    Args:
        tracks: Frame -> index of a detection on it.
        frames: The detections.
        touching: Whether a track can become part of another one. Not where tracks are outlines that hang together:
            two of these would be one.
    """
    events = [event for i in range(len(tracks)) for event in _events_of(i, tracks, frames, touching)]
    return tuple(sorted(events, key=lambda event: (event.frame, event.track)))


def _events_of(index: int, tracks: Sequence[Track], frames: Sequence[Detections], touching: bool) -> list[TrackEvent]:
    track = tracks[index]
    times = sorted(track)
    events = [
        TrackEvent(TrackEventKind.GAP, index, before + 1, after - before - 1)
        for before, after in pairwise(times)
        if after - before > 1
    ]
    if times[0] > 0:
        whole = _neighbour(index, tracks, frames, times[0], -1) if touching else None
        kind = TrackEventKind.BIRTH if whole is None else TrackEventKind.SPLIT
        events.append(TrackEvent(kind, index, times[0], other=whole))
    if times[-1] < len(frames) - 1:
        whole = _neighbour(index, tracks, frames, times[-1], 1) if touching else None
        kind = TrackEventKind.DEATH if whole is None else TrackEventKind.MERGE
        events.append(TrackEvent(kind, index, times[-1], other=whole))
    return events


def _neighbour(index: int, tracks: Sequence[Track], frames: Sequence[Detections], frame: int, step: int) -> int | None:
    """The track that holds, one ``step`` after an end of a track, the place where that end was.

    It must be there at the end too, beside it: one that only comes later is not what this one became a part of.
    """
    end = frames[frame].chosen([tracks[index][frame]])
    best, shared = None, PART_SHARE
    for i, track in enumerate(tracks):
        if i == index or frame not in track or frame + step not in track:
            continue
        share = overlaps(end, frames[frame + step].chosen([track[frame + step]]))[0].item()
        beside = overlaps(end, frames[frame].chosen([track[frame]]))[0].item()
        if share >= shared and share > beside:
            best, shared = i, share
    return best
