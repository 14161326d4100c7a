# SPDX-License-Identifier: Apache-2.0
"""Retrieving (WADO-RS, DICOM PS3.18 10.4) from the embedded PACS."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import Response, StreamingResponse

from .accept import DICOM_JSON, Accepted, accepted, not_acceptable, require_json
from .dicomweb_paths import Target
from .dicomweb_search import base_url
from .multipart import Part, multipart_response, started

logger = logging.getLogger(__name__)

DICOM, OCTETS = "application/dicom", "application/octet-stream"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
CHUNK_BYTES = 1 << 20
PICTURES = ("image/jpeg", "image/png")
THUMBNAIL = "128,128"
_JPEG = "1.2.840.10008.1.2.4."
# Media types of compressed frames (PS3.18 table 8.7.3-5); octet-stream with the transfer syntax says it for others.
FRAME_TYPES = {
    **{f"{_JPEG}{n}": "image/jpeg" for n in (50, 51, 57, 70)},
    **{f"{_JPEG}{n}": "image/jls" for n in (80, 81)},
    **{f"{_JPEG}{n}": "image/jp2" for n in (90, 91)},
    **{f"{_JPEG}{n}": "image/jpx" for n in (92, 93)},
    **{f"{_JPEG}{n}": "image/jphc" for n in (201, 202, 203)},
    **{f"{_JPEG}{n}": "video/mpeg" for n in (100, 101)},
    **{f"{_JPEG}{n}": "video/mp4" for n in (102, 103, 104, 105, 106)},
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
_OLD_NAMES = {"image/x-jls": "image/jls", "image/x-dicom-rle": "image/dicom-rle", "image/dicom+rle": "image/dicom-rle"}
# Only lossy data may be sent as it is to a client that named no transfer syntax (PS3.18 8.7.3.5.2).
_LOSSY = frozenset(f"{_JPEG}{n}" for n in (50, 51, 81, 91, 93, 100, 101, 102, 103, 104, 105, 106, 203))
_UNCOMPRESSED = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})


def retrieve(request: Request, target: Target, pacs: Any) -> Response:
    """Answer a retrieval.

    Raises:
        HTTPException: 406 when the client accepts nothing that there is, or a picture cannot be made.
        requests.HTTPError: What the PACS does not have.
    """
    if target.view == "metadata":
        return _metadata(request, target, pacs)
    if target.view:
        return _picture(request, target, pacs)
    if target.frames:
        return _frames(request, target, pacs)
    if "/bulk" in target.path or target.element:
        return _bulk_data(request, target, pacs)
    return _instances(request, target, pacs)


def _metadata(request: Request, target: Target, pacs: Any) -> Response:
    require_json(request)
    entries = pacs.iter_metadata(base_url(request), *target.uids)
    first = next(entries, None)  # before the answer begins, so that a study that is not there is an error
    return StreamingResponse(_json_array(first, entries), media_type=DICOM_JSON)


def _json_array(first: Any, rest: Iterator[Any]) -> Iterator[str]:
    yield "[" + (json.dumps(first) if first is not None else "")
    for entry in rest:
        yield ",\n" + json.dumps(entry)
    yield "]"


# -- instances


def _instances(request: Request, target: Target, pacs: Any) -> Response:
    found = [path for _, path in pacs.instances(*target.uids)]
    for entry in accepted(request):
        if not entry.covers(DICOM) or not (entry.multipart or entry.media_type == "*/*" or len(found) == 1):
            continue
        syntax = entry.syntax or EXPLICIT_LITTLE
        if syntax not in ("*", EXPLICIT_LITTLE) and any(pacs.syntax(path) != syntax for path in found):
            continue
        parts = (_instance(path, syntax, bool(entry.syntax), pacs) for path in found)
        if entry.multipart or entry.media_type == "*/*":
            return multipart_response(parts, DICOM)
        return _single(next(parts))
    raise not_acceptable([f'multipart/related; type="{DICOM}"; transfer-syntax=*', DICOM])


def _instance(path: Path, syntax: str, asked: bool, pacs: Any) -> Part:
    """An instance, converted where it must be; where it cannot be, as it is stored: the part says its syntax."""
    stored = pacs.syntax(path)
    part10 = pacs.is_part10(path)
    if part10 and (syntax in ("*", stored) or (not asked and stored in _LOSSY)):
        return f"{DICOM}; transfer-syntax={stored}", _chunks(path)
    try:
        return f"{DICOM}; transfer-syntax={EXPLICIT_LITTLE}", [pacs.explicit_little(path)]
    except ValueError as error:
        logger.warning("%s is sent as it is stored: %s", path, error)
        return f"{DICOM}; transfer-syntax={stored}", _chunks(path)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _single(part: Part) -> Response:
    kind, content = next(started(iter([part])))
    return StreamingResponse(content, media_type=kind)


# -- frames and bulk data


def _frames(request: Request, target: Target, pacs: Any) -> Response:
    numbers = [int(number) for number in target.frames.split(",")]
    header = pacs.image(*target.uids)
    stored = str(header.syntax)
    for entry in accepted(request):
        raw = _as_raw(entry, stored)
        if raw is None or not (entry.multipart or entry.media_type == "*/*" or len(numbers) == 1):
            continue
        kind, syntax = (OCTETS, EXPLICIT_LITTLE) if raw else (FRAME_TYPES.get(stored, OCTETS), stored)
        try:
            frames = pacs.frames(header, numbers, raw)
            parts = ((f"{kind}; transfer-syntax={syntax}", [frame]) for frame in frames)
            if entry.multipart or entry.media_type == "*/*":
                return multipart_response(parts, kind)
            return _single(next(parts))
        except ValueError as error:
            raise HTTPException(406, f"The frames cannot be given: {error}") from error
    raise not_acceptable([f'multipart/related; type="{kind}"' for kind in {OCTETS, FRAME_TYPES.get(stored, OCTETS)}])


def _as_raw(entry: Accepted, stored: str) -> bool | None:
    """Whether frames go out as raw samples (True) or as stored (False) to satisfy a client; None if they cannot.

    ``application/octet-stream; transfer-syntax=*`` means as stored: OHIF and Orthanc understand it so.
    """
    compressed = stored not in _UNCOMPRESSED
    if entry.media_type == OCTETS or entry.media_type == "application/*":
        if entry.syntax in ("", EXPLICIT_LITTLE, IMPLICIT_LITTLE):
            return True
        return not compressed if entry.syntax == "*" else None if entry.syntax != stored else False
    if entry.media_type == "*/*":
        return (
            not compressed if entry.syntax in ("", "*", stored) else True if entry.syntax == EXPLICIT_LITTLE else None
        )
    kind = FRAME_TYPES.get(stored, "")
    wanted = Accepted(_OLD_NAMES.get(entry.media_type, entry.media_type), True, "")
    return False if kind and wanted.covers(kind) and entry.syntax in ("", "*", stored) else None


def _bulk_data(request: Request, target: Target, pacs: Any) -> Response:
    element = "7FE00010" if target.element in ("", "pixeldata") else target.element
    values = pacs.bulk_data(*target.uids, element)
    for entry in accepted(request):
        if not entry.covers(OCTETS):
            continue
        if entry.multipart:
            return multipart_response(((OCTETS, [value]) for value in values), OCTETS)
        return _single((OCTETS, values))
    raise not_acceptable([f'multipart/related; type="{OCTETS}"', OCTETS])


# -- pictures


def _picture(request: Request, target: Target, pacs: Any) -> Response:
    kind = next((name for entry in accepted(request) for name in PICTURES if entry.covers(name)), None)
    if kind is None:
        raise not_acceptable(PICTURES)
    params = {name: request.query_params.get(name, "") for name in ("window", "viewport", "quality")}
    if target.view == "thumbnail":
        params["viewport"] = params["viewport"] or THUMBNAIL
    number = int(target.frames.split(",")[0]) if target.frames else None
    uids: Iterable[str | None] = (target.study, target.series or None, target.instance or None)
    return Response(pacs.rendered(*uids, number, kind, params), media_type=kind)
