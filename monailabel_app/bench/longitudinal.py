# SPDX-License-Identifier: Apache-2.0
"""Change between two real visits, against change that experts have outlined.

What is tested is the way of the product: a model finds lesions at both visits, registration brings the visits
together, and what is new, gone, grown or shrunk counts as change. Beside it stands subtraction, the plain way to see
change: the difference of the registered images where it is large. Neither is trained or tuned on these patients.

References:
    Lesjak et al. Validation of white-matter lesion change detection methods on a novel publicly available MRI image
    database. Neuroinformatics 2016 (the patients and the outlines).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from ..roots import PRETRAINED_DIR, lib_module
from .toy import markdown_table

if TYPE_CHECKING:
    from lib import types
    from lib.configs import ModelConfig

logger = logging.getLogger(__name__)
Volume = npt.NDArray[Any]
MIN_REGION_ML = 0.02
"""Smaller regions of change, true or found, are left out."""
MIN_SHARE = 0.1
"""Of a true region that must be marked for it to count as found."""
SUBTRACTION_SDS = (3.0, 4.0, 5.0)
"""Robust standard deviations of the difference inside the brain from which it is change."""
SMOOTH_MM = 1.0
NEIGHBOURS_26 = np.ones((3, 3, 3))


@dataclass(frozen=True)
class Patient:
    """Two visits and what has changed between them.

    Attributes:
        name: Of the folder.
        visits: The two FLAIR stacks as they were acquired.
        to_common: Of each, LPS mm to those of the common space, as published, (4, 4).
        change: The true change in the common space; its frames are 0 or 1.
        brain: Where the brain is, on the same grid, (T, H, W).
    """

    name: str
    visits: tuple[types.Sequence, types.Sequence]
    to_common: tuple[Volume, Volume]
    change: types.Sequence
    brain: Volume


@dataclass(frozen=True)
class ChangeScore:
    """How change was found.

    Attributes:
        method: How it was looked for.
        patient: In whom.
        found: True regions of which enough was marked.
        true: True regions.
        false: Marked regions that touch no true one.
        dice: Of all marked voxels.
    """

    method: str
    patient: str
    found: int
    true: int
    false: int
    dice: float


def benchmark_longitudinal(folder: Path, config: ModelConfig, weights: Path | None = None) -> list[ChangeScore]:
    """Look for change in every patient of a folder.

    Args:
        folder: A folder per patient with ``study1_FLAIR``, ``study2_FLAIR``, ``gt`` and ``brainmask`` (``.nii.gz``) and
            the transforms ``study1_FLAIR_to_common_space.txt`` and ``study2_...``, as the public set has them.
        config: The model that finds lesions.
        weights: Its weights; None for the shipped ones.

    Raises:
        InputError: If there is no patient, or one cannot be read.
    """
    names = sorted(path.parent for path in folder.glob("*/gt.nii.gz"))
    if not names:
        raise lib_module("types").InputError(f"{folder}: no folder with a gt.nii.gz in it")
    predictor = _predictor(config, weights or PRETRAINED_DIR / str(config.pretrained))
    scores: list[ChangeScore] = []
    for name in names:
        patient = read_patient(name, config)
        to_first = lib_module("transforms.registration").register(*patient.visits).to_fixed
        maps = (patient.to_common[0], patient.to_common[0] @ to_first)
        for method, marked in _changes(patient, maps, to_first, predictor):
            scores.append(score_change(method, patient, marked))
            logger.info("%s", scores[-1])
    return scores


def read_patient(folder: Path, config: ModelConfig) -> Patient:
    """Read one patient.

    Args:
        folder: See :func:`benchmark_longitudinal`.
        config: Says how the model reads stacks.

    Raises:
        InputError: If a file is missing or cannot be read.
    """
    load = lib_module("transforms.load").load_sequence

    def stack(name: str) -> types.Sequence:
        return load(folder / f"{name}.nii.gz", config.input)[0]  # type: ignore[no-any-return]

    visits = stack("study1_FLAIR"), stack("study2_FLAIR")
    maps = tuple(published_map(folder / f"study{k}_FLAIR_to_common_space.txt") for k in (1, 2))
    brain = stack("brainmask").frames[:, 0] > 0
    return Patient(folder.name, visits, (maps[0], maps[1]), stack("gt"), brain)


def published_map(file: Path) -> Volume:
    """An affine ITK transform, which leads from the common space to a visit, as the map of the way back, (4, 4) in LPS.

    Raises:
        InputError: If the file is none.
    """
    try:
        transform = sitk.ReadTransform(str(file))
    except RuntimeError as error:
        raise lib_module("types").InputError(f"{file}: is no ITK transform ({error})") from error
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    moved = np.array([transform.TransformPoint(point.tolist()) for point in corners])
    to_visit = np.eye(4)
    to_visit[:3, 3] = moved[0]
    to_visit[:3, :3] = (moved[1:] - moved[0]).T
    return np.linalg.inv(to_visit)


def _predictor(config: ModelConfig, weights: Path) -> Any:
    network = lib_module("registry").build_network(config)
    lib_module("weights.files").load_weights(network, weights)
    return lib_module("prediction.predictor").Predictor(config, network)


def _changes(
    patient: Patient, maps: tuple[Volume, Volume], to_first: Volume, predictor: Any
) -> list[tuple[str, Volume]]:
    """What each method marks, on the grid of the true change, (T, H, W)."""
    resample_to = lib_module("transforms.registration").resample_to
    shown = [resample_to(patient.change, v, m)[:, 0] for v, m in zip(patient.visits, maps, strict=True)]
    by_model = _by_model(patient, maps, to_first, predictor) & patient.brain
    name = f"{predictor.config.name} at both visits"
    differences = difference_in_sds(shown[0], shown[1], patient.brain, _spacing_mm(patient.change))
    return [
        (name, by_model),
        *((f"subtraction, {sds:g} SD", (abs(differences) > sds) & patient.brain) for sds in SUBTRACTION_SDS),
    ]


def _by_model(patient: Patient, maps: tuple[Volume, Volume], to_first: Volume, predictor: Any) -> Volume:
    """Voxels that a lesion has won or lost, of lesions that are new, gone, grown or shrunk."""
    follow, resample_to = lib_module("followup"), lib_module("transforms.registration").resample_to
    found = [_visit_findings(visit, predictor) for visit in patient.visits]
    comparison = follow.compare_visits(found[0], found[1], to_first, None)
    changed = [pair for pair in comparison.pairs if pair.growth.change.value != "stable"]
    chosen = ([pair.baseline for pair in changed], [pair.followup for pair in changed])
    masks = []
    for one, affine, numbers in zip(found, maps, chosen, strict=True):
        kept = np.isin(one.instances, [number for number in numbers if number is not None]) & (one.instances > 0)
        drawn = replace(one.sequence, frames=kept[:, None].astype(np.uint8))
        masks.append(resample_to(patient.change, drawn, affine, labels=True)[:, 0] > 0)
    return np.asarray(masks[0] ^ masks[1])


def _visit_findings(visit: types.Sequence, predictor: Any) -> Any:
    findings = lib_module("findings.lesions")
    lesions = findings.outlined_lesions(
        predictor.predict(visit), visit, predictor.config, lib_module("types").Source(model=predictor.config.name)
    )
    instances = np.zeros((len(visit.frames), *visit.frames.shape[2:]), np.uint16)
    for lesion in lesions:
        instances[lesion.region][lesion.mask] = lesion.finding.id
    return lib_module("followup").VisitFindings(visit, tuple(one.finding for one in lesions), instances)


def _spacing_mm(stack: types.Sequence) -> tuple[float, float, float]:
    step = abs(stack.positions[1] - stack.positions[0]) if len(stack.positions) > 1 else stack.spacing_mm[0]
    return step, stack.spacing_mm[1], stack.spacing_mm[0]


def difference_in_sds(
    first: Volume, second: Volume, brain: npt.NDArray[np.bool_], spacing_mm: Sequence[float]
) -> Volume:
    """The later image less the earlier one, in robust standard deviations of that difference inside the brain.

    Both get median 0 and a median absolute deviation of 1 inside the brain, and are smoothed a little.

    Args:
        first: The earlier image, (T, H, W).
        second: The later one on the same grid.
        brain: Where to look.
        spacing_mm: Of frames, rows and columns.
    """
    sigma = [SMOOTH_MM / step for step in spacing_mm]
    scaled = [ndimage.gaussian_filter(_robust(image, brain), sigma) for image in (first, second)]
    return _robust(scaled[1] - scaled[0], brain)


def _robust(image: Volume, inside: npt.NDArray[np.bool_]) -> Volume:
    middle = np.median(image[inside])
    deviation = 1.4826 * np.median(abs(image[inside] - middle))
    return np.asarray((image - middle) / max(float(deviation), 1e-6))


def score_change(method: str, patient: Patient, marked: Volume) -> ChangeScore:
    """Compare marked voxels with the true change, region by region.

    Args:
        method: How it was looked for.
        patient: With the truth.
        marked: (T, H, W).
    """
    truth = patient.change.frames[:, 0] > 0
    voxel_ml = float(np.prod(_spacing_mm(patient.change))) / 1000
    true_regions, found_regions = (_regions(mask, MIN_REGION_ML / voxel_ml) for mask in (truth, marked))
    found = sum(marked[region][mask].mean() >= MIN_SHARE for region, mask in true_regions)
    false = sum(not truth[region][mask].any() for region, mask in found_regions)
    kept = np.zeros_like(truth)
    for region, mask in found_regions:
        kept[region] |= mask
    total = int(truth.sum() + kept.sum())
    dice = 2 * int((truth & kept).sum()) / total if total else 1.0
    return ChangeScore(method, patient.name, int(found), len(true_regions), int(false), dice)


def _regions(mask: Volume, min_voxels: float) -> list[tuple[tuple[slice, ...], npt.NDArray[np.bool_]]]:
    labelled, _ = ndimage.label(mask, NEIGHBOURS_26)
    boxes = ndimage.find_objects(labelled)
    regions = [(box, labelled[box] == number) for number, box in enumerate(boxes, start=1)]
    return [(box, region) for box, region in regions if region.sum() >= min_voxels]


def longitudinal_table(scores: Sequence[ChangeScore]) -> str:
    """A row per method and patient; Markdown."""
    shown: list[tuple[str, Callable[[ChangeScore], str]]] = [
        ("looked for by", lambda one: one.method),
        ("patient", lambda one: one.patient),
        ("true regions found", lambda one: f"{one.found} of {one.true}"),
        ("false regions", lambda one: str(one.false)),
        ("Dice", lambda one: f"{one.dice:.3f}"),
    ]
    ordered = sorted(scores, key=lambda one: one.patient)
    return markdown_table([[name for name, _ in shown], *([cell(one) for _, cell in shown] for one in ordered)])
