# SPDX-License-Identifier: Apache-2.0
"""The inference route: same interface as MONAI Label's, but checked, bounded and off the event loop."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.responses import FileResponse, JSONResponse, Response
from monailabel.datastore.utils.convert import binary_to_image
from monailabel.utils.others.generic import get_mime_type, remove_file
from requests_toolbelt import MultipartEncoder
from starlette.background import BackgroundTask

from ..roots import lib_module
from .checks import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    bad_request,
    check_image,
    check_model,
    check_session_id,
    discard_upload,
    save_upload,
    upload_suffix,
)
from .params import check_params, infer_keys, parse_params
from .pool import InferencePool
from .report_visits import SAME_AT_ALL_VISITS, check_follows_lesions, is_report, report_keys, report_visit
from .stock import STORE_LOCK, GuardedRoute, label_app, store, without_folders
from .timeline import Followed, timeline_of
from .visit_findings import Use
from .visits import check_followed, dicom_side

logger = logging.getLogger(__name__)
router = APIRouter(tags=["Infer"], route_class=GuardedRoute)


NOT_OF_A_MODEL = {"segmentation": ("boxes", "report"), "detection": ("report",)}
"""Label tags that hold something else than the results of a type of model."""


class Output(StrEnum):
    """What an inference answers: its file, its parameters, both, or a DICOM SEG object."""

    image = "image"
    json = "json"
    all = "all"
    dicom_seg = "dicom_seg"


@router.post("/infer/{model}", summary="Run a model on an image")
async def infer(
    request: Request,
    model: str,
    image: str = "",
    session_id: str = "",
    output: Output = Output.all,
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Run a model on an image of the store, of a session, or sent along; waits its turn in the queue."""
    files: list[str] = []
    try:
        job = await run_in_threadpool(build_request, model, image, session_id, params, file, label, files)
        pool: InferencePool = request.app.state.pool
        return await pool.run(request, lambda: run_job(job, output, files), discard_answer)
    finally:
        for path in files:
            discard_upload(path)


def build_request(
    model: str,
    image: str,
    session_id: str,
    params: str,
    file: UploadFile | None,
    label: UploadFile | None,
    files: list[str],
) -> dict[str, Any]:
    """Check everything the client sent and build the app's inference request.

    Args:
        model: Name of the model.
        image: Image id in the store; may be empty with a session or a file.
        session_id: Session id; may be empty.
        params: JSON object of parameters.
        file: An image sent along.
        label: A label sent along, such as scribbles.
        files: Receives the temporary files made, for the caller to remove.

    Raises:
        HTTPException: 400 or 404 naming what does not fit.
    """
    check_model(model)
    task = label_app()._infers[model]
    keys = {**infer_keys(task.labels), **(report_keys() if is_report(model) else {})}
    request = {"model": model, **check_params(parse_params(params), keys, task.config())}
    if request.get("save_label") and request.get("label_tag") in NOT_OF_A_MODEL.get(str(task.type), ()):
        raise bad_request(f"The result of '{model}' cannot be saved under the tag '{request['label_tag']}'.")
    if request.get("save_label") and request.get("frame_mask"):
        raise bad_request("frame_mask gives a result to edit: save it with PUT /datastore/label, not with save_label.")
    if request.get("followup"):
        _check_followup(request, str(task.type), image if not (session_id or file) else "")
    request.update(_given_image(image, session_id, file, files))
    if label:
        request["label"] = _label_file(label, image, files)
    return request


def _given_image(image: str, session_id: str, file: UploadFile | None, files: list[str]) -> dict[str, Any]:
    """The part of a request that says which image; arguments as :func:`build_request`."""
    if session_id:
        return _session(session_id)
    if file:
        files.append(save_upload(file, upload_suffix(file, IMAGE_SUFFIXES)))
        return {"image": files[-1]}
    if image:
        return {"image": check_image(image)}
    raise bad_request("Name an image of the store (image=), a session (session_id=), or send a file.")


def _check_followup(request: dict[str, Any], kind: str, image: str) -> None:
    """Check that the lesions of a request can be followed over visits.

    Raises:
        HTTPException: 400 or 404 saying why not.
    """
    if kind == "report":
        check_follows_lesions(request["model"])
    else:
        check_followed(request["model"], kind)
    if not image:
        raise bad_request("followup needs an image of the store (image=): other images have no other visits.")
    if request.get("save_label"):
        raise bad_request("followup tells of several visits and is not kept with a label: ask for one of the two.")
    dicom_side(check_image(image))
    request["frame_mask"] = True


def _session(session_id: str) -> dict[str, Any]:
    sessions = label_app().sessions()
    session = sessions.get_session(check_session_id(session_id)) if sessions is not None else None
    if not session:
        raise HTTPException(404, f"There is no session {session_id}; it may have expired.")
    return {"image": session.image, "session": session.to_json()}


