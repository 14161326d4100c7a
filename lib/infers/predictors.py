# SPDX-License-Identifier: Apache-2.0
"""What inference tasks keep between requests, and how long the stages of one take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from ..classification.calibration import Calibration
from ..configs import ModelConfig
from ..prediction.predictor import Predictor
from ..registry import build_network
from ..weights.files import load_weights, read_metadata

P = TypeVar("P")


def lesion_predictor(config: ModelConfig, network: nn.Module, device: torch.device, path: Path) -> Predictor:
    """What runs a lesion network; ``path`` is that of its weights, whose header may hold a calibration.

    Raises:
        InputError: If the calibration cannot be used.
    """
    return Predictor(config, network, device, Calibration.from_json(read_metadata(path).get("calibration")))


class PredictorCache(Generic[P]):
    """One predictor per device, built anew when the weights file changes.

    Args:
        config: The model.
        make: Builds a predictor from the model, its network with weights, the device and the weights' path.
    """

    def __init__(self, config: ModelConfig, make: Callable[[ModelConfig, nn.Module, torch.device, Path], P]) -> None:
        self._config = config
        self._make = make
        self._lock = threading.Lock()
        self._predictors: dict[str, tuple[tuple[Path, int], P]] = {}

    def get(self, device: torch.device, path: Path) -> P:
        """The predictor for a weights file.

        Raises:
            InputError: If the weights cannot be read or do not fit the network.
        """
        key = (path, path.stat().st_mtime_ns)
        with self._lock:
            cached = self._predictors.get(str(device))
            if cached is not None and cached[0] == key:
                return cached[1]
            network = build_network(self._config)
            load_weights(network, path)
            predictor = self._make(self._config, network, device, path)
            self._predictors[str(device)] = (key, predictor)
            return predictor


class Stopwatch:
    """Seconds spent by stage."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._laps: dict[str, float] = {}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        yield
        self._laps[name] = time.perf_counter() - start

    def latencies(self) -> dict[str, float]:
        """Seconds by stage, and in ``total`` those since the start."""
        laps = {**self._laps, "total": time.perf_counter() - self._start}
        return {name: round(seconds, 4) for name, seconds in laps.items()}
