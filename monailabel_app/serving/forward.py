# SPDX-License-Identifier: Apache-2.0
"""The way to the PACS: DICOMweb requests are sent on as they are, with their query, and answers streamed back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any, cast

import requests
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from monailabel.config import settings

from .dicomweb_paths import Target

REQUEST_HEADERS = ("accept", "accept-encoding", "content-type", "if-none-match")
RESPONSE_HEADERS = ("content-type", "content-encoding", "content-length", "etag", "last-modified", "cache-control")
CHUNK_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 5.0


def pacs_url(target: Target, query: bytes) -> str:
    """Return the address at the PACS for a request, with its query.

    Raises:
        HTTPException: 404 when the studies are not on a DICOMweb server.
    """
    server = settings.MONAI_LABEL_STUDIES.rstrip("/")
    if not server.startswith(("http://", "https://")):
        raise HTTPException(
            404,
            "The studies are NIfTI or NRRD files, so there is no PACS to ask; serve a folder of DICOM files, or the"
            " address of a DICOMweb server, to see them in OHIF.",
        )
    prefix = {
        "search": settings.MONAI_LABEL_QIDO_PREFIX,
        "retrieve": settings.MONAI_LABEL_WADO_PREFIX,
        "store": settings.MONAI_LABEL_STOW_PREFIX,
    }[target.kind]
    text = query.decode("ascii", "replace")
    return "/".join(part for part in (server, (prefix or "").strip("/"), target.path) if part) + (
        f"?{text}" if text else ""
    )


def forward_read(request: Request, target: Target) -> Response:
    """Send a search (QIDO-RS) or a retrieval (WADO-RS) on."""
    return _forward("GET", pacs_url(target, request.scope["query_string"]), _headers(request), None)


async def forward_store(request: Request, target: Target) -> Response:
    """Send objects to store (STOW-RS) on."""
    url = pacs_url(target, request.scope["query_string"])
    with tempfile.SpooledTemporaryFile(max_size=8 << 20) as body:
        async for chunk in request.stream():
            await run_in_threadpool(body.write, chunk)
        body.seek(0)
        return await run_in_threadpool(_forward, "POST", url, _headers(request), cast(IO[bytes], body))


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
