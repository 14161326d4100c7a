# SPDX-License-Identifier: Apache-2.0
"""DICOMweb: answered here for a folder of DICOM files, sent on where the studies are on a PACS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import requests
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from .dicomweb_paths import Target, target_of
from .dicomweb_retrieve import retrieve
from .dicomweb_search import search
from .dicomweb_store import store_instances
from .forward import forward_read, forward_store
from .stock import GuardedRoute, store

router = APIRouter(tags=["DICOMweb"], route_class=GuardedRoute)


def pacs_client() -> Any:
    """The PACS client of the app's store; None for a store of other files."""
    return getattr(store(), "client", None)


def store_refresh() -> Callable[[], None]:
    """What makes the store look anew: a client may have stored an image or a label past it."""
    refresh: Callable[[], None] = store().refresh
    return refresh


Client = Annotated[Any, Depends(pacs_client)]
Refresh = Annotated[Callable[[], None], Depends(store_refresh)]


@router.get("/dicom-web/{path:path}", summary="Search (QIDO-RS) or retrieve (WADO-RS)")
def read(request: Request, path: str, client: Client) -> Response:
    """Answer a search or a retrieval."""
    target = target_of(request, path)
    if not _is_embedded(client):
        return forward_read(request, target)
    try:
        return search(request, target, client) if target.kind == "search" else retrieve(request, target, client)
    except requests.HTTPError as error:
        raise _refusal(error) from error


@router.post("/dicom-web/{path:path}", summary="Store instances (STOW-RS)")
async def write(request: Request, path: str, client: Client, refresh: Refresh) -> Response:
    """Store instances."""
    target: Target = target_of(request, path)
    if not _is_embedded(client):
        answer = await forward_store(request, target)
    else:
        answer = await store_instances(request, target, client)
    await run_in_threadpool(refresh)
    return answer


def _is_embedded(client: Any) -> bool:
    """Goes by an attribute: ``lib`` is imported by MONAI Label under an identity of its own."""
    return bool(getattr(client, "is_embedded", False))


def _refusal(error: requests.HTTPError) -> HTTPException:
    """What the embedded PACS does not have, as an answer."""
    status = error.response.status_code if error.response is not None else 500
    return HTTPException(status, str(error))
