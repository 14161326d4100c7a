# SPDX-License-Identifier: Apache-2.0
"""The picture of an explanation: heatmaps on frames, the curves over all frames, the weights of the channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .pictures import FAINT, FOUND, INK, PAPER, TRUTH, head_region

if TYPE_CHECKING:
    from .explain import Explained

Frames = npt.NDArray[np.floating[Any]]
COLUMNS, MOST_FRAMES, MOST_LESIONS = 4, 8, 4
PANEL_IN, STRIP_IN, DPI = 2.9, 0.8, 110
TITLE_IN, FOOT_IN, GAP_IN = 0.85, 0.45, 0.45
HEAT = "inferno"
SHARES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
WARM = 0.25
"""Frames whose strongest evidence reaches this share of the study's are shown."""


def draw_explanation(explained: Explained, path: Path) -> None:
    """Write the picture as PNG.

    First the frames with the most evidence for the study's answer; then each lesion's own evidence, on the frame where
    it is strongest; below, presence, attention and evidence per frame, and the weights of the channels.

    Args:
        explained: The image, what was found, and why.
        path: The file; its folder must exist.
    """
    images = explained.study.sequence.frames[:, 0]
    heat = [explained.explanation.on_frames(one) for one in explained.explanation.heatmaps]
    crop = head_region(images)
    panels = _panels(explained, heat)
    rows = -(-len(panels) // COLUMNS)
    strips = 1 + (explained.modality_weights is not None)
    ratio = _ratio(explained, crop)
    height_in = TITLE_IN + rows * PANEL_IN * ratio + strips * (STRIP_IN + GAP_IN) + FOOT_IN
    figure = Figure(figsize=(COLUMNS * PANEL_IN, height_in), facecolor=PAPER)
    grid = figure.add_gridspec(
        rows,
        COLUMNS,
        left=0.01,
        right=0.99,
        top=1 - TITLE_IN / height_in,
        bottom=1 - (TITLE_IN + rows * PANEL_IN * ratio) / height_in,
        wspace=0.02,
        hspace=0.02,
    )
    window = _window(images)
    for place, (frame, which, text) in enumerate(panels):
        axes = figure.add_subplot(grid[place // COLUMNS, place % COLUMNS])
        _draw_panel(axes, explained, frame, heat[which], crop, window)
        label = {"facecolor": INK, "edgecolor": "none", "alpha": 0.65, "pad": 1.5}
        axes.text(0.02, 0.98, text, transform=axes.transAxes, fontsize=8, color=PAPER, va="top", bbox=label)
    _draw_strips(figure, explained, heat[0], height_in)
    _draw_title(figure, explained, height_in)
    FigureCanvasAgg(figure).figure.savefig(path, dpi=DPI, pil_kwargs={"compress_level": 3})


def _panels(explained: Explained, heat: list[Frames]) -> list[tuple[int, int, str]]:
    """What to show: the frame, which of the heatmaps, and the words above."""
    panels = [(t, 0, f"frame {t + 1}") for t in frames_with_evidence(heat[0])]
    for which, finding in enumerate(explained.findings[: min(MOST_LESIONS, len(heat) - 1)], start=1):
        t = int(heat[which].max(axis=(1, 2)).argmax()) if heat[which].any() else min(finding.boxes)
        panels.append((t, which, f"for {finding.label} {finding.id} ({finding.score:.2f}), frame {t + 1}"))
    return panels


def frames_with_evidence(heat: Frames) -> list[int]:
    """Frames with much evidence, thinned to :data:`MOST_FRAMES`, always the one with the most; in order.

    Args:
        heat: (T, H, W), 0..1.
    """
    strongest = heat.max(axis=(1, 2))
    best = int(strongest.argmax())
    warm = np.flatnonzero(strongest >= WARM) if strongest[best] > 0 else np.array([len(heat) // 2])
    if len(warm) > MOST_FRAMES:
        warm = warm[np.linspace(0, len(warm) - 1, MOST_FRAMES).round().astype(int)]
        if best not in warm:
            warm[np.abs(warm - best).argmin()] = best
    return [int(t) for t in warm]


def _ratio(explained: Explained, crop: tuple[slice, slice]) -> float:
    """Height of a panel relative to its width, in mm."""
    x_mm, y_mm = explained.study.sequence.spacing_mm
    rows, columns = explained.study.sequence.frames[0, 0][crop].shape
    return float(np.clip(rows * y_mm / (columns * x_mm), 0.4, 2.0))


def _window(images: Frames) -> tuple[float, float]:
    """Intensities shown as black and white."""
    inside = images[images > images.min()]
    low, high = np.percentile(inside, (1, 99.7)) if inside.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def _draw_panel(
    axes: Axes,
    explained: Explained,
    frame: int,
    heat: Frames,
    crop: tuple[slice, slice],
    window: tuple[float, float],
) -> None:
    x_mm, y_mm = explained.study.sequence.spacing_mm
    image, warmth = explained.study.sequence.frames[frame, 0][crop], heat[frame][crop]
    top, left = crop[0].start - 0.5, crop[1].start - 0.5  # pixel centres lie at whole numbers
    place = (left, left + image.shape[1], top + image.shape[0], top)
    shown: dict[str, Any] = {"extent": place, "aspect": y_mm / x_mm}
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], **shown)
    axes.imshow(warmth, cmap=HEAT, vmin=0, vmax=1, alpha=0.75 * np.sqrt(np.clip(warmth, 0, 1)), **shown)
    for finding in explained.findings:
        if frame in finding.boxes:
            x0, y0, x1, y1 = (v - 0.5 for v in finding.boxes[frame])
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=TRUTH, linewidth=1.1))
    axes.set_axis_off()


def _draw_strips(figure: Figure, explained: Explained, heat: Frames, height_in: float) -> None:
    """Below the frames: the curves, and under them the weights of the channels where the network has them."""
    numbers = np.arange(1, len(heat) + 1)
    shares = explained.modality_weights
    bottom_in = FOOT_IN + (STRIP_IN + GAP_IN if shares is not None else 0.0)
    place = (0.075, bottom_in / height_in, 0.9, STRIP_IN / height_in)
    _draw_curves(figure.add_axes(place), explained, heat, numbers)
    if shares is not None:
        axes = figure.add_axes((0.075, FOOT_IN / height_in, 0.9, STRIP_IN / height_in))
        below = np.cumsum(shares, axis=1) - shares
        for c, name in enumerate(explained.study.sequence.channels):
            colour = SHARES[c % len(SHARES)]
            axes.bar(numbers, shares[:, c], bottom=below[:, c], width=0.8, color=colour, alpha=0.8, label=name)
        _finish(axes, numbers, "channels")
    figure.axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.axes[-1].set_xlabel("frame", fontsize=8, color=INK, labelpad=1)


def _draw_curves(axes: Axes, explained: Explained, heat: Frames, numbers: npt.NDArray[np.int_]) -> None:
    attention = explained.attention
    if attention is not None:
        label = f"attention (highest {attention.max():.2f})"
        axes.bar(numbers, attention / max(float(attention.max()), 1e-9), width=0.8, color=TRUTH, alpha=0.5, label=label)
    if explained.presence is not None:
        axes.plot(numbers, explained.presence, color=INK, linewidth=1.2, label="presence")
    evidence = heat.max(axis=(1, 2))
    axes.plot(numbers, evidence, color=FOUND, linewidth=1.2, linestyle="dashed", label="strongest evidence")
    _finish(axes, numbers, "per frame")


def _finish(axes: Axes, numbers: npt.NDArray[np.int_], name: str) -> None:
    axes.set_xlim(0.5, len(numbers) + 0.5)
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0, 0.5, 1])
    axes.tick_params(labelsize=7.5, colors=INK)
    axes.set_ylabel(name, fontsize=8, color=INK)
    axes.legend(fontsize=7.5, frameon=False, ncols=6, loc="lower left", bbox_to_anchor=(0, 0.96), borderaxespad=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)


