# SPDX-License-Identifier: Apache-2.0
"""The part of a report model's YAML file that says what its network is, and how it searches for a report.

References:
    Yang et al. Hierarchical attention networks for document classification. NAACL 2016 (BiLSTM with word attention).
    Lin et al. Feature pyramid networks for object detection. CVPR 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from .network import STRICT, AttentionName, Count, Fraction, FrameRecurrenceConfig

PAD, UNKNOWN, BEGIN, END = range(4)
"""Ids that every vocabulary starts with: filling, a word that is not in it, the first input, the last output."""
NaturalNumber = Annotated[int, Field(ge=0)]
FusionName = Literal["image_only", "text_only", "concat", "gated", "low_rank_bilinear", "cross_attention"]
TwinName = Literal["full", "cnn", "bilstm", "attention"]


@dataclass(frozen=True, config=STRICT)
class TextEncoderConfig:
    """Clinical text (indication, history, prior report) -> a vector per word and the words' weights.

    Attributes:
        vocabulary_size: Words with an id, with the four of :data:`PAD` ... :data:`END`; the decoder writes these.
        hash_buckets: Vectors shared by the letter groups of words without an id; 0 makes all of them one word.
        embedding: Size of a word's vector; the decoder's too.
        cell: ``none`` leaves every word by itself (the attention-only twin).
        hidden: Units per direction.
        depth: Stacked layers.
        attention: How words are pooled into the text's vector; ``none`` is the mean.
        dropout: Probability, on words' vectors and between layers.
    """

    vocabulary_size: Annotated[int, Field(ge=5)] = 3000
    hash_buckets: NaturalNumber = 1024
    embedding: Count = 128
    cell: Literal["none", "lstm"] = "lstm"
    hidden: Count = 96
    depth: Count = 1
    attention: AttentionName = "additive"
    dropout: Fraction = 0.2


@dataclass(frozen=True, config=STRICT)
class ImageTokensConfig:
    """Images -> tokens that can be attended.

    Attributes:
        kind: ``frames``: a token per frame, from the pooled features of a lesion net; ``grid``: tokens per place, from
            an encoder of its own with a feature pyramid.
        features: Size of a frame's features (``frames`` only).
        recurrence: Memory over the frames; the lesion net has its own, so none is needed (``frames`` only).
        in_channels: Image channels (``grid`` only, as all that follow but the last two).
        stem_stride: Stride of the first convolution.
        channels: Encoder channels, finest level first; each level halves the resolution.
        norm_groups: Groups of the group normalisation.
        grids: Tokens along each side, for the last levels, finest first: (8, 4, 2) makes 64 + 16 + 4 tokens a frame.
        attention: How tokens are pooled into the image's vector; ``none`` is the mean.
        dropout: Probability, in the convolution blocks and on the tokens.
    """

    kind: Literal["frames", "grid"] = "frames"
    features: Count = 640
    recurrence: FrameRecurrenceConfig = dataclasses.field(default_factory=lambda: FrameRecurrenceConfig(cell="none"))
    in_channels: Count = 1
    stem_stride: Literal[1, 2, 4] = 2
    channels: tuple[int, ...] = (16, 32, 64, 96, 160)
    norm_groups: Count = 8
    grids: tuple[Count, ...] = (8, 4, 2)
    attention: AttentionName = "additive"
    dropout: Fraction = 0.1

    def __post_init__(self) -> None:
        """Check the grids.

        Raises:
            ValueError: If there are none, or more than levels.
        """
        if not 0 < len(self.grids) <= len(self.channels):
            raise ValueError(f"grids needs 1 to {len(self.channels)} numbers, one per level; got {list(self.grids)}")


@dataclass(frozen=True, config=STRICT)
class ReportFusionConfig:
    """How image and text come together.

    Attributes:
        kind: ``image_only`` and ``text_only`` leave the other out altogether; ``cross_attention`` has a gate.
        rank: Size of the space of ``low_rank_bilinear``.
        heads: Attention heads of ``cross_attention``; a divisor of the model's ``dim``.
    """

    kind: FusionName = "cross_attention"
    rank: Count = 96
    heads: Count = 4


@dataclass(frozen=True, config=STRICT)
class ReportHeadsConfig:
    """What is predicted beside the text; 0 and False switch a head off.

    Attributes:
        classes: Classes of the study, of which one is true (softmax).
        findings: Findings of the study, each there or not (sigmoid).
        attention: Whether each finding looks for its own evidence among the image tokens and words.
        boxes: Whether to find boxes (image ``grid`` only).
        masks: Whether to outline lesions (image ``grid`` only).
        lesion_classes: Classes of the boxes and masks.
        dropout: Probability, on what the heads read.
    """

    classes: NaturalNumber = 2
    findings: NaturalNumber = 14
    attention: bool = False
    boxes: bool = False
    masks: bool = False
    lesion_classes: Count = 1
    dropout: Fraction = 0.2


@dataclass(frozen=True, config=STRICT)
class ReportDecoderConfig:
    """The LSTM that writes; its word vectors are the text encoder's and are also what it chooses with (tied).

    Attributes:
        hidden: Units.
        layers: Stacked layers.
        attention: Over each memory; ``none`` is the mean.
        attention_hidden: Size of the comparison space.
        coverage: Whether attention knows what it has attended so far.
        findings_prompt: Whether the predicted findings are told to the decoder at every step.
        prompt: Size of the prompt's vector.
        lesion_features: Size of a lesion's measurement vector; 0 for a decoder that is told of no lesions.
        dropout: Probability, on its inputs and outputs.
    """

    hidden: Count = 256
    layers: Count = 1
    attention: AttentionName = "additive"
    attention_hidden: Count = 64
    coverage: bool = True
    findings_prompt: bool = True
    prompt: Count = 64
    lesion_features: NaturalNumber = 0
    dropout: Fraction = 0.3


@dataclass(frozen=True, config=STRICT)
class ReportNetConfig:
    """What :class:`lib.networks.report_net.ReportNet` builds.

    Attributes:
        dim: Size of every token of every memory.
        text: The text encoder, and the vocabulary.
        image: Image tokens.
        fusion: How image and text come together.
        heads: What is predicted beside the text.
        decoder: What writes the text; null for a classifier.
    """

    dim: Count = 128
    text: TextEncoderConfig = dataclasses.field(default_factory=TextEncoderConfig)
    image: ImageTokensConfig = dataclasses.field(default_factory=ImageTokensConfig)
    fusion: ReportFusionConfig = dataclasses.field(default_factory=ReportFusionConfig)
    heads: ReportHeadsConfig = dataclasses.field(default_factory=ReportHeadsConfig)
    decoder: ReportDecoderConfig | None = dataclasses.field(default_factory=ReportDecoderConfig)

    def __post_init__(self) -> None:
        """Check what depends on more than one part.

        Raises:
            ValueError: If boxes or masks are asked of image tokens without a place, or the heads do not divide ``dim``.
        """
        places = self.image.kind == "grid" and self.fusion.kind != "text_only"
        if (self.heads.boxes or self.heads.masks) and not places:
            raise ValueError("heads.boxes and heads.masks need image.kind grid and a fusion that sees the image")
        if self.fusion.kind == "cross_attention" and self.dim % self.fusion.heads:
            raise ValueError(f"fusion.heads {self.fusion.heads} is no divisor of dim {self.dim}")


@dataclass(frozen=True, config=STRICT)
class BeamConfig:
    """How a report is searched.

    Attributes:
        beams: Hypotheses that are followed; 1 is greedy.
        alternatives: How many of them come back, best first.
        length_penalty: alpha of Wu et al. 2016; 0 compares sums of log probabilities and so favours short reports.
        min_length: Fewest words.
        max_length: Most words; a hypothesis that has them ends.
        block_ngram: No sequence of so many words comes twice in a report; 0 lets all repeat.
        forbidden: Ids that are never written.
    """

    beams: Count = 3
    alternatives: Count = 3
    length_penalty: Annotated[float, Field(ge=0)] = 0.7
    min_length: NaturalNumber = 1
    max_length: Count = 120
    block_ngram: NaturalNumber = 3
    forbidden: tuple[int, ...] = (PAD, UNKNOWN, BEGIN)

    def __post_init__(self) -> None:
        """Check the lengths.

        Raises:
            ValueError: If no length is allowed, more alternatives than beams are asked for, or the end is forbidden.
        """
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} is above max_length {self.max_length}")
        if self.alternatives > self.beams:
            raise ValueError(f"alternatives {self.alternatives} needs as many beams; got {self.beams}")
        if END in self.forbidden:
            raise ValueError(f"forbidden must not name the end of a report, {END}")


def report_twin(config: ReportNetConfig, name: TwinName) -> ReportNetConfig:
    """One arm of the ablation: the same model with parts taken away.

    Args:
        config: The full model.
        name: ``full``; ``cnn``: the image alone, tokens averaged; ``bilstm``: the text alone through the BiLSTM, words
            averaged; ``attention``: the text alone, attention straight on the words' vectors. What remains, also the
            LSTM that writes, is the same in all.
    """
    return _TWINS[name](config)


def _alone(
    config: ReportNetConfig, kind: FusionName, attention: AttentionName, cell: Literal["none", "lstm"]
) -> ReportNetConfig:
    replace = dataclasses.replace
    heads = config.heads if kind == "image_only" else replace(config.heads, boxes=False, masks=False)
    heads = replace(heads, attention=heads.attention and attention != "none")
    return replace(
        config,
        fusion=replace(config.fusion, kind=kind),
        text=replace(config.text, cell=cell, attention=attention),
        image=replace(config.image, attention=attention),
        heads=heads,
        decoder=None if config.decoder is None else replace(config.decoder, attention=attention),
    )


_TWINS: dict[str, Callable[[ReportNetConfig], ReportNetConfig]] = {
    "full": lambda config: config,
    "cnn": lambda config: _alone(config, "image_only", "none", "none"),
    "bilstm": lambda config: _alone(config, "text_only", "none", "lstm"),
    "attention": lambda config: _alone(config, "text_only", "additive", "none"),
}
