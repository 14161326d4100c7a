# SPDX-License-Identifier: Apache-2.0
"""What a report model is told of the patient's earlier visit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..roots import lib_module
from .checks import bad_request
from .params import Check
from .stock import label_app
from .timeline import Followed, timeline_of
from .visit_findings import Use

SAME_AT_ALL_VISITS = ("device", "mask_threshold", "score_threshold", "min_volume_ml", "logging")
"""Parameters of a request that also count for the patient's other visits."""
MAX_TEXT = 20_000


def is_report(model: str) -> bool:
    """Whether a model writes reports."""
    return str(label_app()._infers[model].type) == "report"


def check_follows_lesions(model: str) -> None:
    """Check that a report model writes of lesions, which can be followed over visits.

    Raises:
        HTTPException: 400 if it reads the image itself.
    """
    if label_app()._infers[model].source is None:
        raise bad_request(
            f"The model '{model}' reads one image and follows no lesions: ask without followup, and give the earlier "
            "report as prior_report."
        )


def report_keys() -> dict[str, Check]:
    """The parameters of a report request beside those of every inference: the clinical text."""
    return dict.fromkeys(("indication", "history", "prior_report"), _prose)


def _prose(value: Any) -> bool:
    """Text of people, which is only ever read by the model and shown."""
    return isinstance(value, str) and len(value) <= MAX_TEXT


def report_visit(image: str, use: Use, request: dict[str, Any]) -> Followed:
    """Put the lesions of an image, and what has become of them, into the request for its report.

    Args:
        image: Of the store.
        use: Whose findings count.
        request: Gets the key ``visit`` (``lib.infers.report.VisitToReport``).
    """
    lesions = label_app()._infers[request["model"]].source.config
    told = {key: getattr(lesions.inference, key) for key in ("score_threshold", "min_volume_ml")}
    params = {**told, **{key: request[key] for key in SAME_AT_ALL_VISITS if key in request}}
    found = timeline_of(lesions.name, image, use, params=params)
    k = found.current
    maps = [np.eye(4) if v.registration is None else v.registration.to_fixed for v in found.visits]
    earlier = lib_module("drafting.earlier").earlier_visit(found.timeline, k, maps)
    findings = found.visits[k].read.found.findings
    prior = found.visits[k - 1].side.image if k else ""
    request["visit"] = lib_module("infers.report").VisitToReport(tuple(findings), earlier, prior)
    return found
