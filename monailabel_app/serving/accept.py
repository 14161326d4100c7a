# SPDX-License-Identifier: Apache-2.0
"""The media types that a DICOMweb client accepts (DICOM PS3.18, 8.7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.request import parse_http_list

from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header

ANY = "*/*"
DICOM_JSON = "application/dicom+json"
_JSON_TYPES = (DICOM_JSON, "application/json", "application/*", ANY)
MAX_ACCEPT_CHARS = 8192


@dataclass(frozen=True)
class Accepted:
    """One acceptable media type.

    Attributes:
        media_type: In lower case; of the parts where ``multipart``.
        multipart: Whether as multipart/related.
        syntax: Transfer syntax UID, ``*``, or "" when none is named.
    """

    media_type: str
    multipart: bool
    syntax: str

    def covers(self, media_type: str) -> bool:
        """Whether a media type is acceptable by this."""
        return self.media_type in (media_type, media_type.split("/")[0] + "/*", ANY)


def accepted(request: Request) -> list[Accepted]:
    """Read what a client accepts, the best first: the query parameter ``accept`` (8.3.3.1), else the header.

    Raises:
        HTTPException: 400 when it is absurdly long.
    """
    # In a query "+" is a blank: application/dicom+json arrives without it.
    text = request.query_params.get("accept", "").replace("dicom json", "dicom+json")
    text = text or request.headers.get("accept", "") or ANY
    if len(text) > MAX_ACCEPT_CHARS:
        raise HTTPException(400, "The Accept header is too long.")
    found = [_one(item) for item in parse_http_list(text) if item.strip()]
    return [entry for weight, entry in sorted(found, key=lambda pair: -pair[0]) if weight > 0]


def _one(text: str) -> tuple[float, Accepted]:
    name, params = parse_options_header(text)
    values = {key.decode("latin-1").lower(): value.decode("latin-1").strip("\"'") for key, value in params.items()}
    media_type = name.decode("latin-1").lower()
    multipart = media_type == "multipart/related"
    if multipart:
        media_type = values.get("type", ANY).lower()
    try:
        weight = float(values.get("q", "1"))
    except ValueError:
        weight = 1.0
    return weight, Accepted(media_type, multipart, values.get("transfer-syntax", ""))


def require_json(request: Request) -> None:
    """Check that a client accepts DICOM JSON.

    Raises:
        HTTPException: 406 otherwise.
    """
    if not any(entry.media_type in _JSON_TYPES and not entry.multipart for entry in accepted(request)):
        raise not_acceptable([DICOM_JSON])


def not_acceptable(offered: Iterable[str]) -> HTTPException:
    """Return a 406 error that names what could be had."""
    return HTTPException(406, f"None of the media types that you accept can be given; there is {', '.join(offered)}.")
