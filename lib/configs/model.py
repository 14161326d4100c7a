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
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..types import InputError, SequenceKind
from .network import (
    STRICT,
    Count,
    Fraction,
    NetworkConfig,
    Positive,
)
from .report import BeamConfig, ReportNetConfig
from .training import TrainingConfig


@dataclass(frozen=True, config=STRICT)
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
        required: Channels without which a trained model is not run; it was not made for images that lack them.
        modalities: DICOM modalities (PS3.3 C.7.3.1.1.1) that the model was made for, e.g. MR; empty for any.
        spacing_mm: In-plane pixel size the network sees; frames are resampled to it.
        max_size_px: Frames larger than this after resampling are resampled further down.
        foreground_fraction: Pixels above this share of the 99.5th percentile (of ``intensity_range``, where there is
            one) count as foreground: frames are cropped to it, and it gives the z-score.
        clip: Range of the z-score.
        intensity_range: For intensities that mean something by themselves, such as the Hounsfield units of CT: (low,
            high); they are clipped to it and scaled to -1..1 by these two numbers, in place of a z-score.
    """

    kind: SequenceKind = SequenceKind.STACK
    channels: tuple[str, ...] = ("flair",)
    channel_patterns: dict[str, str] = dataclasses.field(default_factory=dict)
    reference: str = ""
    required: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    spacing_mm: Positive = 1.25
    max_size_px: Count = 384
    foreground_fraction: float = 0.05
    clip: tuple[float, float] = (-3.0, 6.0)
    intensity_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the names of channels, the patterns and the range.

        Raises:
            ValueError: If a name is no channel or twice a channel, a pattern is no regular expression, or the range is
                empty.
        """
        if self.intensity_range is not None and not self.intensity_range[0] < self.intensity_range[1]:
            raise ValueError(f"intensity_range needs a low and a higher number, got {list(self.intensity_range)}")
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels needs one name or more, each once; got {list(self.channels)}")
        for name in (*self.channel_patterns, *((self.reference,) if self.reference else ()), *self.required):
            if name not in self.channels:
                raise ValueError(
                    f"'{name}' in channel_patterns, reference or required is none of channels {list(self.channels)}"
                )
        for name, pattern in self.channel_patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"channel_patterns.{name} is no regular expression: {error}") from error

    @property
    def reference_index(self) -> int:
        """Where the reference channel stands in :attr:`channels`."""
        return self.channels.index(self.reference) if self.reference else 0


@dataclass(frozen=True, config=STRICT)
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
        class_of: With several labels in a mask: ``lesion`` gives all pixels that touch one class, that of the lesion;
            ``pixel`` keeps that of each pixel, for labels that are parts of a lesion (core, oedema), each a finding.
    """

    mask_threshold: Fraction = 0.5
    score_threshold: Fraction = 0.3
    presence_threshold: Fraction = 0.0
    min_volume_ml: float = 0.05
    max_frames: Count = 64
    flip_tta: bool = True
    nms_iou: Fraction = 0.3
    link_overlap: Fraction = 0.5
    class_of: Literal["lesion", "pixel"] = "lesion"


@dataclass(frozen=True, config=STRICT)
class ClassificationConfig:
    """How the class of a study is learned and told; of a lesion model, only ``error_rate`` counts.

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


@dataclass(frozen=True, config=STRICT)
class ReportConfig:
    """How a report model reads and writes (``task: report`` only).

    Attributes:
        source: The lesion model whose features and findings it writes from; empty for a model that reads the image
            itself.
        lexicon: Whose words its reports have; see :mod:`lib.text`.
        findings: What the findings head tells, in its order: names of the lexicon.
        error_rate: Share of new patients whose findings may be left out of what is possible (conformal).
        network: The report net; its vocabulary size is the most words that its weights' vocabulary may have.
        beam: How a report is searched.
    """

    source: str = ""
    lexicon: Literal["brain_mr", "chest"] = "brain_mr"
    findings: tuple[str, ...] = ()
    error_rate: Annotated[float, Field(gt=0, lt=1)] = 0.1
    network: ReportNetConfig = dataclasses.field(default_factory=ReportNetConfig)
    beam: BeamConfig = dataclasses.field(default_factory=BeamConfig)

    def __post_init__(self) -> None:
        """Check that the parts fit.

        Raises:
            ValueError: If the findings head has another number of findings than are named, or features of frames are
                read from no lesion model.
        """
        if len(self.findings) != self.network.heads.findings:
            raise ValueError(
                f"findings names {len(self.findings)} findings, network.heads.findings is {self.network.heads.findings}"
            )
        sees = self.network.fusion.kind != "text_only"
        if sees and (self.network.image.kind == "frames") != bool(self.source):
            raise ValueError("source names the lesion model for image.kind frames, and is empty for image.kind grid")


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """One served model.

    Attributes:
        task: The task type; decides the infer and trainer classes.
        description: Shown in the viewers.
        labels: Lesion class name -> value in the labelmap, 1..K without gaps; of a classification, the study classes.
        pretrained: File in ``monailabel_app/pretrained/`` to start from, or None.
        report: Of a report model, in place of ``network``; None for the other tasks.
        name: The YAML file's stem; set by :func:`load_config`.
    """

    task: Literal["segmentation", "detection", "classification", "report"]
    description: str
    labels: dict[str, int]
    pretrained: str | None = None
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    inference: InferenceConfig = dataclasses.field(default_factory=InferenceConfig)
    classification: ClassificationConfig = dataclasses.field(default_factory=ClassificationConfig)
    report: ReportConfig | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Check what spans several keys.

        Raises:
            ValueError: If labels are not 1..K, the channels or the level of the map memory do not fit the network, or
                ``report`` is there without the task or the other way round.
        """
        if (self.task == "report") != (self.report is not None):
            raise ValueError("a model of task report has the key report, and no other model has")
        if self.report is not None and self.report.network.heads.classes not in (0, len(self.labels)):
            raise ValueError(f"labels names {len(self.labels)} classes, report.network.heads.classes is another number")
        if sorted(self.labels.values()) != list(range(1, len(self.labels) + 1)):
            raise ValueError(f"labels must have the values 1..{len(self.labels)}, got {self.labels}")
        if self.report is None:
            self._check_network()

    def _check_network(self) -> None:
        """A report model has no lesion net, and ``network`` says nothing of it."""
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
