# SPDX-License-Identifier: Apache-2.0
"""ASGI middlewares that run before any route: host, peer and origin checks, and the limit on uploads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .hosts import host_name, same_origin
from .settings import MEBIBYTE, is_loopback

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
UPLOAD_PATHS = ("/infer/", "/session/", "/datastore/", "/dicom-web/", "/proxy/dicom/")
MAX_SMALL_BODY_BYTES = 8 * MEBIBYTE
DRAIN_BYTES = 64 * MEBIBYTE
DRAIN_S = 1.0
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
}


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> None:
    """Answer a request (or close a WebSocket before it opens, which a client sees as 403) with a JSON message."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": detail[:120]})
        return
    await JSONResponse({"detail": detail}, status, headers=dict(headers or {}))(scope, receive, send)


class RequestGuard:
    """Refuses requests that a browser was tricked into, and strangers when no token is configured.

    Args:
        app: The ASGI app behind.
        hosts: Names the server answers to; any other ``Host`` is a DNS rebinding attack or a missing setting.
        origins: Other web origins that may call the server.
        local_only: Whether only this machine may connect (true when there are no access tokens).
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], origins: tuple[str, ...], local_only: bool) -> None:
        """Keep the settings."""
        self.app = app
        self.hosts = hosts
        self.origins = origins
        self.local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with security headers on the answer, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await refuse(scope, receive, send, *refusal)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host_name(host) not in self.hosts:
            return 400, "This server does not answer to that host name; list it in LESIONLOOP_HOSTS."
        client = scope.get("client")
        if self.local_only and client and not is_loopback(client[0]):
            return 403, "No access token is configured, so only this machine may connect; set LESIONLOOP_TOKEN."
        if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
            return None
        return self._cross_site(headers, host)

    def _cross_site(self, headers: Headers, host: str) -> tuple[int, str] | None:
        """Refuse what another web page sends: CORS keeps it from reading answers, not from sending requests."""
        origin = headers.get("origin")
        if origin is None:
            crossed = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        else:
            crossed = not same_origin(origin, host) and origin.lower() not in self.origins
        return (403, "Requests from other web pages are not allowed.") if crossed else None


class BodyLimit:
    """Counts the body while it streams in and answers 413 past the limit, whatever Content-Length says.

    Only multipart uploads and what goes to the PACS may be large; every other body is read into memory by its
    route and is held to 8 MiB.

    Args:
        app: The ASGI app behind.
        max_bytes: Largest upload, bytes.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        """Keep the limit."""
        self.app = app
        self.max_bytes = max_bytes

    def limit(self, scope: Scope) -> int:
        """Return the largest body in bytes for this request."""
        upload = Headers(scope=scope).get("content-type", "").lower().startswith("multipart/")
        if upload and scope["path"].startswith(UPLOAD_PATHS):
            return self.max_bytes
        return min(self.max_bytes, MAX_SMALL_BODY_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on while its body stays within the limit."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit(scope)
        detail = f"The request is larger than {limit // MEBIBYTE} MiB; LESIONLOOP_MAX_UPLOAD_MB sets the upload limit."
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            await _drain(receive)
            await refuse(scope, receive, send, 413, detail, {"connection": "close"})
            return
        received = 0
        exceeded = started = False

        async def receive_counted() -> Message:
            nonlocal received, exceeded
            message = await receive()
            received += len(message.get("body", b""))
            exceeded = exceeded or received > limit
            return {"type": "http.disconnect"} if exceeded else message

        async def send_unless_exceeded(message: Message) -> None:
            nonlocal started
            if exceeded and not started:
                return
            started = True
            await send(message)

        try:
            await self.app(scope, receive_counted, send_unless_exceeded)
        except ClientDisconnect:
            if not exceeded:
                raise
        if exceeded and not started:
            await _drain(receive)
            await refuse(scope, receive, send, 413, detail, {"connection": "close"})


async def _drain(receive: Receive) -> None:
    """Drop a little more of a refused body: a connection closed on unread data loses the answer to its client."""
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while dropped <= DRAIN_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
