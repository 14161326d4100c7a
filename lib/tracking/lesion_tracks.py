# SPDX-License-Identifier: Apache-2.0
"""The lesions of an answer over its frames: which findings are one lesion, and what becomes of it from frame to frame.

On slices a finding is a lesion: what hangs together has been put together. In time a lesion may vanish for some frames,
or change its class, and come back as another finding; :mod:`lib.tracking` says which of these are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import Finding, SequenceKind
from . import Detections, TrackerRules, TrackEvent, link_frames, part_events, track_events


@dataclass(frozen=True)
class Outline:
    """The pixels of a finding.

    Attributes:
        finding: Its id.
        mask: (t, h, w), in a part of the sequence.
        first_frame: Frame that the mask starts at.
    """

    finding: int
    mask: npt.NDArray[np.bool_]
    first_frame: int


@dataclass(frozen=True)
class FrameTrack:
    """A lesion over the frames.

    Attributes:
        id: ``track_id`` of its findings.
        findings: Their ids, in the order of their first frames.
        frames: Those on which it was found.
        events: What becomes of it; the tracks that they name are ids.
    """

    id: int
    findings: tuple[int, ...]
    frames: tuple[int, ...]
    events: tuple[TrackEvent, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "id": self.id,
            "findings": list(self.findings),
            "first_frame": self.frames[0],
            "last_frame": self.frames[-1],
            "n_frames": len(self.frames),
            "events": [_event_json(event) for event in self.events],
        }


def _event_json(event: TrackEvent) -> dict[str, Any]:
    said = {"frames": event.frames or None, "other": event.other, "parts": event.parts or None}
    return {"kind": event.kind.value, "frame": event.frame, **{k: v for k, v in said.items() if v is not None}}


def with_tracks(findings: Sequence[Finding], kind: SequenceKind, n_frames: int) -> list[Finding]:
    """The same findings, each with the ``track_id`` of its lesion; ids go from 1 in the order of the first frames.

    Args:
        findings: Of one answer.
        kind: Of its sequence.
        n_frames: Of its sequence.
    """
    ordered = sorted(findings, key=lambda finding: (min(finding.boxes), finding.id))
    groups = {finding.id: {finding.id} for finding in ordered}
    if kind is not SequenceKind.STACK:
        _join(groups, ordered, n_frames)
    numbers: dict[int, int] = {}
    for finding in ordered:
        if finding.id not in numbers:
            numbers |= dict.fromkeys(groups[finding.id], max(numbers.values(), default=0) + 1)
    return [replace(finding, track_id=numbers[finding.id]) for finding in findings]


def _join(groups: dict[int, set[int]], findings: Sequence[Finding], n_frames: int) -> None:
    """Put findings into one group where the tracker goes on from one to the other and they share no frame."""
    by_id = {finding.id: finding for finding in findings}
    on_frame = [[finding for finding in findings if t in finding.boxes] for t in range(n_frames)]
    detections = [Detections([finding.boxes[t] for finding in found]) for t, found in enumerate(on_frame)]
    for track in link_frames(detections, TrackerRules(confirm_hits=1)).tracks:
        members = [on_frame[t][track[t]].id for t in sorted(track)]
        for one, other in pairwise(dict.fromkeys(members)):
            frames = [{t for i in groups[number] for t in by_id[i].boxes} for number in (one, other)]
            if groups[one] is not groups[other] and frames[0].isdisjoint(frames[1]):
                joined = groups[one] | groups[other]
                groups.update(dict.fromkeys(joined, joined))


def tracks_of(
    findings: Sequence[Finding], n_frames: int, outlines: Iterable[Outline] | None = None
) -> list[FrameTrack]:
    """The lesions of an answer, in the order of their ids.

    Args:
        findings: With their track ids.
        n_frames: Of the sequence.
        outlines: Of the findings, on the same frames; None where only boxes are known. Outlines tell where a lesion
            falls into parts, boxes where one lesion ends inside another.
    """
    ids = sorted({finding.track_id for finding in findings if finding.track_id is not None})
    on_frame = [[finding for finding in findings if t in finding.boxes] for t in range(n_frames)]
    detections = [Detections([finding.boxes[t] for finding in found]) for t, found in enumerate(on_frame)]
    tracks = [
        {t: i for t, found in enumerate(on_frame) for i, finding in enumerate(found) if finding.track_id == number}
        for number in ids
    ]
    events = [
        replace(event, track=ids[event.track], other=None if event.other is None else ids[event.other])
        for event in track_events(tracks, detections, touching=outlines is None)
    ]
    of_finding = {finding.id: finding.track_id or 0 for finding in findings}
    for one in outlines or ():
        events += part_events(one.mask, one.first_frame, of_finding[one.finding])
    return [_track(number, findings, events) for number in ids]


def _track(number: int, findings: Sequence[Finding], events: Iterable[TrackEvent]) -> FrameTrack:
    own = sorted((f for f in findings if f.track_id == number), key=lambda finding: min(finding.boxes))
    return FrameTrack(
        number,
        tuple(finding.id for finding in own),
        tuple(sorted({t for finding in own for t in finding.boxes})),
        tuple(sorted((e for e in events if e.track == number), key=lambda event: event.frame)),
    )
