# SPDX-License-Identifier: Apache-2.0
"""Checks of names that clients send, before any of them becomes part of a path."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from fastapi import HTTPException, UploadFile
from monailabel.config import settings

from .stock import label_app, settled, store

TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")
SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,63}){0,3}")
NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,128}")
UPLOAD_PREFIX = "lesionloop-upload-"
STORE_FILES = frozenset({"datastore_v2", "datastore_v2.json", "labels"})
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
LABEL_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".dcm", ".json", ".bin", ".png", ".xml")


def bad_request(detail: str) -> HTTPException:
    """Return a 400 error with a plain message."""
    return HTTPException(400, detail)


def check_name(kind: str, name: str) -> str:
    """Return ``name`` when it is a plain name: no path separators, not hidden, no ``..``.

    Raises:
        HTTPException: 400 otherwise.
    """
    if not NAME.fullmatch(name) or name.startswith((".", " ")) or ".." in name:
        raise bad_request(f"'{name[:80]}' is not a valid {kind}: it must be a plain name, not a path.")
    return name


def check_tag(tag: str) -> str:
    """Return a label tag when it is well formed; raises a 400 error otherwise."""
    if not TAG.fullmatch(tag):
        raise bad_request(f"'{tag[:80]}' is not a valid label tag: use 1 to 64 letters, digits, '_' or '-'.")
    return tag


def check_session_id(session_id: str) -> str:
    """Return a session id when it is well formed; raises a 400 error otherwise."""
    if not SESSION_ID.fullmatch(session_id):
        raise bad_request(f"'{session_id[:80]}' is not a valid session id.")
    return session_id


def check_image(image_id: str) -> str:
    """Return the id of an image that the store has.

    Raises:
        HTTPException: 400 when the id is malformed, 404 when the store does not have it.
    """
    check_name("image id", image_id)
    if image_id not in settled(store().list_images):
        raise HTTPException(404, f"There is no image '{image_id}' in the store; GET /datastore/?output=all lists them.")
    return image_id


def check_new_image(image_id: str) -> str:
    """Return the id for an image to be added; raises a 400 error when it is malformed or the store's own."""
    if check_name("image id", image_id).lower() in STORE_FILES:
        raise bad_request(f"The store itself uses the name '{image_id}'; choose another image id.")
    return image_id


def check_model(model: str) -> str:
    """Return the name of a served model; raises a 404 error otherwise."""
    if model not in label_app()._infers:
        raise HTTPException(404, f"There is no model '{model[:80]}'; GET /info/ lists them.")
    return model


def upload_suffix(file: UploadFile, allowed: tuple[str, ...], default: str = ".nii.gz") -> str:
    """Return the suffix of an uploaded file's name; raises a 400 error when it is none of ``allowed``."""
    name = base_name(file.filename or default)
    suffix = next((suffix for suffix in allowed if name.lower().endswith(suffix)), None)
    if suffix is None:
        raise bad_request(f"'{name[:80]}' is not of a known kind; its name must end in {', '.join(allowed)}.")
    return suffix


def image_suffixes() -> tuple[str, ...]:
    """Return the suffixes of images that the store takes, the longest first; a store of another maker does not say."""
    own = getattr(store(), "image_suffixes", None)
    if own is not None:
        return tuple(sorted(own, key=len, reverse=True))
    known = {pattern.lstrip("*").lower() for pattern in settings.MONAI_LABEL_DATASTORE_FILE_EXT} - {".json", ".xml"}
    return tuple(sorted(known, key=len, reverse=True))


def base_name(name: str) -> str:
    """Return the last part of a path written on any system."""
    return PurePosixPath(PureWindowsPath(name).as_posix()).name


def save_upload(file: UploadFile, suffix: str) -> str:
    """Copy an upload into a temporary folder of its own, under its own name, and return the path.

    Errors then name the file as the client knows it. :func:`discard_upload` removes it.
    """
    name = base_name(file.filename or "")
    plain = NAME.fullmatch(name) and not name.startswith(".") and name.lower().endswith(suffix)
    path = Path(tempfile.mkdtemp(prefix=UPLOAD_PREFIX)) / (name if plain else f"upload{suffix}")
    with path.open("wb") as target:
        while chunk := file.file.read(1 << 20):
            target.write(chunk)
    return str(path)


def discard_upload(path: str) -> None:
    """Remove what :func:`save_upload` wrote, or another temporary file."""
    folder = Path(path).parent
    if folder.name.startswith(UPLOAD_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)
