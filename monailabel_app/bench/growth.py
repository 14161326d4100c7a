# SPDX-License-Identifier: Apache-2.0
"""How well growth is measured on phantom heads whose lesions grow by a known factor and spread to a known side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy import ndimage

from ..roots import lib_module

BoolArray = npt.NDArray[np.bool_]
Instances = npt.NDArray[np.uint8]
Border = Callable[[BoolArray, np.random.Generator], BoolArray]
DAYS = (0, 90, 180)
FACTORS = (1.0, 1.35, 1.9)
SPACING_MM = (1.2, 1.2, 3.0)
SWEEPS_MM = (4.0, 8.0)
LEAST_DIAMETER_MM = 8.0
REGISTRATION_SD_MM = 0.4
"""Per axis: 0.7 mm in space, as was measured on real heads (:mod:`lib.transforms.registration`)."""


@dataclass(frozen=True)
class GrowthScore:
    """How growth was measured with one kind of border.

    Attributes:
        linked: Per lesion, whether one track holds it at all visits, and nothing else.
        ratio_error: Per lesion and later visit, measured over true volume ratio to the first visit, less 1.
        true_in_range: Per lesion and later visit, whether the true percent change is within twice its uncertainty.
        direction_right: Per sweep, whether the main direction is that of the sweep.
        direction_told: Per sweep, whether a direction was told at all.
        sweep_error_mm: Per sweep, measured less true displacement of the side.
    """

    linked: tuple[bool, ...]
    ratio_error: tuple[float, ...]
    true_in_range: tuple[bool, ...]
    direction_right: tuple[bool, ...]
    direction_told: tuple[bool, ...]
    sweep_error_mm: tuple[float, ...]

    @property
    def summary(self) -> dict[str, float]:
        """Shares and means over the lesions, in [0, 1] or mm."""
        return {
            "linked": float(np.mean(self.linked)),
            "within10": float(np.mean(np.abs(self.ratio_error) <= 0.1)),
            "ratio_error_mean": float(np.mean(self.ratio_error)),
            "ratio_error_abs": float(np.mean(np.abs(self.ratio_error))),
            "in_range": float(np.mean(self.true_in_range)),
            "direction_right": float(np.mean(self.direction_right)),
            "direction_told": float(np.mean(self.direction_told)),
            "sweep_error_mm": float(np.mean(np.abs(self.sweep_error_mm))),
        }


def exact(mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """The true mask."""
    return mask


def ragged(mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Each voxel of the two layers at the border, inside and outside, belongs to the lesion or not by a coin."""
    ring = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask)
    return np.where(ring, rng.random(mask.shape) < 0.5, mask)


def wavy(mask: BoolArray, rng: np.random.Generator, voxels: float = 1.0) -> BoolArray:
    """The border moved in and out by a smooth wave, with its standard deviation in voxels."""
    wave = ndimage.gaussian_filter(rng.standard_normal(mask.shape), 2.0)
    depth = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    moved: BoolArray = depth - 0.5 * np.sign(depth) + voxels * wave / wave.std() > 0
    return moved


BORDERS: dict[str, Border] = {
    "true masks": exact,
    "ragged by a voxel": ragged,
    "wavy by half a voxel": partial(wavy, voxels=0.5),
    "wavy by a voxel": wavy,
}


def benchmark_growth(seeds: Sequence[int] = range(5), n_lesions: int = 3) -> dict[str, GrowthScore]:
    """Follow the lesions of phantom heads over three visits, with each kind of border.

    Args:
        seeds: One head each.
        n_lesions: In each head; those under 8 mm at the first visit do not count.
    """
    found: dict[str, list[GrowthScore]] = {name: [] for name in BORDERS}
    for seed in seeds:
        visits = lib_module("phantom").head_visits(
            seed, DAYS, FACTORS, n_frames=44, size=170, spacing_mm=SPACING_MM, n_lesions=n_lesions, new_lesion=False
        )
        for name, border in BORDERS.items():
            found[name].append(_score([visit.instances for visit in visits], border, np.random.default_rng(seed)))
    return {name: _joined(scores) for name, scores in found.items()}


def _joined(scores: list[GrowthScore]) -> GrowthScore:
    columns = [sum((getattr(score, part.name) for score in scores), ()) for part in fields(GrowthScore)]
    return GrowthScore(*columns)


