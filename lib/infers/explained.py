# SPDX-License-Identifier: Apache-2.0
"""The part of an answer that says why: heatmaps on the frames that the rest of the answer is on."""

from __future__ import annotations

from typing import Any

from ..explain import explain
from ..explain.explainer import Model
from ..transforms.load import Study
from ..types import Finding


def explained(
    model: Model, study: Study, findings: list[Finding], by_frames: bool = False, label: str | None = None
) -> dict[str, Any]:
    """What ``explain`` adds to the parameters of an answer; see docs/reference/server.md.

    Args:
        model: What gave the answer.
        study: The image.
        findings: On the frames that models see, best first.
        by_frames: Answer on the frames that viewers show.
        label: Class of the study, for a classification.

    Raises:
        InputError: If the network cannot be explained.
    """
    explanation = explain(model, study.sequence, findings, label=label)
    if by_frames and not study.shown.same_as(study.geometry):
        return explanation.to_json_on(study.geometry, study.shown.geometry)
    return explanation.to_json()
