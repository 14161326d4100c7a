# SPDX-License-Identifier: Apache-2.0
"""A toy that needs both: a frame says the side, a word says the cause, and both together say whether they fit.

Reports are "the SIDE lobe has CAUSE FIT"; whoever sees one side can only guess the rest.
"""

import dataclasses
from functools import cache

import pytest
import torch
from torch import Tensor

from lib.configs.report import (
    BEGIN,
    END,
    BeamConfig,
    ImageTokensConfig,
    ReportDecoderConfig,
    ReportFusionConfig,
    ReportHeadsConfig,
    ReportNetConfig,
    TextEncoderConfig,
)
from lib.losses.report import class_loss, token_loss
from lib.networks.report_net import ReportInputs, ReportNet

FILLERS, CAUSES, SIDES, FITS = range(4, 10), range(10, 14), range(14, 18), range(18, 20)
THE, LOBE, HAS = 20, 21, 22
SIDE_STEP, CAUSE_STEP = 1, 4
FRAMES, WORDS, FEATURES = 4, 6, 8
pytestmark = pytest.mark.slow
CONFIG = ReportNetConfig(
    dim=32,
    text=TextEncoderConfig(vocabulary_size=23, hash_buckets=0, embedding=24, hidden=16, dropout=0.0),
    image=ImageTokensConfig(features=FEATURES, dropout=0.0),
    heads=ReportHeadsConfig(classes=2, findings=0, dropout=0.0),
    decoder=ReportDecoderConfig(hidden=48, attention_hidden=32, coverage=False, dropout=0.0),
)


@dataclasses.dataclass
class Toy:
    inputs: ReportInputs
    report: Tensor  # (B, 8): BEGIN, six words, END
    fits: Tensor  # (B,)
    frame: Tensor  # (B,), which frame shows the side
    word: Tensor  # (B,), which word is the cause


def toy(n: int, seed: int) -> Toy:
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int, *size: int) -> Tensor:
        return torch.randint(high, size, generator=generator)

    rows = torch.arange(n)
    side, cause, frame, word = draw(4, n), draw(4, n), draw(FRAMES, n), draw(WORDS, n)
    image = 0.1 * torch.randn(n, FRAMES, FEATURES, generator=generator)
    image[rows, frame, side] += 3
    words = FILLERS[0] + draw(len(FILLERS), n, WORDS)
    words[rows, word] = CAUSES[0] + cause
    fits = ((side >= 2) & (cause >= 2)).long()
    columns = [BEGIN, THE, SIDES[0] + side, LOBE, HAS, CAUSES[0] + cause, FITS[0] + fits, END]
    report = torch.stack([c if isinstance(c, Tensor) else torch.full((n,), c) for c in columns], dim=1)
    return Toy(ReportInputs(image=image, words=words), report, fits, frame, word)


@cache
def trained(kind: str) -> ReportNet:
    steps = 110
    torch.manual_seed(0)
    net = ReportNet(dataclasses.replace(CONFIG, fusion=ReportFusionConfig(kind)))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    for step in range(steps):
        data = toy(48, step)
        output = net(data.inputs, data.report[:, :-1])
        loss = token_loss(output.token_logits, data.report[:, 1:], 0.0) + class_loss(output.class_logits, data.fits)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return net.eval()


def exact(net: ReportNet, data: Toy) -> float:
    """Share of reports that are right word for word."""
    _, found = net.write(data.inputs, BeamConfig(beams=2, alternatives=1, max_length=10))
    truth = [tuple(ids[1:-1]) for ids in data.report.tolist()]
    return sum(best.ids == ids for (best,), ids in zip(found, truth, strict=True)) / len(truth)


def test_the_full_net_learns_what_no_twin_can() -> None:
    data = toy(200, 10**6)
    rights = {kind: exact(trained(kind), data) for kind in ("cross_attention", "image_only", "text_only")}
    assert rights["cross_attention"] > 0.9, rights
    assert max(rights["image_only"], rights["text_only"]) < 0.5, rights


def test_attention_points_at_what_decided_the_word() -> None:
    data = toy(200, 10**6)
    with torch.inference_mode():
        output = trained("cross_attention")(data.inputs, data.report[:, :-1])
    assert (output.class_logits.argmax(1) == data.fits).float().mean() > 0.9
    frames, words = output.attention["image"][:, SIDE_STEP], output.attention["words"][:, CAUSE_STEP]
    assert (frames.argmax(1) == data.frame).float().mean() > 0.9
    assert (words.argmax(1) == data.word).float().mean() > 0.9


def test_the_shares_say_where_the_word_comes_from() -> None:
    data = toy(200, 10**6)
    with torch.inference_mode():
        shares = trained("cross_attention")(data.inputs, data.report[:, :-1]).attention["memories"]
    assert (shares[:, SIDE_STEP].argmax(1) == 0).float().mean() > 0.9  # the image
    assert (shares[:, CAUSE_STEP].argmax(1) == 1).float().mean() > 0.9  # the words
