# SPDX-License-Identifier: Apache-2.0
"""A picture of a patient's lesions over the visits: the true volume of each beside the measured one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .demo_followup import FollowUp, TrueLesion
from .pictures import DPI, FAINT, FOUND, INK, PAPER, TRUTH

PANEL_IN, TITLE_IN, FOOT_IN = 2.9, 0.75, 0.95
MOST_COLUMNS = 4


def draw_followup(found: FollowUp, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        found: At least one lesion, or the picture says that there is none.
        path: The file; its folder is made if missing.
    """
    columns = min(MOST_COLUMNS, max(1, len(found.lesions)))
    rows = max(1, -(-len(found.lesions) // columns))
    width_in, height_in = max(columns * PANEL_IN, 6.0), rows * PANEL_IN + TITLE_IN + FOOT_IN
    figure = Figure(figsize=(width_in, height_in), facecolor=PAPER)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.75 / width_in,
        right=1 - 0.15 / width_in,
        top=1 - TITLE_IN / height_in,
        bottom=FOOT_IN / height_in,
        wspace=0.3,
        hspace=0.45,
    )
    for place, lesion in enumerate(found.lesions):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        _draw_lesion(axes, found, lesion)
        if place % columns == 0:
            axes.set_ylabel("volume, ml", fontsize=8, color=INK)
    title = f"{found.patient}: volume over the visits" if found.lesions else f"{found.patient}: no lesion is there"
    figure.text(0.012, 1 - 0.1 / height_in, title, fontsize=11, weight="bold", color=INK, va="top")
    if found.lesions:
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, ncols=len(names), fontsize=8, frameon=False, loc="lower center")
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).figure.savefig(path, dpi=DPI)


def _draw_lesion(axes: Axes, found: FollowUp, lesion: TrueLesion) -> None:
    true = [(day, ml) for day, ml in zip(found.days, lesion.true_ml, strict=True) if ml is not None]
    measured = [
        (day, ml, 2 * (off or 0.0))
        for day, ml, off in zip(found.days, lesion.found_ml, lesion.found_error_ml, strict=True)
        if ml is not None
    ]
    days, sizes = zip(*true, strict=True)
    axes.plot(days, sizes, color=TRUTH, linestyle="dashed", marker="s", markersize=5, linewidth=1.8, label="true")
    label = "measured, with two standard uncertainties"
    days, sizes, errors = zip(*measured, strict=True) if measured else ((), (), ())
    axes.errorbar(
        days, sizes, yerr=errors, color=FOUND, marker="o", markersize=4, linewidth=1.6, capsize=3, label=label
    )
    known = {day for day, *_ in measured}
    for day, ml in true:
        if day not in known:
            said: dict[str, Any] = {"fontsize": 8, "ha": "center", "va": "top", "color": INK}
            paper: dict[str, Any] = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
            axes.annotate("missed", (day, ml), (0, -8), textcoords="offset points", bbox=paper, **said)
    axes.set_title(f"lesion {lesion.number}", fontsize=9, color=INK, loc="left")
    axes.set_xticks(found.days, [f"{day:.0f}" for day in found.days])
    margin = 0.08 * max(found.days[-1] - found.days[0], 1.0)
    axes.set_xlim(found.days[0] - margin, found.days[-1] + margin)
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("days", fontsize=8, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)
