# SPDX-License-Identifier: Apache-2.0
"""What every inference task shares: whether and with which weights it is served."""

from __future__ import annotations

import logging
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from monailabel.interfaces.tasks.infer_v2 import InferTask

from ..configs import ModelConfig
from ..types import InputError, Source
from ..weights.files import file_sha256

logger = logging.getLogger(__name__)


class Weights(Protocol):
    """Knows which weights are in service; see :class:`lib.weights.versions.VersionStore`."""

    def current(self) -> tuple[Path | None, str]:
        """Path of the safetensors file and its version; (None, "") when there are none yet."""


class ServedModel(InferTask):  # type: ignore[misc]
    """A model of which some version may be in service.

    Args:
        config: The model.
        weights: Says which weights are in service.
    """

    infer_type: Enum  # monailabel's InferType, or a type that it does not have

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        super().__init__(self.infer_type.value, dict(config.labels), 3, config.description)
        self._model = config
        self._weights = weights

    def is_valid(self) -> bool:
        """Whether there are weights to run with."""
        try:
            return self._weights.current()[0] is not None
        except InputError as error:
            logger.error("model '%s' is not served: %s", self._model.name, error)
            return False

    def info(self) -> dict[str, Any]:
        """What ``/info/`` says of the model: the platform's keys, the version in service, its input."""
        reads = self._model.input
        return {
            **super().info(),
            "version": self._weights.current()[1],
            "input": {
                "kind": reads.kind.value,
                "channels": list(reads.channels),
                "modalities": list(reads.modalities),
                "required": list(reads.required),
            },
        }

    def current(self) -> tuple[Path, Source]:
        """The weights in service and what they are called.

        Raises:
            InputError: If there are none.
        """
        path, version = self._weights.current()
        if path is None:
            raise InputError(f"model '{self._model.name}' has no weights yet; train it first")
        return path, Source(model=self._model.name, version=version, weights_sha256=file_sha256(path))
