# SPDX-License-Identifier: Apache-2.0
"""`lesionloop bench detector`: its arms, its statistics, its probes, and small runs of it."""

import dataclasses
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from lib.configs import AugmentConfig, NetworkConfig, load_config
from lib.evaluation import probes
from lib.metrics import ScoredBoxes, average_precision, match_boxes
from lib.phantom import head_stack, write_nifti
from lib.trainers import arms as known
from lib.trainers import ladder, retinanet, scoring
from lib.trainers.cases import Case
from lib.types import InputError
from monailabel_app.bench import ladder as studies
from monailabel_app.bench import ladder_tables as tables_of
from monailabel_app.bench import toy
from monailabel_app.cli import app

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = toy.ToySize(steps=3, train=4, test=2, resamples=20, probes=True)


@pytest.mark.parametrize("design", known.MEMORY_ARMS, ids=lambda design: design.name)
def test_every_arm_has_about_as_many_parameters(design):
    config = design.config(toy.toy_model(), 60_000)
    assert known.parameter_count(config) == pytest.approx(60_000, rel=0.05)
    assert config.network.frame_recurrence.cell == design.frame_cell
    assert config.network.map_recurrence.cell == design.map_cell


def test_arms_by_name():
    assert known.chosen_arms([], known.MEMORY_ARMS) == known.MEMORY_ARMS
    chosen = known.chosen_arms(["ConvGRU", "CNN only"], known.MEMORY_ARMS)
    assert [arm.name for arm in chosen] == ["CNN only", "ConvGRU"]
    with pytest.raises(InputError, match="no arm 'CNN'; known: CNN only"):
        known.chosen_arms(["CNN"], known.MEMORY_ARMS)


def boxes(*rows):
    return ScoredBoxes.of([((x, 0, x + 4, 4), 0, score) for x, score in rows], 2)


def sequence(found, truth, patient="A"):
    """Scores of frames, each with its found boxes as (place, score) and the places of its lesions."""
    frames = tuple(
        match_boxes([boxes(*f)], [boxes(*((x, 1.0) for x in t))], [scoring.BOX_IOU])
        for f, t in zip(found, truth, strict=True)
    )
    holds = np.array([bool(t) for t in truth])
    return scoring.SequenceScores(patient, frames, probes.distance_from_end(holds), 16 * holds.astype(np.intp))


def test_average_precision_is_that_of_a_plain_count():
    """Precision at each recall, made non-increasing and read at 0, 0.01 ... 1, counted box by box."""
    rng = np.random.default_rng(0)
    found, truth = [], []
    for _ in range(30):
        places = rng.permutation(6)[:3] * 10
        found.append([(int(x), float(rng.random())) for x in places])
        truth.append([int(x) for x in places[: rng.integers(0, 3)]] + ([90] if rng.random() < 0.3 else []))
    ranked = sorted(((s, x in t) for f, t in zip(found, truth, strict=True) for x, s in f), reverse=True)
    hits = np.cumsum([hit for _, hit in ranked])
    recall, precision = hits / sum(map(len, truth)), hits / np.arange(1, len(hits) + 1)
    read = [
        max((p for r, p in zip(recall, precision, strict=True) if r >= at), default=0) for at in np.arange(101) / 100
    ]
    one = sequence(found, truth)
    assert scoring.box_ap([one]) == pytest.approx(np.mean(read), abs=0.005)
    assert average_precision(list(one.frames), 0) == pytest.approx(scoring.box_ap([one]))


def test_wrong_frames_are_misses_and_false_boxes_above_the_threshold():
    one = sequence(
        [[(0, 0.9)], [(0, 0.3)], [(50, 0.8)], [(50, 0.2)], [], [(0, 0.9), (50, 0.7)]],
        [[0], [0], [0], [], [], [0]],
    )
    assert ladder.wrong_frames(one, 0.5).tolist() == [False, True, True, False, False, True]
    assert ladder.wrong_frames(one, 0.1).tolist() == [False, False, True, True, False, True]
    assert ladder.best_threshold([one]) == pytest.approx(0.9)
    nothing = sequence([[], []], [[], []])
    assert ladder.best_threshold([nothing]) == 1.0
    assert scoring.box_ap([nothing]) is None
    assert ladder.small_lesion_ap([nothing]) is None
    assert not ladder.wrong_frames(nothing, 0.5).any()


