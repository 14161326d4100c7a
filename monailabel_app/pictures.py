# SPDX-License-Identifier: Apache-2.0
"""Pictures of answers: the frames with lesions, what was found, what is truly there, and the presence per frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from .truth import Answer, Score, Volume

# Okabe and Ito's palette, which colour-blind readers can tell apart; line styles differ as well.
FOUND, TRUTH, PAPER, INK, FAINT = "#F0A020", "#56B4E9", "#FFFFFF", "#222222", "#BBBBBB"
COLUMNS, MOST_FRAMES = 4, 8
PANEL_IN, DPI = 2.9, 110
TITLE_IN, FOOT_IN = 0.6, 1.5
MARGIN_PX = 6
DIRECTIONS = (("R", "L"), ("A", "P"), ("I", "S"))  # LPS axes: where the coordinate is small and where it is large


def draw(answer: Answer, score: Score, path: Path) -> None:
    """Write the picture of an answer as PNG.

    Args:
        answer: Without an error.
        score: Against the truth; summed up under the title.
        path: The file; its folder is made if missing.
    """
    shown = frames_to_show(answer)
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    crop = head_region(answer.view.frames)
    shape = _shape(answer, crop)
    figure = Figure(figsize=(columns * PANEL_IN, rows * PANEL_IN * shape + TITLE_IN + FOOT_IN), facecolor=PAPER)
    height_in = figure.get_figheight()
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.01,
        right=0.99,
        top=1 - TITLE_IN / height_in,
        bottom=FOOT_IN / height_in,
        wspace=0.02,
        hspace=0.02,
    )
    window = (
        np.percentile(answer.view.frames[answer.view.frames > 0], (1, 99.7)) if answer.view.frames.any() else (0, 1)
    )
    for place, frame in enumerate(shown):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        _draw_frame(axes, answer, frame, crop, window)
    strip = figure.add_axes((0.075, 0.62 / height_in, 0.9, 0.75 / height_in))
    _draw_presence(strip, answer, shown)
    _title(figure, answer, score)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).figure.savefig(path, dpi=DPI, pil_kwargs={"compress_level": 3})


def frames_to_show(answer: Answer) -> list[int]:
    """Frames with a found or a true lesion, thinned evenly to :data:`MOST_FRAMES`; without any, some of the middle."""
    n_frames = len(answer.view.frames)
    with_lesion = set(np.flatnonzero(_found_on(answer))) | set(np.flatnonzero(_true_on(answer)))
    frames = sorted(int(t) for t in with_lesion) or list(
        range(n_frames // 4, max(n_frames // 4 + 1, 3 * n_frames // 4))
    )
    if len(frames) <= MOST_FRAMES:
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, MOST_FRAMES).round().astype(int)]


def _found_on(answer: Answer) -> npt.NDArray[np.bool_]:
    """Whether each frame holds something found, (T,)."""
    if answer.mask is not None:
        return np.asarray((answer.mask > 0).any(axis=(1, 2)))
    found = np.zeros(len(answer.view.frames), bool)
    for finding in answer.params.get("findings", []):
        found[[int(t) for t in finding["boxes"]]] = True
    return found


def _true_on(answer: Answer) -> npt.NDArray[np.bool_]:
    truth = answer.view.truth
    return np.zeros(len(answer.view.frames), bool) if truth is None else np.asarray((truth > 0).any(axis=(1, 2)))


def head_region(frames: Volume) -> tuple[slice, slice]:
    """Rows and columns that hold the head on any frame, with a margin; everything for an empty image."""
    bright = (frames > 0.1 * np.percentile(frames, 99.5)).mean(axis=0) > 0.02
    if not bright.any():
        return slice(0, frames.shape[1]), slice(0, frames.shape[2])
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - MARGIN_PX), int(rows[-1]) + MARGIN_PX + 1),
        slice(max(0, int(columns[0]) - MARGIN_PX), int(columns[-1]) + MARGIN_PX + 1),
    )


def _window(frames: Volume) -> tuple[float, float]:
    """Intensities shown as black and white."""
    inside = frames[frames > frames.min()]
    low, high = np.percentile(inside, (1, 99.7)) if inside.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def _shape(answer: Answer, crop: tuple[slice, slice]) -> float:
    """Height of a panel relative to its width, in mm."""
    x_mm, y_mm, _ = answer.view.geometry.spacing_mm
    rows, columns = answer.view.frames[0][crop].shape
    return float(np.clip(rows * y_mm / (columns * x_mm), 0.4, 2.0))


def _draw_frame(axes: Axes, answer: Answer, frame: int, crop: tuple[slice, slice], window: tuple[float, float]) -> None:
    view = answer.view
    x_mm, y_mm, _ = view.geometry.spacing_mm
    image = view.frames[frame][crop]
    place = _place(image, crop)
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], aspect=y_mm / x_mm, extent=place)
    if answer.mask is not None:
        _outline(axes, answer.mask[frame][crop], crop, FOUND, "solid")
    if view.truth is not None:
        _outline(axes, view.truth[frame][crop], crop, TRUTH, "dashed")  # on top: both show where they agree
    _draw_boxes(axes, answer, frame)
    axes.set_xlim(place[:2])
    axes.set_ylim(place[2:])
    axes.set_axis_off()
    corner: dict[str, Any] = {"color": PAPER, "fontsize": 8, "transform": axes.transAxes, "va": "top"}
    axes.text(0.02, 0.98, f"frame {frame + 1}", ha="left", **corner)
    left, right = _sides(view.geometry.affine_lps)
    axes.text(0.02, 0.5, left, ha="left", **corner)
    axes.text(0.98, 0.5, right, ha="right", **corner)


def _place(image: Volume, crop: tuple[slice, slice]) -> tuple[float, float, float, float]:
    """Left, right, lower and upper border of a crop in pixels of the frame; pixel centres at whole numbers."""
    top, left = crop[0].start - 0.5, crop[1].start - 0.5
    return left, left + image.shape[1], top + image.shape[0], top


def _outline(axes: Axes, mask: Volume, crop: tuple[slice, slice], color: str, style: str) -> None:
    if (mask > 0).any():
        inside = np.pad(mask > 0, 1)  # so that an outline closes at the border
        columns = np.arange(inside.shape[1]) + crop[1].start - 1
        rows = np.arange(inside.shape[0]) + crop[0].start - 1
        axes.contour(columns, rows, inside, levels=[0.5], colors=[color], linestyles=[style], linewidths=1.4)


def _draw_boxes(axes: Axes, answer: Answer, frame: int) -> None:
    """Boxes with their scores; an outlined lesion gets its score only."""
    for finding in answer.params.get("findings", []):
        box = finding["boxes"].get(str(frame))
        if box is None:
            continue
        x0, y0, x1, y1 = (v - 0.5 for v in box)  # outer pixel edges; imshow puts pixel centres at whole numbers
        if answer.mask is None:
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=FOUND, linewidth=1.4))
        score = finding["frame_scores"].get(str(frame), finding["score"])
        label = {"facecolor": INK, "edgecolor": "none", "alpha": 0.65, "pad": 1.0}
        axes.text(
            (x0 + x1) / 2, y0 - 2, f"{score:.2f}", color=FOUND, fontsize=7.5, ha="center", va="bottom", bbox=label
        )


def _sides(affine_lps: npt.NDArray[np.floating[Any]]) -> tuple[str, str]:
    """Patient directions at the left and right border of a frame."""
    step = affine_lps[:3, 0]
    axis = int(np.argmax(np.abs(step)))
    low, high = DIRECTIONS[axis]
    return (low, high) if step[axis] > 0 else (high, low)


def _draw_presence(axes: Axes, answer: Answer, shown: list[int]) -> None:
    """The probability per frame that it holds a lesion, with the true frames behind it."""
    presence = np.asarray(answer.params.get("presence") or [], float)
    numbers = np.arange(1, len(presence) + 1)
    for t in np.flatnonzero(_true_on(answer)):
        axes.axvspan(t + 0.5, t + 1.5, color=TRUTH, alpha=0.35, linewidth=0)
    axes.plot(numbers, presence, color=INK, linewidth=1.2)
    axes.plot([t + 1 for t in shown], presence[shown], "o", color=FOUND, markeredgecolor=INK, markersize=5)
    axes.set_xlim(0.5, len(answer.view.frames) + 0.5)
    axes.set_ylim(-0.05, 1.08)
    axes.set_yticks([0, 0.5, 1])
    axes.tick_params(labelsize=7.5, colors=INK)
    axes.set_ylabel("presence", fontsize=8, color=INK)
    axes.set_xlabel("frame", fontsize=8, color=INK, labelpad=1)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)


def _title(figure: Figure, answer: Answer, score: Score) -> None:
    height_in = figure.get_figheight()
    name, version = answer.view.patient.name, answer.params.get("version", "")
    figure.text(0.012, 1 - 0.1 / height_in, name, fontsize=11, weight="bold", color=INK, va="top")
    below = f"{answer.model}, version {version}: {summary(score)}"
    figure.text(0.012, 1 - 0.34 / height_in, below, fontsize=8.5, color=INK, va="top")
    handles = _legend(answer)
    figure.legend(handles=handles, ncols=len(handles), fontsize=8, frameon=False, loc="lower center")


def summary(score: Score) -> str:
    """A score in words."""
    if score.there is None:
        return f"{score.found} found; no mask to compare with"
    if score.there == 0:
        return f"no lesion is there, {score.found} found"
    text = f"{score.hit} of {score.there} lesions hit, {score.false} false"
    return text if score.dice is None else f"{text}, Dice {score.dice:.2f}"


def _legend(answer: Answer) -> list[Patch | Line2D]:
    style: dict[str, Any] = {"linewidth": 1.6, "label": "found, with score"}
    box = Patch(fill=False, edgecolor=FOUND, **style)
    handles: list[Patch | Line2D] = [box if answer.mask is None else Line2D([], [], color=FOUND, **style)]
    if answer.view.truth is not None and (answer.view.truth > 0).any():
        handles += [
            Line2D([], [], color=TRUTH, linewidth=1.6, linestyle="dashed", label="truth"),
            Patch(facecolor=TRUTH, alpha=0.35, label="frames with a true lesion"),
        ]
    presence: dict[str, Any] = {"color": INK, "linewidth": 1.2, "marker": "o", "markerfacecolor": FOUND}
    return [*handles, Line2D([], [], label="presence; dots: frames shown", **presence)]
