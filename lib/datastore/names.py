# SPDX-License-Identifier: Apache-2.0
"""Ids and tags from clients, checked before any of them becomes part of a path or a query."""

from __future__ import annotations

import re

from ..types import InputError

FINAL, ORIGINAL, BOXES, REPORT = "final", "original", "boxes", "report"
TAGS = (FINAL, ORIGINAL, BOXES, REPORT)
"""Masks (clinician's, model's), findings, and the report."""

MAX_ID_BYTES = 200  # file systems allow 255; a suffix and a temporary prefix go with it
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]+")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")


def check_image_id(image_id: str) -> str:
    """Return an id that is a plain file name: no separators, not hidden, no ``..``.

    Raises:
        InputError: Otherwise.
    """
    plain = isinstance(image_id, str) and _NAME.fullmatch(image_id) is not None
    if not plain or image_id.startswith((".", " ")) or ".." in image_id or len(image_id.encode()) > MAX_ID_BYTES:
        raise InputError(
            f"image id {str(image_id)[:80]!r} is not a plain name; GET /datastore/?output=all lists the ids"
        )
    return image_id


def check_uid(uid: str) -> str:
    """Return a well-formed DICOM UID (PS3.5 9.1).

    Raises:
        InputError: Otherwise.
    """
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise InputError(f"image id {str(uid)[:80]!r} is not a DICOM Series Instance UID")
    return uid


def check_tag(tag: str) -> str:
    """Return a well-formed tag; MONAI Label's own are an enumeration of strings, which becomes plain here.

    Raises:
        InputError: Otherwise.
    """
    text = str(getattr(tag, "value", tag))
    if not _TAG.fullmatch(text):
        raise InputError(f"label tag {text[:80]!r}: use 1 to 64 letters, digits, '_' or '-'")
    return text
