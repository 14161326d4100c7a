# SPDX-License-Identifier: Apache-2.0
"""The server's few HTML pages, without anything from another host; only the page of reports runs scripts."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse
from monailabel.utils.others.generic import get_mime_type

from .stock import STATIC_DIR
from .viewer import static_file

router = APIRouter(include_in_schema=False)
REPORTS_DIR = Path(__file__).resolve().parents[1] / "viewers" / "reports"

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
REPORTS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} - LesionLoop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
input,button{{font:inherit;padding:.4rem}}[role=alert]{{color:#a00;font-weight:bold}}
td,th{{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}}code{{font-size:.95em}}</style></head>
<body><main>{body}</main></body></html>"""


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """Return an HTML page that is never cached and runs no script."""
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "cache-control": "no-store"}
    return HTMLResponse(TEMPLATE.format(title=escape(title), body=body), status, headers)


@router.get("/")
def start_page(request: Request) -> HTMLResponse:
    """Show where everything is."""
    user = getattr(request.state, "user", None)
    leave = f'<form method="post" action="/logout"><p>{escape(user or "")} <button>Log out</button></p></form>'
    links = [
        ("/ohif/", "OHIF viewer"),
        ("/reports/", "Reports"),
        ("/docs", "REST interface"),
        ("/info/", "Models and studies (JSON)"),
    ]
    items = "".join(f'<li><a href="{href}">{text}</a></li>' for href, text in links)
    return page("Start", f"<h1>LesionLoop</h1>{leave if user else ''}<ul>{items}</ul>")


@router.get("/reports/")
def reports_page() -> FileResponse:
    """Show the page where reports are read, corrected and signed beside a plain view of the image."""
    return _report_file("index.html", {"content-security-policy": REPORTS_POLICY})


@router.get("/report-page/{path:path}")
def reports_page_file(path: str) -> FileResponse:
    """Return a script or style of the page of reports; ``/reports/`` itself has reports below it."""
    return _report_file(path, {})


def _report_file(path: str, headers: dict[str, str]) -> FileResponse:
    file = static_file(REPORTS_DIR, path)
    if file is None:
        raise HTTPException(404, "There is no such file.")
    kind = get_mime_type(str(file))
    return FileResponse(file, media_type=kind, headers={"cache-control": "no-cache", **headers})


@router.get("/docs")
def rest_page(request: Request) -> HTMLResponse:
    """List every operation of the REST interface."""
    rows = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{escape(path)}</code></td><td>{escape(_describe(operation))}</td></tr>"
        for path, operations in request.app.openapi()["paths"].items()
        for method, operation in operations.items()
    )
    head = "<h1>REST interface</h1><p>Machine-readable: <a href='/openapi.json'>openapi.json</a></p>"
    table = "<table><thead><tr><th>Method</th><th>Path</th><th>What it does</th></tr></thead><tbody>"
    return page("REST interface", f"{head}{table}{rows}</tbody></table>")


def _describe(operation: dict[str, Any]) -> str:
    names = ", ".join(parameter["name"] for parameter in operation.get("parameters", []))
    return str(operation.get("summary", "")) + (f" ({names})" if names else "")


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the server answers; open to everyone, so it tells nothing else."""
    return {"status": "ok"}


@router.get("/favicon.ico")
def favicon() -> FileResponse:
    """Return MONAI Label's icon."""
    return FileResponse(STATIC_DIR / "favicon.ico", media_type="image/x-icon")
