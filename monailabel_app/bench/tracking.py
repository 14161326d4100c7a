# SPDX-License-Identifier: Apache-2.0
"""How well lesions keep their identity in clips: HOTA and IDF1 on phantom cine whose true boxes are made worse.

HOTA (Luiten et al. IJCV 2021;129:548-578) is the mean over its 19 thresholds, IDF1 (Ristani et al. ECCV workshops 2016)
is at IoU 0.5; both by TrackEval, their authors' own code, which only measuring needs (the extra ``bench``).
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.data.box_utils import box_iou
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..roots import lib_module

FloatArray = npt.NDArray[np.floating[Any]]
Boxes = list[tuple[float, float, float, float]]
Tracked = list[dict[int, tuple[float, float, float, float]]]
"""Per frame: the box of each lesion."""
LINK_OVERLAP = 0.3
TRUE, LINKED, BATCH, CAUSAL = "true identities", "link_boxes", "link_frames", "CausalTracker"


@dataclass(frozen=True)
class BoxNoise:
    """What a detector does to true boxes.

    Attributes:
        jitter: Standard deviation of each side's place, in parts of the box.
        missed: Share of the boxes that are not found.
        false_per_frame: Mean number of boxes where nothing is.
    """

    jitter: float = 0.08
    missed: float = 0.15
    false_per_frame: float = 0.5


@dataclass(frozen=True)
class TrackingScore:
    """How one way of linking did, per seed.

    Attributes:
        hota: In [0, 1].
        idf1: In [0, 1].
        identities: Tracks per true lesion.
    """

    hota: tuple[float, ...]
    idf1: tuple[float, ...]
    identities: tuple[float, ...]

    @property
    def means(self) -> tuple[float, float, float]:
        """HOTA, IDF1 and tracks per lesion."""
        return statistics.fmean(self.hota), statistics.fmean(self.idf1), statistics.fmean(self.identities)


def benchmark_tracking(
    seeds: Sequence[int] = range(5), n_lesions: int = 3, n_frames: int = 96, noise: BoxNoise | None = None
) -> dict[str, TrackingScore]:
    """Score the ways of linking on the same noisy boxes, and the boxes themselves with their true identities.

    Args:
        seeds: One clip each.
        n_lesions: A phantom clip has one; the lesions of so many clips are shown in one, where they may cross.
        n_frames: Of each clip.
        noise: What is done to the boxes.
    """
    scores: dict[str, list[tuple[float, float, float]]] = {TRUE: [], LINKED: [], BATCH: [], CAUSAL: []}
    for seed in seeds:
        truth, size = clip(seed, n_lesions, n_frames)
        found, owners = noisy(truth, size, noise or BoxNoise(), np.random.default_rng(seed))
        perfect = [
            {owner: frame.boxes[i] for i, owner in enumerate(who) if owner is not None}
            for frame, who in zip(found, owners, strict=True)
        ]
        for name, tracked in {TRUE: perfect, **linked(found)}.items():
            scores[name].append(score(truth, tracked))
    return {name: TrackingScore(*zip(*rows, strict=True)) for name, rows in scores.items()}


def clip(seed: int, n_lesions: int, n_frames: int) -> tuple[Tracked, tuple[int, int]]:
    """The true boxes of a clip by lesion, and the size (H, W) of its frames."""
    phantoms = [
        lib_module("phantom").cine(seed * 1000 + i, n_frames=n_frames, frame_time_ms=66.7) for i in range(n_lesions)
    ]
    truth: Tracked = [{} for _ in range(n_frames)]
    for lesion, phantom in enumerate(phantoms):
        for t, box in phantom.boxes.items():
            truth[t][lesion] = tuple(float(v) for v in box)
    return truth, phantoms[0].image.shape[1:]


def noisy(
    truth: Tracked, size: tuple[int, int], noise: BoxNoise, rng: np.random.Generator
) -> tuple[list[Any], list[list[int | None]]]:
    """What a detector might give of true boxes.

    Returns:
        Per frame the detections (``lib.tracking.Detections``), and whose each is; None for a false one.
    """
    frames, owners = [], []
    for boxes in truth:
        seen = [(k, _jittered(box, noise.jitter, rng)) for k, box in boxes.items() if rng.random() >= noise.missed]
        false = [(None, _false_box(size, rng)) for _ in range(rng.poisson(noise.false_per_frame))]
        scores = [*rng.uniform(0.3, 1.0, len(seen)), *rng.uniform(0.05, 0.7, len(false))]
        together = [*seen, *false]
        order = rng.permutation(len(together))
        frames.append(
            lib_module("tracking").Detections([together[i][1] for i in order], [float(scores[i]) for i in order])
        )
        owners.append([together[i][0] for i in order])
    return frames, owners


def _jittered(box: Sequence[float], jitter: float, rng: np.random.Generator) -> tuple[float, ...]:
    width, height = box[2] - box[0], box[3] - box[1]
    x0, y0, x1, y1 = np.asarray(box) + jitter * rng.standard_normal(4) * (width, height, width, height)
    return float(x0), float(y0), float(max(x1, x0 + 1)), float(max(y1, y0 + 1))


def _false_box(size: tuple[int, int], rng: np.random.Generator) -> tuple[float, ...]:
    width, height = rng.uniform(8, 60, 2)
    x, y = rng.uniform(0, size[1] - width), rng.uniform(0, size[0] - height)
    return float(x), float(y), float(x + width), float(y + height)


def linked(frames: Sequence[Any]) -> dict[str, Tracked]:
    """The tracks of each way of linking; of :func:`lib.tracking.link_boxes`, sure boxes only, tracks of 3 and more."""
    tracking = lib_module("tracking")
    rules = tracking.TrackerRules()
    sure = [[i for i, s in enumerate(frame.scores) if s >= rules.sure_score] for frame in frames]
    chosen = [frame.chosen(index) for frame, index in zip(frames, sure, strict=True)]
    simple = tracking.link_boxes([frame.boxes for frame in chosen], LINK_OVERLAP, rules.max_gap)
    simple = [track for track in simple if len(track) >= rules.confirm_hits]
    batch = tracking.link_frames(frames, rules).tracks
    tracker = tracking.CausalTracker(rules)
    causal = [tracker.update(frame).ids for frame in frames]
    return {
        LINKED: _by_frame(simple, chosen),
        BATCH: _by_frame(batch, frames),
        CAUSAL: [
            {track: frame.boxes[i] for i, track in enumerate(ids) if track is not None}
            for ids, frame in zip(causal, frames, strict=True)
        ],
    }


def _by_frame(tracks: Sequence[dict[int, int]], frames: Sequence[Any]) -> Tracked:
    return [
        {k: frame.boxes[track[t]] for k, track in enumerate(tracks) if t in track} for t, frame in enumerate(frames)
    ]


def score(truth: Tracked, tracked: Tracked) -> tuple[float, float, float]:
    """HOTA, IDF1 and the number of tracks per true lesion.

    Args:
        truth: True boxes.
        tracked: Found boxes, as many frames.

    Raises:
        InputError: If TrackEval is not installed.
    """
    try:
        metrics = importlib.import_module("trackeval.metrics")
    except ImportError as error:
        raise lib_module("types").InputError("this needs TrackEval: pip install 'lesionloop[bench]'") from error
    data = _trackeval_data(truth, tracked)
    hota = metrics.HOTA().eval_sequence(data)["HOTA"].mean()
    idf1 = metrics.Identity({"PRINT_CONFIG": False, "THRESHOLD": 0.5}).eval_sequence(data)["IDF1"]
    return float(hota), float(idf1), data["num_tracker_ids"] / max(data["num_gt_ids"], 1)


def _trackeval_data(truth: Tracked, tracked: Tracked) -> dict[str, Any]:
    """What TrackEval's metrics take: ids from 0 without holes, and the IoU of each pair of a frame."""
    sides: dict[str, Any] = {}
    for name, frames in (("gt", truth), ("tracker", tracked)):
        number = {key: i for i, key in enumerate(sorted({key for frame in frames for key in frame}))}
        sides[f"{name}_ids"] = [np.array([number[key] for key in frame], np.intp) for frame in frames]
        sides[f"num_{name}_ids"] = len(number)
        sides[f"num_{name}_dets"] = sum(len(frame) for frame in frames)
    sides["similarity_scores"] = [_iou(list(a.values()), list(b.values())) for a, b in zip(truth, tracked, strict=True)]
    return sides


def _iou(first: Boxes, second: Boxes) -> FloatArray:
    if not first or not second:
        return np.zeros((len(first), len(second)))
    return np.asarray(box_iou(np.array(first, np.float32), np.array(second, np.float32)), np.float64)


def tracking_table(scores: dict[str, TrackingScore], title: str) -> Table:
    """Means over the clips, with the lowest and the highest HOTA."""
    caption = "tracks: told per true lesion; true identities: the same boxes, linked without a mistake"
    table = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE_HEAD)
    for header in ("linked by", "HOTA", "lowest", "highest", "IDF1", "tracks"):
        table.add_column(header, justify="left" if header == "linked by" else "right")
    for name, one in scores.items():
        hota, idf1, tracks = one.means
        table.add_row(
            name, f"{hota:.3f}", f"{min(one.hota):.3f}", f"{max(one.hota):.3f}", f"{idf1:.3f}", f"{tracks:.2f}"
        )
    return table
