# SPDX-License-Identifier: Apache-2.0
"""The route that compares words of a person with what was measured; it stores nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import Response

from ..roots import lib_module
from .checks import bad_request, check_image, check_model
from .remembered import Remembered
from .report_visits import is_report
from .stock import GuardedRoute, label_app, store

router = APIRouter(tags=["Reports"], route_class=GuardedRoute)
KEYS = frozenset({"model", "sentences", "findings", "opinions", "earlier", "time_point"})
_BRAINS: Remembered[Any] = Remembered(64)


@router.post("/reports/{image}/check", summary="Compare sentences with what was measured")
def check_words(image: str, body: Annotated[dict[str, Any], Body()]) -> Response:
    """Return for each sentence its support, why, and the findings that it speaks of."""
    check_image(image)
    if unknown := sorted(set(body) - KEYS):
        raise bad_request(f"unknown key '{unknown[0][:80]}'; known are {', '.join(sorted(KEYS))}")
    recheck = lib_module("drafting.recheck")
    task = _task(body.get("model"))
    written, evidence = recheck.written_of(body.get("sentences")), recheck.Evidence.from_json(body)
    brain = None
    if task.source is not None:
        if evidence.findings is None:
            raise bad_request("This model writes of lesions: send its findings, as the draft's answer has them.")
        brain = _brain(image, task.source.config.input, body.get("time_point"))
    elif "opinions" not in body:
        raise bad_request("This model measures nothing: send its opinions, as the draft's answer has them.")
    lexicon = lib_module("drafting.writer").LEXICONS[task.lexicon]
    answers = recheck.compared(written, evidence.scene(lexicon, brain))
    return Response(json.dumps({"image": image, "sentences": answers}), media_type="application/json")


def _task(model: Any) -> Any:
    if not isinstance(model, str) or not is_report(check_model(model)):
        raise bad_request('Name the report model whose words and findings these are: {"model": "..."}.')
    return label_app()._infers[model]


def _brain(image: str, config: Any, time_point: Any) -> Any:
    """Box of the brain, read from the image once for as long as its files stay the same."""
    if time_point is not None and (isinstance(time_point, bool) or not isinstance(time_point, int)):
        raise bad_request("time_point must be a whole number.")
    path = Path(store().get_image_uri(image))
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    state = str(lib_module("datastore.dicom_grid").state_of(files))

    def measure() -> Any:
        study = lib_module("transforms.load").load_study(path, config, time_point)
        return lib_module("drafting.measured").brain_box(study.sequence)

    return _BRAINS.of((str(path), state, time_point), measure)
