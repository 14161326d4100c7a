# SPDX-License-Identifier: Apache-2.0
"""Versions of a model's weights: what is in service, what was before, how to go back.

On disk, in ``model/NAME/``: ``vNNNN.safetensors`` and ``vNNNN.json`` (how it came about) per version, and
``current.json``, which names the version in service, tells when and by whom that was changed, and is replaced in one
step. Version ``pretrained`` is the file that ships with the app. Nothing is deleted, and a version never changes once
written.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor

from ..configs import ModelConfig
from ..types import InputError
from .files import file_sha256, save_weights

PRETRAINED = "pretrained"
KEPT_CHANGES = 200
_VERSION = re.compile(r"^v(\d{4,})$")


@dataclass(frozen=True)
class Change:
    """Another version was put into service.

    Attributes:
        version: Which.
        at: ISO 8601, UTC.
        by: The user who went back or forward to it; "" when a training published it or nobody said.
    """

    version: str
    at: str
    by: str = ""


@dataclass(frozen=True)
class VersionRecord:
    """How a version came about.

    Attributes:
        version: ``vNNNN`` or ``pretrained``.
        created_at: ISO 8601, UTC.
        published: Whether it went into service when it was made.
        reason: Why it was published or not.
        sha256: Of the weights file.
        parent: The version that training started from.
        details: Training facts: cases, validation score of challenger and deployed, settings.
    """

    version: str
    created_at: str
    published: bool
    reason: str
    sha256: str
    parent: str = ""
    details: dict[str, Any] = field(default_factory=dict)


class VersionStore:
    """The versions of one model.

    Args:
        model_dir: The app's ``model`` folder.
        config: The model.
        pretrained_dir: Where the shipped weights lie.
    """

    def __init__(self, model_dir: Path, config: ModelConfig, pretrained_dir: Path) -> None:
        self.folder = model_dir / config.name
        self.model = config.name
        self.pretrained = pretrained_dir / config.pretrained if config.pretrained else None
        self._pointer = self.folder / "current.json"

    def current(self) -> tuple[Path | None, str]:
        """The weights in service and their version; (None, "") when there are none yet.

        Raises:
            InputError: If the pointer names a version whose file is gone.
        """
        version = self.in_service()
        if not version:
            return None, ""
        path = self.path(version)
        if not path.is_file():
            raise InputError(f"{path}: the weights in service are missing; run 'lesionloop rollback {self.model}'")
        return path, version

    def in_service(self) -> str:
        """Name of the version in service, also when its weights are gone; "" when there is none yet."""
        history = self._history()
        if history:
            return history[-1]
        return PRETRAINED if self.pretrained is not None and self.pretrained.is_file() else ""

    def path(self, version: str) -> Path:
        """Weights file of a version.

        Raises:
            InputError: If there is no such version name.
        """
        if version == PRETRAINED and self.pretrained is not None:
            return self.pretrained
        if not _VERSION.match(version):
            raise InputError(f"model '{self.model}' has no version '{version}'; known: {', '.join(self.versions())}")
        return self.folder / f"{version}.safetensors"

    def versions(self) -> list[str]:
        """All versions whose weights exist, oldest first."""
        own = sorted((p.stem for p in self.folder.glob("v*.safetensors") if _VERSION.match(p.stem)), key=_number)
        shipped = [PRETRAINED] if self.pretrained is not None and self.pretrained.is_file() else []
        return shipped + own

    def records(self) -> list[VersionRecord]:
        """How each version came about, oldest first; the shipped one has no record."""
        paths = [self.folder / f"{version}.json" for version in self.versions()]
        return [VersionRecord(**json.loads(path.read_text())) for path in paths if path.is_file()]

    def add(
        self, state: dict[str, Tensor], *, publish: bool, reason: str, parent: str, details: dict[str, Any]
    ) -> VersionRecord:
        """Keep new weights as the next version and, if ``publish``, put them into service.

        Args:
            state: The weights.
            publish: Whether they go into service.
            reason: Why, in words for the user.
            parent: The version that training started from.
            details: Training facts, plain JSON values.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            version = f"v{max([0, *map(_number, self.versions())]) + 1:04d}"
            facts = {"model": self.model, "version": version, **details}
            digest = save_weights(state, self.folder / f"{version}.safetensors", facts)
            record = VersionRecord(version, _now(), publish, reason, digest, parent, details)
            _write_json(self.folder / f"{version}.json", asdict(record))
            if publish:
                self._point_to(version)
        return record

    def changes(self) -> list[Change]:
        """Which version was put into service when and by whom, oldest first; at most :data:`KEPT_CHANGES`."""
        return [Change(**change) for change in self._pointer_json().get("changes", [])]

    def rollback(self, version: str | None = None, by: str = "") -> str:
        """Put an earlier version into service.

        Args:
            version: Which; None for the one that was in service before the present one.
            by: Name of the user, for the history.

        Returns:
            The version now in service.

        Raises:
            InputError: If there is no such or no earlier version.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            target = version if version is not None else self._previous()
            if target not in self.versions():
                known = ", ".join(self.versions()) or "none"
                raise InputError(f"model '{self.model}' has no version '{target}'; known: {known}")
            self._point_to(target, by)
        return target

    def describe(self) -> dict[str, Any]:
        """The version in service, its hash, and the last challenger's fate, for ``/info/`` and ``/train/``."""
        path, version = self.current()
        records = self.records()
        return {
            "version": version,
            "sha256": file_sha256(path) if path is not None else "",
            "versions": self.versions(),
            "last_training": asdict(records[-1]) if records else None,
        }

    def _previous(self) -> str:
        history = self._history()
        if len(history) > 1:
            return history[-2]
        version = self.in_service()
        if PRETRAINED in self.versions() and version != PRETRAINED:
            return PRETRAINED
        raise InputError(f"model '{self.model}' has no version before '{version or 'the first'}'")

    def _pointer_json(self) -> dict[str, Any]:
        return dict(json.loads(self._pointer.read_text())) if self._pointer.is_file() else {}

    def _history(self) -> list[str]:
        return list(self._pointer_json().get("history", []))

    def _point_to(self, version: str, by: str = "") -> None:
        """Going back cuts the history there; going forward adds to it. What was done stays among the changes."""
        history = self._history() or ([PRETRAINED] if PRETRAINED in self.versions() else [])
        history = history[: history.index(version) + 1] if version in history else [*history, version]
        change = Change(version, _now(), by)
        changes = [*map(asdict, self.changes()), asdict(change)][-KEPT_CHANGES:]
        pointer = {"version": version, "history": history, "changed_at": change.at, "changes": changes}
        _write_json(self._pointer, pointer)

    def _lock(self) -> FileLock:
        return FileLock(self.folder / ".lock", timeout=60)


def _number(version: str) -> int:
    match = _VERSION.match(version)
    return int(match.group(1)) if match else 0


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _write_json(path: Path, data: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(data, indent=2))
    os.replace(partial, path)
