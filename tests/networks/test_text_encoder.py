# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from lib.configs.report import PAD, UNKNOWN, TextEncoderConfig
from lib.networks.text_encoder import TextEncoder, WordEmbedding

B, L, E, D = 3, 6, 10, 12
ATTENTIONS = ("none", "additive", "scaled_dot_product")


def encoder(**changes: object) -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(TextEncoderConfig(**{"embedding": E, "hidden": 7, **changes}), D).eval()


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("cell", ["none", "lstm"])
def test_shapes_and_weights(cell: str, depth: int, attention: str) -> None:
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4, [False] * 6])
    memory = encoder(cell=cell, depth=depth, attention=attention)(torch.randn(B, L, E), mask)
    assert memory.states.shape == (B, L, D)
    assert memory.context.shape == (B, D)
    torch.testing.assert_close(memory.weights.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    assert not memory.weights[~mask].any()
    assert not memory.states[~mask].any()
    assert memory.present.tolist() == [True, True, False]
    assert not memory.context[2].any()
    torch.testing.assert_close(memory.context, (memory.weights[..., None] * memory.states).sum(1))


@pytest.mark.parametrize("cell", ["none", "lstm"])
@pytest.mark.parametrize("seed", range(3))
def test_padding_changes_nothing(cell: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    net, vectors = encoder(cell=cell, depth=2), torch.randn(B, L, E, generator=generator)
    lengths = torch.randint(1, L, (B,), generator=generator)
    mask = torch.arange(L) < lengths[:, None]
    memory = net(vectors, mask)
    spoiled = net(torch.where(mask[..., None], vectors, torch.full_like(vectors, 1e3)), mask)
    torch.testing.assert_close(spoiled.states, memory.states)
    for row, length in enumerate(lengths.tolist()):
        alone = net(vectors[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(alone.context[0], memory.context[row], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(alone.weights[0], memory.weights[row, :length], atol=1e-6, rtol=1e-5)


def test_the_lstm_reads_in_both_directions_and_its_twin_in_none() -> None:
    vectors, mask = torch.randn(1, L, E), torch.ones(1, L, dtype=torch.bool)
    other = vectors.clone()
    other[:, 3] += 1
    for cell, reach in (("lstm", list(range(L))), ("none", [3])):
        net = encoder(cell=cell)
        change = (net(vectors, mask).states - net(other, mask).states).norm(dim=-1)[0]
        assert (change > 1e-6).nonzero().flatten().tolist() == reach


# --- words


def test_unknown_words_are_told_apart_by_their_letter_groups() -> None:
    torch.manual_seed(0)
    words = WordEmbedding(20, E, hash_buckets=8)
    ids = torch.tensor([[UNKNOWN, UNKNOWN, UNKNOWN, 7]])
    groups = torch.tensor([[[0, 1, 2], [1, 2, 0], [0, 5, -1], [-1, -1, -1]]])
    vectors = words(ids, groups)[0]
    torch.testing.assert_close(vectors[0], vectors[1])
    assert not torch.allclose(vectors[0], vectors[2])
    torch.testing.assert_close(vectors[2], words.words.weight[UNKNOWN] + words.buckets.weight[[0, 5]].mean(0))
    torch.testing.assert_close(vectors[3], words.words.weight[7])
    torch.testing.assert_close(words(ids)[0, 0], words.words.weight[UNKNOWN])


def test_padding_has_no_vector_and_the_logits_are_tied() -> None:
    words = WordEmbedding(20, E)
    assert words.buckets is None
    assert not words(torch.tensor([PAD])).any()
    features = torch.randn(2, 5, E)
    torch.testing.assert_close(words.logits(features), torch.einsum("bse,ve->bsv", features, words.words.weight))
    assert [name for name, _ in words.named_parameters()] == ["words.weight"]
