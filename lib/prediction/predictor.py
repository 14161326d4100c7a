# SPDX-License-Identifier: Apache-2.0
"""A network applied to a sequence: prepare, run (in windows, mirrored), go back to the original frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..classification.calibration import Calibration
from ..configs import ModelConfig
from ..networks.lesion_net import LesionOutput
from ..transforms.prepare import FrameGrid, prepare
from ..types import FloatArray, Sequence
from .frame_boxes import LOWEST_BOX_SCORE, MAX_BOXES_PER_FRAME, FrameBox, decode_boxes, on_original

__all__ = [
    "LOWEST_BOX_SCORE",
    "MAX_BOXES_PER_FRAME",
    "FrameBox",
    "Maps",
    "Prediction",
    "Predictor",
    "Progress",
    "frame_windows",
    "mean_maps",
    "mirrored",
    "to_maps",
]

Progress = Callable[[float], None]
"""Called with the share done, 0..1."""


@dataclass
class Maps:
    """Network output for T frames on the network's grid, as probabilities; None where the network has no such head.

    Attributes:
        mask: (T, K, h, w).
        heatmap: (T, K, h / s, w / s).
        log_size: (T, 2, h / s, w / s).
        offset: (T, 2, h / s, w / s).
        presence: (T,).
        study: (K,).
        attention: (T,), sums to 1.
        modality_weights: (T, C), each row sums to 1.
    """

    mask: Tensor
    heatmap: Tensor | None
    log_size: Tensor | None
    offset: Tensor | None
    presence: Tensor | None
    study: Tensor | None
    attention: Tensor | None
    modality_weights: Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """What a model says about a sequence, in original pixels.

    Attributes:
        mask: Lesion probability, (T, K, H, W).
        boxes: Per frame, best first; empty lists without a box head.
        presence: Probability that a frame holds a lesion, (T,): the presence head's, or the mask's maximum.
        study: Probability that the study holds each class, (K,), or None.
        attention: Weight of each frame, (T,), or None.
        modality_weights: Weight of each image channel on each frame, (T, C), or None from a network without fusion.
        calibration: What makes probabilities of lesion classes mean what they say; it comes with the weights.
    """

    mask: FloatArray
    boxes: tuple[tuple[FrameBox, ...], ...]
    presence: FloatArray
    study: FloatArray | None
    attention: FloatArray | None
    modality_weights: FloatArray | None = None
    calibration: Calibration = field(default_factory=Calibration)


class Predictor:
    """Runs one network for one model.

    Args:
        config: The model.
        network: Built by :func:`lib.registry.build_network`, weights loaded.
        device: Where it runs.
        calibration: Of the lesion classes, from the header of the weights; None for none.
    """

    def __init__(
        self,
        config: ModelConfig,
        network: nn.Module,
        device: torch.device | str = "cpu",
        calibration: Calibration | None = None,
    ) -> None:
        self.config = config
        self.calibration = calibration or Calibration()
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()

    def predict(self, sequence: Sequence, progress: Progress | None = None) -> Prediction:
        """Predict a whole sequence of any length and frame size.

        Args:
            sequence: (T, C, H, W).
            progress: Told the share done.
        """
        frames, grid = prepare(sequence, self.config.input)
        return self.restore(self.maps(frames, progress, sequence.channel_present), grid)

    @torch.inference_mode()
    def maps(
        self, frames: FloatArray, progress: Progress | None = None, channel_present: tuple[bool, ...] = ()
    ) -> Maps:
        """Predict prepared frames on the network's grid.

        Args:
            frames: (T, C, h, w).
            progress: Told the share done.
            channel_present: False for a channel that is missing, (C,); empty means that all are there.
        """
        present = None if all(channel_present) else torch.tensor([channel_present], device=self.device)
        height, width = frames.shape[-2:]
        padded = self.padded(frames)
        windows = frame_windows(len(frames), self.config.inference.max_frames)
        parts = []
        for i, window in enumerate(windows):
            parts.append(self._window(padded[window], present))
            if progress is not None:
                progress((i + 1) / len(windows))
        maps = parts[0] if len(parts) == 1 else _merge(parts, windows, len(frames))
        maps.mask = maps.mask[..., :height, :width]
        return maps

    def padded(self, frames: FloatArray) -> Tensor:
        """Prepared frames on the device, right and lower edge repeated up to a size that the network takes."""
        height, width = frames.shape[-2:]
        divisor = int(getattr(self.network, "size_divisor", 1))
        padding = (0, -width % divisor, 0, -height % divisor)
        return pad(torch.from_numpy(np.ascontiguousarray(frames)), padding, mode="replicate").to(self.device)

    def _window(self, frames: Tensor, present: Tensor | None) -> Maps:
        maps = to_maps(self._forward(frames, present))
        if not self.config.inference.flip_tta:
            return maps
        return mean_maps([maps, mirrored(to_maps(self._forward(frames.flip(-1), present)))])

    def _forward(self, frames: Tensor, present: Tensor | None) -> LesionOutput:
        missing = {} if present is None else {"channel_present": present}
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.network(frames[None], **missing)  # type: ignore[no-any-return]

    def restore(self, maps: Maps, grid: FrameGrid) -> Prediction:
        """Bring maps back to the original frames and read the boxes off them."""
        mask = grid.restore(maps.mask).cpu().numpy()
        presence = mask.max(axis=(1, 2, 3)) if maps.presence is None else maps.presence.cpu().numpy()
        holds = presence >= self.config.inference.presence_threshold
        boxes = tuple(
            on_original(frame, grid) if held else () for frame, held in zip(self.decode_boxes(maps), holds, strict=True)
        )
        mask = mask if holds.all() else mask * holds[:, None, None, None]
        return Prediction(
            mask,
            boxes,
            presence,
            study=_numpy(maps.study),
            attention=_numpy(maps.attention),
            modality_weights=_numpy(maps.modality_weights),
            calibration=self.calibration,
        )

    def decode_boxes(self, maps: Maps) -> list[list[FrameBox]]:
        """Read boxes in network pixels off the centre heatmaps; see :func:`lib.prediction.frame_boxes.decode_boxes`."""
        if maps.heatmap is None or maps.log_size is None or maps.offset is None:
            return [[] for _ in range(len(maps.mask))]
        stride = int(self.network.get_submodule("box_head").stride)  # type: ignore[arg-type]
        return decode_boxes(maps.heatmap, maps.log_size, maps.offset, stride, self.config.inference)


def frame_windows(n_frames: int, longest: int) -> list[slice]:
    """Cut a sequence into windows of at most ``longest`` frames that overlap by half."""
    if n_frames <= longest:
        return [slice(0, n_frames)]
    step = max(1, longest // 2)
    starts = [*range(0, n_frames - longest, step), n_frames - longest]
    return [slice(start, start + longest) for start in starts]


def to_maps(output: LesionOutput) -> Maps:
    """Turn the logits of one sequence (batch of 1) into probabilities."""
    boxes = output.boxes
    return Maps(
        mask=torch.sigmoid(output.mask_logits[0].float()),
        heatmap=None if boxes is None else torch.sigmoid(boxes.heatmap_logits[0].float()),
        log_size=None if boxes is None else boxes.log_size[0].float(),
        offset=None if boxes is None else boxes.offset[0].float(),
        presence=None if output.presence_logits is None else torch.sigmoid(output.presence_logits[0].float()),
        study=None if output.study_logits is None else torch.sigmoid(output.study_logits[0].float()),
        attention=None if output.attention is None else output.attention[0].float(),
        modality_weights=None if output.modality_weights is None else output.modality_weights[0].float(),
    )


def mirrored(maps: Maps) -> Maps:
    """Undo the left-right mirroring of the input."""
    offset = None
    if maps.offset is not None:
        flipped = maps.offset.flip(-1)
        offset = torch.stack([1 - flipped[:, 0], flipped[:, 1]], dim=1)
    return Maps(
        maps.mask.flip(-1),
        None if maps.heatmap is None else maps.heatmap.flip(-1),
        None if maps.log_size is None else maps.log_size.flip(-1),
        offset,
        maps.presence,
        maps.study,
        maps.attention,
        maps.modality_weights,
    )


def mean_maps(parts: list[Maps]) -> Maps:
    """Average of several predictions of the same frames."""
    values: dict[str, Any] = {}
    for one in fields(Maps):
        tensors = [getattr(part, one.name) for part in parts]
        values[one.name] = None if tensors[0] is None else torch.stack(tensors).mean(0)
    return Maps(**values)


def _merge(parts: list[Maps], windows: list[slice], n_frames: int) -> Maps:
    """Average overlapping windows frame by frame; study classes by their maximum, attention renormalised."""
    values: dict[str, Any] = {}
    for one in fields(Maps):
        tensors = [getattr(part, one.name) for part in parts]
        if tensors[0] is None:
            values[one.name] = None
        elif one.name == "study":
            values[one.name] = torch.stack(tensors).amax(0)
        else:
            values[one.name] = _average(tensors, windows, n_frames)
    if (attention := values["attention"]) is not None:
        values["attention"] = attention / attention.sum()
    return Maps(**values)


def _average(tensors: list[Tensor], windows: list[slice], n_frames: int) -> Tensor:
    total = tensors[0].new_zeros(n_frames, *tensors[0].shape[1:])
    count = tensors[0].new_zeros(n_frames, *[1] * (tensors[0].ndim - 1))
    for tensor, window in zip(tensors, windows, strict=True):
        total[window] += tensor
        count[window] += 1
    return total / count


def _numpy(tensor: Tensor | None) -> npt.NDArray[np.float32] | None:
    return None if tensor is None else tensor.cpu().numpy()
