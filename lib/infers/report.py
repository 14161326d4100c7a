# SPDX-License-Identifier: Apache-2.0
"""Inference task for reports: an image of the store and its clinical text in, a checked draft out, no file."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..configs import ModelConfig
from ..drafting.source import LesionSource
from ..drafting.writer import ClinicalText, Draft, report_writer
from ..transforms.load import misfit
from ..transforms.orient import off_in_files
from ..types import InputError, Source
from .predictors import PredictorCache, Stopwatch
from .report_inputs import Asked, LesionInput, RadiographInput, ReportInput, Seen, VisitToReport
from .requests import Request, requested_device, whole_number
from .served import ServedModel, Weights

__all__ = ["ReportDrafting", "ReportType", "VisitToReport", "clinical_text"]

logger = logging.getLogger(__name__)
TEXT_KEYS = ("indication", "history", "prior_report")
MAX_TEXT = 20_000
VISIT_KEY = "visit"


class ReportType(StrEnum):
    """MONAI Label has no type for this."""

    REPORT = "report"


class ReportDrafting(ServedModel):
    """Drafts the report of an image.

    A request has the path of a file or a DICOM folder as ``image``, and may have

    - ``indication``, ``history``, ``prior_report``: the clinical text,
    - ``time_point``, ``part``, ``device``, ``mask_threshold``, ``score_threshold``, ``min_volume_ml``, ``logging``: as
      for the lesion model,
    - ``visit``: a :class:`VisitToReport`, from the server's own code only.

    An answer's parameters are

    - ``report``: the draft as :meth:`lib.types.report.Report.to_json` writes it, without a version, to be saved with
      ``PUT /reports/{image}``; its frames are those that viewers show,
    - ``findings``: what it was written of, and ``earlier``: what has become of them
      (:class:`lib.drafting.earlier.EarlierVisit`), or None,
    - ``guard``: what the checks did not let through or added, with the reason,
    - ``finding_probabilities`` and ``opinions`` of the findings head,
    - ``class_probabilities`` of the study, by label, of a model that tells classes,
    - ``source``: name, version and hash of the lesion model, of a model that writes from one,
    - ``model``, ``version``, ``weights_sha256``, ``label_names``, ``n_frames``, ``kind``, ``sop_instance_uids``,
      ``frame_numbers``, ``time_point``, ``part``, ``warnings`` about the image, ``latencies`` in s.

    Args:
        config: The model.
        weights: Says which weights are in service.
        source: The lesion model it writes from; None for a model that reads the image itself.
    """

    infer_type = ReportType.REPORT

    def __init__(self, config: ModelConfig, weights: Weights, source: LesionSource | None = None) -> None:
        super().__init__(config, weights)
        self.source = source
        self._input: ReportInput = RadiographInput(config) if source is None else LesionInput(config, source)
        self._writers = PredictorCache(config, report_writer)

    @property
    def lexicon(self) -> str:
        """Name of the words of its reports."""
        assert self._model.report is not None
        return self._model.report.lexicon

    def is_valid(self) -> bool:
        """Whether the model, and the one it writes from, have weights to run with."""
        try:
            return super().is_valid() and self._input.is_ready()
        except InputError as error:
            logger.error("model '%s' is not served: %s", self._model.name, error)
            return False

    def info(self) -> dict[str, Any]:
        """What ``/info/`` says of the model, and which lesion model it writes from, if any."""
        return {**super().info(), **self._input.info()}

    def __call__(self, request: Request) -> tuple[str | None, dict[str, Any]]:
        """Draft a report.

        Args:
            request: As the class says.

        Returns:
            No file, and the parameters.

        Raises:
            InputError: If the image or a parameter cannot be used, or a model has no weights yet.
        """
        clock, asked = Stopwatch(), _asked(request)
        path, model = self.current()
        seen = self._input.see(asked, clock)
        with clock.lap("write"):
            draft = self._writers.get(asked.device, path).write(seen.to_report, model)
        params = self._params(draft, seen, model)
        params |= {"time_point": asked.time_point, "part": asked.part}
        params["earlier"] = asked.visit.earlier and asked.visit.earlier.to_json()
        study = seen.study
        params["warnings"] = [*study.problems, *misfit(study.modality, seen.input), *off_in_files(study.sequence)]
        params["latencies"] = clock.latencies()
        if str(request.get("logging", "INFO")).upper() in ("INFO", "DEBUG"):
            sentences, changed = len(draft.report.sentences), len(draft.interventions)
            logger.info("%s: %d sentences, %d checks that changed something", self._model.name, sentences, changed)
        return None, params

    def _params(self, draft: Draft, seen: Seen, model: Source) -> dict[str, Any]:
        shown = seen.study.shown
        classes = {name: round(p, 4) for name, p in draft.classes.items()}
        return {
            "label_names": dict(self._model.labels),
            "report": {key: value for key, value in draft.report.to_json().items() if key != "version"},
            "findings": [finding.to_json() for finding in seen.to_report.findings],
            "guard": [one.to_json() for one in draft.interventions],
            "finding_probabilities": {name: round(p, 4) for name, p in draft.probabilities.items()},
            "opinions": {name: opinion.value for name, opinion in draft.opinions.items()},
            **({"class_probabilities": classes} if classes else {}),
            **seen.told,
            "model": model.model,
            "version": model.version,
            "weights_sha256": model.weights_sha256,
            "kind": seen.study.sequence.kind.value,
            "n_frames": shown.shape[0],
            "sop_instance_uids": list(shown.sop_instance_uids),
            "frame_numbers": list(shown.frame_numbers),
        }


def _asked(request: Request) -> Asked:
    device = requested_device(request)
    image, clinical, visit = _image(request), clinical_text(request), _visit(request)
    time_point, part = whole_number(request, "time_point"), request.get("part") or None
    return Asked(Path(image), time_point, part, clinical, visit, device, request)


def clinical_text(request: Request) -> ClinicalText:
    """The clinical text of a request.

    Raises:
        InputError: If a part is no text, or too long.
    """
    texts = {}
    for key in TEXT_KEYS:
        value = request.get(key) or ""
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise InputError(f"request key '{key}' must be a text of at most {MAX_TEXT} characters")
        texts[key] = value
    return ClinicalText(**texts)


def _image(request: Request) -> str:
    image = request.get("image")
    if not isinstance(image, str) or not image:
        raise InputError("request key 'image' must be the path of an image")
    return image


def _visit(request: Request) -> VisitToReport:
    visit = request.get(VISIT_KEY) or VisitToReport()
    if type(visit).__name__ != VisitToReport.__name__:  # what a client sends is a dict; lib may be imported twice
        raise InputError(f"request key '{VISIT_KEY}' comes from the server's own code only; ask with followup=true")
    return visit
