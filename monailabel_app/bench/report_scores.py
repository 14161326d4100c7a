# SPDX-License-Identifier: Apache-2.0
"""Scores of generated reports against their references, and the two rows that every table of them needs.

Which program computed what: BLEU-1 to 4, ROUGE-L (F, beta 1.2), CIDEr (its variant D, with the clipping and the length
penalty) and METEOR 1.5 (a Java program that comes with it; left out where there is
no Java) are pycocoevalcap's; the second BLEU is sacrebleu's, with its own tokens. For pycocoevalcap a text is its words
and numbers in lower case, without punctuation. Facts are read by :mod:`lib.text.labeller`.

References:
    Papineni et al. BLEU. ACL 2002. Denkowski, Lavie. Meteor universal. WMT 2014. Lin. ROUGE. ACL workshop 2004.
    Vedantam et al. CIDEr. CVPR 2015. Post. A call for clarity in reporting BLEU scores. WMT 2018 (sacrebleu).
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..roots import lib_module

if TYPE_CHECKING:
    from lib.text.fact_scores import FactScore
    from lib.text.lexicon import Lexicon

WORD = re.compile(r"\d+(?:\.\d+)?|\w+")


@dataclass(frozen=True)
class ReportScores:
    """What a table says of one way to write reports.

    Attributes:
        bleu: BLEU-1 to 4 of the corpus, 0..1.
        meteor: METEOR 1.5, 0..1; None without Java, or where it was left out.
        rouge_l: Of each report, 0..1.
        cider: Mean over the reports, 0..10.
        sacrebleu: BLEU-4 of the corpus, 0..1.
        facts: Over all reports.
        each: Facts of each report, for intervals.
        words: Mean number of words.
        distinct: Share of the reports that are unlike every other.
        bigrams: Different pairs of neighbouring words, of all pairs.
    """

    bleu: tuple[float, ...]
    meteor: float | None
    rouge_l: tuple[float, ...]
    cider: float
    sacrebleu: float
    facts: FactScore
    each: tuple[FactScore, ...]
    words: float
    distinct: float
    bigrams: float


def score_reports(
    generated: Sequence[str], references: Sequence[str], lexicon: Lexicon, meteor: bool = True
) -> ReportScores:
    """Score generated reports.

    Args:
        generated: One text per study; may be empty.
        references: What should have been written, in the same order.
        lexicon: Whose findings count.
        meteor: False to leave METEOR out: its program takes seconds to start.

    Raises:
        InputError: If there are none, not as many of both, or the extra ``bench`` is not installed.
    """
    error, scores = lib_module("types").InputError, lib_module("text.fact_scores")
    if not references or len(generated) != len(references):
        raise error(f"{len(generated)} generated reports for {len(references)} references; as many are needed, not 0")
    try:
        import sacrebleu
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as missing:
        raise error(
            f"scores of reports need the extra 'bench': pip install 'lesionloop[bench]' ({missing})"
        ) from missing
    written, wanted = _as_captions(generated), _as_captions(references)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints lengths
        bleu, _ = Bleu(4).compute_score(wanted, written)
    each = tuple(scores.score_text(one, other, lexicon) for one, other in zip(generated, references, strict=True))
    return ReportScores(
        bleu=tuple(float(value) for value in bleu),
        meteor=_meteor(wanted, written) if meteor else None,
        rouge_l=tuple(map(float, Rouge().compute_score(wanted, written)[1])),
        cider=float(Cider().compute_score(wanted, written)[0]),
        sacrebleu=sacrebleu.corpus_bleu(list(generated), [list(references)]).score / 100,
        facts=scores.total_score(each),
        each=each,
        words=float(np.mean([len(WORD.findall(text)) for text in generated])),
        distinct=sum(n == 1 for n in Counter(generated).values()) / len(generated),
        bigrams=_distinct_bigrams(generated),
    )


def plain_words(text: str) -> list[str]:
    """Words and numbers in lower case, without punctuation."""
    return WORD.findall(text.lower())


def _as_captions(texts: Sequence[str]) -> dict[int, list[str]]:
    """As pycocoevalcap wants them; it divides by the length, so a text without words becomes a mark."""
    return {i: [" ".join(plain_words(text)) or "-"] for i, text in enumerate(texts)}


def _meteor(wanted: dict[int, list[str]], written: dict[int, list[str]]) -> float | None:
    if shutil.which("java") is None:
        return None
    from pycocoevalcap.meteor.meteor import Meteor

    return float(Meteor().compute_score(wanted, written)[0])


def _distinct_bigrams(texts: Sequence[str]) -> float:
    pairs = Counter(pair for words in map(plain_words, texts) for pair in pairwise(words))
    return len(pairs) / max(1, pairs.total())


def template_report(texts: Sequence[str], at_most: int = 300) -> str:
    """The report that is most like all others (F1 of their words): what a model without input would best write.

    Args:
        texts: Reports of the training part.
        at_most: How many of them are compared, spread evenly.
    """
    chosen: list[str] = [
        texts[i] for i in np.unique(np.linspace(0, len(texts) - 1, min(len(texts), at_most)).astype(int))
    ]
    words = [Counter(plain_words(text)) for text in chosen]

    def likeness(one: Counter[str]) -> float:
        return sum(2 * (one & other).total() / max(1, one.total() + other.total()) for other in words)

    best = max(range(len(chosen)), key=lambda i: likeness(words[i]))
    return chosen[best]


def nearest_reports(train: npt.NDArray[Any], texts: Sequence[str], queries: npt.NDArray[Any]) -> list[str]:
    """For each query the report of the training study that is most like it (cosine).

    Args:
        train: A vector of each training study, (N, D).
        texts: Their reports.
        queries: A vector of each study to report, (Q, D).
    """
    mean = train.mean(0)
    known, asked = train - mean, queries - mean
    lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(known, axis=1)[None]
    return [texts[i] for i in (asked @ known.T / np.maximum(lengths, 1e-9)).argmax(1)]


HEADINGS = (
    "", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "sacreBLEU", "METEOR", "ROUGE-L", "CIDEr", "fact P", "fact R",
    "fact F1", "negation errors", "side errors", "size error mm", "words", "unlike others", "bigrams",
)  # fmt: skip


def scores_table(rows: Mapping[str, ReportScores]) -> str:
    """Markdown table, a row for each way to write reports."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    return "\n".join(lines + ["| " + " | ".join([name, *_cells(scores)]) + " |" for name, scores in rows.items()])


def _cells(scores: ReportScores) -> list[str]:
    facts = scores.facts
    shares = (*scores.bleu, scores.sacrebleu, scores.meteor, float(np.mean(scores.rouge_l)), scores.cider)
    return [
        *(_number(value, 3) for value in (*shares, facts.precision, facts.recall, facts.f1)),
        *(_percent(value) for value in (facts.denial_rate, facts.wrong_side_rate)),
        _number(facts.mean_size_error_mm, 1),
        _number(scores.words, 0),
        _percent(scores.distinct),
        _number(scores.bigrams, 3),
    ]


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
