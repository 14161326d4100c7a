# SPDX-License-Identifier: Apache-2.0
"""The image and session routes: MONAI Label's interface with every name checked, off the event loop."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response
from monailabel.utils.others.generic import file_checksum, remove_file
from monailabel.utils.sessions import SessionInfo, Sessions
from starlette.background import BackgroundTask

from ..roots import lib_module
from .archives import unpack
from .checks import (
    bad_request,
    base_name,
    check_image,
    check_name,
    check_new_image,
    check_session_id,
    discard_upload,
    image_suffixes,
    save_upload,
    upload_suffix,
)
from .downloads import download, nifti_of
from .params import parse_params
from .stock import STORE_LOCK, GuardedRoute, label_app, settled_json, store, with_user, without_folders

router = APIRouter(tags=["Datastore"], route_class=GuardedRoute)
MAX_EXPANSION = 4
"""An archive may unpack to this many times the upload limit."""


class Listing(StrEnum):
    """What to tell about the store."""

    train = "train"
    stats = "stats"
    all = "all"


@router.get("/datastore/", summary="List images and labels")
def list_store(output: Listing = Listing.stats) -> Response:
    """Return counts, the training list or everything about the store."""
    datastore = store()
    return settled_json({"all": datastore.json, "train": datastore.datalist}.get(output.value, datastore.status))


@router.put("/datastore/", summary="Add an image", include_in_schema=False)  # the stock client still calls this one
@router.put("/datastore/image", summary="Add an image")
def add_image(
    request: Request,
    file: Annotated[UploadFile, File()],
    image: str = "",
    params: Annotated[str, Form()] = "{}",
) -> dict[str, str]:
    """Add an image to the store under a new id, or under the name of its file."""
    suffix = upload_suffix(file, image_suffixes())
    image_id = check_new_image(image or base_name(file.filename or "")[: -len(suffix)])
    info = with_user(parse_params(params), request)
    path = save_upload(file, suffix)
    try:
        with STORE_LOCK:
            return {"image": store().add_image(image_id, path, info)}
    finally:
        discard_upload(path)


@router.delete("/datastore/image", summary="Remove an image and its labels")
def remove_image(id: str) -> dict[str, str]:
    """Remove an image and every label of it."""
    with STORE_LOCK:
        store().remove_image(check_image(id))
    return {}


@router.head("/datastore/image", summary="Check that an image exists")
def check_image_exists(image: str, check_sum: str = "") -> dict[str, str]:
    """Answer 200 when the image is there, and its checksum (``SHA256:HEX``) is the given one."""
    path = _image_path(image)
    if check_sum:
        algorithm, _, digest = check_sum.rpartition(":")
        if (algorithm or "SHA256") not in ("SHA256", "SHA512", "MD5"):
            raise bad_request("check_sum must be SHA256:HEX, SHA512:HEX or MD5:HEX.")
        if file_checksum(path, algorithm or "SHA256").rpartition(":")[2] != digest.lower():
            raise HTTPException(404, "The image has another checksum.")
    return {}


@router.get("/datastore/image", summary="Download an image")
def download_image(image: str) -> FileResponse:
    """Return the image file; of a DICOM series the same voxels as NIfTI, for programs that take one file."""
    return download(_image_path(image))


@router.get("/datastore/image/info", summary="Get what is known about an image")
def image_info(image: str) -> Response:
    """Return the image's information."""
    check_image(image)
    return settled_json(lambda: store().get_image_info(image))


@router.get("/datastore/image/frames", summary="Get the frames of an image as a viewer shows them")
def image_frames(
    image: str, time_point: Annotated[int | None, Query(ge=0)] = None, part: str | None = None
) -> JSONResponse:
    """Return kind, size, places and DICOM instances of the frames, in the order in which findings count them."""
    path = Path(store().get_image_uri(check_image(image)))
    frames = lib_module("datastore.frames").frames_json(path, time_point, part or None)
    return JSONResponse({**frames, "warnings": [without_folders(text) for text in frames["warnings"]]})


@router.put("/datastore/image/info", summary="Change what is known about an image")
def update_image_info(request: Request, image: str, info: Annotated[str, Form()] = "{}") -> None:
    """Merge a JSON object into the image's information."""
    changes = with_user(parse_params(info), request)
    with STORE_LOCK:
        store().update_image_info(check_image(image), changes)


@router.get("/datastore/dataset", summary="Download all labelled images as a ZIP archive")
def download_dataset(limit_cases: Annotated[int | None, Query(ge=1)] = None) -> FileResponse:
    """Return images and final labels."""
    if not store().datalist():
        raise HTTPException(404, "No image has a final label yet, so there is nothing to download.")
    archive = store().get_dataset_archive(limit_cases)
    removal = BackgroundTask(remove_file, archive)
    return FileResponse(archive, media_type="application/zip", filename="dataset.zip", background=removal)


@router.put("/session/", summary="Open a session with an image", tags=["Session"])
def create_session(
    request: Request,
    files: Annotated[list[UploadFile], File()],
    uncompress: bool = False,
    expiry: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """Keep an image (one file, several files of a series, or an archive of them) for a while."""
    folder = Path(tempfile.mkdtemp(prefix="lesionloop-"))
    try:
        image = _received(files, folder / "received")
        if uncompress:
            limit = request.app.state.settings.max_upload_bytes * MAX_EXPANSION
            unpack(_only_file(image), folder / "unpacked", limit)
            image = folder / "unpacked"
        session_id, info = _sessions().add_session(str(image), expiry, False, str(uuid.uuid4()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"session_id": session_id, "session_info": info.to_json()}


@router.get("/session/{session_id}", summary="Get a session", tags=["Session"])
def get_session(session_id: str, update_ts: bool = False, image: bool = False) -> Response:
    """Return what is known about a session, or its image."""
    info = _session(session_id, update_ts)
    if not image:
        return settled_json(info.to_json)
    if os.path.isdir(info.image):
        raise bad_request("The session holds several files; they cannot be downloaded as one.")
    return download(info.image)


@router.delete("/session/{session_id}", summary="Close a session", tags=["Session"])
def remove_session(session_id: str) -> Response:
    """Remove a session and its image."""
    info = _session(session_id, update_ts=False)
    _sessions().remove_session(session_id)
    return settled_json(info.to_json)


def _sessions() -> Sessions:
    sessions = label_app().sessions()
    if sessions is None:
        raise HTTPException(406, "Sessions are turned off (MONAI_LABEL_SESSIONS).")
    return sessions


def _session(session_id: str, update_ts: bool) -> SessionInfo:
    info = _sessions().get_session(check_session_id(session_id), update_ts=update_ts)
    if not info:
        raise HTTPException(404, f"There is no session {session_id}; it may have expired.")
    return info


def _received(files: list[UploadFile], folder: Path) -> Path:
    """Write the uploads into a folder and return it, or the file when there is only one."""
    folder.mkdir()
    for file in files:
        name = check_name("file name", base_name(file.filename or "image"))
        with (folder / name).open("wb") as target:
            shutil.copyfileobj(file.file, target)
    written = list(folder.iterdir())
    return written[0] if len(written) == 1 else folder


def _only_file(path: Path) -> Path:
    if not path.is_file():
        raise bad_request("uncompress=true takes exactly one archive.")
    return path


def _image_path(image: str) -> str:
    path = Path(store().get_image_uri(check_image(image)))
    if path.is_dir():
        path = nifti_of(image, path)
    if not path.is_file():
        raise HTTPException(404, f"The file of image '{image}' is missing.")
    return str(path)
