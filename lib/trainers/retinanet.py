# SPDX-License-Identifier: Apache-2.0
"""MONAI's RetinaNet on single frames, trained on what the lesion net trains on: a peer to be judged against.

References:
    Lin et al. Focal loss for dense object detection. ICCV 2017.
    Zhang et al. Bridging the gap between anchor-based and anchor-free detection. CVPR 2020 (ATSS, the matcher).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..configs import ModelConfig, NetworkConfig
from ..prediction.predictor import LOWEST_BOX_SCORE, MAX_BOXES_PER_FRAME, FrameBox, Maps, Predictor
from ..transforms.targets import component_boxes
from ..types import FloatArray
from .cases import Batch, Case, WindowSampler
from .schedule import Clock, one_cycle, warming_average

logger = logging.getLogger(__name__)
LEVELS = 3
"""Stages of the backbone that make the pyramid, at strides 4, 8 and 16; a fourth level is pooled from the last."""
ANCHORS_PX = ((8, 8), (12, 12), (8, 16), (16, 8))
"""At stride 4; each level doubles them."""
FRAMES_AT_ONCE = 16
SMALLEST_PX = 4
LOG_EVERY = 50


class PyramidBackbone(nn.Module):
    """A residual network with a feature pyramid on its first stages.

    MONAI's own pairing of the two needs torchvision, whose wheels do not go with a torch of another build.

    Args:
        in_channels: Image channels.
        planes: Channels of the stages.
    """

    def __init__(self, in_channels: int, planes: list[int]) -> None:
        super().__init__()
        body = ResNet("basic", [1] * 4, (planes + planes[-1:] * 3)[:4], 2, in_channels, 7, 2, feed_forward=False)
        self.stem = nn.Sequential(body.conv1, body.bn1, body.act, body.maxpool)
        self.stages = nn.ModuleList([body.layer1, body.layer2, body.layer3][:LEVELS])
        stages = (planes + planes[-1:] * LEVELS)[:LEVELS]
        self.out_channels = max(8, stages[-1] // 8 * 8)  # MONAI's heads normalise in groups of 8
        self.pyramid = FeaturePyramidNetwork(2, stages, self.out_channels, LastLevelMaxPool(2))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) -> maps (N, out_channels, h, w) at strides 4, 8, 16 and 32."""
        x, maps = self.stem(images), {}
        for i, stage in enumerate(self.stages):
            x = maps[str(i)] = stage(x)
        return self.pyramid(maps)  # type: ignore[no-any-return]


def build_retinanet(config: NetworkConfig, n_classes: int) -> nn.Module:
    """MONAI's RetinaNet in two dimensions.

    Args:
        config: ``in_channels``, and ``channels``, of which the first are those of the stages.
        n_classes: Lesion classes K.
    """
    backbone = PyramidBackbone(config.in_channels, list(config.channels))
    return RetinaNet(2, n_classes, len(ANCHORS_PX), backbone, size_divisible=32)  # type: ignore[no-any-return]


class AtssDetector(RetinaNetDetector):  # type: ignore[misc]
    """MONAI's detector with its own matcher, without the look at torchvision's."""

    def compute_anchor_matched_idxs(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]], num_anchor_locs_per_level: Sequence[int]
    ) -> list[Tensor]:
        """Per frame the true box of each anchor, or -1; as MONAI's."""
        found = []
        for places, target in zip(anchors, targets, strict=True):
            matched = torch.full((len(places),), -1, dtype=torch.int64, device=places.device)
            if len(boxes := target[self.target_box_key]):
                _, matched = self.proposal_matcher(
                    boxes.to(places.device), places, num_anchor_locs_per_level, self.num_anchors_per_loc
                )
            found.append(matched)
        return found


def detector_of(network: nn.Module) -> AtssDetector:
    """MONAI's detector around the network, with matcher, sampler and selection as in its tutorial."""
    scales = tuple(2**level for level in range(LEVELS + 1))
    anchors = AnchorGeneratorWithAnchorShape(scales, [list(shape) for shape in ANCHORS_PX])
    detector = AtssDetector(network, anchors)
    detector.set_atss_matcher(num_candidates=4, center_in_gt=False)
    detector.set_hard_negative_sampler(batch_size_per_image=64, positive_fraction=0.5, pool_size=20, min_neg=16)
    detector.set_target_keys(box_key="boxes", label_key="labels")
    detector.set_box_selector_parameters(LOWEST_BOX_SCORE, 200, 0.3, MAX_BOXES_PER_FRAME)
    return detector


