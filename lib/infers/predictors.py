# SPDX-License-Identifier: Apache-2.0
"""What inference tasks keep between requests, and how long the stages of one take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..configs import ModelConfig
from ..predictor import Predictor
from ..registry import build_network
from ..weights import load_weights


class PredictorCache:
    """One predictor per device, built anew when the weights file changes.

    Args:
        config: The model.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._predictors: dict[str, tuple[tuple[Path, int], Predictor]] = {}

    def get(self, device: torch.device, path: Path) -> Predictor:
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
            predictor = Predictor(self._config, network, device)
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
