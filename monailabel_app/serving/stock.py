# SPDX-License-Identifier: Apache-2.0
"""What the routes share of the MONAI Label app behind them: the app, its store, and errors as answers."""

from __future__ import annotations

import errno
import logging
import re
import tempfile
import threading
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import monailabel
import requests
from fastapi import HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from monailabel.config import settings as label_settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from monailabel.interfaces.utils.app import app_instance
from starlette.requests import ClientDisconnect

logger = logging.getLogger(__name__)

STATIC_DIR = Path(monailabel.__file__).parent / "endpoints" / "static"
STORE_LOCK = threading.RLock()
"""Held while a route changes the store: MONAI Label's stores expect one change at a time."""

ABSOLUTE_FOLDER = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)+")

T = TypeVar("T")


def label_app() -> MONAILabelApp:
    """Return the one MONAI Label app of this process."""
    return app_instance()


def store() -> Datastore:
    """Return the app's datastore."""
    return label_app().datastore()


def settled(read: Callable[[], T], attempts: int = 5) -> T:
    """Return ``read()``, again when another thread changed what it was iterating over."""
    for _ in range(attempts - 1):
        try:
            return read()
        except RuntimeError as error:
            if "changed size" not in str(error) and "mutated" not in str(error):
                raise
    return read()


def settled_json(read: Callable[[], Any]) -> JSONResponse:
    """Return ``read()`` as JSON, encoded here and not on the event loop."""
    return JSONResponse(settled(lambda: jsonable_encoder(read())))


def user_of(request: Request) -> str | None:
    """Return the authenticated user's name, or None without authentication."""
    return getattr(request.state, "user", None)


def with_user(info: dict[str, Any], request: Request) -> dict[str, Any]:
    """Return what a client sent about something it saves; who it is, where the server knows, counts more."""
    user = user_of(request)
    return {**info, "user": user} if user else info


def error_answer(error: Exception) -> JSONResponse:
    """Turn an exception into an answer that tells the client what it can act on, and no more."""
    refusal = _input_error(error)
    if refusal:
        status = 409 if type(refusal).__name__ == "ReportConflict" else 400
        return JSONResponse({"detail": without_folders(str(refusal))}, status)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        logger.error("The disk is full", exc_info=error)
        return JSONResponse({"detail": "The server's disk is full: nothing was changed. Make room and try again."}, 507)
    if isinstance(error, ImageNotFoundException | LabelNotFoundException):
        return JSONResponse({"detail": error.msg}, 404)
    if isinstance(error, MONAILabelException) and error.error == MONAILabelError.INVALID_INPUT:
        return JSONResponse({"detail": error.msg}, 400)
    if isinstance(error, requests.RequestException):
        return _pacs_answer(error)
    error_id = uuid.uuid4().hex[:8]
    logger.error("Request failed, error id %s", error_id, exc_info=error)
    return JSONResponse({"detail": f"The server failed; its log has the details under error id {error_id}."}, 500)


def without_folders(text: str) -> str:
    """Leave the names of files in a message, and not where they lie: a client has no use for the server's folders."""
    for folder in (label_settings.MONAI_LABEL_STUDIES, tempfile.gettempdir()):
        if folder.startswith("/") and len(folder) > 1:
            text = re.sub(re.escape(folder.rstrip("/")) + r"/([^:'\"\n]*/)?", "", text)
    return ABSOLUTE_FOLDER.sub("", text)


def _input_error(error: BaseException | None) -> BaseException | None:
    """Find an InputError, also below what MONAI's transforms wrap around it.

    It goes by the class name: ``lib`` is imported by MONAI Label under an identity of its own.
    """
    while error and not any(base.__name__ == "InputError" for base in type(error).__mro__):
        error = error.__cause__
    return error


def _pacs_answer(error: requests.RequestException) -> JSONResponse:
    if error.response is not None and error.response.status_code == 404:
        return JSONResponse({"detail": "The DICOMweb server does not have it."}, 404)
    logger.error("DICOMweb request failed", exc_info=error)
    return JSONResponse({"detail": "The DICOMweb server does not answer as it should; see the log."}, 502)


class GuardedRoute(APIRoute):
    """A route whose exceptions become JSON answers without a stack trace."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler of the base class."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except (HTTPException, RequestValidationError, ClientDisconnect):
                raise
            except Exception as error:
                return error_answer(error)

        return guarded
