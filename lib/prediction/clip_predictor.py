# SPDX-License-Identifier: Apache-2.0
"""A clip network applied to a sequence: prepare, run in windows, logits to calibrated probabilities and a set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..classification.calibration import Calibration
from ..classification.conformal import prediction_sets
from ..configs import ModelConfig
from ..networks.clip_net import ClipNet, ClipOutput
from ..transforms.prepare import prepare
from ..types import FloatArray, Sequence
from .predictor import frame_windows


@dataclass(frozen=True)
class ClipPrediction:
    """What a model says about a study.

    Attributes:
        logits: (K,), as the network gives them.
        probabilities: (K,), calibrated, sums to 1.
        possible: (K,), which classes cannot be left out; not exactly one means "not sure".
        frame_probabilities: (T, K); of a forward-only model, what it says knowing the frames of its window so far.
        attention: (T,), weight of each frame, sums to 1.
        embedding: (S,), what the head reads.
        modality_weights: (T, C), or None from a network without fusion.
    """

    logits: FloatArray
    probabilities: FloatArray
    possible: npt.NDArray[np.bool_]
    frame_probabilities: FloatArray
    attention: FloatArray
    embedding: FloatArray
    modality_weights: FloatArray | None = None

    @property
    def sure(self) -> bool:
        """Whether one class is left, and only one."""
        return int(self.possible.sum()) == 1


class ClipPredictor:
    """Runs one clip network for one model.

    Args:
        config: The model.
        network: Built by :func:`lib.registry.build_network`, weights loaded.
        device: Where it runs.
        calibration: From the weights' header; None for logits as they are and every class possible.
    """

    def __init__(
        self,
        config: ModelConfig,
        network: ClipNet,
        device: torch.device | str = "cpu",
        calibration: Calibration | None = None,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.calibration = calibration or Calibration()

    def predict(self, sequence: Sequence) -> ClipPrediction:
        """Classify a sequence of any length and frame size; frames are (T, C, H, W)."""
        frames, _ = prepare(sequence, self.config.input)
        return self.classify(frames, sequence.channel_present)

    @torch.inference_mode()
    def classify(self, frames: FloatArray, channel_present: tuple[bool, ...] = ()) -> ClipPrediction:
        """Classify prepared frames.

        Longer sequences run in windows that overlap by half; the windows' logits are averaged.

        Args:
            frames: (T, C, h, w).
            channel_present: False for a channel that is missing, (C,); empty means that all are there.
        """
        present = None if all(channel_present) else torch.tensor([channel_present], device=self.device)
        padded = self._padded(frames)
        windows = frame_windows(len(frames), self.config.inference.max_frames)
        outputs = [self._window(padded[window], present) for window in windows]
        logits = _mean([output.study_logits for output in outputs])[0].numpy()
        probabilities = self.calibration.probabilities(logits)
        weights = [output.modality_weights for output in outputs]
        shares = None if weights[0] is None else _by_frame([w for w in weights if w is not None], windows, len(frames))
        return ClipPrediction(
            logits,
            probabilities,
            prediction_sets(probabilities, self.calibration.threshold),
            self.calibration.probabilities(_by_frame([o.frame_logits for o in outputs], windows, len(frames))),
            _by_frame([o.attention for o in outputs], windows, len(frames), share=True),
            _mean([output.embedding for output in outputs])[0].numpy(),
            shares,
        )

    def _padded(self, frames: FloatArray) -> Tensor:
        """On the device, right and lower edge repeated up to a size that the network takes."""
        height, width = frames.shape[-2:]
        divisor = self.network.size_divisor
        tensor = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
        return pad(tensor, (0, -width % divisor, 0, -height % divisor), mode="replicate").to(self.device)

    def _window(self, frames: Tensor, present: Tensor | None) -> ClipOutput:
        output = self._forward(frames, present)
        if not self.config.inference.flip_tta:
            return output
        mirrored = self._forward(frames.flip(-1), present)
        names = ("study_logits", "frame_logits", "attention", "embedding")
        both = {name: (getattr(output, name) + getattr(mirrored, name)) / 2 for name in names}
        return replace(output, **both)

    def _forward(self, frames: Tensor, present: Tensor | None) -> ClipOutput:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.network(frames[None], None, present)  # type: ignore[no-any-return]


def _mean(parts: list[Tensor]) -> Tensor:
    return torch.stack([part.float() for part in parts]).mean(0).cpu()


def _by_frame(parts: list[Tensor], windows: list[slice], n_frames: int, share: bool = False) -> FloatArray:
    """Average windows (1, T_i, ...) frame by frame -> (T, ...); with ``share``, scaled to the sum 1."""
    total = np.zeros((n_frames, *parts[0].shape[2:]))
    count = np.zeros((n_frames, *[1] * (parts[0].ndim - 2)))
    for part, window in zip(parts, windows, strict=True):
        total[window] += part[0].float().cpu().numpy()
        count[window] += 1
    average = total / count
    return np.asarray(average / average.sum() if share else average)
