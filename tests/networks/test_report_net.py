# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from lib.configs import FrameRecurrenceConfig
from lib.configs.report import (
    BEGIN,
    END,
    PAD,
    UNKNOWN,
    BeamConfig,
    ImageTokensConfig,
    ReportDecoderConfig,
    ReportFusionConfig,
    ReportHeadsConfig,
    ReportNetConfig,
    TextEncoderConfig,
    report_twin,
)
from lib.networks.image_tokens import frame_positions, token_regions
from lib.networks.report_net import ReportInputs, ReportNet, ReportOutput
from lib.types import InputError

FUSIONS = ("image_only", "text_only", "concat", "gated", "low_rank_bilinear", "cross_attention")
TWO_SIDED = FUSIONS[2:]
TWINS = ("full", "cnn", "bilstm", "attention")
B, T, L, M, S, V, F = 3, 4, 6, 2, 5, 30, 4
SMALL = ReportNetConfig(
    dim=16,
    text=TextEncoderConfig(vocabulary_size=V, hash_buckets=12, embedding=10, hidden=6),
    image=ImageTokensConfig(features=7, channels=(4, 8, 8), norm_groups=4, grids=(3, 2)),
    fusion=ReportFusionConfig(rank=6, heads=2),
    heads=ReportHeadsConfig(classes=3, findings=F, attention=True),
    decoder=ReportDecoderConfig(hidden=12, attention_hidden=8, prompt=5, lesion_features=3),
)
BEAM = BeamConfig(beams=2, alternatives=2, max_length=6)


def config(
    fusion: str = "cross_attention", kind: str = "frames", attention: str = "additive", **decoder: object
) -> ReportNetConfig:
    return dataclasses.replace(
        SMALL,
        fusion=dataclasses.replace(SMALL.fusion, kind=fusion),
        text=dataclasses.replace(SMALL.text, attention=attention),
        image=dataclasses.replace(SMALL.image, kind=kind, attention=attention),
        decoder=dataclasses.replace(SMALL.decoder, attention=attention, **decoder),
    )


def network(of: ReportNetConfig | None = None, seed: int = 0) -> ReportNet:
    torch.manual_seed(seed)
    net = ReportNet(config() if of is None else of).eval()
    with torch.no_grad():  # coverage starts at zero; here it is to take part
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def inputs(kind: str = "frames", seed: int = 0) -> ReportInputs:
    generator = torch.Generator().manual_seed(seed)
    shape = (B, T, 7) if kind == "frames" else (B, T, 1, 16, 24)
    words = torch.randint(4, V, (B, L), generator=generator)
    words[1, 4:] = PAD
    words[2, 1] = UNKNOWN
    groups = torch.full((B, L, 3), -1)
    groups[2, 1, :2] = torch.tensor([3, 9])
    return ReportInputs(
        image=torch.randn(*shape, generator=generator),
        image_mask=torch.tensor([[True] * 4, [True] * 2 + [False] * 2, [True] * 3 + [False]]),
        words=words,
        groups=groups,
        lesions=torch.randn(B, M, 3, generator=generator),
        lesion_mask=torch.tensor([[True, True], [True, False], [False, False]]),
    )


def reports(seed: int = 0) -> Tensor:
    ids = torch.randint(4, V, (B, S), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = BEGIN
    return ids


def tensors(output: ReportOutput, rows: slice = slice(None)) -> dict[str, Tensor]:
    """What must not depend on padding: everything but the weights of the padding itself."""
    found = {"class": output.class_logits, "findings": output.finding_logits, "context": output.context}
    found |= {"tokens": output.token_logits, "share": output.image_share}
    return {name: one[rows] for name, one in found.items() if one is not None}


def assert_same(mine: ReportOutput, its: ReportOutput, rows: slice = slice(None)) -> None:
    first, second = tensors(mine, rows), tensors(its, rows)
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-4, msg=name)


def differs(mine: ReportOutput, its: ReportOutput) -> bool:
    return not torch.allclose(mine.token_logits, its.token_logits, atol=1e-4)


# --- shapes


