# SPDX-License-Identifier: Apache-2.0
"""LesionLoop's ASGI app: MONAI Label's REST interface, safe by default.

Serve it with ``lesionloop serve``, or with
``monailabel start_server --host 127.0.0.1 --uvicorn_app monailabel_app.server:app``.

MONAI Label's own ``monailabel.app`` is not used: every route here is named, so that what it opens (uploading
weights, reloading, whole-slide inference, any path of the PACS) does not exist. docs/reference/server.md lists them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from monailabel.config import settings as label_settings
from monailabel.utils.async_tasks.task import AsyncTask
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from .serving import (
    cards,
    datastore,
    dicomweb,
    downloads,
    followup,
    inference,
    labels,
    login,
    pages,
    proxy,
    report_check,
    reports,
    stream,
    tasks,
    versions,
    viewer,
)
from .serving.auth import Authentication, BrowserSessions, LoginLimiter, Tokens
from .serving.guards import BodyLimit, RequestGuard
from .serving.pool import InferencePool
from .serving.settings import ConfigurationError, ServerSettings, environment
from .serving.stock import STATIC_DIR, error_answer, label_app

__all__ = ["ROUTES", "ConfigurationError", "ServerSettings", "app", "create_app", "environment"]

ROUTES = (
    pages,
    login,
    tasks,
    versions,
    cards,
    inference,
    stream,
    followup,
    report_check,
    reports,
    datastore,
    labels,
    viewer,
    dicomweb,
    proxy,
)
"""What is served; a new file of routes has its line here."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the MONAI Label app before the first request; end waiting inferences and running training at the end."""
    instance = label_app()
    instance.server_mode(True)
    instance.on_init_complete()
    yield
    app.state.pool.close()
    app.state.streams.close()
    downloads.forget_all()
    for method in ("train", "scoring", "batch_infer"):
        AsyncTask.stop(method)


def create_app(settings: ServerSettings) -> FastAPI:
    """Build the ASGI app.

    Args:
        settings: What the administrator has set.

    Raises:
        ConfigurationError: When MONAI Label's own (Keycloak) authentication is on, which never accepts a token and
            is not used here.
    """
    if label_settings.MONAI_LABEL_AUTH_ENABLE:
        raise ConfigurationError(
            "MONAI_LABEL_AUTH_ENABLE is on, but LesionLoop authenticates by access tokens: turn it off and set"
            " LESIONLOOP_TOKENS_FILE or LESIONLOOP_TOKEN."
        )
    os.environ.setdefault("PYTHONPATH", label_settings.MONAI_LABEL_APP_DIR)  # training subprocesses read it
    tokens, sessions = Tokens(settings.tokens or {}), BrowserSessions()
    app = FastAPI(
        title="LesionLoop",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(RequestGuard, settings.hosts, settings.cors_origins, local_only=not tokens),
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.cors_origins),
                allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
                allow_headers=["Authorization", "Content-Type"],
            ),
            Middleware(Authentication, tokens, sessions),
            Middleware(BodyLimit, settings.max_upload_bytes),
        ],
    )
    app.state.settings = settings
    app.state.tokens = tokens
    app.state.browser_sessions = sessions
    app.state.limiter = LoginLimiter()
    app.state.pool = InferencePool(settings.infer_workers, settings.infer_queue)
    app.state.streams = stream.Streams(settings.streams)
    app.add_exception_handler(Exception, lambda _, error: error_answer(error))
    for routes in ROUTES:
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=STATIC_DIR), name="static")
    return app


# Progress of training and inference goes to the server's log; does nothing where the launcher has set up logging.
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
app = create_app(ServerSettings.from_env())
