# SPDX-License-Identifier: Apache-2.0
"""The label routes: MONAI Label's interface with every name checked, and labels on the frames that viewers show."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import Response

from ..roots import lib_module
from .checks import (
    LABEL_SUFFIXES,
    bad_request,
    check_image,
    check_name,
    check_tag,
    discard_upload,
    save_upload,
    upload_suffix,
)
from .downloads import download
from .params import parse_params
from .stock import STORE_LOCK, GuardedRoute, label_app, settled_json, store, with_user

router = APIRouter(tags=["Datastore"], route_class=GuardedRoute)


class LabelForm(StrEnum):
    """A label as the store keeps it, or on the frames of ``/datastore/image/frames``."""

    file = "file"
    frames = "frames"


@router.put("/datastore/label", summary="Save a label")
def save_label(
    request: Request,
    image: str,
    label: Annotated[UploadFile, File()],
    tag: str = "final",
    form: LabelForm = LabelForm.file,
    params: Annotated[str, Form()] = "{}",
) -> dict[str, Any]:
    """Save a label of an image; a new one takes the place of the old one with the same tag."""
    check_image(image)
    tag = check_tag(tag or "final")
    suffix = upload_suffix(label, LABEL_SUFFIXES)
    info = with_user(parse_params(params), request)
    path = save_upload(label, suffix)
    try:
        if form is LabelForm.frames:
            _count_as_models_do(Path(path), image, info)
        with STORE_LOCK:
            if tag == "report":
                lib_module("reports").check_upload(store(), image)
            label_id = store().save_label(image, path, tag, info)
            result = label_app().on_save_label(image, label_id) or {}
    finally:
        discard_upload(path)
    return {**result, "image": image, "label": label_id}


def _count_as_models_do(path: Path, image: str, info: dict[str, Any]) -> None:
    """Move boxes in an upload to the frames that models see; a mask by frames names its frames and stays as it is."""
    if path.suffix.lower() != ".json":
        raise bad_request("form=frames takes a JSON file: findings, or a mask by frames.")
    moved = lib_module("datastore.frames").boxes_for_models(Path(store().get_image_uri(image)), path, info)
    path.write_text(json.dumps(moved), encoding="utf-8")


@router.delete("/datastore/label", summary="Remove a label")
def remove_label(id: str, tag: str) -> dict[str, str]:
    """Remove the label of an image that has this tag."""
    _label_path(id, tag)
    with STORE_LOCK:
        store().remove_label(id, tag)
    return {}


@router.head("/datastore/label", summary="Check that a label exists")
def check_label_exists(image: str, tag: str) -> dict[str, str]:
    """Answer 200 when the image has a label with this tag."""
    _label_path(image, tag)
    return {}


@router.get("/datastore/label", summary="Download a label")
def download_label(
    label: str,
    tag: str,
    form: LabelForm = LabelForm.file,
    time_point: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Return the label file; with ``form=frames`` a mask, or findings, on the frames of ``/datastore/image/frames``."""
    path = _label_path(label, tag)
    if form is LabelForm.file:
        return download(path)
    if tag == "report":
        raise bad_request("A report is not on frames: ask for it without form=frames.")
    frames = lib_module("datastore.frames")
    image, info = Path(store().get_image_uri(label)), store().get_label_info(label, tag)
    if path.endswith(".json"):
        return settled_json(lambda: frames.boxes_by_frames(image, Path(path), info))
    return settled_json(lambda: frames.mask_by_frames(image, Path(path), info, time_point))


@router.get("/datastore/label/info", summary="Get what is known about a label")
def label_info(label: str, tag: str) -> Response:
    """Return the label's information: who made it (``user``), when (``ts``), and what else is known."""
    check_name("label id", label)
    check_tag(tag)
    return settled_json(lambda: store().get_label_info(label, tag))


@router.put("/datastore/label/info", summary="Change what is known about a label")
def update_label_info(request: Request, label: str, tag: str, info: Annotated[str, Form()] = "{}") -> None:
    """Merge a JSON object into the label's information."""
    changes = with_user(parse_params(info), request)
    check_name("label id", label)
    with STORE_LOCK:
        store().update_label_info(label, check_tag(tag), changes)


@router.put("/datastore/updatelabelinfo", include_in_schema=False)  # 3D Slicer's reviewer module calls this one
def review_label(request: Request, label: str, tag: str, params: Annotated[str, Form()] = "{}") -> None:
    """Merge a JSON object into the label's information."""
    update_label_info(request, label, tag, params)


def _label_path(label: str, tag: str) -> str:
    path = str(store().get_label_uri(check_name("label id", label), check_tag(tag)))
    if not path or not os.path.isfile(path):
        raise HTTPException(404, f"There is no label '{label}' with the tag '{tag}'.")
    return path
