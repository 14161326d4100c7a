# SPDX-License-Identifier: Apache-2.0
"""The paths of DICOMweb requests (DICOM PS3.18, chapter 10): searching, retrieving and storing studies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from fastapi import Request

from .checks import bad_request

_UID = r"(?=[0-9.]{1,64}(?:/|$))[0-9]+(?:\.[0-9]+)*"
_STUDY = rf"studies/(?P<study>{_UID})"
_SERIES = rf"{_STUDY}/series/(?P<series>{_UID})"
_INSTANCE = rf"{_SERIES}/instances/(?P<instance>{_UID})"
_VIEW = r"(?:/(?P<view>metadata|rendered|thumbnail))?"
_PATHS = {
    "search": [
        r"(?P<level>studies|series|instances)",
        rf"{_STUDY}/(?P<level>series|instances)",
        rf"{_SERIES}/(?P<level>instances)",
    ],
    "retrieve": [
        rf"{_STUDY}{_VIEW}",
        rf"{_SERIES}{_VIEW}",
        rf"{_INSTANCE}{_VIEW}",
        rf"{_INSTANCE}/(?:bulkdata|bulk)(?P<element>(?:/[0-9A-Za-z]{{1,64}}){{0,16}})",
        rf"{_INSTANCE}/(?P<element>pixeldata)",
        rf"{_INSTANCE}/frames/(?P<frames>[0-9]{{1,9}}(?:,[0-9]{{1,9}})*)(?:/(?P<view>rendered|thumbnail))?",
    ],
    "store": ["studies", _STUDY],
}
PATTERNS = {kind: [re.compile(path) for path in paths] for kind, paths in _PATHS.items()}
SUSPICIOUS = re.compile(rb"%2e|%2f|%5c|%25|%[01][0-9a-f]|%7f|\\|//|/\.|;", re.IGNORECASE)
SERVICES = ("wado", "qido", "stow")

Kind = Literal["search", "retrieve", "store"]


@dataclass(frozen=True)
class Target:
    """What a DICOMweb request is for; "" where the path does not say.

    Attributes:
        kind: The transaction.
        path: The path below the service, as sent.
        study: Study Instance UID.
        series: Series Instance UID.
        instance: SOP Instance UID.
        level: What a search lists: ``studies``, ``series`` or ``instances``.
        view: ``metadata``, ``rendered`` or ``thumbnail``.
        element: Path of a bulk data element within the instance, or ``pixeldata``.
        frames: Frame numbers, comma separated.
    """

    kind: Kind
    path: str
    study: str = ""
    series: str = ""
    instance: str = ""
    level: str = ""
    view: str = ""
    element: str = ""
    frames: str = ""

    @property
    def uids(self) -> tuple[str, ...]:
        """Study, series and SOP Instance UID, as far as the path goes."""
        return tuple(uid for uid in (self.study, self.series, self.instance) if uid)


def target_of(request: Request, path: str) -> Target:
    """Return what a request is for.

    Args:
        request: The request; GET searches and retrieves, POST stores.
        path: Its path below the service.

    Raises:
        HTTPException: 400 when the path is not DICOMweb's.
    """
    kinds: tuple[Kind, ...] = ("store",) if request.method == "POST" else ("search", "retrieve")
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    if not SUSPICIOUS.search(raw):
        for kind in kinds:
            for pattern in PATTERNS[kind]:
                if found := pattern.fullmatch(path):
                    parts = {name: value.strip("/") for name, value in found.groupdict().items() if value}
                    return Target(kind, path, **parts)
    raise bad_request(
        "Only DICOMweb requests are answered: searching, retrieving and storing studies, with UIDs of digits and dots."
    )
