# SPDX-License-Identifier: Apache-2.0
"""The way from a viewer to the PACS: DICOMweb requests only (DICOM PS3.18, chapter 10), nothing else of the PACS.

MONAI Label's own proxy passes any path on, which opens the PACS's administration, and drops the query, which makes
OHIF list other patients' studies.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from typing import IO, Any, cast
from urllib.parse import quote

import requests
from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from monailabel.config import settings

from .checks import bad_request
from .stock import GuardedRoute

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

_UID = r"(?=[0-9.]{1,64}(?:/|$))[0-9]+(?:\.[0-9]+)*"
_SERIES = rf"studies/{_UID}/series/{_UID}"
_INSTANCE = rf"{_SERIES}/instances/{_UID}"
_SEARCH = rf"studies|series|instances|studies/{_UID}/(?:series|instances)|{_SERIES}/instances"
_VIEW = r"(?:/(?:metadata|rendered|thumbnail))?"
_BULK = r"(?:bulkdata|bulk)(?:/[0-9A-Za-z]{1,64}){0,16}"
_FRAMES = r"frames/[0-9]+(?:,[0-9]+)*(?:/(?:rendered|thumbnail))?"
_RETRIEVE = rf"(?:studies/{_UID}|{_SERIES}|{_INSTANCE}){_VIEW}|{_INSTANCE}/(?:{_BULK}|{_FRAMES}|pixeldata)"
SEARCH = re.compile(_SEARCH)
RETRIEVE = re.compile(_RETRIEVE)
STORE = re.compile(rf"studies(?:/{_UID})?")
SUSPICIOUS = re.compile(rb"%2e|%2f|%5c|%25|%00|\\|//|/\.|;", re.IGNORECASE)
REQUEST_HEADERS = ("accept", "accept-encoding", "content-type", "if-none-match")
RESPONSE_HEADERS = ("content-type", "content-encoding", "content-length", "etag", "last-modified", "cache-control")
CHUNK_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 5.0


@router.get("/proxy/dicom/{path:path}")
async def read(request: Request, path: str) -> Response:
    """Pass a search (QIDO-RS) or a retrieval (WADO-RS) on to the PACS."""
    target = target_url(request, path)
    return await run_in_threadpool(_forward, "GET", target, _headers(request), None)


@router.post("/proxy/dicom/{path:path}")
async def write(request: Request, path: str) -> Response:
    """Pass objects to store (STOW-RS) on to the PACS."""
    target = target_url(request, path)
    with tempfile.SpooledTemporaryFile(max_size=8 << 20) as body:
        async for chunk in request.stream():
            await run_in_threadpool(body.write, chunk)
        body.seek(0)
        return await run_in_threadpool(_forward, "POST", target, _headers(request), cast(IO[bytes], body))


def target_url(request: Request, path: str) -> str:
    """Return the address at the PACS for a proxy request, with its query.

    Raises:
        HTTPException: 404 when the studies are not on a DICOMweb server, 400 when the path is not DICOMweb's.
    """
    server = settings.MONAI_LABEL_STUDIES.rstrip("/")
    if not server.startswith(("http://", "https://")):
        raise HTTPException(404, "The studies are in a folder, not on a DICOMweb server, so there is no PACS to ask.")
    service, _, rest = path.partition("/")
    path = rest if service in ("wado", "qido", "stow") else path
    prefix = dicomweb_prefix(request.method, path)
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    if prefix is None or SUSPICIOUS.search(raw):
        raise bad_request("Only DICOMweb requests are passed on: searching, retrieving and storing studies.")
    query = request.scope["query_string"].decode("ascii", "replace")
    return "/".join(part for part in (server, prefix.strip("/"), path) if part) + (f"?{query}" if query else "")


def dicomweb_prefix(method: str, path: str) -> str | None:
    """Return the path prefix that the PACS uses for a request, or None when it is not DICOMweb's."""
    if method == "POST":
        return (settings.MONAI_LABEL_STOW_PREFIX or "") if STORE.fullmatch(path) else None
    if SEARCH.fullmatch(path):
        return settings.MONAI_LABEL_QIDO_PREFIX or ""
    return (settings.MONAI_LABEL_WADO_PREFIX or "") if RETRIEVE.fullmatch(path) else None


def _headers(request: Request) -> dict[str, str]:
    return {name: request.headers[name] for name in REQUEST_HEADERS if name in request.headers}


def _credentials(headers: dict[str, str]) -> tuple[str, str] | None:
    """Return user and password for the PACS; on Google Cloud add its token to the headers instead."""
    if "googleapis.com" in settings.MONAI_LABEL_STUDIES:
        import google.auth
        import google.auth.transport.requests as transport

        credentials: Any = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0]
        credentials.refresh(transport.Request())
        headers["authorization"] = f"Bearer {credentials.token}"
        return None
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    return (user, password) if user and password else None


def _forward(method: str, url: str, headers: dict[str, str], body: IO[bytes] | None) -> Response:
    """Send the request on and stream the answer back, undecoded.

    Raises:
        HTTPException: 502 for a redirect, which could lead anywhere.
    """
    headers = {"accept-encoding": "identity", **headers}
    answer: Any = requests.request(
        method,
        url,
        headers=headers,
        data=body,
        auth=_credentials(headers),
        stream=True,
        allow_redirects=False,
        timeout=(CONNECT_TIMEOUT_S, settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT),
    )
    if answer.is_redirect:
        answer.close()
        raise HTTPException(502, "The DICOMweb server redirects; serve the studies by its final address.")
    kept = {name: answer.headers[name] for name in RESPONSE_HEADERS if name in answer.headers}
    return StreamingResponse(_chunks(answer), answer.status_code, headers=kept)


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    with answer:
        yield from answer.raw.stream(CHUNK_BYTES, decode_content=False)
