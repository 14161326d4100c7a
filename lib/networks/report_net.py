# SPDX-License-Identifier: Apache-2.0
"""The report net: a study's images and clinical text -> its class, its findings, where they are, and a draft report.

    image ----------> tokens ---------.                .-> class, findings (and boxes, masks)
                                       > fusion -------|        |
    clinical text --> words (BiLSTM) -'                '-> decoder <- prompt
    measured lesions ------------------------------------> decoder -> report

Every arm of the ablation is this network with parts switched off (:func:`lib.configs.report.report_twin`).

References:
    Xu et al. Show, attend and tell. ICML 2015. Jing, Xie, Xing. On the automatic generation of medical imaging
    reports. ACL 2018 (predicted tags prompt the decoder). Zhou et al. arXiv:1904.07850 (boxes).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..configs.report import PAD, BeamConfig, ReportDecoderConfig, ReportHeadsConfig, ReportNetConfig
from ..types import InputError
from .attention import MeanPooling
from .beam import Hypothesis, beam_search
from .heads import BoxHead, BoxMaps, MaskHead
from .image_tokens import FrameTokens, GridTokens
from .memory import Memory
from .report_decoder import DecoderState, ReportDecoder, Source
from .report_findings import FindingHead
from .report_fusion import Fused, build_fusion
from .text_encoder import TextEncoder, WordEmbedding


@dataclass(frozen=True)
class ReportInputs:
    """What is known of a batch of studies. None is the same as a mask that is False everywhere.

    Attributes:
        image: Features of frames (B, T, features), or images (B, T, C, H, W), as the config's ``image.kind`` says.
        image_mask: (B, T), True where a frame is real (real ones first); None means all.
        words: Ids of the clinical text, (B, L), filled up with PAD at the end.
        groups: Buckets of the letter groups of unknown words, (B, L, G), filled up with -1.
        lesions: Measurement vectors, (B, M, lesion_features), each number of the order of 1.
        lesion_mask: (B, M), True where a lesion is real; None means all.
        findings: What the decoder is to write of, (B, findings), 0..1, e.g. after a person changed it; where it is NaN,
            and where it is None, what the findings head predicts.
    """

    image: Tensor | None = None
    image_mask: Tensor | None = None
    words: Tensor | None = None
    groups: Tensor | None = None
    lesions: Tensor | None = None
    lesion_mask: Tensor | None = None
    findings: Tensor | None = None

    @property
    def batch(self) -> int:
        """B.

        Raises:
            InputError: If there is neither image, text nor lesion.
        """
        for given in (self.image, self.words, self.lesions):
            if given is not None:
                return len(given)
        raise InputError("a report needs an image, a clinical text or measured lesions; got none of them")


@dataclass
class ReportOutput:
    """What the report net says about a batch of studies; None where the config switches it off.

    Attributes:
        class_logits: (B, K), of which one is true.
        finding_logits: (B, F), each true or not.
        boxes: The box head's maps, (B, T, ...).
        mask_logits: (B, T, K, H, W).
        context: (B, D), what class and findings are read from.
        image_weights: (B, N), share of each image token in the image's vector.
        word_weights: (B, L), share of each word in the text's vector.
        image_share: (B,), how much of ``context`` comes from the image, for fusions with a gate.
        finding_attention: For each finding over ``image`` (B, F, N) and ``words`` (B, F, L); empty without it.
        token_logits: (B, S, V), of the word after each given one.
        attention: For each given word over ``image`` (B, S, N), ``words`` (B, S, L), ``lesions`` (B, S, M) and, under
            ``memories``, the shares of those of them that the decoder has, in this order.
    """

    class_logits: Tensor | None
    finding_logits: Tensor | None
    boxes: BoxMaps | None
    mask_logits: Tensor | None
    context: Tensor
    image_weights: Tensor | None
    word_weights: Tensor | None
    image_share: Tensor | None
    finding_attention: dict[str, Tensor] = field(default_factory=dict)
    token_logits: Tensor | None = None
    attention: dict[str, Tensor] = field(default_factory=dict)


class ReportNet(nn.Module):
    """Image tokens + clinical text -> class, findings, boxes, masks and text.

    Args:
        config: Sizes and switches.
    """

    def __init__(self, config: ReportNetConfig) -> None:
        super().__init__()
        self.config = config
        dim, text, kind = config.dim, config.text, config.fusion.kind
        reads, sees = kind != "image_only", kind != "text_only"
        self.embedding = (
            WordEmbedding(text.vocabulary_size, text.embedding, text.hash_buckets if reads else 0)
            if reads or config.decoder
            else None
        )
        self.text_encoder = TextEncoder(text, dim) if reads else None
        self.image_tokens: FrameTokens | GridTokens | None = None
        if sees:
            self.image_tokens = (FrameTokens if config.image.kind == "frames" else GridTokens)(config.image, dim)
        self.fusion = build_fusion(config.fusion, dim) if reads and sees else None
        self._memories = ("image",) * sees + ("words",) * reads
        self._add_heads(config.heads)
        self.decoder: ReportDecoder | None = None
        if config.decoder is not None:
            self._add_decoder(config.decoder)

    def _add_heads(self, heads: ReportHeadsConfig) -> None:
        dim = self.config.dim
        self.dropout = nn.Dropout(heads.dropout)
        self.class_head = nn.Linear(dim, heads.classes) if heads.classes else None
        self.finding_head = (
            FindingHead(dim, heads.findings, self._memories, heads.attention) if heads.findings else None
        )
        self.box_head: BoxHead | None = None
        self.mask_head: MaskHead | None = None
        if isinstance(self.image_tokens, GridTokens):
            stride, classes = self.image_tokens.stride, heads.lesion_classes
            self.box_head = BoxHead(dim, classes, stride) if heads.boxes else None
            self.mask_head = MaskHead(dim, classes, stride) if heads.masks else None

    def _add_decoder(self, decoder: ReportDecoderConfig) -> None:
        dim, text = self.config.dim, self.config.text
        told = self.config.heads.findings if decoder.findings_prompt else 0
        told += 1 if decoder.lesion_features else 0  # how many lesions there are
        self.prompt = nn.Linear(told, decoder.prompt) if told else None
        self.lesion_tokens = nn.Linear(decoder.lesion_features, dim) if decoder.lesion_features else None
        names = (*self._memories, "lesions") if decoder.lesion_features else self._memories
        size = decoder.prompt if told else 0
        self.decoder = ReportDecoder(decoder, names, dim, text.embedding, text.vocabulary_size, size)

    def forward(self, inputs: ReportInputs, ids: Tensor | None = None) -> ReportOutput:
        """Predict, and write along a given report (teacher forcing).

        Args:
            inputs: What is known of the studies.
            ids: The report's words after BEGIN, (B, S), filled up with PAD; None for no text.
        """
        output, source = self._read(inputs)
        if ids is not None and source is not None and self.decoder is not None and self.embedding is not None:
            output.token_logits, output.attention = self.decoder(self.embedding, ids, source)
        return output

    @torch.inference_mode()
    def write(self, inputs: ReportInputs, beam: BeamConfig) -> tuple[ReportOutput, list[list[Hypothesis]]]:
        """Predict, and write reports of one's own.

        Args:
            inputs: What is known of the studies.
            beam: How to search.

        Returns:
            What :meth:`forward` gives without a report, and for each study the best reports, best first.

        Raises:
            InputError: If the config has no decoder.
        """
        output, source = self._read(inputs)
        if source is None or self.decoder is None or self.embedding is None:
            raise InputError("this model writes no text: its config has network.decoder null")
        decoder, embedding, rows = self.decoder, self.embedding, source.repeat(beam.beams)

        def step(ids: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState, dict[str, Tensor]]:
            return decoder.step(embedding, ids.to(rows.prompt.device), state, rows)

        return output, beam_search(step, decoder.initial_state(rows), inputs.batch, beam)

    def _read(self, inputs: ReportInputs) -> tuple[ReportOutput, Source | None]:
        """Everything but the text, and what the text is to be written from."""
        image, pyramid = self._see(inputs)
        fused = self._fuse(image, self._read_words(inputs))
        context = self.dropout(fused.context)
        findings, finding_attention = None, {}
        if self.finding_head is not None:
            findings, finding_attention = self.finding_head(context, fused.memories)
        output = ReportOutput(
            class_logits=None if self.class_head is None else self.class_head(context),
            finding_logits=findings,
            boxes=None,
            mask_logits=None,
            context=fused.context,
            image_weights=fused.memories["image"].weights if "image" in fused.memories else None,
            word_weights=fused.memories["words"].weights if "words" in fused.memories else None,
            image_share=fused.image_share,
            finding_attention=finding_attention,
        )
        if pyramid is not None and inputs.image is not None:
            frames = (inputs.image.shape[0], inputs.image.shape[1])
            output.boxes = None if self.box_head is None else self.box_head(pyramid, frames)
            output.mask_logits = None if self.mask_head is None else self.mask_head(pyramid).unflatten(0, frames)
        return output, self._source(inputs, fused, output.finding_logits)

    def _see(self, inputs: ReportInputs) -> tuple[Memory | None, Tensor | None]:
        """Image tokens, and the finest map of the pyramid; None for what the model does not have."""
        if self.image_tokens is None:
            return None, None
        if inputs.image is None:
            return self._missing(inputs), None
        mask = _mask(inputs.image_mask, inputs.image)
        if isinstance(self.image_tokens, GridTokens):
            return self.image_tokens(inputs.image, mask)  # type: ignore[no-any-return]
        return self.image_tokens(inputs.image, mask), None

    def _read_words(self, inputs: ReportInputs) -> Memory | None:
        if self.text_encoder is None or self.embedding is None:
            return None
        if inputs.words is None:
            return self._missing(inputs)
        return self.text_encoder(self.embedding(inputs.words, inputs.groups), inputs.words != PAD)  # type: ignore[no-any-return]

    def _fuse(self, image: Memory | None, words: Memory | None) -> Fused:
        if self.fusion is not None:
            return self.fusion(image, words)  # type: ignore[no-any-return]
        name, memory = ("image", image) if image is not None else ("words", words)
        assert memory is not None
        return Fused(memory.context, {name: memory})

    def _source(self, inputs: ReportInputs, fused: Fused, finding_logits: Tensor | None) -> Source | None:
        if self.decoder is None:
            return None
        config = self.config.decoder
        memories, told = dict(fused.memories), []
        if finding_logits is not None and config and config.findings_prompt:
            told.append(2 * _told_findings(finding_logits, inputs.findings) - 1)
        if self.lesion_tokens is not None:
            memories["lesions"] = self._lesions(inputs)
            told.append(memories["lesions"].mask.sum(1, keepdim=True).to(fused.context.dtype).log1p())
        if self.prompt is None:
            prompt = fused.context.new_zeros(len(fused.context), 0)
        else:
            prompt = torch.tanh(self.prompt(torch.cat(told, dim=1)))
        return self.decoder.source(memories, prompt)

    def _lesions(self, inputs: ReportInputs) -> Memory:
        assert self.lesion_tokens is not None
        if inputs.lesions is None:
            return self._missing(inputs)
        mask = _mask(inputs.lesion_mask, inputs.lesions)
        tokens = torch.tanh(self.lesion_tokens(inputs.lesions.masked_fill(~mask[..., None], 0)))
        return Memory.pooled(tokens, mask, MeanPooling())

    def _missing(self, inputs: ReportInputs) -> Memory:
        """A memory of one token that is not there."""
        device = next(self.parameters()).device
        states = torch.zeros(inputs.batch, 1, self.config.dim, device=device)
        return Memory.pooled(states, torch.zeros(inputs.batch, 1, dtype=torch.bool, device=device), MeanPooling())


def _mask(mask: Tensor | None, items: Tensor) -> Tensor:
    return torch.ones(items.shape[:2], dtype=torch.bool, device=items.device) if mask is None else mask


def _told_findings(logits: Tensor, told: Tensor | None) -> Tensor:
    """What the decoder is told, (B, F): the words' loss never changes the prediction, lest it become a secret code."""
    predicted = torch.sigmoid(logits.detach())
    return predicted if told is None else torch.where(told.isnan(), predicted, told.to(predicted.dtype))