def _draw_title(figure: Figure, explained: Explained, height_in: float) -> None:
    title, explanation = f"Why: {answer_of(explained)}", explained.explanation
    figure.text(0.012, 1 - 0.1 / height_in, title, fontsize=11, weight="bold", color=INK, va="top")
    below = f"{explained.model}, version {explained.version}. Evidence: {explanation.method} at {explanation.layer}."
    figure.text(0.012, 1 - 0.34 / height_in, below, fontsize=8.5, color=INK, va="top")
    caution = "It shows where the model looked, not whether it is right."
    figure.text(0.012, 1 - 0.54 / height_in, caution, fontsize=8.5, color=INK, va="top")
    bar = figure.add_axes((0.72, 1 - 0.42 / height_in, 0.26, 0.12 / height_in))
    figure.colorbar(ScalarMappable(cmap=colormaps[HEAT]), cax=bar, orientation="horizontal")
    bar.tick_params(labelsize=7, colors=INK, length=2)
    bar.set_title("evidence, 1: the strongest of its map", fontsize=7.5, color=INK, pad=3)


def answer_of(explained: Explained) -> str:
    """What the model says, in words."""
    label = explained.explanation.heatmaps[0].label
    if label is not None:
        return f"{label} ({explained.classes[label]:.2f})"
    count = len(explained.findings)
    return f"{count} lesion found" if count == 1 else f"{count or 'no'} lesions found"