def _score(truth: list[Instances], border: Border, rng: np.random.Generator) -> GrowthScore:
    counted = [
        int(i)
        for i in range(1, int(truth[0].max()) + 1)
        if diameter_mm(int((truth[0] == i).sum())) >= LEAST_DIAMETER_MM
    ]
    timeline = _followed([_perturbed(instances, border, rng) for instances in truth], DAYS, rng)
    linked, errors, in_range = [], [], []
    for number in counted:
        track = next((t for t in timeline.tracks if t.observations[0].finding.id == number), None)
        ids = [] if track is None else [seen.finding.id for seen in track.observations]
        linked.append(ids == [number] * len(truth))
        if track is None or not linked[-1]:
            continue
        sizes = track.trend.sizes
        for k in range(1, len(truth)):
            ratio = sizes[k].value / sizes[0].value
            errors.append(ratio / FACTORS[k] - 1)
            relative = np.hypot(sizes[k].uncertainty / sizes[k].value, sizes[0].uncertainty / sizes[0].value)
            in_range.append(bool(abs(errors[-1]) <= 2 * relative))
    sweeps = [_swept(truth[0] == number, border, rng, side) for number in counted for side in range(6)]
    right, told, off = ([row[i] for row in sweeps] for i in range(3))
    return GrowthScore(*(tuple(v) for v in (linked, errors, in_range, right, told, off)))


def diameter_mm(voxels: int) -> float:
    """Of the ball with as many voxels."""
    return float((6 / np.pi * voxels * np.prod(SPACING_MM)) ** (1 / 3))


def _perturbed(instances: Instances, border: Border, rng: np.random.Generator) -> Instances:
    """Every lesion with another border; no voxel is taken from a neighbour."""
    out = np.zeros_like(instances)
    for number, block in enumerate(ndimage.find_objects(instances), start=1):
        if block is None:
            continue
        wide = tuple(slice(max(part.start - 4, 0), part.stop + 4) for part in block)
        mask = border(instances[wide] == number, rng)
        out[wide][mask & (out[wide] == 0)] = number
    return out


def _swept(mask: BoolArray, border: Border, rng: np.random.Generator, side: int) -> tuple[bool, bool, float]:
    """A lesion swept to one side of the patient: whether that side is named, any is, and the error in mm."""
    spread = lib_module("followup.spread")
    axis, sign = side // 2, 1 - 2 * (side % 2)
    padding = 10
    small = np.pad(mask[ndimage.find_objects(mask.astype(np.uint8))[0]], padding)
    step_mm = SPACING_MM[axis]
    steps = max(1, round(float(rng.uniform(*SWEEPS_MM)) / step_mm))
    swept = np.any([np.roll(small, sign * i, 2 - axis) for i in range(steps + 1)], axis=0)
    visits = [border(one, rng).astype(np.uint8) for one in (small, swept)]
    (track,) = _followed(visits, (0, 90), rng).tracks[:1]
    if track.spread is None:
        return False, False, float("nan")
    name = spread.SIDES[side]
    return track.spread.main == name, track.spread.main is not None, track.spread.sides_mm[name] - steps * step_mm


def _followed(visits: list[Instances], days: Sequence[int], rng: np.random.Generator) -> Any:
    """A timeline with maps that are a little off."""
    follow = lib_module("followup")
    maps = [np.eye(4) for _ in visits]
    for affine in maps[1:]:
        affine[:3, 3] = rng.normal(0, REGISTRATION_SD_MM, 3)
    return follow.follow_visits([_visit(instances) for instances in visits], maps, [float(day) for day in days])


def _visit(instances: Instances) -> Any:
    """Every lesion of an instance mask, as a perfect model would report it; x to Left, y to Posterior."""
    types, follow = lib_module("types"), lib_module("followup")
    sequence = types.Sequence(
        frames=np.zeros((len(instances), 1, *instances.shape[1:]), np.float32),
        kind=types.SequenceKind.STACK,
        positions=tuple(float(t * SPACING_MM[2]) for t in range(len(instances))),
        spacing_mm=SPACING_MM[:2],
        affine_lps=np.diag([*SPACING_MM, 1.0]),
    )
    frame_boxes = lib_module("phantom.types").frame_boxes
    findings = []
    for number in np.unique(instances[instances > 0]).tolist():
        boxes = {t: tuple(map(float, box)) for t, box in frame_boxes(instances == number).items()}
        findings.append(types.Finding(number, "lesion", 1.0, boxes, (0.0,) * 6, (0.0,) * 3))
    return follow.VisitFindings(sequence, tuple(findings), instances)


def growth_table(scores: dict[str, GrowthScore]) -> Table:
    """Shares and mean errors for each kind of border."""
    headers = {
        "linked": "linked\nright",
        "within10": "volume change\nwithin 10%",
        "ratio_error_mean": "mean error\nof the ratio",
        "ratio_error_abs": "its\namount",
        "in_range": "truth within\n2 uncertainties",
        "direction_right": "direction\nright",
        "direction_told": "direction\ntold",
        "sweep_error_mm": "error of the\nside, mm",
    }
    first = next(iter(scores.values()))
    caption = f"{len(first.linked)} lesions over 8 mm at 3 visits; each swept by 4 to 8 mm to 6 sides"
    table = Table(title="Growth of phantom lesions", caption=caption, caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("border")
    for header in headers.values():
        table.add_column(header, justify="right")
    for name, one in scores.items():
        summary = one.summary
        table.add_row(name, *(f"{summary[key]:.3f}" for key in headers))
    return table
