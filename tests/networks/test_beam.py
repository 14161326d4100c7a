# SPDX-License-Identifier: Apache-2.0
import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from lib.configs.report import BEGIN, END, PAD, UNKNOWN, BeamConfig
from lib.networks.beam import Hypothesis, beam_search, repeats

V = 7  # pad, unknown, begin, end and three words
WORDS = (4, 5, 6)


@dataclass(frozen=True)
class Prefix:
    """A state that remembers every word, and which table it looks them up in."""

    tables: Tensor  # (R,)
    ids: Tensor  # (R, t)

    def select(self, rows: Tensor) -> "Prefix":
        return Prefix(self.tables[rows], self.ids[rows])


class Language:
    """Logits that depend on the last two words and on how many there are: not a Markov chain, but known."""

    def __init__(self, seed: int, n_tables: int = 2, vocabulary: int = V, scale: float = 1.5) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (n_tables, 12, vocabulary, vocabulary, vocabulary)
        self.logits = scale * torch.randn(*shape, generator=generator)

    def step(self, ids: Tensor, state: Prefix) -> tuple[Tensor, Prefix, dict[str, Tensor]]:
        seen = torch.cat([state.ids, ids[:, None]], dim=1)
        before = seen[:, -2] if seen.shape[1] > 1 else torch.full_like(ids, PAD)
        length = (seen.shape[1] - 1) % self.logits.shape[1]
        attention = torch.nn.functional.one_hot(ids, self.logits.shape[-1]).float()
        return self.logits[state.tables, length, before, ids], Prefix(state.tables, seen), {"words": attention}

    def chances(self, ids: tuple[int, ...], table: int = 0) -> list[float]:
        """Log probability of each word and of the end."""
        state, last, found = self.start(1, table), BEGIN, []
        for word in (*ids, END):
            logits, state, _ = self.step(torch.tensor([last]), state)
            found.append(float(logits[0].log_softmax(-1)[word]))
            last = word
        return found

    @staticmethod
    def start(rows: int, table: int = 0) -> Prefix:
        return Prefix(torch.full((rows,), table), torch.zeros(rows, 0, dtype=torch.long))

    def search(self, table: int = 0, **config: object) -> list[Hypothesis]:
        of = BeamConfig(**{"alternatives": 1, **config})
        (found,) = beam_search(self.step, self.start(of.beams, table), 1, of)
        return found


def every_report(shortest: int, longest: int) -> list[tuple[int, ...]]:
    return [ids for n in range(shortest, longest + 1) for ids in itertools.product(WORDS, repeat=n)]


def normalised(chances: list[float], penalty: float) -> float:
    return sum(chances) / ((5 + len(chances)) / 6) ** penalty


def repeats_itself(ids: tuple[int, ...], n: int) -> bool:
    groups = [ids[i : i + n] for i in range(len(ids) - n + 1)]
    return len(groups) > len(set(groups))


@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize(("shortest", "longest"), [(0, 4), (2, 3), (1, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_what_brute_force_finds(seed: int, shortest: int, longest: int, penalty: float) -> None:
    language = Language(seed)
    expected = sorted(
        ((normalised(language.chances(ids), penalty), ids) for ids in every_report(shortest, longest)), reverse=True
    )
    found = language.search(
        beams=130,
        alternatives=10,
        min_length=shortest,
        max_length=longest,
        length_penalty=penalty,
        block_ngram=0,
    )
    assert [one.ids for one in found] == [ids for _, ids in expected[:10]]
    assert [one.score for one in found] == pytest.approx([score for score, _ in expected[:10]], abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_blocking_leaves_the_best_of_the_reports_that_do_not_repeat(n: int) -> None:
    language = Language(7)
    free = [ids for ids in every_report(1, 4) if not repeats_itself(ids, n)]
    expected = max((normalised(language.chances(ids), 0.7), ids) for ids in free)
    (best,) = language.search(beams=130, max_length=4, block_ngram=n)
    assert best.ids == expected[1]


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_greedy(seed: int) -> None:
    language = Language(seed)
    (best,) = language.search(beams=1, min_length=0, max_length=8, block_ngram=0, forbidden=())
    state, last, ids = language.start(1), torch.tensor([BEGIN]), []
    while len(ids) < 8:
        logits, state, _ = language.step(last, state)
        last = logits.argmax(-1)
        if last.item() == END:
            break
        ids.append(last.item())
    assert best.ids == tuple(ids)


@pytest.mark.parametrize("beams", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_what_comes_back(seed: int, beams: int) -> None:
    language = Language(seed, vocabulary=9)
    found = language.search(beams=beams, alternatives=beams, min_length=3, max_length=30)
    assert 1 <= len(found) <= beams
    assert len({one.ids for one in found}) == len(found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        assert 3 <= len(one.ids) <= 30
        assert not set(one.ids) & {PAD, UNKNOWN, BEGIN, END}
        assert not repeats_itself(one.ids, 3)
        chances = language.chances(one.ids)
        assert one.score == pytest.approx(normalised(chances, 0.7), abs=1e-4)
        assert one.log_probabilities.tolist() == pytest.approx(chances[:-1], abs=1e-4)
        # the attention of a word is that of the step that chose it: here, the word before
        assert one.attention["words"].argmax(-1).tolist() == [BEGIN, *one.ids[:-1]]


def test_inputs_of_a_batch_do_not_mix() -> None:
    language = Language(3)
    config = BeamConfig(beams=3, alternatives=3, max_length=9)
    tables = torch.tensor([0, 0, 0, 1, 1, 1])
    together = beam_search(language.step, Prefix(tables, torch.zeros(6, 0, dtype=torch.long)), 2, config)
    for table, found in enumerate(together):
        alone = language.search(table, beams=3, alternatives=3, max_length=9)
        assert [one.ids for one in found] == [one.ids for one in alone]
        assert [one.score for one in found] == pytest.approx([one.score for one in alone])


def test_longer_reports_gain_from_the_penalty() -> None:
    lengths = []
    for penalty in (0.0, 3.0):
        found = [Language(seed).search(beams=130, max_length=4, length_penalty=penalty)[0] for seed in range(6)]
        lengths.append(sum(len(one.ids) for one in found))
    assert lengths[1] > lengths[0]


def test_a_report_that_nothing_may_follow_ends() -> None:
    """Three words and no pair twice: below the shortest length nothing is left at some point."""
    (best, *_) = Language(0).search(beams=2, min_length=20, max_length=30, block_ngram=1)
    assert sorted(best.ids) == list(WORDS)


def test_repeats() -> None:
    ids = torch.tensor([[4, 5, 6, 4, 5], [4, 4, 4, 4, 5]])
    assert repeats(ids, 3, 8).nonzero().tolist() == [[0, 6]]
    assert repeats(ids, 2, 8).nonzero().tolist() == [[0, 6]]
    assert repeats(ids, 1, 8)[0].nonzero().flatten().tolist() == [4, 5, 6]
    assert not repeats(ids, 0, 8).any()
    assert not repeats(ids[:, :2], 3, 8).any()