def test_distance_from_the_end_of_a_lesion():
    def distance(text):
        return probes.distance_from_end(np.array([c == "x" for c in text])).tolist()

    assert distance("...xxxxx..") == [-3, -2, -1, 0, 1, 2, 1, 0, -1, -2]
    assert distance("xx.x") == [0, 0, -1, 0]
    assert distance("xxx") == [0, 1, 0]
    assert distance("...") == [-3, -3, -3]
    means = probes.mean_by_distance(np.array([1, 0, 1, 1, 0]), np.array([-9, -1, 0, 5, 9]))
    assert means == {-1: (0.0, 1), 0: (1.0, 1), 3: (0.5, 2)}


@pytest.mark.parametrize("n_frames", [1, 2, 7])
@pytest.mark.parametrize("name", probes.CHANGES)
def test_changes_keep_frames_and_masks_together(name, n_frames):
    masks = np.zeros((n_frames, 1, 8, 8), np.uint8)
    for t in range(n_frames):
        masks[t, 0, t, t] = 1
    frames = (10 * masks).astype(np.float16)
    before = frames.copy()
    changed, truth = probes.CHANGES[name](frames, masks, np.random.default_rng(0))
    assert np.array_equal(frames, before)
    assert changed.shape == truth.shape
    assert 1 <= len(changed) <= n_frames
    assert changed.dtype == frames.dtype
    assert truth.dtype == np.uint8
    assert (changed[truth == 1] > 4).all()


def test_the_bootstrap_resamples_items_and_seeds_in_pairs():
    rng = np.random.default_rng(0)
    base = rng.normal(0.5, 0.2, (4, 30))
    arms = [ladder.ArmRuns(n, tuple(map(tuple, base + s))) for n, s in (("a", 0.0), ("b", 0.1))]
    bootstrap = ladder.LadderBootstrap(arms, lambda items: float(np.mean(items)), 200)
    difference = bootstrap.difference("b", "a")
    assert difference.mean == pytest.approx(0.1)
    assert difference.ci95 == pytest.approx((0.1, 0.1))
    low, high = bootstrap.interval("a")
    assert low < base.mean() < high
    assert ladder.LadderBootstrap(arms, lambda items: None, 5).interval("a") is None
    with pytest.raises(InputError, match="as many runs"):
        ladder.LadderBootstrap([arms[0], ladder.ArmRuns("c", arms[1].runs[:2])], np.mean, 5)
    with pytest.raises(InputError, match="as many runs"):
        ladder.LadderBootstrap([], np.mean, 5)


