# SPDX-License-Identifier: Apache-2.0
"""Side and region of the brain by the place in the head alone.

A rough map in shares of the brain's box, no atlas: it knows nothing of sulci or of a tumour that pushes them aside.
Reports therefore speak of "the left frontal region" as a place. The borders follow the usual proportions of the box:
the central sulcus about half way along its top, the temporal lobe below the Sylvian fissure, the cerebellum behind and
below (Talairach and Tournoux, Co-planar stereotaxic atlas of the human brain, 1988).
"""

from __future__ import annotations

from collections.abc import Sequence

from .facts import Side

Box3d = Sequence[float]
"""(x0, y0, z0, x1, y1, z1) in LPS mm."""

LATERAL_FROM = 0.45
"""Share of the way from the midline to the side from which a place is lateral."""


def side_of(point_lps_mm: Sequence[float], brain_lps_mm: Box3d) -> Side:
    """Side of the patient on which a point lies; in LPS, x grows to the left.

    Args:
        point_lps_mm: (x, y, z).
        brain_lps_mm: Box of the brain.
    """
    return Side.LEFT if point_lps_mm[0] >= (brain_lps_mm[0] + brain_lps_mm[3]) / 2 else Side.RIGHT


def region_of(point_lps_mm: Sequence[float], brain_lps_mm: Box3d) -> str:
    """Region in which a point lies: a location of the brain lexicon.

    Args:
        point_lps_mm: (x, y, z).
        brain_lps_mm: Box of the brain, of the whole head's height.
    """
    x, back, up = _shares(point_lps_mm, brain_lps_mm)
    lateral = abs(2 * x - 1)
    if up < 0.3 and back > 0.55:
        return "cerebellar"
    if back > 0.8:
        return "occipital"
    if up < 0.45 and back > 0.25:
        return "temporal" if lateral > LATERAL_FROM else "central"
    if up < 0.6 and 0.35 < back < 0.65:
        return "insular" if lateral > LATERAL_FROM else "central"
    return "frontal" if back < 0.5 else "parietal"


def _shares(point: Sequence[float], box: Box3d) -> tuple[float, float, float]:
    """Place in the box: from right to left, from front to back, from bottom to top, each 0 to 1."""
    shares = [(point[i] - box[i]) / max(box[i + 3] - box[i], 1e-6) for i in range(3)]
    return shares[0], shares[1], shares[2]
