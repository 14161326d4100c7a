# SPDX-License-Identifier: Apache-2.0
"""Searching (QIDO-RS, DICOM PS3.18 10.6) in the embedded PACS."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from .accept import DICOM_JSON, require_json
from .checks import bad_request
from .dicomweb_paths import Target
from .settings import is_loopback

_OPTIONS = frozenset({"limit", "offset", "fuzzymatching", "includefield", "accept", "charset"})
_TRUE, _FALSE = ("true", "1"), ("false", "0", "")


def base_url(request: Request) -> str:
    """Address of the embedded PACS, as this client reaches it.

    dicomweb_client leaves the port out of its Host header; it is put back for a client on this machine.
    """
    url, server = request.base_url, request.scope.get("server")
    if server and server[1] and url.port is None and url.hostname and is_loopback(url.hostname):
        url = url.replace(port=server[1])
    return f"{url}dicom-web"


def search(request: Request, target: Target, pacs: Any) -> Response:
    """List studies, series or instances as DICOM JSON; an empty list when there are none."""
    require_json(request)
    query = request.query_params
    filters: dict[str, list[str]] = {}
    for name, value in query.multi_items():
        if name.lower() not in _OPTIONS and value.strip():
            filters.setdefault(name, []).append(value)
    options: dict[str, Any] = {
        "fuzzymatching": _flag(query.get("fuzzymatching", "")),
        "limit": _number("limit", query.get("limit", "")),
        "offset": _number("offset", query.get("offset", "")),
        "fields": [f for value in query.getlist("includefield") for f in value.split(",") if f.strip()],
        "search_filters": filters,
    }
    methods = {
        "studies": pacs.search_for_studies,
        "series": pacs.search_for_series,
        "instances": pacs.search_for_instances,
    }
    found = methods[target.level](*target.uids, **options)
    for entry in found:
        entry["00081190"] = {"vr": "UR", "Value": [_address(base_url(request), target, entry)]}
    return Response(json.dumps(found), media_type=DICOM_JSON)


def _address(base: str, target: Target, entry: dict[str, Any]) -> str:
    """Retrieve URL (0008,1190) of a result; UIDs that the search was given are not in it."""
    own = [entry[tag]["Value"][0] if tag in entry else None for tag in ("0020000D", "0020000E", "00080018")]
    uids = [given or found for given, found in zip((target.study, target.series, ""), own, strict=True)]
    depth = {"studies": 1, "series": 2, "instances": 3}[target.level]
    names = ("studies", "series", "instances")
    return "/".join([base, *(f"{name}/{uid}" for name, uid in zip(names[:depth], uids, strict=False))])


def _number(name: str, text: str) -> int | None:
    if not text.strip():
        return None
    if not text.isdecimal() or len(text) > 9:
        raise bad_request(f"{name} must be a whole number.")
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise bad_request("fuzzymatching is true or false.")
    return text.lower() in _TRUE
