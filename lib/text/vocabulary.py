# SPDX-License-Identifier: Apache-2.0
"""Tokens <-> numbers; the vocabulary travels with the weights of the model that learned it."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..types.errors import InputError
from .tokens import DISEASE, GLUED, SLOTS, SlotValue, Tokenized, detokenize, tokenize

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIALS = (PAD, UNK, BOS, EOS, *SLOTS, DISEASE, *GLUED)
"""Tokens of every vocabulary, in this order from id 0; the first four are those of ``lib.configs.report``."""
NGRAM_SIZES = (3, 4, 5)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows.

    An encoder may read a word without an id by its letters: :meth:`groups` gives the buckets of its character n-grams,
    whose vectors the encoder averages (Bojanowski et al., TACL 2017;5:135-146), so words that share most of their
    letters look alike.

    Attributes:
        tokens: In order of their ids, the specials first.
        forms: How words are written that are not in lower case, by word.
        buckets: How many vectors the n-grams of unknown words share; 0 for none.
    """

    tokens: tuple[str, ...]
    forms: dict[str, str] = field(default_factory=dict)
    buckets: int = 1024

    def __post_init__(self) -> None:
        """Check the tokens.

        Raises:
            InputError: If the specials are not the first tokens, or a token stands there twice.
        """
        if self.tokens[: len(SPECIALS)] != SPECIALS:
            raise InputError(f"vocabulary: the first tokens must be {list(SPECIALS)}")
        if len(self._ids) < len(self.tokens):
            raise InputError("vocabulary: a token stands there twice")

    @classmethod
    def build(cls, texts: Iterable[str], minimum_count: int = 2, buckets: int = 1024) -> Vocabulary:
        """The words of some texts, the most frequent first.

        Args:
            texts: Of the training part only.
            minimum_count: Rarer words are left out.
            buckets: How many vectors the n-grams of unknown words share; 0 for none.
        """
        counts: Counter[str] = Counter()
        written: dict[str, Counter[str]] = {}
        for text in texts:
            tokenized = tokenize(text)
            counts.update(tokenized.tokens)
            _count_forms(text, tokenized, written)
        words = [word for word, count in counts.most_common() if count >= minimum_count and word not in SPECIALS]
        forms = {word: forms.most_common(1)[0][0] for word, forms in written.items() if word in set(words)}
        kept = {word: form for word, form in sorted(forms.items()) if form != word}
        return cls((*SPECIALS, *sorted(words, key=lambda word: (-counts[word], word))), kept, buckets)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    @property
    def slot_ids(self) -> tuple[int, ...]:
        """Ids of the slots."""
        return tuple(self._ids[slot] for slot in SLOTS)

    def id_of(self, token: str) -> int:
        """Id of a token; that of ``<unk>`` where it is not known."""
        return self._ids.get(token, self._ids[UNK])

    def encode(self, text: str) -> Tokenized:
        """Tokens of a text with their ids, without ``<bos>`` and ``<eos>``."""
        tokenized = tokenize(text)
        return replace(tokenized, ids=tuple(self.id_of(token) for token in tokenized.tokens))

    def groups(self, tokens: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Buckets of the n-grams of each token, each in [0, ``buckets``); none for a token with an id."""
        return tuple(() if token in self._ids else self._buckets_of(token) for token in tokens)

    def _buckets_of(self, word: str) -> tuple[int, ...]:
        if not self.buckets:
            return ()
        return tuple(sorted({zlib.crc32(gram.encode()) % self.buckets for gram in character_ngrams(word)}))

    def decode(self, ids: Iterable[int], values: Iterable[SlotValue] = ()) -> str:
        """Text of ids up to ``<eos>``, slots filled from ``values``.

        Raises:
            InputError: If an id is none of the vocabulary, or the values are not those of the slots.
        """
        return detokenize(self.tokens_of(ids), values, self.forms)

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """Tokens of ids up to ``<eos>``, without ``<pad>`` and ``<bos>``.

        Raises:
            InputError: If an id is none of the vocabulary.
        """
        tokens: list[str] = []
        for one in ids:
            if not 0 <= one < len(self.tokens):
                raise InputError(f"id {one}: the vocabulary has ids 0 to {len(self.tokens) - 1}")
            if self.tokens[one] == EOS:
                break
            if self.tokens[one] not in (PAD, BOS):
                tokens.append(self.tokens[one])
        return tokens

    def to_json(self) -> str:
        """The vocabulary as JSON text, for the metadata of a safetensors file."""
        words = self.tokens[len(SPECIALS) :]
        data = {"specials": SPECIALS, "words": words, "forms": self.forms, "buckets": self.buckets}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Build a vocabulary from :meth:`to_json`'s text.

        Raises:
            InputError: If the text is none of that.
        """
        try:
            data = json.loads(text)
            tokens = (*map(str, data["specials"]), *map(str, data["words"]))
            return cls(tokens, {str(k): str(v) for k, v in data["forms"].items()}, int(data["buckets"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"vocabulary: no JSON of a vocabulary ({error})") from error


def character_ngrams(word: str) -> set[str]:
    """The n-grams of a word between ``<`` and ``>``; of a short word, the word itself."""
    marked = f"<{word}>"
    grams = {marked[i : i + size] for size in NGRAM_SIZES for i in range(len(marked) - size + 1)}
    return grams or {marked}


def _count_forms(text: str, tokenized: Tokenized, written: dict[str, Counter[str]]) -> None:
    """Count how words inside sentences are written: at the beginning of one, a capital says nothing."""
    before = "."
    for token, (start, end) in zip(tokenized.tokens, tokenized.spans, strict=True):
        form = text[start:end]  # the "x" of "3 x 2 cm" has the span of the whole
        if token not in SPECIALS and before not in {".", "!", "?", ":", "<number>"} and form.lower() == token:
            written.setdefault(token, Counter())[form] += 1
        before = token