@pytest.mark.parametrize("kind", ["frames", "grid"])
@pytest.mark.parametrize("attention", ["none", "additive", "scaled_dot_product"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_shapes_and_attention(fusion: str, attention: str, kind: str) -> None:
    tokens = T if kind == "frames" else T * (9 + 4)
    given = inputs(kind)
    output = network(config(fusion, kind, attention))(given, reports())
    assert output.class_logits.shape == (B, 3)
    assert output.finding_logits.shape == (B, F)
    assert output.token_logits.shape == (B, S, V)
    sizes = {"image": tokens, "words": L, "lesions": M}
    absent = {"image_only": "words", "text_only": "image"}.get(fusion)
    sizes = {name: size for name, size in sizes.items() if name != absent}
    assert {k: v.shape for k, v in output.attention.items()} == {
        **{name: (B, S, size) for name, size in sizes.items()},
        "memories": (B, S, len(sizes)),
    }
    assert (output.image_weights is None) == (fusion == "text_only")
    assert (output.word_weights is None) == (fusion == "image_only")
    assert (output.image_share is None) == (fusion not in ("gated", "cross_attention"))
    masks = {
        "image": given.image_mask.repeat_interleave(tokens // T, dim=1),
        "words": given.words != PAD,
        "lesions": given.lesion_mask,
    }
    for name in sizes:
        weights, mask = output.attention[name], masks[name]
        assert not weights.movedim(1, 2)[~mask].any()
        torch.testing.assert_close(weights.sum(-1), mask.any(1, keepdim=True).float().expand(B, S))
    torch.testing.assert_close(output.attention["memories"].sum(-1), torch.ones(B, S))
    assert not output.attention["memories"][2, :, -1].any()  # the third study has no lesion


@pytest.mark.parametrize("kind", ["frames", "grid"])
@pytest.mark.parametrize("name", TWINS)
def test_twins_differ_in_what_they_see_and_how(name: str, kind: str) -> None:
    twin = report_twin(config(kind=kind), name)
    net = network(twin)
    output = net(inputs(kind), reports())
    assert output.token_logits.shape == (B, S, V)
    assert (net.image_tokens is not None) == (name in ("full", "cnn"))
    assert (net.text_encoder is not None) == (name != "cnn")
    assert (net.text_encoder is not None and net.text_encoder.lstm is not None) == (name in ("full", "bilstm"))
    if name in ("cnn", "bilstm"):
        memory = "image" if name == "cnn" else "words"
        weights = output.attention[memory][0]
        torch.testing.assert_close(weights, torch.full_like(weights, 1 / weights.shape[-1]))


def test_boxes_and_masks_come_from_the_pyramid() -> None:
    heads = dataclasses.replace(SMALL.heads, boxes=True, masks=True, lesion_classes=2)
    full = dataclasses.replace(config(kind="grid"), heads=heads)
    net, given = network(full), inputs("grid")
    output = net(given)
    stride = net.image_tokens.stride
    assert output.mask_logits.shape == (B, T, 2, 16, 24)
    assert output.boxes.heatmap_logits.shape == (B, T, 2, 16 // stride, 24 // stride)
    assert output.boxes.stride == stride
    assert output.token_logits is None
    assert net(dataclasses.replace(given, image=None)).mask_logits is None
    for name in ("bilstm", "attention"):
        assert not report_twin(full, name).heads.boxes
    with pytest.raises(ValueError, match="need image"):
        dataclasses.replace(config(), heads=heads)


def test_heads_and_decoder_can_be_left_out() -> None:
    bare = dataclasses.replace(SMALL, heads=ReportHeadsConfig(classes=0, findings=0), decoder=None)
    net = network(bare)
    output = net(inputs(), reports())
    assert output.class_logits is None
    assert output.finding_logits is None
    assert output.token_logits is None
    with pytest.raises(InputError, match="decoder null"):
        net.write(inputs(), BEAM)


def test_each_finding_has_its_own_evidence() -> None:
    given = inputs()
    attention = network()(given).finding_attention
    assert {name: weights.shape for name, weights in attention.items()} == {"image": (B, F, T), "words": (B, F, L)}
    for name, mask in (("image", given.image_mask), ("words", given.words != PAD)):
        torch.testing.assert_close(attention[name].sum(-1), torch.ones(B, F))
        assert not attention[name].masked_select(~mask[:, None]).any()
    blind = network()(dataclasses.replace(given, image=None)).finding_attention
    assert not blind["image"].any()
    assert not network(report_twin(config(), "bilstm"))(given).finding_attention
    assert list(network(report_twin(config(), "attention"))(given).finding_attention) == ["words"]


def test_the_image_memory_may_recur() -> None:
    image = dataclasses.replace(SMALL.image, recurrence=FrameRecurrenceConfig(cell="lstm", hidden=5))
    net = network(dataclasses.replace(SMALL, image=image))
    given = inputs()
    assert_same(net(given, reports()), net(dataclasses.replace(given, image=_spoiled(given)), reports()))


def test_a_default_model_is_small() -> None:
    sizes = {}
    for kind in ("frames", "grid"):
        image = ImageTokensConfig(kind=kind)
        decoder = ReportDecoderConfig(lesion_features=16)
        sizes[kind] = sum(p.numel() for p in ReportNet(ReportNetConfig(image=image, decoder=decoder)).parameters())
    assert max(sizes.values()) <= 3_000_000, sizes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: ReportNetConfig(dim=30), "no divisor"),
        (lambda: ImageTokensConfig(grids=()), "one per level"),
        (lambda: ImageTokensConfig(channels=(8,), grids=(4, 2)), "one per level"),
        (lambda: BeamConfig(min_length=5, max_length=4), "above max_length"),
        (lambda: BeamConfig(beams=1, alternatives=2), "as many beams"),
        (lambda: BeamConfig(forbidden=(PAD, END)), "end of a report"),
        (lambda: ReportNet(SMALL)(ReportInputs()), "none of them"),
    ],
)
def test_configs_that_cannot_work_say_why(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change()


# --- padding and what is missing


def _spoiled(given: ReportInputs) -> Tensor:
    """The images with nonsense in the frames that are not there."""
    nonsense = torch.full_like(given.image, float("nan"))
    shape = (*given.image_mask.shape, *[1] * (given.image.ndim - 2))
    return torch.where(given.image_mask.reshape(shape), given.image, nonsense)


@pytest.mark.parametrize("kind", ["frames", "grid"])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_padding_changes_nothing(fusion: str, kind: str, seed: int) -> None:
    net, given, ids = network(config(fusion, kind), seed), inputs(kind, seed), reports(seed)
    lesions = torch.where(given.lesion_mask[..., None], given.lesions, torch.full_like(given.lesions, float("nan")))

    def longer(x: Tensor, value: float) -> Tensor:
        return torch.cat([x, torch.full_like(x[:, :1], value)], dim=1)

    padded = dataclasses.replace(
        given,
        image=longer(_spoiled(given), 1e3),
        image_mask=longer(given.image_mask, False),
        words=longer(given.words, PAD),
        groups=longer(given.groups, 5),
        lesions=longer(lesions, 1e3),
        lesion_mask=longer(given.lesion_mask, False),
    )
    assert_same(net(given, ids), net(padded, ids))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_study_is_read_alike_alone_and_in_a_batch(fusion: str) -> None:
    net, given, ids = network(config(fusion)), inputs(), reports()
    row = slice(1, 2)  # two frames, four words, one lesion
    alone = ReportInputs(
        given.image[row, :2],
        None,
        given.words[row, :4],
        given.groups[row, :4],
        given.lesions[row, :1],
    )
    mine, its = tensors(net(alone, ids[row])), tensors(net(given, ids), row)
    for name in mine:
        torch.testing.assert_close(mine[name], its[name], atol=1e-5, rtol=1e-4, msg=name)


def test_later_words_of_a_report_change_nothing_before_them() -> None:
    net, given, ids = network(), inputs(), reports()
    other = ids.clone()
    other[:, 3:] = PAD
    torch.testing.assert_close(net(given, ids).token_logits[:, :3], net(given, other).token_logits[:, :3])


@pytest.mark.parametrize("kind", ["frames", "grid"])
@pytest.mark.parametrize("fusion", TWO_SIDED)
def test_without_an_image_the_text_decides_and_the_other_way_round(fusion: str, kind: str) -> None:
    net, given, other, ids = network(config(fusion, kind)), inputs(kind), inputs(kind, 1), reports()
    none, missing = torch.zeros(B, T, dtype=torch.bool), torch.full_like(given.words, PAD)
    for blind in (dataclasses.replace(given, image=None), dataclasses.replace(given, image_mask=none)):
        blind_output = net(blind, ids)
        assert torch.isfinite(blind_output.token_logits).all()
        assert_same(blind_output, net(dataclasses.replace(blind, image=other.image, image_mask=none), ids))
        assert differs(blind_output, net(dataclasses.replace(blind, words=other.words), ids))
        assert not blind_output.attention["memories"][..., 0].any()
    for silent in (dataclasses.replace(given, words=None), dataclasses.replace(given, words=missing)):
        silent_output = net(silent, ids)
        assert torch.isfinite(silent_output.token_logits).all()
        assert_same(silent_output, net(dataclasses.replace(silent, groups=other.groups), ids))
        assert differs(silent_output, net(dataclasses.replace(silent, image=other.image), ids))
        assert not silent_output.attention["memories"][..., 1].any()
    if fusion in ("gated", "cross_attention"):
        assert blind_output.image_share.tolist() == [0.0] * B
        assert silent_output.image_share.tolist() == [1.0] * B


@pytest.mark.parametrize("fusion", TWO_SIDED)
def test_what_is_missing_in_one_study_leaves_the_others_alone(fusion: str) -> None:
    net, given, ids = network(config(fusion)), inputs(), reports()
    mask = given.image_mask.clone()
    mask[0] = False
    words = given.words.clone()
    words[0] = PAD
    hollow = net(dataclasses.replace(given, image_mask=mask, words=words), ids)
    assert torch.isfinite(hollow.token_logits).all()
    assert_same(net(given, ids), hollow, slice(1, None))


@pytest.mark.parametrize("fusion", TWO_SIDED)
def test_missing_sides_leave_gradients_finite(fusion: str) -> None:
    net, given = network(config(fusion)), inputs()
    given = dataclasses.replace(given, image_mask=torch.zeros(B, T, dtype=torch.bool), lesions=None)
    output = net(given, reports())
    (output.token_logits.square().mean() + output.class_logits.square().mean()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


# --- learning


@pytest.mark.parametrize("attention", ["none", "additive", "scaled_dot_product"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_parameter_learns(fusion: str, attention: str) -> None:
    _assert_every_parameter_learns(config(fusion, "frames", attention), "frames")


@pytest.mark.parametrize("kind", ["frames", "grid"])
@pytest.mark.parametrize("name", TWINS)
def test_every_parameter_of_the_twins_learns(name: str, kind: str) -> None:
    _assert_every_parameter_learns(report_twin(config(kind=kind, layers=2), name), kind)


def _assert_every_parameter_learns(of: ReportNetConfig, kind: str) -> None:
    net = network(of)
    output = net(inputs(kind), reports())
    terms = (output.token_logits, output.class_logits, output.finding_logits)
    sum(term.log_softmax(-1).square().mean() for term in terms).backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # the same bias on every key changes no softmax
    assert not [name for name in idle if not (of.decoder.attention == "scaled_dot_product" and "key.bias" in name)]


def test_the_words_loss_leaves_the_findings_head_alone() -> None:
    net = network()
    net(inputs(), reports()).token_logits.square().mean().backward()
    assert all(parameter.grad is None for parameter in net.finding_head.parameters())


# --- prompts


def test_findings_and_lesions_prompt_the_decoder() -> None:
    net, given, ids = network(), inputs(), reports()
    plain = net(given, ids)
    predicted = torch.sigmoid(plain.finding_logits)
    assert_same(plain, net(dataclasses.replace(given, findings=predicted.detach()), ids))
    assert_same(plain, net(dataclasses.replace(given, findings=torch.full((B, F), math.nan)), ids))
    assert differs(plain, net(dataclasses.replace(given, findings=(predicted < 0.5).float()), ids))
    assert differs(plain, net(dataclasses.replace(given, lesions=given.lesions + 1), ids))
    assert differs(plain, net(dataclasses.replace(given, lesions=None), ids))


def test_without_prompts_neither_changes_a_word() -> None:
    net, given, ids = network(config(findings_prompt=False, lesion_features=0)), inputs(), reports()
    plain = net(given, ids)
    assert_same(plain, net(dataclasses.replace(given, findings=torch.ones(B, F), lesions=None), ids))
    assert "lesions" not in plain.attention


def test_the_order_of_lesions_does_not_matter() -> None:
    net, given, ids = network(), inputs(), reports()
    turned = dataclasses.replace(given, lesions=given.lesions.flip(1), lesion_mask=given.lesion_mask.flip(1))
    assert_same(net(given, ids), net(turned, ids))


def test_coverage_counts_only_where_it_is_switched_on() -> None:
    for coverage in (True, False):
        decoder = network(config(coverage=coverage)).decoder
        for attention in decoder.attentions.values():
            assert (attention.covered is not None) == coverage


# --- step by step


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("attention", ["none", "additive", "scaled_dot_product"])
def test_steps_give_what_teacher_forcing_gives(attention: str, layers: int) -> None:
    net, given, ids = network(config(attention=attention, layers=layers)), inputs(), reports()
    whole = net(given, ids)
    _, source = net._read(given)
    state = net.decoder.initial_state(source)
    for s in range(S):
        logits, state, seen = net.decoder.step(net.embedding, ids[:, s], state, source)
        torch.testing.assert_close(logits, whole.token_logits[:, s], atol=1e-5, rtol=1e-5)
        assert seen.keys() == whole.attention.keys()
        for name, weights in seen.items():
            torch.testing.assert_close(weights, whole.attention[name][:, s], atol=1e-5, rtol=1e-5)


def test_rows_of_a_state_can_be_chosen() -> None:
    net, given = network(), inputs()
    _, source = net._read(given)
    rows = torch.tensor([2, 0])
    ids = torch.tensor([7, 8, 9])
    _, state, _ = net.decoder.step(net.embedding, torch.full((B,), BEGIN), net.decoder.initial_state(source), source)
    whole, _, _ = net.decoder.step(net.embedding, ids, state, source)
    chosen = dataclasses.replace(
        given,
        **{
            name: getattr(given, name)[rows]
            for name in ("image", "image_mask", "words", "groups", "lesions", "lesion_mask")
        },
    )
    _, its = net._read(chosen)
    part, _, _ = net.decoder.step(net.embedding, ids[rows], state.select(rows), its)
    torch.testing.assert_close(part, whole[rows], atol=1e-5, rtol=1e-5)


def test_a_greedy_report_is_what_teacher_forcing_would_choose() -> None:
    net, given = network(), inputs()
    greedy = BeamConfig(beams=1, alternatives=1, max_length=5, min_length=0, block_ngram=0, forbidden=())
    output, found = net.write(given, greedy)
    assert output.token_logits is None
    for row, (best,) in enumerate(found):
        ids = torch.tensor([[BEGIN, *best.ids]]).expand(B, -1)
        whole = net(given, ids)
        choice = whole.token_logits[row].argmax(-1).tolist()
        assert choice[: len(best.ids)] == list(best.ids)
        if len(best.ids) < 5:
            assert choice[-1] == END
        chances = whole.token_logits[row].log_softmax(-1)[range(len(best.ids)), list(best.ids)]
        torch.testing.assert_close(best.log_probabilities, chances, atol=1e-5, rtol=1e-4)
        for name, weights in best.attention.items():
            torch.testing.assert_close(weights, whole.attention[name][row, :-1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_reports_are_written_alike_alone_and_in_a_batch(fusion: str) -> None:
    net, given = network(config(fusion)), inputs()
    _, together = net.write(given, BEAM)
    _, again = net.write(given, BEAM)
    for row, (mine, its) in enumerate(zip(together, again, strict=True)):
        assert [one.ids for one in mine] == [one.ids for one in its]
        one_row = slice(row, row + 1)
        values = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
        alone = ReportInputs(**{name: None if x is None else x[one_row] for name, x in values.items()})
        _, (single,) = net.write(alone, BEAM)
        assert [one.ids for one in mine] == [one.ids for one in single]
        assert [one.score for one in mine] == pytest.approx([one.score for one in single], abs=1e-4)


# --- positions


def test_frames_know_where_they_are() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    positions = frame_positions(mask)
    torch.testing.assert_close(positions[0, 0], positions[1, 0])
    torch.testing.assert_close(positions[0, -1], frame_positions(torch.ones(1, 5, dtype=torch.bool))[0, -1])
    assert torch.isfinite(positions).all()
    assert all(not torch.allclose(a, b) for a, b in itertools.combinations(positions[0], 2))


def test_token_regions_tile_each_level() -> None:
    regions = token_regions((4, 2))
    assert regions.shape == (20, 4)
    assert regions[1].tolist() == [0.25, 0, 0.5, 0.25]  # the second token is to the right of the first
    areas = (regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1])
    assert areas[:16].sum() == pytest.approx(1)
    assert areas[16:].sum() == pytest.approx(1)
