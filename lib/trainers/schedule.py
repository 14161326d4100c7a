# SPDX-License-Identifier: Apache-2.0
"""What every training loop needs: how far it is, its learning rate, and the averaged weights.

References:
    Smith, Topin. Super-convergence. 2018 (one-cycle).
    Polyak, Juditsky. Acceleration of stochastic approximation by averaging. 1992 (averaged weights).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from torch import Tensor
from torch.optim.swa_utils import AveragedModel

WARM_UP = 0.1


class Clock:
    """Share of the training that is done: of the processor time where there is a budget, else of the steps.

    Args:
        total_steps: Optimiser steps in all.
        cpu_budget_s: Processor time of the process, or None.
    """

    def __init__(self, total_steps: int, cpu_budget_s: float | None) -> None:
        self.total_steps, self.budget = total_steps, cpu_budget_s
        self.step, self.wall, self.cpu = 0, time.monotonic(), time.process_time()

    def fraction(self) -> float:
        """Between 0 and 1."""
        if self.budget:
            return min(1.0, (time.process_time() - self.cpu) / self.budget)
        return min(1.0, self.step / self.total_steps)

    def elapsed_s(self) -> float:
        """Since the start."""
        return time.monotonic() - self.wall

    def eta_s(self) -> float:
        """Expected to remain; infinite at the start."""
        done = self.fraction()
        return self.elapsed_s() * (1 - done) / done if done else math.inf


def one_cycle(fraction: float, peak: float) -> float:
    """Learning rate after a share of the training: cosine up from peak / 25, cosine down to peak / 1000."""
    if fraction < WARM_UP:
        low, x = peak / 25, 0.5 - 0.5 * math.cos(math.pi * fraction / WARM_UP)
    else:
        low, x = peak / 1000, 0.5 + 0.5 * math.cos(math.pi * (fraction - WARM_UP) / (1 - WARM_UP))
    return low + (peak - low) * x


def warming_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average that soon forgets the first steps: decay (1 + n) / (10 + n), at most ``decay``.

    Counts, which cannot be averaged, are taken over as they are.
    """

    def average(averaged: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        if not averaged.is_floating_point():
            return new
        n = float(count)
        return averaged.lerp(new, 1 - min(decay, (1 + n) / (10 + n)))

    return average


def averaged_weights(averaged: AveragedModel) -> dict[str, Tensor]:
    """A copy on the CPU."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in averaged.module.state_dict().items()}
