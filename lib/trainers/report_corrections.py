# SPDX-License-Identifier: Apache-2.0
"""Reports that people have corrected or signed, as a report model learns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch

from ..drafting.sections import report_tokens
from ..networks.report_net import ReportNet
from ..reports.stored import TrainingReport
from ..text import Lexicon, Vocabulary, label_sentence
from ..types.report import Report
from .report_cases import ReportCase, read_text
from .report_studies import ReportStudy
from .report_writing import BrainWriting


class ReadStudy(Protocol):
    """A study as some model sees it."""

    @property
    def image_id(self) -> str:
        """Of the store."""

    @property
    def patient(self) -> str:
        """Whose it is."""


S = TypeVar("S", bound=ReadStudy)


@dataclass(frozen=True)
class CorrectedStudy(Generic[S]):
    """A study whose report a person stands for.

    Attributes:
        study: As the model sees it.
        source: The report, and what was changed of its draft.
        sentences: Section and text of what is learned.
    """

    study: S
    source: TrainingReport
    sentences: tuple[tuple[str, str], ...]

    @property
    def patient(self) -> str:
        """Whose it is."""
        return self.study.patient

    def changed(self) -> dict[str, Any]:
        """How much of the draft was changed, as plain values."""
        counts = self.source.change.counts
        share = round(self.source.change.share, 4)
        return {"image": self.source.image, "status": self.source.report.status.value, "share": share, **asdict(counts)}


def indication_of(report: Report) -> str:
    """Of the clinical text that the draft was written with, what the report keeps: the indication."""
    return " ".join(sentence.text for sentence in report.standing.get("indication", ()))


def sentences_to_learn(report: Report, lexicon: Lexicon, *, compared: bool = False) -> list[tuple[str, str]]:
    """Section and text of the sentences that stand; of those that tell of a change only where that is known.

    Args:
        report: Of a person.
        lexicon: Tells what a sentence says.
        compared: Whether the model is told what has changed.
    """
    return [
        (section, sentence.text)
        for section, part in report.standing.items()
        if section in ("findings", "impression")
        for sentence in part
        if compared or all(fact.change is None for fact in label_sentence(sentence.text, lexicon))
    ]


def case_of(one: CorrectedStudy[ReportStudy], writing: BrainWriting) -> ReportCase:
    """A corrected report as a case, with the indication that its draft was written with."""
    plain = writing.case(one.study, one.study.found, 0)
    words, groups = read_text(indication_of(one.source.report), writing.vocabulary)
    report = tuple(writing.vocabulary.id_of(token) for token in report_tokens(one.sentences))
    return replace(plain, report=report, words=words, groups=groups)


def grown(vocabulary: Vocabulary, studies: Sequence[CorrectedStudy[Any]], room: int) -> Vocabulary:
    """A vocabulary with the new words of corrected reports, the most frequent ones where there is not room for all."""
    texts = [text for one in studies for _, text in one.sentences]
    found = Vocabulary.build(texts, minimum_count=1, buckets=vocabulary.buckets)
    new = [token for token in found.tokens if token not in vocabulary][: max(0, room - len(vocabulary))]
    forms = {**{word: form for word, form in found.forms.items() if word in new}, **vocabulary.forms}
    return replace(vocabulary, tokens=(*vocabulary.tokens, *new), forms=forms)


@torch.no_grad()
def start_new_words(network: ReportNet, known: int, size: int) -> None:
    """Give words that get a place a start that is as likely as that of the others: the rows were held down so far."""
    if network.embedding is None or network.decoder is None or size <= known:
        return
    table, bias = network.embedding.words.weight, network.decoder.bias
    table[known:size] = table[4:known].mean(0) + table[4:known].std() * 0.5 * torch.randn_like(table[known:size])
    bias[known:size] = bias[4:known].mean()


def told(one: CorrectedStudy[Any]) -> str:
    """How much of the draft was changed, in words for a log."""
    counts = one.source.change.counts
    status, share = one.source.report.status.value, one.source.change.share
    return (
        f"report of image '{one.source.image}' ({status}): {share:.0%} of the words changed "
        f"({counts.removed} removed, {counts.added} added, {counts.kept} kept)"
    )
