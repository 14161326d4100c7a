# SPDX-License-Identifier: Apache-2.0
"""What a decoder looked at while it wrote a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..networks.beam import Hypothesis
from ..networks.report_decoder import SHARES
from ..text import Vocabulary
from ..types import Finding, FloatArray
from .measured import frames_of
from .sections import Stretch, sentences_in
from .slots import Said


def said_by(
    hypothesis: Hypothesis,
    memories: Sequence[str],
    vocabulary: Vocabulary,
    lesion_ids: Sequence[int],
    findings: Sequence[Finding],
    n_frames: int = 0,
) -> list[Said]:
    """The sentences of a report that was found, each with what was attended.

    Args:
        hypothesis: The report.
        memories: Names of the decoder's memories, in the order of its shares.
        vocabulary: Of the model.
        lesion_ids: Ids of the lesions behind the rows 1, 2, ... of the lesion memory; row 0 is the study.
        findings: Of the study; a lesion that is attended brings its frames.
        n_frames: Frames behind the image memory, each with as many tokens; 0 where evidence may not name them.
    """
    tokens = vocabulary.tokens_of(hypothesis.ids)
    frames_by_lesion = {finding.id: frames_of(finding) for finding in findings}
    found = []
    for stretch in sentences_in(tokens):
        if not any(character.isalnum() for token in tokens[stretch.start : stretch.end] for character in token):
            continue  # marks without a word
        seen = {name: _mean(hypothesis, name, memories, stretch) for name in memories}
        rows = seen.get("lesions", np.zeros(0))[1:]
        attended = {number: float(weight) for number, weight in zip(lesion_ids, rows, strict=False)}
        log_probability = float(hypothesis.log_probabilities[stretch.start : stretch.end].mean())
        found.append(
            Said(
                stretch.section,
                tuple(tokens[stretch.start : stretch.end]),
                attended,
                min(1.0, math.exp(log_probability)),
                _frames(_by_frame(seen.get("image", np.zeros(0)), n_frames), attended, frames_by_lesion),
                tuple(float(weight) for weight in seen.get("words", np.zeros(0))),
            )
        )
    return found


def _mean(hypothesis: Hypothesis, name: str, memories: Sequence[str], stretch: Stretch) -> FloatArray:
    """Mean weight of each token of a memory, (N,), as a share of all that was attended."""
    part = slice(stretch.start, stretch.end)
    shares = hypothesis.attention[SHARES][part, list(memories).index(name)]
    weights = hypothesis.attention[name][part] * shares[:, None]
    return np.asarray(weights.float().mean(0).cpu().numpy())


def _by_frame(image: FloatArray, n_frames: int) -> FloatArray:
    """Weights of the image tokens (N,), summed over those of each frame (T,)."""
    return np.asarray(image.reshape(n_frames, -1).sum(1)) if n_frames and len(image) else np.zeros(0)


def _frames(
    image: FloatArray, attended: dict[int, float], frames_by_lesion: dict[int, dict[int, float]]
) -> dict[int, float]:
    """What rests on each frame: seen in the image itself, or measured there."""
    frames = {t: float(weight) for t, weight in enumerate(image)}
    for number, weight in attended.items():
        for t, share in frames_by_lesion.get(number, {}).items():
            frames[t] = frames.get(t, 0.0) + weight * share
    return frames
