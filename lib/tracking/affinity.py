# SPDX-License-Identifier: Apache-2.0
"""How much two detections look like one lesion, and which pairs have the greatest total.

Overlap comes first, then nearness, then likeness of the embeddings. The assignment is Kuhn's (Naval Research Logistics
1955;2:83-97), by scipy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from monai.data.box_utils import box_iou
from scipy.optimize import linear_sum_assignment

from ..types import Box, FloatArray, InputError

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Detections:
    """What was found on one frame.

    Attributes:
        boxes: (x0, y0, x1, y1) in pixels, N of them.
        scores: In [0, 1], one per box; empty for boxes that are all certain.
        embeddings: (N, D), of any length; None where the model gives none.
        masks: (N, H, W), the pixels of each; None where only boxes are known.
    """

    boxes: Sequence[Box]
    scores: Sequence[float] = ()
    embeddings: FloatArray | None = None
    masks: BoolArray | None = None

    def __post_init__(self) -> None:
        """Check that the parts are of the same detections.

        Raises:
            InputError: If they are not, a box is inside out, or a number is not finite.
        """
        count = len(self.boxes)
        if any(len(box) != 4 for box in self.boxes):
            raise InputError("a box has four numbers (x0, y0, x1, y1)")
        boxes = self.box_array
        if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
            raise InputError("boxes must be finite, x0 not above x1 and y0 not above y1")
        if len(self.scores) not in (0, count) or not np.isfinite(np.asarray(self.scores, np.float64)).all():
            raise InputError(f"{count} boxes need as many finite scores, or none; got {len(self.scores)}")
        if self.embeddings is not None and (self.embeddings.ndim != 2 or len(self.embeddings) != count):
            raise InputError(f"{count} boxes need embeddings of shape ({count}, D); got {self.embeddings.shape}")
        if self.embeddings is not None and not np.isfinite(self.embeddings).all():
            raise InputError("embeddings must be finite")
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != count):
            raise InputError(f"{count} boxes need masks of shape ({count}, H, W); got {self.masks.shape}")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def box_array(self) -> FloatArray:
        """The boxes, (N, 4)."""
        return np.array(self.boxes, np.float64).reshape(-1, 4)

    @property
    def score_array(self) -> FloatArray:
        """The scores, (N,); 1 where there are none."""
        return np.asarray(self.scores, np.float64) if len(self.scores) else np.ones(len(self))

    def chosen(self, index: Sequence[int]) -> Detections:
        """Some of them, in the order of ``index``."""
        rows = np.asarray(index, np.intp)
        return Detections(
            tuple(self.boxes[i] for i in rows),
            tuple(self.scores[i] for i in rows) if len(self.scores) else (),
            None if self.embeddings is None else self.embeddings[rows],
            None if self.masks is None else self.masks[rows],
        )


def joined(parts: Sequence[Detections]) -> Detections:
    """Detections one after the other, at least one part; all of them or none have masks, and embeddings.

    Raises:
        InputError: If their masks or embeddings differ in size.
    """
    masks = [part.masks for part in parts if part.masks is not None]
    embeddings = [part.embeddings for part in parts if part.embeddings is not None]
    if len({one.shape[1:] for one in masks}) > 1 or len({one.shape[1:] for one in embeddings}) > 1:
        raise InputError("masks of one sequence need one size, and embeddings one length")
    return Detections(
        [box for part in parts for box in part.boxes],
        [score for part in parts for score in part.score_array.tolist()],
        np.concatenate(embeddings) if embeddings else None,
        np.concatenate(masks) if masks else None,
    )


def overlaps(last: Detections, found: Detections) -> tuple[FloatArray, FloatArray]:
    """What each pair has in common, of masks where both have them, else of boxes.

    Args:
        last: N detections.
        found: M detections.

    Returns:
        Share of the smaller one that lies in the other, and intersection over union; both (N, M).
    """
    if last.masks is not None and found.masks is not None:
        if last.masks.shape[1:] != found.masks.shape[1:]:
            raise InputError(f"masks of one sequence need one size; got {last.masks.shape} and {found.masks.shape}")
        a, b = (masks.reshape(len(masks), -1).astype(np.float32) for masks in (last.masks, found.masks))
        common, sizes = a @ b.T, (a.sum(axis=1)[:, None], b.sum(axis=1)[None])
        return common / np.maximum(np.minimum(*sizes), 1), common / np.maximum(sizes[0] + sizes[1] - common, 1)
    first, second = last.box_array.astype(np.float32), found.box_array.astype(np.float32)
    iou: FloatArray = np.asarray(box_iou(first, second))
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second))
    common = iou / (1 + iou) * (area_a[:, None] + area_b[None])
    return common / np.maximum(np.minimum(area_a[:, None], area_b[None]), 1e-6), iou


def overlap_benefit(last: Detections, found: Detections, min_overlap: float) -> FloatArray:
    """(N, M): share of the smaller plus IoU, in (0, 2], of the pairs that share enough; else 0."""
    if not len(last) or not len(found):
        return np.zeros((len(last), len(found)))
    share, iou = overlaps(last, found)
    return np.where(share >= min_overlap, share + iou, 0.0)


def nearness(last: Detections, found: Detections, max_distance: float) -> FloatArray:
    """(N, M): 1 for boxes with one centre, 0 from ``max_distance`` times the mean diagonal of the two on."""
    a, b = last.box_array, found.box_array
    centers = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (a, b)]
    diagonals = [np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b)]
    apart = np.linalg.norm(centers[0][:, None] - centers[1][None], axis=2)
    reach = max_distance * (diagonals[0][:, None] + diagonals[1][None]) / 2
    return np.asarray(np.clip(1 - apart / np.maximum(reach, 1e-6), 0.0, 1.0))


def likeness(last: Detections, found: Detections) -> FloatArray | None:
    """(N, M): cosine of the embeddings' angle, in [-1, 1]; None where one of the two has none."""
    if last.embeddings is None or found.embeddings is None:
        return None
    if last.embeddings.shape[1] != found.embeddings.shape[1]:
        lengths = f"{last.embeddings.shape[1]} and {found.embeddings.shape[1]}"
        raise InputError(f"embeddings of one sequence need one length; got {lengths}")
    a, b = (e / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-9) for e in (last.embeddings, found.embeddings))
    return np.asarray(a @ b.T)


def assign(benefit: FloatArray) -> dict[int, int]:
    """Row -> column of the pairs with the greatest total benefit; a pair without benefit is none."""
    rows, columns = linear_sum_assignment(benefit, maximize=True)
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if benefit[r, c] > 0}
