# SPDX-License-Identifier: Apache-2.0
"""Weights as safetensors files: written whole or not at all, never pickles."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..types import InputError


def save_weights(state: dict[str, Tensor], path: Path, metadata: dict[str, Any]) -> str:
    """Write weights atomically (a temporary file beside it, then a rename).

    Args:
        state: Names and tensors.
        path: Ends in ``.safetensors``.
        metadata: Plain values, kept as JSON in the file's header under ``lesionloop``.

    Returns:
        SHA-256 of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, partial, _header(metadata))
        digest = file_sha256(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return digest


def _header(metadata: dict[str, Any]) -> dict[str, str]:
    return {"format": "pt", "lesionloop": json.dumps(metadata, sort_keys=True)}


def load_weights(network: nn.Module, path: Path) -> None:
    """Load weights into a network that they fit exactly.

    Raises:
        InputError: If the file cannot be read or belongs to another network.
    """
    state = read_weights(path)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(
            f"{path}: these weights do not fit the network of the model's configuration: {first}"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a weights file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what :func:`save_weights` was told; empty for a file without it.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error
    return json.loads(metadata.get("lesionloop", "{}"))  # type: ignore[no-any-return]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as hex; read again only when the file has changed."""
    return _sha256(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
