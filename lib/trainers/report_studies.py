# SPDX-License-Identifier: Apache-2.0
"""Studies to learn brain reports from: their features and what was measured of them; no written report is needed.

What is told to the decoder need not be what is true: lesions are told as the masks have them, and as the lesion model
finds them, missed and false ones among them. The report is then written from what is told, so the decoder learns to
write what it is told and not what it would guess from the image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..drafting.earlier import EarlierVisit, earlier_visit
from ..drafting.measured import measured_study
from ..drafting.source import SourceView, view_study
from ..followup import findings_of_labels, follow_visits
from ..followup.lesions import VisitFindings
from ..phantom import PhantomStack, head_visits
from ..prediction.predictor import Predictor
from ..studies import CaseRef
from ..text.facts import Change, Side
from ..text.grammar import MeasuredLesion, MeasuredStudy
from ..transforms.load import load_label, load_sequence
from ..types import FloatArray, InputError, Sequence, SequenceKind, Source

PHANTOM_SEED = 30_000
GROWTH = (0.4, 0.7, 1.0, 1.0, 1.3, 1.6, 2.4)
"""Volume of a phantom's lesions at its second visit, against the first."""


@dataclass(frozen=True)
class ReportStudy:
    """A study to learn from.

    Attributes:
        image_id: Of the store, or a phantom's name.
        patient: Studies of one patient never lie on both sides of a split.
        features: Of each frame, (T, F) float16.
        truth: What the masks say.
        found: What the lesion model says.
        prior: What was true at the visit before; None where there was none.
    """

    image_id: str
    patient: str
    features: npt.NDArray[np.float16]
    truth: MeasuredStudy
    found: MeasuredStudy
    prior: MeasuredStudy | None = None


def study_of_case(ref: CaseRef, predictor: Predictor) -> ReportStudy:
    """A labelled study of a folder.

    Raises:
        InputError: If its image or label cannot be read.
    """
    sequence, geometry = load_sequence(ref.image, predictor.config.input)
    label = load_label(ref.label, geometry, sequence.kind)
    view = view_study(predictor, sequence)
    true = findings_of_labels([("lesion", label > 0)], sequence, Source())
    return _study(ref.image_id, ref.patient, view, true)


def phantom_studies(
    count: int, predictor: Predictor, seed: int = PHANTOM_SEED, progress: Callable[[int], None] | None = None
) -> list[ReportStudy]:
    """Phantom heads at two visits, one in six without a lesion; both visits are studies, the second with its prior.

    Args:
        count: Heads.
        predictor: Of the lesion model.
        seed: Of the first head.
        progress: Told how many heads are done.
    """
    studies: list[ReportStudy] = []
    for i in range(count):
        studies += phantom_pair(seed + i, predictor)
        if progress is not None:
            progress(i + 1)
    return studies


def phantom_pair(seed: int, predictor: Predictor) -> list[ReportStudy]:
    """A head and the same head at a later visit."""
    rng = np.random.default_rng(seed)
    days, healthy = (0, int(rng.integers(20, 500))), rng.random() < 1 / 6
    size, n_frames = int(rng.integers(160, 225)), int(rng.integers(18, 27))
    spacing = (float(rng.uniform(0.9, 1.3)),) * 2
    stacks = head_visits(
        seed,
        days,
        (1.0, float(rng.choice(GROWTH))),
        n_frames=n_frames,
        size=size,
        spacing_mm=(*spacing, float(rng.uniform(4.5, 6.5))),
        n_lesions=0 if healthy else None,
    )
    name, order = f"phantom{seed}", (1, 0) if rng.random() < 0.2 else (0, 1)  # backwards, new lesions are gone ones
    views, true = [], []
    for stack in (stacks[k] for k in order):
        sequence = sequence_of(stack)
        views.append(view_study(predictor, sequence))
        true.append(findings_of_labels([("lesion", stack.mask > 0)], sequence, Source()))
    first = _study(f"{name}-1", name, views[0], true[0])
    second = _study(
        f"{name}-2",
        name,
        views[1],
        true[1],
        compared(true[0], true[1], float(days[1])),
        compared(views[0].found, views[1].found, float(days[1])),
    )
    return [first, replace(second, prior=first.truth)]


def sequence_of(stack: PhantomStack) -> Sequence:
    """A phantom as the frames that models see."""
    affine = np.diag([*stack.spacing_mm, 1.0])
    affine[:3, 3] = stack.origin_lps_mm
    frames = stack.image.astype(np.float32)[:, None]
    positions = tuple(float(t * stack.spacing_mm[2]) for t in range(len(frames)))
    return Sequence(frames, SequenceKind.STACK, positions, stack.spacing_mm[:2], affine, ("flair",))


def compared(before: VisitFindings, after: VisitFindings, days: float | None) -> EarlierVisit | None:
    """What has become of lesions between two visits that lie on each other."""
    return earlier_visit(
        follow_visits([before, after], [np.eye(4)] * 2, [0.0 if days else None, days]), 1, [np.eye(4)] * 2
    )


def _study(
    image_id: str,
    patient: str,
    view: SourceView,
    true: VisitFindings,
    true_earlier: EarlierVisit | None = None,
    found_earlier: EarlierVisit | None = None,
) -> ReportStudy:
    return ReportStudy(
        image_id,
        patient,
        view.features.astype(np.float16),
        measured_study(true.findings, view.brain_lps_mm, true_earlier),
        measured_study(view.found.findings, view.brain_lps_mm, found_earlier),
    )


def save_studies(studies: Iterable[ReportStudy], path: Path) -> None:
    """Keep studies, so that their features are computed once: one ``.npz`` file."""
    kept = list(studies)
    arrays: dict[str, FloatArray] = {f"features{i}": one.features for i, one in enumerate(kept)}
    facts = [
        {
            "image_id": one.image_id,
            "patient": one.patient,
            "truth": asdict(one.truth),
            "found": asdict(one.found),
            "prior": None if one.prior is None else asdict(one.prior),
        }
        for one in kept
    ]
    np.savez_compressed(path, facts=np.array(json.dumps(facts)), **arrays)


def load_studies(path: Path) -> list[ReportStudy]:
    """Read what :func:`save_studies` kept.

    Raises:
        InputError: If the file is none of that.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            facts = json.loads(str(arrays["facts"]))
            return [
                ReportStudy(
                    one["image_id"],
                    one["patient"],
                    arrays[f"features{i}"],
                    _measured(one["truth"]),
                    _measured(one["found"]),
                    None if one["prior"] is None else _measured(one["prior"]),
                )
                for i, one in enumerate(facts)
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no file of report studies ({error})") from error


def _measured(data: dict[str, Any]) -> MeasuredStudy:
    lesions = tuple(
        MeasuredLesion(
            **{
                **one,
                "side": Side(one["side"]),
                "change": None if one["change"] is None else Change(one["change"]),
            }
        )
        for one in data["lesions"]
    )
    return MeasuredStudy(lesions, data["compared"], data["days"])
