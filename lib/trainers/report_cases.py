# SPDX-License-Identifier: Apache-2.0
"""Studies with their reports as a report net learns them, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from ..configs.report import BEGIN, END, PAD, UNKNOWN
from ..losses.report import UNKNOWN_CLASS
from ..networks.report_net import ReportInputs
from ..text.vocabulary import Vocabulary
from ..types import FloatArray, InputError

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ReportCase:
    """A study: what is known of it, and what is to be said.

    Attributes:
        study_id: Shown where something is wrong with it.
        patient: Studies of one patient never lie on both sides of a split.
        image: Features of its frames (T, F), or images (T, C, H, W); None where there is none.
        words: Ids of the clinical text, without begin and end.
        groups: Buckets of the letter groups of each word, none for a word with an id; empty where no word has any.
        lesions: Measurement vectors, (M, L); None for a model that is told of no lesions.
        report: Ids of the report, without begin and end; empty where there is none to learn.
        findings: Whether each is there, (F,), 0..1, NaN where it is not known; None for none known.
        study_class: Index of its class, or :data:`~lib.losses.report.UNKNOWN_CLASS`.
    """

    study_id: str
    patient: str
    image: FloatArray | None = None
    words: tuple[int, ...] = ()
    groups: Groups = ()
    lesions: FloatArray | None = None
    report: tuple[int, ...] = ()
    findings: FloatArray | None = None
    study_class: int = UNKNOWN_CLASS


def read_text(text: str, vocabulary: Vocabulary, max_words: int = 400) -> tuple[tuple[int, ...], Groups]:
    """Words and letter groups of a clinical text, as :class:`ReportCase` holds them; what follows is cut off.

    Args:
        text: Any; may be empty.
        vocabulary: Of the model.
        max_words: Most tokens.
    """
    encoded = vocabulary.encode(text)
    return encoded.ids[:max_words], vocabulary.groups(encoded.tokens[:max_words])


@dataclass(frozen=True)
class ReportBatch:
    """Studies side by side, filled up.

    Attributes:
        inputs: What the net is given.
        report: Begin, words, end, (B, S + 1), filled up with PAD; a study without a report has PAD only.
        findings: (B, F), NaN where not known.
        classes: (B,).
    """

    inputs: ReportInputs
    report: Tensor
    findings: Tensor
    classes: Tensor

    def to(self, device: torch.device | str) -> ReportBatch:
        """The same on a device."""
        values = {field.name: getattr(self.inputs, field.name) for field in fields(ReportInputs)}
        inputs = ReportInputs(**{name: None if x is None else x.to(device) for name, x in values.items()})
        return ReportBatch(inputs, self.report.to(device), self.findings.to(device), self.classes.to(device))


def collate(cases: Sequence[ReportCase], n_findings: int = 0) -> ReportBatch:
    """Put studies side by side.

    Args:
        cases: One or more.
        n_findings: Findings F of the model.

    Raises:
        InputError: If a study's image, lesions or findings have another shape than the others'.
    """
    image, image_mask = _padded([case.image for case in cases], cases, "image")
    lesions, lesion_mask = _padded([case.lesions for case in cases], cases, "lesions")
    inputs = ReportInputs(
        image=image,
        image_mask=image_mask,
        words=_filled([case.words for case in cases], PAD),
        groups=_groups([case.groups for case in cases], max([1, *(len(case.words) for case in cases)])),
        lesions=lesions,
        lesion_mask=lesion_mask,
    )
    reports = [(BEGIN, *case.report, END) if case.report else () for case in cases]
    return ReportBatch(
        inputs,
        _filled(reports, PAD, least=2),
        torch.stack([_findings(case, n_findings) for case in cases]),
        torch.tensor([case.study_class for case in cases]),
    )


def _findings(case: ReportCase, n_findings: int) -> Tensor:
    if case.findings is None:
        return torch.full((n_findings,), float("nan"))
    if case.findings.shape != (n_findings,):
        raise InputError(f"study '{case.study_id}': findings {case.findings.shape}, the model has {n_findings}")
    return torch.as_tensor(case.findings, dtype=torch.float32)


def _padded(
    arrays: list[FloatArray | None], cases: Sequence[ReportCase], what: str
) -> tuple[Tensor | None, Tensor | None]:
    """Arrays (n, ...) -> (B, longest, ...) and the mask (B, longest); None where nobody has any."""
    shapes = {array.shape[1:] for array in arrays if array is not None}
    if not shapes:
        return None, None
    if len(shapes) > 1:
        odd = next(case.study_id for case, a in zip(cases, arrays, strict=True) if a is not None)
        raise InputError(f"study '{odd}' and others differ in the shape of their {what}: {sorted(shapes)}")
    longest = max([1, *(len(array) for array in arrays if array is not None)])
    values = np.zeros((len(arrays), longest, *shapes.pop()), np.float32)
    mask = np.zeros((len(arrays), longest), bool)
    for i, array in enumerate(arrays):
        if array is not None:
            values[i, : len(array)] = array
            mask[i, : len(array)] = True
    return torch.from_numpy(values), torch.from_numpy(mask)


def _filled(rows: Sequence[Sequence[int]], filling: int, least: int = 1) -> Tensor:
    """(B, longest), at least ``least`` long."""
    longest = max([least, *(len(row) for row in rows)])
    return torch.tensor([[*row, *[filling] * (longest - len(row))] for row in rows])


def _groups(rows: Sequence[Groups], length: int) -> Tensor | None:
    """(B, length, G), filled up with -1; None where no word has letter groups."""
    most = max((len(word) for row in rows for word in row), default=0)
    if most == 0:
        return None
    groups = torch.full((len(rows), length, most), -1)
    for i, row in enumerate(rows):
        for j, word in enumerate(row):
            groups[i, j, : len(word)] = torch.tensor(word)
    return groups


def drop_words(inputs: ReportInputs, probability: float, generator: torch.Generator) -> ReportInputs:
    """Make some words of the clinical text unknown, so that no single one is relied on."""
    if not probability or inputs.words is None:
        return inputs
    gone = (torch.rand(inputs.words.shape, generator=generator) < probability) & (inputs.words != PAD)
    groups = None if inputs.groups is None else inputs.groups.masked_fill(gone[..., None], -1)
    return replace(inputs, words=inputs.words.masked_fill(gone, UNKNOWN), groups=groups)


Change = Callable[[ReportCase, np.random.Generator], ReportCase]
"""Draws another form of a study: an augmented image, another phrasing of its report."""


class ReportSampler:
    """Draws batches of studies with reports of like length; every study comes once before any comes twice.

    The decoder goes as many steps as the longest report of a batch has words, whatever the others have.

    Args:
        cases: Where to draw from.
        batch_size: Studies per batch.
        n_findings: Findings of the model.
        seed: Of the order and of ``change``.
        change: Applied to each drawn study.
    """

    POOL = 4
    """Batches that are drawn together and shared out by length."""

    def __init__(
        self, cases: Sequence[ReportCase], batch_size: int, n_findings: int, seed: int, change: Change | None = None
    ) -> None:
        self.cases, self.n_findings, self.change = cases, n_findings, change
        self.batch_size = min(batch_size, len(cases))
        self.rng = np.random.default_rng(seed)
        self._waiting: list[int] = []
        self._batches: list[list[ReportCase]] = []

    def batch(self) -> ReportBatch:
        """Draw one."""
        if not self._batches:
            self._batches = self._share_out()
        return collate(self._batches.pop(), self.n_findings)

    def _share_out(self) -> list[list[ReportCase]]:
        """Draw a pool of studies, and put those with reports of like length together, in any order."""
        drawn = [self.cases[self._next()] for _ in range(self.POOL * self.batch_size)]
        if self.change is not None:
            drawn = [self.change(case, self.rng) for case in drawn]
        drawn.sort(key=lambda case: len(case.report))
        starts = self.rng.permutation(self.POOL) * self.batch_size
        return [drawn[start : start + self.batch_size] for start in starts]

    def _next(self) -> int:
        if not self._waiting:
            self._waiting = self.rng.permutation(len(self.cases)).tolist()
        return self._waiting.pop()