def fit_retinanet(network: nn.Module, train: list[Case], config: ModelConfig, cpu_budget_s: float | None) -> nn.Module:
    """Train with AdamW and one cycle, on the windows and for the time that the other networks have.

    Args:
        network: From :func:`build_retinanet`.
        train: Cases to learn from.
        config: The model.
        cpu_budget_s: Processor time; None for the configured epochs and steps.

    Returns:
        The averaged network.
    """
    settings = config.training
    torch.manual_seed(settings.seed)
    network.train()
    detector = detector_of(network).train()
    averaged = AveragedModel(network, avg_fn=warming_average(settings.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    sampler, clock = WindowSampler(train, settings), Clock(settings.max_epochs * settings.steps_per_epoch, cpu_budget_s)
    while clock.step == 0 or clock.fraction() < 1:
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(clock.fraction(), settings.learning_rate)
        loss = sum(detector(*frames_and_boxes(sampler.batch())).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(network)
        clock.step += 1
        if clock.step % LOG_EVERY == 0:
            done = 100 * clock.fraction()
            logger.info("step %d, loss %.4f, %.0f %% done", clock.step, float(loss.detach()), done)
    return averaged.module


def frames_and_boxes(batch: Batch) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """The real frames of a batch, (C, H, W) each, and of each its boxes (y0, x0, y1, x1) and their classes."""
    images, targets = [], []
    for b, t in torch.nonzero(batch.frame_mask).tolist():
        masks = batch.masks[b, t]
        rows = [(y0, x0, y1, x1, c) for c, m in enumerate(masks) for x0, y0, x1, y1 in component_boxes(m, SMALLEST_PX)]
        table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
        images.append(batch.frames[b, t])
        targets.append({"boxes": table[:, :4], "labels": table[:, 4].long()})
    return images, targets


class BoxedMaps(Maps):
    """Maps of a network that has boxes only: the mask is empty, presence is the best score of a frame.

    Args:
        boxes: Per frame, best first, on the network's grid.
        size: (K, h, w).
    """

    def __init__(self, boxes: list[list[FrameBox]], size: tuple[int, int, int]) -> None:
        presence = torch.tensor([max((box.score for box in frame), default=0.0) for frame in boxes])
        super().__init__(torch.zeros(len(boxes), *size), None, None, None, presence, None, None)
        self.boxes = boxes


class RetinaNetPredictor(Predictor):
    """Runs a trained RetinaNet as :mod:`lib.prediction.predictor` runs the other networks; missing channels are zeros.

    Args:
        config: The model, a detection.
        network: From :func:`fit_retinanet`.
    """

    def __init__(self, config: ModelConfig, network: nn.Module) -> None:
        super().__init__(config, network)
        self.detector = detector_of(network).eval()

    @torch.inference_mode()
    def maps(self, frames: FloatArray, progress: object = None, channel_present: tuple[bool, ...] = ()) -> Maps:
        """Boxes of prepared frames (T, C, h, w)."""
        tensors = torch.from_numpy(np.ascontiguousarray(frames))
        parts = (tensors[i : i + FRAMES_AT_ONCE] for i in range(0, len(tensors), FRAMES_AT_ONCE))
        found = [_frame_boxes(one) for part in parts for one in self.detector(list(part))]
        height, width = frames.shape[-2:]
        return BoxedMaps(found, (len(self.config.labels), height, width))

    def decode_boxes(self, maps: Maps) -> list[list[FrameBox]]:
        """The boxes that :meth:`maps` found."""
        assert isinstance(maps, BoxedMaps)
        return maps.boxes


def _frame_boxes(found: dict[str, Tensor]) -> list[FrameBox]:
    rows = zip(found["boxes"].tolist(), found["labels"].tolist(), found["labels_scores"].tolist(), strict=True)
    boxes = [FrameBox((x0, y0, x1, y1), int(label), float(score)) for (y0, x0, y1, x1), label, score in rows]
    return sorted(boxes, key=lambda box: -box.score)
