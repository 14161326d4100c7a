# SPDX-License-Identifier: Apache-2.0
"""Which part of a clip is image, and which is burned-in border: text, scale bars, logos, black margins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from scipy import ndimage

Bounds = tuple[int, int, int, int]
"""(y0, y1, x0, x1), half open."""

SAMPLED_FRAMES = 48
# Lossy compression makes still parts flicker by a few grey values.
MOVES_BY = 8
BRIGHTER_BY = 16
_SCREEN_FACTORS = (1, 2, 3, 4)
_TISSUE, _COLOUR_FLOW = 1, 2
_TWO_D = 1


def content_of_regions(dataset: Dataset, rows: int, columns: int) -> tuple[Bounds | None, int]:
    """Bounds of the 2D image regions that an ultrasound system wrote (PS3.3 C.8.5.5).

    Some systems store a clip at half the size of their screen and leave the regions in screen pixels: the smallest
    whole factor that makes them fit is taken.

    Returns:
        The bounds, None where there is no usable 2D region; and how many region pixels make one of the image's.
    """
    boxes = [box for box in map(_region_box, two_d_regions(dataset)) if box is not None]
    if not boxes:
        return None, 1
    y0, y1 = min(box[0] for box in boxes), max(box[1] for box in boxes)
    x0, x1 = min(box[2] for box in boxes), max(box[3] for box in boxes)
    factor = next((k for k in _SCREEN_FACTORS if y1 <= rows * k and x1 <= columns * k), None)
    if factor is None:
        return None, 1
    return (y0 // factor, -(-y1 // factor), x0 // factor, -(-x1 // factor)), factor


def two_d_regions(dataset: Dataset) -> list[Dataset]:
    """The regions that hold a 2D image of tissue or flow, not a spectrum, an M-mode trace, an ECG or a colour bar."""
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    kinds = (_TISSUE, _COLOUR_FLOW)
    return [r for r in regions if r.get("RegionSpatialFormat") == _TWO_D and r.get("RegionDataType") in kinds]


def _region_box(region: Dataset) -> Bounds | None:
    names = ("RegionLocationMinY0", "RegionLocationMaxY1", "RegionLocationMinX0", "RegionLocationMaxX1")
    values = [region.get(name) for name in names]
    if any(not isinstance(value, int) for value in values):
        return None
    y0, y1, x0, x1 = values
    return (y0, y1 + 1, x0, x1 + 1) if 0 <= y0 < y1 and 0 <= x0 < x1 else None


def content_of_pixels(frames: npt.NDArray[Any]) -> Bounds | None:
    """Find the image by what moves: borders are still, and so are the texts and bars on them.

    What is bright and touches the moving part belongs to it (a probe's face, a still wall). A picture that does not
    move at all loses only margins of one value.

    Args:
        frames: (T, H, W), or (T, H, W, 3).

    Returns:
        Bounds; None where the image fills the frame or cannot be told from the border.
    """
    step = max(1, len(frames) // SAMPLED_FRAMES)
    sample = frames[::step]
    if sample.ndim == 4:
        red, green, blue = np.moveaxis(sample, -1, 0)
        sample = np.maximum(np.maximum(red, green), blue)
    highest, lowest = sample.max(axis=0), sample.min(axis=0)
    unit = max(float(highest.max()) - float(lowest.min()), 1e-6) / 255.0
    moves = (highest.astype(np.float32) - lowest) > MOVES_BY * unit
    moves = ndimage.binary_opening(moves, np.ones((3, 3)))
    bounds = _around_moving(moves, highest, unit) if moves.any() else _without_margins(highest)
    return _worth_it(bounds, *highest.shape)


def _around_moving(moves: npt.NDArray[np.bool_], highest: npt.NDArray[Any], unit: float) -> Bounds | None:
    """The bounds of the part with most movement, and of other parts that move as much as a tenth of it."""
    dark = float(np.percentile(highest, 5))
    bright = ndimage.binary_opening(highest > dark + BRIGHTER_BY * unit, np.ones((5, 5)))
    joined = ndimage.binary_closing(moves | bright, np.ones((5, 5)))
    labels, count = ndimage.label(joined | moves)
    movement = ndimage.sum_labels(moves, labels, np.arange(1, count + 1))
    wanted = np.flatnonzero(movement >= 0.1 * movement.max()) + 1
    parts = ndimage.find_objects(labels)
    boxes = [(part[0].start, part[0].stop, part[1].start, part[1].stop) for part in (parts[k - 1] for k in wanted)]
    y0, y1, x0, x1 = zip(*boxes, strict=True)
    return min(y0), max(y1), min(x0), max(x1)


def _without_margins(image: npt.NDArray[Any]) -> Bounds | None:
    """Cut rows and columns at the edges that hold nothing but the corner's value."""
    inside = image != image[0, 0]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _worth_it(bounds: Bounds | None, rows: int, columns: int) -> Bounds | None:
    """None for nearly all of the frame, where there is no border, and for a speck, which is no image."""
    if bounds is None:
        return None
    y0, y1, x0, x1 = bounds
    height, width = y1 - y0, x1 - x0
    if height * width < 0.05 * rows * columns or (height > 0.97 * rows and width > 0.97 * columns):
        return None
    return bounds
