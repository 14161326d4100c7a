# SPDX-License-Identifier: Apache-2.0
"""Lesions followed frame by frame, as a stream brings them: what is said of a frame never depends on later ones.

Sure detections are assigned to the living tracks first, then the unsure ones to the tracks that are left (ByteTrack:
Zhang et al. ECCV 2022): a lesion that fades for a frame is kept, noise starts no track. There is no motion model:
between the frames of a clip a lesion moves less than its size. A track costs one detection of memory, however long it
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..types import FloatArray, InputError
from .affinity import Detections, assign, joined, likeness, nearness, overlaps


@dataclass(frozen=True)
class TrackerRules:
    """When two detections are one lesion, and when a track begins and ends.

    Attributes:
        min_iou: Intersection over union from which on two overlap: a false box inside a lesion does not.
        max_distance: Without overlap: centres are no further apart than this times the mean diagonal; 0 for never.
        min_likeness: Cosine of the embeddings below which two detections are never one lesion.
        sure_score: From this score on a detection is assigned first and can start a track.
        unsure_score: Below it a detection is not looked at.
        confirm_hits: Frames with a detection from which on a track is told.
        confirm_gap: Frames without a detection that a track may skip before that.
        max_gap: Frames without a detection that a confirmed track may skip.
        memory: Part of the old embedding that is kept at each frame, in [0, 1).
    """

    min_iou: float = 0.2
    max_distance: float = 0.25
    min_likeness: float = 0.3
    sure_score: float = 0.5
    unsure_score: float = 0.1
    confirm_hits: int = 3
    confirm_gap: int = 1
    max_gap: int = 5
    memory: float = 0.8

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: If a rule can never, or would always, hold.
        """
        if not 0 < self.min_iou <= 1 or self.max_distance < 0 or not 0 <= self.memory < 1:
            raise InputError("min_iou must be in (0, 1], max_distance at least 0, memory in [0, 1)")
        if self.unsure_score > self.sure_score:
            raise InputError(f"unsure_score ({self.unsure_score}) must not exceed sure_score ({self.sure_score})")
        if self.confirm_hits < 1 or min(self.confirm_gap, self.max_gap) < 0:
            raise InputError("confirm_hits must be at least 1, confirm_gap and max_gap at least 0")

    @classmethod
    def reporting(cls, score: float, n_frames: int | None = None) -> TrackerRules:
        """Rules for a model that reports detections from a score on.

        Args:
            score: From which on a detection is reported; a lesion that fades below it for a frame is kept.
            n_frames: Of a clip that is complete: one of two frames has no third that could confirm a track.
        """
        hits = cls.confirm_hits if n_frames is None else max(1, min(cls.confirm_hits, n_frames))
        return cls(sure_score=score, unsure_score=min(cls.unsure_score, score), confirm_hits=hits)


@dataclass(frozen=True)
class TrackUpdate:
    """What a frame has brought.

    Attributes:
        ids: Per detection its track; None for one that belongs to no confirmed track.
        candidates: The same, also of tracks that are not confirmed yet: the id that each has if it will be.
        started: Tracks that this frame has confirmed.
        ended: Confirmed tracks that have been without a detection for too long.
    """

    ids: tuple[int | None, ...]
    candidates: tuple[int | None, ...]
    started: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()


@dataclass(eq=False)
class _Live:
    """A track that can go on: its number, its last detection and its counts."""

    id: int
    last: Detections
    hits: int = 1
    missed: int = 0
    confirmed: bool = False


