# SPDX-License-Identifier: Apache-2.0
"""Token authentication: Bearer tokens for programs, and a cookie session for browsers.

MONAI Label's own clients log in through ``/auth/`` and ``/auth/token`` with the access token as password.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .guards import SAFE_METHODS, refuse
from .hosts import same_origin

COOKIE = "lesionloop_session"
SESSION_S = 12 * 3600
MAX_SESSIONS = 1000
OPEN_PATHS = frozenset({"/health", "/login", "/logout", "/auth/", "/auth/token"})
MAX_FAILURES = 5
FAILURE_WINDOW_S = 60.0


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


class Tokens:
    """The access tokens, kept as hashes only.

    Args:
        tokens: Token to user name; empty turns authentication off.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """Hash the tokens."""
        self._users = [(_digest(token), name) for token, name in tokens.items()]

    def __bool__(self) -> bool:
        """Whether authentication is on."""
        return bool(self._users)

    def user(self, token: str) -> str | None:
        """Return whose token this is, or None; takes the same time whichever token matches."""
        digest, found = _digest(token), None
        for known, name in self._users:
            if hmac.compare_digest(known, digest):
                found = name
        return found


class BrowserSessions:
    """Logged-in browsers: an opaque random id in the cookie, its hash and expiry here.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with nobody logged in."""
        self._clock = clock
        self._sessions: dict[bytes, tuple[str, float]] = {}

    def open(self, user: str) -> str:
        """Log a user in and return the session id for the cookie."""
        now = self._clock()
        self._sessions = {key: entry for key, entry in self._sessions.items() if entry[1] > now}
        while len(self._sessions) >= MAX_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        session_id = secrets.token_urlsafe(32)
        self._sessions[_digest(session_id)] = (user, now + SESSION_S)
        return session_id

    def user(self, session_id: str) -> str | None:
        """Return whose session this is, or None when unknown or expired."""
        user, expires = self._sessions.get(_digest(session_id), (None, 0.0))
        return user if expires > self._clock() else None

    def close(self, session_id: str) -> None:
        """Log the session out."""
        self._sessions.pop(_digest(session_id), None)


class LoginLimiter:
    """Holds each address to a few failed logins a minute.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without failures."""
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    def wait_s(self, address: str) -> int:
        """Return how many seconds the address must wait, 0 when it may try."""
        since = self._clock() - FAILURE_WINDOW_S
        failures = self._failures.get(address, deque())
        while failures and failures[0] <= since:
            failures.popleft()
        if not failures:
            self._failures.pop(address, None)
        return int(failures[0] - since) + 1 if len(failures) >= MAX_FAILURES else 0

    def failed(self, address: str) -> None:
        """Count one failed login."""
        if len(self._failures) >= MAX_SESSIONS:
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(address, deque(maxlen=MAX_FAILURES)).append(self._clock())


class Authentication:
    """Closes every route but :data:`OPEN_PATHS` to who has no token; puts the user name into ``scope['state']``.

    Args:
        app: The ASGI app behind.
        tokens: The access tokens; when empty every request passes.
        sessions: The logged-in browsers.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, sessions: BrowserSessions) -> None:
        """Keep the settings."""
        self.app = app
        self.tokens = tokens
        self.sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as its user, or refuse it."""
        if scope["type"] not in ("http", "websocket") or not self.tokens:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        bearer = bearer_token(headers)
        cookie = HTTPConnection(scope).cookies.get(COOKIE, "")
        user = self.tokens.user(bearer) if bearer else self.sessions.user(cookie) if cookie else None
        if user is None and scope["path"] not in OPEN_PATHS:
            await self._challenge(scope, receive, send, headers)
        elif user is not None and not bearer and _forgeable(scope, headers):
            await refuse(scope, receive, send, 403, "A request with a login cookie must come from this server's pages.")
        else:
            scope.setdefault("state", {})["user"] = user
            await self.app(scope, receive, send)

    async def _challenge(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        page = scope["type"] == "http" and scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        if page and not headers.get("authorization"):
            await RedirectResponse("/login?" + login_query(scope["path"]), 303)(scope, receive, send)
            return
        detail = "This server needs an access token: send it as 'Authorization: Bearer TOKEN', or log in at /login."
        await refuse(scope, receive, send, 401, detail, {"www-authenticate": "Bearer"})


def bearer_token(headers: Headers) -> str:
    """Return the token of an ``Authorization: Bearer`` header, or nothing."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _forgeable(scope: Scope, headers: Headers) -> bool:
    """Whether a request with a cookie lacks the proof that a page of this server sent it."""
    if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
        return False
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") != "same-origin"
    return not same_origin(origin, headers.get("host", ""))


def login_query(path: str) -> str:
    """Return the query that brings a browser back to ``path`` after the login."""
    return urlencode({"next": local_path(path)})


def local_path(path: str) -> str:
    """Return ``path`` when it stays on this server, else the start page (no open redirect)."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if plain and path.isprintable() else "/"
