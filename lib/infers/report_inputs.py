# SPDX-License-Identifier: Apache-2.0
"""What a report is written from: the lesions that another model finds, or the image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ..configs import InputConfig, ModelConfig
from ..drafting.earlier import EarlierVisit
from ..drafting.measured import measured_study
from ..drafting.source import LesionSource, SourceView, check_features, view_study
from ..drafting.writer import ClinicalText, StudyToReport
from ..prediction.predictor import Predictor
from ..text import mask_diseases
from ..transforms.load import Study, load_study
from ..transforms.radiograph import radiograph_of
from ..transforms.shown import findings_on
from ..types import Finding, InputError
from .predictors import PredictorCache, Stopwatch, lesion_predictor
from .requests import Request, thresholds


@dataclass(frozen=True)
class VisitToReport:
    """What a program that knows the patient's other visits brings along.

    Attributes:
        findings: Of this visit, on the frames that viewers show; None for what the lesion model finds.
        earlier: What has become of them.
        prior_image: Image of the earlier visit.
    """

    findings: tuple[Finding, ...] | None = None
    earlier: EarlierVisit | None = None
    prior_image: str = ""


@dataclass(frozen=True)
class Asked:
    """A request for a draft, checked.

    Attributes:
        image: File or DICOM folder.
        time_point: Of an image of several volumes; None for its only one.
        part: Of a DICOM series that holds several of the same slices.
        clinical: The clinical text.
        visit: What is known of other visits.
        device: Where to run.
        request: All of it.
    """

    image: Path
    time_point: int | None
    part: str | None
    clinical: ClinicalText
    visit: VisitToReport
    device: torch.device
    request: Request

    def study(self, config: InputConfig) -> Study:
        """The image as a model reads it."""
        return load_study(self.image, config, self.time_point, self.part)


@dataclass(frozen=True)
class Seen:
    """An image as a report model sees it.

    Attributes:
        study: The image.
        to_report: What the writer is given.
        input: What its model was made for.
        told: What the answer says of it.
    """

    study: Study
    to_report: StudyToReport
    input: InputConfig
    told: dict[str, Any]


class ReportInput(Protocol):
    """Reads what a report is written from."""

    def is_ready(self) -> bool:
        """Whether it has all that it needs."""

    def info(self) -> dict[str, Any]:
        """What ``/info/`` says of it."""

    def see(self, asked: Asked, clock: Stopwatch) -> Seen:
        """Read an image.

        Raises:
            InputError: If it cannot be used, or a parameter is wrong.
        """


class LesionInput:
    """Reads what a lesion model finds and measures.

    Args:
        config: The report model.
        source: The lesion model.

    Raises:
        InputError: If the report model reads other features.
    """

    def __init__(self, config: ModelConfig, source: LesionSource) -> None:
        check_features(config, source.config)
        self.source = source
        self._predictors = PredictorCache(source.config, lesion_predictor)

    def is_ready(self) -> bool:
        """Whether the lesion model has weights."""
        return self.source.weights.current()[0] is not None

    def info(self) -> dict[str, Any]:
        """Which lesion model it is."""
        return {"source": self.source.config.name}

    def see(self, asked: Asked, clock: Stopwatch) -> Seen:
        """Run the lesion model; its findings, or those that the visit brings, are what the report is of."""
        path, model = self.source.current()
        config = replace(self.source.config, inference=thresholds(asked.request, self.source.config.inference))
        with clock.lap("read"):
            study = asked.study(config.input)
        with clock.lap("lesions"):
            predictor = self._predictors.get(asked.device, path)
            own = Predictor(config, predictor.network, asked.device, predictor.calibration)
            view = view_study(own, study.sequence, model)
        told = asdict(model)
        source = {key: told[key] for key in ("model", "version", "weights_sha256")}
        return Seen(study, _to_report(study, view, asked.clinical, asked.visit), config.input, {"source": source})


def _to_report(study: Study, view: SourceView, clinical: ClinicalText, visit: VisitToReport) -> StudyToReport:
    findings: Sequence[Finding] | None = visit.findings
    if findings is None:
        findings = findings_on(list(view.found.findings), study.geometry, study.shown.geometry)
    return StudyToReport(
        view.features,
        tuple(findings),
        measured_study(findings, view.brain_lps_mm, visit.earlier),
        clinical,
        prior_image=visit.prior_image,
        frames_are_shown=study.shown.same_order_as(study.geometry),
    )


class RadiographInput:
    """Reads one radiograph itself; nothing is measured in it.

    Names of diseases in the clinical text are not read: the model has learned to find the disease without them.

    Args:
        config: The report model.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._input = config.input

    def is_ready(self) -> bool:
        """It needs no other model."""
        return True

    def info(self) -> dict[str, Any]:
        """Nothing to add."""
        return {}

    def see(self, asked: Asked, clock: Stopwatch) -> Seen:
        """Read the image as in training."""
        if asked.visit != VisitToReport():
            raise InputError("this model reads one radiograph and knows of no visits; ask without followup")
        with clock.lap("read"):
            study = asked.study(self._input)
            image = radiograph_of(study, self._input.max_size_px)
        text = mask_diseases(asked.clinical.all)
        return Seen(study, StudyToReport(image, clinical=asked.clinical, masked_text=text), self._input, {})