def test_a_tiny_toy_benchmark_gives_all_tables():
    arms = known.chosen_arms(["CNN only", "BiLSTM"], known.MEMORY_ARMS)
    runs = toy.benchmark_toy(range(2), arms, TINY, processes=1)
    assert [(run.arm, run.seed) for run in runs] == [(arm.name, seed) for seed in range(2) for arm in arms]
    for table in (toy.toy_table(runs, TINY.resamples), toy.end_table(runs), toy.probe_table(runs)):
        assert len(table.splitlines()) == 4
    again = toy.run_toy(arms[1], 1, TINY)
    assert scoring.box_ap(again.scores) == scoring.box_ap(runs[3].scores)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two patients to train on, two to judge on."""
    found = []
    for name, seeds in (("train", (1, 2)), ("val", (3, 4))):
        folder = tmp_path_factory.mktemp(name)
        for seed in seeds:
            stack = head_stack(seed, n_frames=6, size=48, spacing_mm=(4.0, 4.0, 12.0), n_lesions=2)
            write_nifti(stack, folder / f"P{seed}.nii.gz", folder / "labels" / "final" / f"P{seed}.nii.gz")
        found.append(folder)
    return found


def small_model():
    config = load_config(CONFIGS / "mr_lesion_segmentation.yaml")
    maps = dataclasses.replace(config.network.map_recurrence, level=1)
    network = NetworkConfig(channels=(8, 8, 16), norm_groups=4, map_recurrence=maps)
    training = dataclasses.replace(config.training, steps_per_epoch=2, window=4, size_px=48)
    return dataclasses.replace(
        config, network=network, training=training, input=dataclasses.replace(config.input, spacing_mm=4.0)
    )


def test_a_tiny_ladder_on_studies_is_kept_and_read_again(folders, tmp_path):
    arms = (*known.MEMORY_ARMS[:2], known.MEMORY_ARMS[7], *known.PEER_ARMS)
    settings = studies.StudiesSettings((folders[0],), folders[1], tmp_path, 1.0, 20_000, probes=True, resamples=10)
    runs = studies.benchmark_studies(small_model(), settings, [0], arms, processes=1)
    tables = tables_of.studies_tables(runs, settings.resamples)
    assert tables.count("| ConvGRU |") == tables.count("| MONAI 3D UNet |") == tables.count("| MONAI RetinaNet |") == 3
    assert tables.count("less CNN only") == 1
    boxes_only = [line.split("|") for line in tables.splitlines() if line.startswith("| MONAI RetinaNet")]
    assert [row[3].strip() for row in boxes_only[:1]] + [row[2].strip() for row in boxes_only[1:]] == ["-"] * 3
    assert toy.probe_table(runs).count("ConvGRU") == 1
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written[:2] == ["cnn_only_seed0.json", "cnn_only_seed0.safetensors"]
    again = studies.benchmark_studies(small_model(), settings, [0], arms, processes=1)
    assert tables_of.studies_tables(again, settings.resamples) == tables
    assert toy.end_table(again) == toy.end_table(runs)
    other = dataclasses.replace(settings, cpu_seconds=2.0)
    with pytest.raises(InputError, match="other settings; choose another output folder"):
        studies.benchmark_studies(small_model(), other, [0], arms, processes=1)
    (tmp_path / "cnn_only_seed0.json").write_text("{")
    with pytest.raises(InputError, match="delete it to have the run done again"):
        studies.benchmark_studies(small_model(), settings, [0], arms, processes=1)


def test_a_patient_must_not_be_on_both_sides(folders, tmp_path):
    settings = studies.StudiesSettings((folders[0],), folders[0], tmp_path, 1.0)
    with pytest.raises(InputError, match="the training studies have P1, P2 too"):
        studies.benchmark_studies(small_model(), settings, [0], known.MEMORY_ARMS[:1], processes=1)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory, folders):
    """The same patients with two channels."""
    made = []
    for folder in folders:
        copy = tmp_path_factory.mktemp("two") / folder.name
        shutil.copytree(folder, copy)
        for file in copy.glob("*.nii.gz"):
            image = nib.load(file)
            pixels = np.stack([image.get_fdata(), np.sqrt(image.get_fdata())], axis=-1)
            nib.save(nib.Nifti1Image(pixels.astype(np.float32), image.affine), file)
        made.append(copy)
    return made


def without_a_channel(folder, name):
    """Another patient, of whom the first channel was not acquired."""
    image = nib.load(sorted(folder.glob("*.nii.gz"))[0])
    pixels = image.get_fdata(dtype=np.float32).copy()
    pixels[..., 0] = 0
    nib.save(nib.Nifti1Image(pixels, image.affine), folder / f"{name}.nii.gz")
    labels = folder / "labels" / "final"
    shutil.copy(sorted(labels.glob("*.nii.gz"))[0], labels / f"{name}.nii.gz")


def test_a_tiny_ladder_of_channels_takes_each_away(coloured, tmp_path):
    config = small_model()
    config = dataclasses.replace(
        config,
        input=dataclasses.replace(config.input, channels=("t1", "flair"), reference="flair"),
        network=dataclasses.replace(config.network, in_channels=2),
    )
    arms = known.chosen_arms(
        ["t1 alone", "all, one stem", "all, additive attention, dropout"], known.channel_arms(("t1", "flair"))
    )
    whole = {file.name.removesuffix(".nii.gz") for file in coloured[1].glob("*.nii.gz")}
    without_a_channel(coloured[1], "P9")
    settings = studies.StudiesSettings((coloured[0],), coloured[1], tmp_path, 1.0, 20_000, missing=True, resamples=10)
    runs = studies.benchmark_studies(config, settings, [0], arms, processes=1)
    assert [sorted(run.without) for run in runs] == [[], ["flair", "t1"], ["flair", "t1"]]
    assert {case.image for run in runs for case in run.cases} == whole
    table = tables_of.missing_table(runs)
    assert "t1 alone" not in table
    assert table.count("| all, ") == 2
    assert "less t1 alone" in tables_of.studies_tables(runs, settings.resamples)
    again = studies.benchmark_studies(config, settings, [0], arms, processes=1)
    assert tables_of.missing_table(again) == table


def test_channels_need_a_model_of_several():
    with pytest.raises(InputError, match="needs a model of several"):
        known.channel_arms(("flair",))


@pytest.mark.parametrize("arm", [*known.PEER_ARMS, *known.channel_arms(("t1", "flair"))], ids=lambda arm: arm.name)
def test_peers_and_channel_arms_have_about_as_many_parameters(arm):
    config = load_config(CONFIGS / "mr_lesion_segmentation.yaml")
    channels = dataclasses.replace(config.input, channels=("t1", "flair"))
    config = dataclasses.replace(config, input=channels, network=dataclasses.replace(config.network, in_channels=2))
    assert known.parameter_count(arm.config(config, 1_600_000)) == pytest.approx(1_600_000, rel=0.1)


def test_retinanet_learns_a_bright_square():
    """Frames of noise with one bright square: after some steps the best box of each frame lies on it."""
    rng = np.random.default_rng(0)
    frames, masks = rng.normal(0, 0.3, (24, 1, 64, 64)), np.zeros((24, 1, 64, 64), np.uint8)
    for t, (x, y) in enumerate(rng.integers(4, 44, (24, 2))):
        masks[t, 0, y : y + 14, x : x + 14] = 1
    frames += 3 * masks
    case = Case("a", "a", frames.astype(np.float16), masks)
    config = known.PEER_ARMS[1].config(small_model(), 60_000)
    still = AugmentConfig(flip=0, reverse=0, affine=0, contrast=0, intensity=0, noise_std=0, blur=0)
    training = dataclasses.replace(
        config.training,
        window=8,
        size_px=64,
        learning_rate=3e-3,
        ema_decay=0.9,
        augment=still,
        max_epochs=1,
        steps_per_epoch=30,
    )
    config = dataclasses.replace(config, training=training)
    network = retinanet.fit_retinanet(known.arm_network(config), [case], config, cpu_budget_s=None)
    predictor = retinanet.RetinaNetPredictor(config, network)
    assert scoring.box_ap([scoring.score_sequence(predictor, case)]) > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arm", "GRU"], "no arm 'GRU'"),
        (["--studies", "x"], "--studies and --val go together"),
        (["--set", "training.seed=1"], "--set and --channels are for a benchmark on studies"),
        (["--channels"], "--set and --channels are for a benchmark on studies"),
        (["--channels", "--studies", "x", "--val", "y"], "needs a model of several"),
        (["--studies", "x", "--val", "y"], "no image with a mask"),
    ],
)
def test_wrong_options(options, message, tmp_path):
    found = CliRunner().invoke(app, ["bench", "detector", "--output", str(tmp_path), *options]).exception
    assert isinstance(found, InputError)
    assert message in str(found)
