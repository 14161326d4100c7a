# SPDX-License-Identifier: Apache-2.0
"""YAML -> frozen dataclasses. One file per served model; the file's stem is the model's name in the viewers.

An unknown or mistyped key is an error that names the file and the key (pydantic checks the types).
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from .types import InputError, SequenceKind

_STRICT = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FrameCell = Literal["none", "mlp", "rnn", "gru", "lstm"]
MapCell = Literal["none", "conv_rnn", "conv_gru", "conv_lstm"]
AttentionName = Literal["none", "additive", "scaled_dot_product"]


@dataclass(frozen=True, config=_STRICT)
class FrameRecurrenceConfig:
    """Memory over pooled frame embeddings; its state modulates the decoder (FiLM) and feeds presence and study heads.

    Attributes:
        cell: ``none`` switches it off; ``mlp`` is the control that sees each frame alone.
        hidden: Units per direction.
        bidirectional: False for a model that streams.
        depth: Stacked layers.
        attention: How frames are pooled into the study context.
    """

    cell: FrameCell = "lstm"
    hidden: Count = 96
    bidirectional: bool = True
    depth: Count = 1
    attention: AttentionName = "additive"


@dataclass(frozen=True, config=_STRICT)
class MapRecurrenceConfig:
    """Convolutional memory on a feature map, added to it (residual, zero at the start).

    Attributes:
        cell: ``none`` switches it off.
        hidden: Channels per direction.
        bidirectional: False for a model that streams.
        depth: Stacked layers.
        level: Index into the encoder's feature levels (0 = finest) that it works on.
    """

    cell: MapCell = "none"
    hidden: Count = 64
    bidirectional: bool = True
    depth: Count = 1
    level: int = 3


@dataclass(frozen=True, config=_STRICT)
class FusionConfig:
    """How the image channels of a frame come together.

    Attributes:
        kind: ``none`` mixes them in the first convolution; else each has a stem of its own, and attention of this kind
            weighs them frame by frame.
        hidden: Size of the space in which the attention compares channels.
    """

    kind: AttentionName = "none"
    hidden: Count = 32


@dataclass(frozen=True, config=_STRICT)
class NetworkConfig:
    """What :func:`lib.registry.build_network` builds.

    Attributes:
        name: Key in the registry.
        in_channels: Image channels per frame.
        stem_stride: Stride of the first convolution; the decoder returns to full resolution.
        channels: Encoder channels, finest level first; each level halves the resolution.
        norm_groups: Groups of the group normalisation.
        dropout: Probability, in the convolution blocks.
        frame_recurrence: Memory over frame embeddings.
        map_recurrence: Memory on a feature map.
        boxes: Whether to build the box head.
        fusion: How several image channels come together.
    """

    name: str = "lesion_net"
    in_channels: Count = 1
    stem_stride: Literal[1, 2, 4] = 2
    channels: tuple[int, ...] = (16, 32, 64, 96, 160)
    norm_groups: Count = 8
    dropout: Fraction = 0.0
    frame_recurrence: FrameRecurrenceConfig = dataclasses.field(default_factory=FrameRecurrenceConfig)
    map_recurrence: MapRecurrenceConfig = dataclasses.field(default_factory=MapRecurrenceConfig)
    boxes: bool = True
    fusion: FusionConfig = dataclasses.field(default_factory=FusionConfig)


@dataclass(frozen=True, config=_STRICT)
class InputConfig:
    """How an image becomes what the network sees.

    Attributes:
        kind: What the frame axis means.
        channels: Name of each image channel, in order.
        channel_patterns: For studies with a series or file per channel: regular expression, by channel, that is looked
            for in "modality, a space, series description", or in the file's name. Case does not count; of several
            channels that fit, the one whose match is longest gets the series. A channel without a pattern has its name.
        reference: Channel whose grid the others are brought to, and that stays where channels are copies of each other;
            empty for the first.
        modalities: DICOM modalities (PS3.3 C.7.3.1.1.1) that the model was made for, e.g. MR; empty for any.
        spacing_mm: In-plane pixel size the network sees; frames are resampled to it.
        max_size_px: Frames larger than this after resampling are resampled further down.
        foreground_fraction: Pixels above this share of the 99.5th percentile count as foreground for the z-score.
        clip: Range of the z-score.
    """

    kind: SequenceKind = SequenceKind.STACK
    channels: tuple[str, ...] = ("flair",)
    channel_patterns: dict[str, str] = dataclasses.field(default_factory=dict)
    reference: str = ""
    modalities: tuple[str, ...] = ()
    spacing_mm: Positive = 1.25
    max_size_px: Count = 384
    foreground_fraction: float = 0.05
    clip: tuple[float, float] = (-3.0, 6.0)

    def __post_init__(self) -> None:
        """Check the names of channels and the patterns.

        Raises:
            ValueError: If a name is no channel or twice a channel, or a pattern is no regular expression.
        """
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels needs one name or more, each once; got {list(self.channels)}")
        for name in (*self.channel_patterns, *((self.reference,) if self.reference else ())):
            if name not in self.channels:
                raise ValueError(f"'{name}' in channel_patterns or reference is none of channels {list(self.channels)}")
        for name, pattern in self.channel_patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"channel_patterns.{name} is no regular expression: {error}") from error

    @property
    def reference_index(self) -> int:
        """Where the reference channel stands in :attr:`channels`."""
        return self.channels.index(self.reference) if self.reference else 0


@dataclass(frozen=True, config=_STRICT)
class AugmentConfig:
    """Random changes, drawn once per sequence and shared by all of its frames.

    Attributes:
        flip: Probability of mirroring left and right.
        reverse: Probability of reversing the frame order.
        affine: Probability of a rotation, scaling, shear and shift.
        rotate_deg: Largest rotation.
        scale: Largest relative change of size.
        shift_px: Largest shift.
        contrast: Probability of a gamma change in 0.7-1.5.
        intensity: Probability of a change of gain (+-15 %) and offset (+-0.15 standard deviations).
        noise_std: Largest standard deviation of added noise, in standard deviations of the image.
        blur: Probability of a Gaussian blur.
        tones: Probability of other tones: a smooth shading and a bent grey scale, per channel.
        modality_dropout: Probability that a channel of a sequence is taken away; one that is there always stays.
    """

    flip: Fraction = 0.5
    reverse: Fraction = 0.25
    affine: Fraction = 0.8
    rotate_deg: float = 15.0
    scale: float = 0.2
    shift_px: float = 12.0
    contrast: Fraction = 0.5
    intensity: Fraction = 0.5
    noise_std: float = 0.1
    blur: Fraction = 0.1
    tones: Fraction = 0.0
    modality_dropout: Fraction = 0.0


@dataclass(frozen=True, config=_STRICT)
class TrainingConfig:
    """How the model is trained.

    Attributes:
        max_epochs: Passes; an epoch is ``steps_per_epoch`` optimiser steps.
        steps_per_epoch: Optimiser steps between two progress reports and validations.
        batch_size: Sequences per step.
        window: Frames per sequence in training.
        size_px: In-plane size of a training crop.
        learning_rate: Peak of the one-cycle schedule when training from scratch.
        finetune_learning_rate: Peak when starting from the deployed weights.
        weight_decay: AdamW.
        lesion_fraction: Share of the training windows that are made to hold a lesion.
        ema_decay: Decay of the exponential moving average of the weights that is validated and published.
        val_fraction: Share of the labelled patients held out for validation.
        seed: Of every random choice.
        presence_weight: Weight of the frame presence loss.
        study_weight: Weight of the study class loss.
        box_weight: Weight of the box loss.
        augment: Random changes.
    """

    max_epochs: Count = 20
    steps_per_epoch: Count = 50
    batch_size: Count = 2
    window: Count = 16
    size_px: Count = 192
    learning_rate: Positive = 3e-3
    finetune_learning_rate: Positive = 5e-4
    weight_decay: float = 1e-2
    lesion_fraction: Fraction = 0.6
    ema_decay: Fraction = 0.998
    val_fraction: Fraction = 0.2
    seed: int = 0
    presence_weight: float = 0.5
    study_weight: float = 0.05
    box_weight: float = 0.1
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)


@dataclass(frozen=True, config=_STRICT)
class InferenceConfig:
    """How predictions become findings.

    Attributes:
        mask_threshold: Probability above which a pixel is lesion.
        score_threshold: Lesions below this score are not reported.
        presence_threshold: Frames whose presence probability is below this hold no lesion; 0 switches it off.
        min_volume_ml: Smaller lesions are not reported (masks).
        max_frames: Longer sequences are run in overlapping windows of this many frames.
        flip_tta: Average the prediction with that of the mirrored image.
        nms_iou: Overlap above which two boxes of a frame are one (boxes).
        link_overlap: Share of the smaller of two boxes on neighbouring frames from which they are one lesion (boxes).
    """

    mask_threshold: Fraction = 0.5
    score_threshold: Fraction = 0.3
    presence_threshold: Fraction = 0.0
    min_volume_ml: float = 0.05
    max_frames: Count = 64
    flip_tta: bool = True
    nms_iou: Fraction = 0.3
    link_overlap: Fraction = 0.5


@dataclass(frozen=True, config=_STRICT)
class ClassificationConfig:
    """How the class of a study is learned and told.

    Attributes:
        loss: ``focal`` looks at what is hard; ``logit_adjusted`` makes up for how often each class is drawn.
        focal_gamma: How much less the focal loss cares for what is easy; 0 is cross-entropy.
        prior_weight: How much of the difference in frequency the logit-adjusted loss makes up for; 1 is all.
        balance: 0 draws the classes in training as they come, 1 all alike.
        error_rate: Share of new patients whose true class may be missing in the set of possible classes.
    """

    loss: Literal["cross_entropy", "focal", "logit_adjusted"] = "logit_adjusted"
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    prior_weight: Annotated[float, Field(ge=0)] = 1.0
    balance: Fraction = 0.5
    error_rate: Annotated[float, Field(gt=0, lt=1)] = 0.1


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """One served model.

    Attributes:
        task: The task type; decides the infer and trainer classes.
        description: Shown in the viewers.
        labels: Lesion class name -> value in the labelmap, 1..K without gaps; of a classification, the study classes.
        pretrained: File in ``monailabel_app/pretrained/`` to start from, or None.
        name: The YAML file's stem; set by :func:`load_config`.
    """

    task: Literal["segmentation", "detection", "classification"]
    description: str
    labels: dict[str, int]
    pretrained: str | None = None
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    inference: InferenceConfig = dataclasses.field(default_factory=InferenceConfig)
    classification: ClassificationConfig = dataclasses.field(default_factory=ClassificationConfig)
    name: str = ""

    def __post_init__(self) -> None:
        """Check what spans several keys.

        Raises:
            ValueError: If labels are not 1..K, or the channels or the level of the map memory do not fit the network.
        """
        if sorted(self.labels.values()) != list(range(1, len(self.labels) + 1)):
            raise ValueError(f"labels must have the values 1..{len(self.labels)}, got {self.labels}")
        if len(self.input.channels) != self.network.in_channels:
            raise ValueError(
                f"input.channels names {len(self.input.channels)} channels, "
                f"network.in_channels is {self.network.in_channels}"
            )
        levels, maps = len(self.network.channels), self.network.map_recurrence
        if maps.cell != "none" and not 0 <= maps.level < levels:
            raise ValueError(f"network.map_recurrence.level is {maps.level}; the encoder has levels 0..{levels - 1}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Lesion class names in the order of their labelmap values."""
        return tuple(sorted(self.labels, key=lambda name: self.labels[name]))


