# SPDX-License-Identifier: Apache-2.0
"""Everything about words: tokens, sentences, the facts they state, reports written from measurements, corrections."""

from .diff import Piece, changed_share, word_diff
from .facts import Certainty, Change, Fact, Side
from .grammar import GrammarSentence, MeasuredLesion, MeasuredStudy, write_report
from .labeller import label_sentence, label_text
from .lexicon import Lexicon
from .lexicon_brain import BRAIN_MR
from .lexicon_chest import CHEST
from .masking import mask_diseases
from .regions import region_of, side_of
from .sentences import split_sentences
from .tokens import Slot, SlotValue, Tokenized, detokenize, tokenize
from .vocabulary import Vocabulary

__all__ = [
    "BRAIN_MR",
    "CHEST",
    "Certainty",
    "Change",
    "Fact",
    "GrammarSentence",
    "Lexicon",
    "MeasuredLesion",
    "MeasuredStudy",
    "Piece",
    "Side",
    "Slot",
    "SlotValue",
    "Tokenized",
    "Vocabulary",
    "changed_share",
    "detokenize",
    "label_sentence",
    "label_text",
    "mask_diseases",
    "region_of",
    "side_of",
    "split_sentences",
    "tokenize",
    "word_diff",
    "write_report",
]
