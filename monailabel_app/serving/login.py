# SPDX-License-Identifier: Apache-2.0
"""The routes to log in and out: a page for browsers, and the two that MONAI Label's clients call."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from .auth import COOKIE, SESSION_S, BrowserSessions, LoginLimiter, Tokens, local_path
from .pages import page

router = APIRouter(tags=["Login"])

FORM = """<h1>LesionLoop: log in</h1>{message}
<form method="post" action="/login">
<p><label for="token">Access token</label><br>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus{described}></p>
<input type="hidden" name="next" value="{next}">
<p><button type="submit">Log in</button></p>
</form>"""


def login_page(next_path: str, problem: str = "", status: int = 200) -> HTMLResponse:
    """Return the login form, with what went wrong announced to screen readers."""
    message = f'<p id="problem" role="alert">{escape(problem)}</p>' if problem else ""
    described = ' aria-describedby="problem" aria-invalid="true"' if problem else ""
    return page("Log in", FORM.format(message=message, described=described, next=escape(next_path)), status)


def check_token(request: Request, token: str) -> str:
    """Return the token's user.

    Raises:
        HTTPException: 429 after too many failures from this address, 401 when the token is wrong.
    """
    limiter: LoginLimiter = request.app.state.limiter
    tokens: Tokens = request.app.state.tokens
    address = request.client.host if request.client else "local"
    wait_s = limiter.wait_s(address)
    if wait_s:
        detail = f"Too many failed logins. Try again in {wait_s} s."
        raise HTTPException(429, detail, headers={"Retry-After": str(wait_s)})
    user = tokens.user(token)
    if user is None:
        limiter.failed(address)
        raise HTTPException(401, "That access token is not valid.")
    return user


@router.get("/login", include_in_schema=False)
def show_login(request: Request, next: str = "/") -> Response:
    """Show the login form; without authentication go straight on."""
    if not request.app.state.tokens:
        return RedirectResponse(local_path(next), 303)
    return login_page(local_path(next))


@router.post("/login", include_in_schema=False)
def log_in(request: Request, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/") -> Response:
    """Start a browser session: an HttpOnly cookie that other sites cannot send."""
    try:
        user = check_token(request, token.strip())
    except HTTPException as refused:
        answer = login_page(local_path(next), str(refused.detail), refused.status_code)
        answer.headers.update(refused.headers or {})
        return answer
    sessions: BrowserSessions = request.app.state.browser_sessions
    response = RedirectResponse(local_path(next), 303)
    response.set_cookie(
        COOKIE,
        sessions.open(user),
        max_age=SESSION_S,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/logout", include_in_schema=False)
def log_out(request: Request) -> Response:
    """End the browser session."""
    sessions: BrowserSessions = request.app.state.browser_sessions
    sessions.close(request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


@router.get("/auth/", summary="Whether a login is needed")
def auth_enabled(request: Request) -> dict[str, Any]:
    """Tell MONAI Label's clients whether to ask for a login."""
    return {"enabled": bool(request.app.state.tokens), "client_id": "", "realm": ""}


@router.post("/auth/token", summary="Log in with the access token as password")
def access_token(request: Request, password: Annotated[str, Form()] = "") -> dict[str, str | None]:
    """Log a MONAI Label client in: any user name, the access token as password."""
    if not request.app.state.tokens:
        return {"access_token": None, "token_type": None}
    check_token(request, password.strip())
    return {"access_token": password.strip(), "token_type": "Bearer"}


@router.get("/auth/token/valid", summary="Whether the token in use is valid")
def valid_token(request: Request) -> dict[str, Any]:
    """Name the user; a wrong token has been refused before."""
    return {"username": getattr(request.state, "user", None) or "local"}