def _label_file(label: UploadFile, image: str, files: list[str]) -> str:
    suffix = upload_suffix(label, LABEL_SUFFIXES)
    files.append(save_upload(label, suffix))
    if suffix == ".bin":  # raw scribbles from OHIF take their geometry from the image
        files.append(binary_to_image(store().get_image_uri(check_image(image)), files[-1]))
    return files[-1]


def run_job(request: dict[str, Any], output: Output, files: list[str]) -> Response:
    """Run an inference in a worker thread and build its answer.

    The label is saved here and not by the app, so that the store sees one change at a time.
    """
    image = request["image"]
    keep = request.pop("save_label", False) and not files and "session" not in request
    tag = request.pop("label_tag", "original")
    followed, use = request.pop("followup", False), Use(request.pop("followup_use", Use.stored))
    request["image"] = image if os.path.isabs(image) else _image_file(image)
    reported = report_visit(image, use, request) if followed and is_report(request["model"]) else None
    result = label_app().infer(request)
    if result is None:
        raise HTTPException(500, f"The model '{request['model']}' gave no result.")
    answer = result.get("params")
    if isinstance(answer, dict) and answer.get("warnings"):
        answer["warnings"] = [without_folders(text) for text in answer["warnings"]]
    path = result.get("file") or None
    path = path if path and os.path.isfile(path) else None
    if keep and path:
        _keep(image, request["model"], path, tag, answer)
    try:
        if reported is not None:
            _tell_growth(answer, reported)
        elif followed:
            _add_timeline(answer, image, use, request)
        return build_answer(answer, path, output, request)
    except Exception:
        remove_file(path)
        raise


def _add_timeline(answer: dict[str, Any], image: str, use: Use, request: dict[str, Any]) -> None:
    """Tell of the patient's other visits, and of the growth of each finding."""
    params = {key: request[key] for key in SAME_AT_ALL_VISITS if key in request}
    _tell_growth(answer, timeline_of(request["model"], image, use, answer=answer, params=params))


def _tell_growth(answer: dict[str, Any], found: Followed) -> None:
    growth = found.growth()
    answer["findings"] = [{**finding, "growth": growth.get(finding["id"])} for finding in answer["findings"]]
    answer["timeline"] = found.to_json()


def _keep(image: str, model: str, path: str, tag: str, answer: Any) -> None:
    """Save a result as a label of the image: a mask as it is, boxes with all that is known of them."""
    kept = {key: value for key, value in (answer or {}).items() if key != "explain"}  # heatmaps are for those who asked
    info = {"model": model, "params": kept}
    with STORE_LOCK:
        if not path.endswith(".json"):
            store().save_label(image, path, tag, info)
            return
        with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="lesionloop-", encoding="utf-8") as file:
            json.dump({"findings": answer["findings"]}, file)
            file.flush()
            store().save_label(image, file.name, tag, info)


def _image_file(image: str) -> str:
    file = store().get_image_uri(image)
    if not file or not os.path.exists(file):
        raise HTTPException(404, f"The file of image '{image}' is missing in the store.")
    return str(file)


def build_answer(params: Any, path: str | None, output: Output, request: dict[str, Any]) -> Response:
    """Build the answer in the form the client asked for; the result file is removed once it is sent.

    Args:
        params: The result's JSON part.
        path: The result's file, or None.
        output: What the client wants.
        request: The inference request.

    Raises:
        HTTPException: 404 when a file is wanted and there is none.
    """
    removal = BackgroundTask(remove_file, path) if path else None
    if output is Output.image:
        if path is None:
            raise HTTPException(404, f"The model '{request['model']}' made no file for this image; use output=json.")
        return FileResponse(path, media_type=get_mime_type(path), filename=Path(path).name, background=removal)
    if output is Output.dicom_seg:
        return _dicom_seg(path, params, request, removal)
    if output is Output.json or path is None:
        return JSONResponse(jsonable_encoder(params), background=removal)
    with open(path, "rb") as source:
        fields = {
            "params": (None, json.dumps(params), "application/json"),
            "image": (Path(path).name, source, get_mime_type(path)),
        }
        message = MultipartEncoder(fields=fields)
        return Response(message.to_string(), media_type=message.content_type, background=removal)


def _dicom_seg(path: str | None, params: Any, request: dict[str, Any], removal: BackgroundTask | None) -> Response:
    if path is None or path.endswith(".json"):
        raise HTTPException(404, f"The model '{request['model']}' made no mask for this image.")
    info = {"model": request["model"], "params": params, "label_info": request.get("label_info")}
    labels = lib_module("datastore.dicom_labels")
    seg = labels.seg_of_result(Path(path), Path(request["image"]), info)
    content = BytesIO()
    seg.save_as(content, write_like_original=False)
    disposition = {"Content-Disposition": f'attachment; filename="{seg.SOPInstanceUID}.dcm"'}
    return Response(content.getvalue(), media_type="application/dicom", headers=disposition, background=removal)


def discard_answer(answer: Response) -> None:
    """Remove the file of an answer that nobody waits for."""
    if isinstance(answer.background, BackgroundTask):
        remove_file(*answer.background.args)
