# SPDX-License-Identifier: Apache-2.0
"""Seeing why: which parts of which frames speak for a study's answer, and for each lesion."""

from .explainer import DEFAULT_METHOD, METHODS, MOST_FINDINGS, explain, explained_layer
from .heatmaps import Explanation, Heatmap, write_heatmap

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "MOST_FINDINGS",
    "Explanation",
    "Heatmap",
    "explain",
    "explained_layer",
    "write_heatmap",
]