def override(config: ModelConfig, changes: dict[str, Any]) -> ModelConfig:
    """Return a copy with dotted keys replaced, e.g. ``{"training.seed": 1}``.

    Raises:
        InputError: If a key does not exist or a value has the wrong type.
    """
    data = TypeAdapter(ModelConfig).dump_python(config, mode="json")
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        node = data
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node:
            raise InputError(f"model '{config.name}' has no setting '{key}'")
        node[leaf] = value
    return _validate(data, config.name)


def load_config(path: Path) -> ModelConfig:
    """Read one YAML file.

    Raises:
        InputError: If the file is not YAML, or a key is unknown, missing or of the wrong type.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of keys, got {type(data).__name__}")
    return _validate({**data, "name": path.stem}, str(path))


def load_configs(folder: Path) -> dict[str, ModelConfig]:
    """Read every YAML file of a folder, keyed by model name.

    Raises:
        InputError: If the folder holds none, or one of them is wrong.
    """
    configs = {path.stem: load_config(path) for path in sorted(folder.glob("*.yaml"))}
    if not configs:
        raise InputError(f"{folder}: no model configuration (*.yaml) found")
    return configs


def _validate(data: dict[str, Any], where: str) -> ModelConfig:
    try:
        return TypeAdapter(ModelConfig).validate_python(data)
    except ValidationError as error:
        problems = "; ".join(f"key '{'.'.join(map(str, e['loc']))}': {e['msg']}" for e in error.errors())
        raise InputError(f"{where}: {problems}") from error