class CausalTracker:
    """Gives each frame's detections the ids of their lesions; one for each stream.

    Args:
        rules: Of one stream.
    """

    def __init__(self, rules: TrackerRules | None = None) -> None:
        self.rules = rules or TrackerRules()
        self._live: list[_Live] = []
        self._next_id = 1

    @property
    def n_live(self) -> int:
        """Tracks that can go on."""
        return len(self._live)

    def update(self, found: Detections) -> TrackUpdate:
        """Take the next frame.

        Args:
            found: On this frame; none for a frame without detections.

        Raises:
            InputError: If embeddings or masks differ in size from those of the frames before.
        """
        scores, rules = found.score_array, self.rules
        sure = np.flatnonzero(scores >= rules.sure_score).tolist()
        unsure = np.flatnonzero((scores >= rules.unsure_score) & (scores < rules.sure_score)).tolist()
        owners = self._assigned(self._live, found, sure)
        taken = {track.id for track in owners.values()}
        waiting = [track for track in self._live if track.id not in taken]
        owners |= self._assigned(waiting, found, unsure)
        for index, track in owners.items():
            self._extend(track, found.chosen([index]))
        ended = self._age({track.id for track in owners.values()})
        for index in sure:
            if index not in owners:
                owners[index] = self._born(found.chosen([index]))
        started = self._confirm()
        told = {index: track for index, track in owners.items() if track.confirmed}
        return TrackUpdate(
            tuple(told[i].id if i in told else None for i in range(len(found))),
            tuple(owners[i].id if i in owners else None for i in range(len(found))),
            started,
            ended,
        )

    def _assigned(self, tracks: Sequence[_Live], found: Detections, chosen: list[int]) -> dict[int, _Live]:
        """Index of a detection -> its track, among some tracks and some detections."""
        if not tracks or not chosen:
            return {}
        benefit = _benefit([track.last for track in tracks], found.chosen(chosen), self.rules)
        return {chosen[column]: tracks[row] for row, column in assign(benefit).items()}

    def _extend(self, track: _Live, found: Detections) -> None:
        before, now = track.last.embeddings, found.embeddings
        if before is not None and now is not None:
            kept = self.rules.memory * _unit(before) + (1 - self.rules.memory) * _unit(now)
            found = Detections(found.boxes, found.scores, kept, found.masks)
        elif now is None and before is not None:
            found = Detections(found.boxes, found.scores, before, found.masks)
        track.last, track.hits, track.missed = found, track.hits + 1, 0

    def _age(self, seen: set[int]) -> tuple[int, ...]:
        """Count the missed frame of the tracks without a detection, and end those with too many."""
        for track in self._live:
            track.missed += track.id not in seen
        over = [t for t in self._live if t.missed > (self.rules.max_gap if t.confirmed else self.rules.confirm_gap)]
        self._live = [track for track in self._live if track not in over]
        return tuple(track.id for track in over if track.confirmed)

    def _born(self, found: Detections) -> _Live:
        track = _Live(self._next_id, found)
        self._next_id += 1
        self._live.append(track)
        return track

    def _confirm(self) -> tuple[int, ...]:
        new = [t for t in self._live if not t.confirmed and t.hits >= self.rules.confirm_hits]
        for track in new:
            track.confirmed = True
        return tuple(track.id for track in new)


def _benefit(last: Sequence[Detections], found: Detections, rules: TrackerRules) -> FloatArray:
    """(tracks, detections): 1 + IoU, or nearness without overlap, and what the embeddings add; 0 for no pair.

    Tracks may differ in whether they have masks and embeddings: those that do not are taken together.
    """
    kinds = [(one.masks is None, one.embeddings is None) for one in last]
    benefit = np.zeros((len(last), len(found)))
    for kind in set(kinds):
        rows = [row for row, other in enumerate(kinds) if other == kind]
        benefit[rows] = _pair_benefit(joined([last[row] for row in rows]), found, rules)
    return benefit


def _pair_benefit(last: Detections, found: Detections, rules: TrackerRules) -> FloatArray:
    _, iou = overlaps(last, found)
    benefit = np.where(iou >= rules.min_iou, 1 + iou, nearness(last, found, rules.max_distance))
    alike = likeness(last, found)
    if alike is None:
        return benefit
    return np.where((benefit > 0) & (alike >= rules.min_likeness), benefit + (1 + alike) / 2, 0.0)


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
