# SPDX-License-Identifier: Apache-2.0
"""The OHIF viewer's files, model weights for download, and the server's log."""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse, PlainTextResponse
from monailabel.config import settings
from monailabel.utils.others.generic import file_ext, get_mime_type

from .checks import bad_request, check_model
from .stock import STATIC_DIR, GuardedRoute, label_app

router = APIRouter(tags=["Others"], route_class=GuardedRoute)
OHIF_DIR = (STATIC_DIR / "ohif").resolve()
EXTENSION_DIR = Path(__file__).resolve().parents[1] / "viewers" / "ohif"
"""LesionLoop's settings, mode and panel; a file here takes the place of the bundled one of the same name."""


@router.get("/ohif/{path:path}", include_in_schema=False)
def ohif(path: str) -> FileResponse:
    """Return a file of the viewer; any other address is a page of the viewer itself."""
    own = static_file(EXTENSION_DIR, path)
    file = own or static_file(OHIF_DIR, path) or OHIF_DIR / "index.html"
    headers = {"cache-control": "no-cache"} if own else None  # a browser must not mix files of two releases
    return FileResponse(file, media_type=get_mime_type(str(file)), headers=headers)


def static_file(folder: Path, path: str) -> Path | None:
    """Return the file at ``path`` below ``folder``, or None when there is none.

    Raises:
        HTTPException: 400 when the path is not a plain relative path.
    """
    if path.startswith("/") or "\\" in path or "\0" in path or ".." in path.split("/"):
        raise bad_request("That path is not allowed.")
    file = (folder / path).resolve()
    return file if file.is_relative_to(folder) and file.is_file() else None


@router.get("/model/{model}", summary="Download a model's weights")
def download_model(model: str) -> FileResponse:
    """Return the weights that are deployed."""
    path = label_app().model_file(check_model(model))
    if not path or not Path(path).is_file():
        raise HTTPException(404, f"The model '{model}' has no weights file.")
    return FileResponse(path, media_type="application/octet-stream", filename=f"{model}{file_ext(path)}")


@router.get("/model/info/{model}", summary="Get checksum and date of a model's weights")
def model_info(model: str) -> dict[str, Any]:
    """Return what is known about the weights that are deployed."""
    info: dict[str, Any] | None = label_app().model_info(check_model(model))
    if not info:
        raise HTTPException(404, f"The model '{model}' has no weights file.")
    return info


@router.get("/logs/", summary="Get the end of the server's log")
def logs(lines: Annotated[int, Query(ge=1, le=10_000)] = 300) -> PlainTextResponse:
    """Return the last lines of the log as plain text."""
    file = Path(settings.MONAI_LABEL_APP_DIR) / "logs" / "app.log"
    if not file.is_file():
        raise HTTPException(404, "The server keeps no log file; look at its console.")
    with file.open(encoding="utf-8", errors="replace") as log:
        return PlainTextResponse("".join(deque(log, lines)))


@router.get("/logs/gpu", summary="Get the state of the GPUs")
def gpu_state() -> PlainTextResponse:
    """Return what nvidia-smi prints."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise HTTPException(404, "This server has no NVIDIA GPU (nvidia-smi is not installed).")
    result = subprocess.run([program], capture_output=True, text=True, timeout=20, check=False)
    return PlainTextResponse(result.stdout)
