# SPDX-License-Identifier: Apache-2.0
import datetime
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lib.configs import InputConfig
from lib.datastore.local import LocalStore
from lib.dicom.write import Subject, write_mr_series
from lib.phantom import head_stack
from lib.transforms.channels import ChannelImage, by_channel, channel_of, check_required, together, without_absent
from lib.transforms.load import load_sequence, load_study
from lib.types import InputError, Sequence, SequenceKind

MR = InputConfig(
    channels=("t1", "flair", "t1ce"),
    channel_patterns={"t1": "t1", "flair": "flair|dark.?fluid", "t1ce": r"t1.*(gd|post|\+c|contrast)|t1ce"},
    reference="flair",
)
AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])
DAY = datetime.date(2020, 1, 1)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """(T, H, W) of a head."""
    return head_stack(1, n_frames=6, size=48, spacing_mm=(4.0, 4.0, 10.0)).image


def sequence(*channels: np.ndarray, affine: np.ndarray = AFFINE) -> Sequence:
    frames = np.stack(channels, axis=1).astype(np.float32)
    return Sequence(
        frames,
        SequenceKind.STACK,
        tuple(5.0 * t for t in range(len(frames))),
        (2.0, 2.0),
        affine,
        tuple(f"c{i}" for i in range(len(channels))),
        (True,) * len(channels),
    )


def noise(seed: int, shape: tuple[int, int, int] = (4, 12, 10)) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def dicom(folder: Path, volume: np.ndarray, description: str, **changes) -> Path:
    subject = Subject(changes.pop("patient_id", "P1"), changes.pop("study_date", DAY), series_description=description)
    where = {"spacing_mm": (4.0, 4.0, 10.0), "origin_lps_mm": (-96.0, -96.0, -30.0), **changes}
    write_mr_series(volume.astype(np.uint16), folder, subject, **where)
    return folder


# --- names


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("MR Ax T1", "t1"),
        ("MR AX T1 POST GD", "t1ce"),
        ("MR t2_spc_dark-fluid_sag", "flair"),
        ("MR Ax T2", None),
        ("P7_t1ce.nii.gz", "t1ce"),
        ("P7_T1.nii.gz", "t1"),
        ("", None),
    ],
)
def test_the_longest_match_names_the_channel(text: str, channel: str | None) -> None:
    assert channel_of(text, MR) == channel


def test_without_a_pattern_a_channel_has_its_name_as_a_word() -> None:
    plain = InputConfig(channels=("t1", "t1ce", "c+"))
    assert channel_of("case_T1.nii", plain) == "t1"
    assert channel_of("case_t1ce.nii", plain) == "t1ce"
    assert channel_of("case_t12.nii", plain) is None
    assert channel_of("case_c+.nii", plain) == "c+"


def test_the_first_of_two_for_a_channel_is_taken_and_the_other_reported() -> None:
    named = by_channel([("flair ax", 1), ("t2", 2), ("flair sag", 3)], MR)
    assert named.items == {"flair": 1}
    assert named.problems == ("Left out 'flair sag': channel 'flair' is 'flair ax'.",)


@pytest.mark.parametrize(
    "values",
    [
        {"reference": "t2"},
        {"channel_patterns": {"t2": "t2"}},
        {"channel_patterns": {"t1": "("}},
        {"required": ("t2",)},
        {"channels": ("t1", "t1")},
        {"channels": ()},
    ],
)
def test_channels_that_cannot_be_are_refused(values: dict) -> None:
    with pytest.raises(ValueError, match=r"channel|regular"):
        InputConfig(**{"channels": ("t1", "flair"), **values})


# --- one file


def save(path: Path, *channels: np.ndarray) -> Path:
    array = np.stack([c.transpose(2, 1, 0) for c in channels], axis=-1)
    nibabel.save(nibabel.Nifti1Image(array[..., 0] if len(channels) == 1 else array, AFFINE), path)
    return path


def test_a_copy_and_a_constant_are_missing_channels(tmp_path: Path) -> None:
    flair = noise(0)
    study = load_study(save(tmp_path / "a.nii.gz", np.full_like(flair, 7), flair, flair), MR)
    assert study.sequence.channels == MR.channels
    assert study.sequence.channel_present == (False, True, False)
    assert not study.sequence.frames[:, [0, 2]].any()
    np.testing.assert_array_equal(study.sequence.frames[:, 1], flair)
    assert study.problems == (
        "Channel 't1' has one value throughout: taken as missing.",
        "Channel 't1ce' is a copy of 'flair': taken as missing.",
    )


def test_of_copies_the_reference_stays_and_an_empty_image_keeps_a_channel() -> None:
    same = noise(0)
    found, _ = without_absent(sequence(same, same, same), MR)
    assert found.channel_present == (False, True, False)
    found, _ = without_absent(sequence(same, noise(1), same), MR)
    assert found.channel_present == (True, True, False)
    found, _ = without_absent(sequence(*[np.zeros((2, 4, 4), np.float32)] * 3), MR)
    assert sum(found.channel_present) == 1
    image = sequence(noise(0), noise(1), noise(2))
    assert without_absent(image, MR) == (image, ())


def test_a_file_of_one_channel_is_the_channel_that_its_name_says(tmp_path: Path) -> None:
    flair = noise(0)
    study = load_study(save(tmp_path / "P1_flair.nii.gz", flair), MR)
    assert study.sequence.channel_present == (False, True, False)
    np.testing.assert_array_equal(study.sequence.frames[:, 1], flair)
    assert study.problems == ("Channel 't1' is missing.", "Channel 't1ce' is missing.")
    with pytest.raises(InputError, match=r"expects a volume .* with 3 channel"):
        load_study(save(tmp_path / "P1.nii.gz", flair), MR)


def test_a_model_is_kept_from_images_that_lack_what_it_needs(tmp_path: Path) -> None:
    needs = replace(MR, required=("t1", "flair"))
    study = load_study(save(tmp_path / "a.nii.gz", noise(0), noise(1), np.zeros_like(noise(2))), needs)
    check_required(study.sequence, needs)
    check_required(replace(study.sequence, channel_present=(False, False, True)), MR)
    with pytest.raises(InputError, match=r"not made for studies without t1$"):
        check_required(replace(study.sequence, channel_present=(False, True, True)), needs)
    with pytest.raises(InputError, match=r"not made for studies without t1 and flair$"):
        check_required(replace(study.sequence, channel_present=(False, False, True)), needs)


# --- a folder of files


def test_files_of_a_folder_come_to_the_grid_of_the_reference(tmp_path: Path) -> None:
    flair, t1 = noise(0), noise(1, (4, 24, 20))
    save(tmp_path / "P1_flair.nii.gz", flair)
    fine = AFFINE @ np.diag([0.5, 0.5, 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(t1.transpose(2, 1, 0), fine), tmp_path / "P1_t1.nii.gz")
    save(tmp_path / "P1_t2.nii.gz", noise(3))
    study = load_study(tmp_path, MR)
    assert study.sequence.frames.shape == (4, 3, 12, 10)
    assert study.sequence.channel_present == (True, True, False)
    np.testing.assert_array_equal(study.sequence.frames[:, 1], flair)
    np.testing.assert_allclose(study.sequence.frames[:, 0], t1[:, ::2, ::2], rtol=1e-4)
    assert study.problems == ("Channel 't1' was resampled.", "Channel 't1ce' is missing.")


def test_a_folder_without_any_channel_is_named(tmp_path: Path) -> None:
    save(tmp_path / "P1_t2.nii.gz", noise(3))
    with pytest.raises(InputError, match=r"no DICOM image, and no image file that names a channel"):
        load_study(tmp_path, MR)


# --- DICOM


def test_series_of_a_study_are_found_beside_the_one_asked_for(tmp_path: Path, volume: np.ndarray) -> None:
    flair = dicom(tmp_path / "P1" / "s1", volume, "Ax FLAIR")
    dicom(tmp_path / "P1" / "s2", volume[:, ::2, ::2] + 5, "Ax T1", spacing_mm=(8.0, 8.0, 10.0))
    dicom(tmp_path / "P1" / "s3", volume + 9, "Ax T1 POST", study_date=DAY + datetime.timedelta(days=90))
    dicom(tmp_path / "P1" / "s4", volume + 1, "Ax T2")
    study = load_study(flair, MR)
    assert study.sequence.channels == MR.channels
    assert study.sequence.channel_present == (True, True, False)  # the contrast series is another visit
    assert study.modality == "MR"
    one, _ = load_sequence(flair, InputConfig())
    np.testing.assert_array_equal(study.sequence.frames[:, 1], one.frames[:, 0])
    assert study.sequence.sop_instance_uids == one.sop_instance_uids
    t1 = study.sequence.frames[:, 0, ::2, ::2]
    np.testing.assert_allclose(t1, study.sequence.frames[:, 1, ::2, ::2] + 5, rtol=1e-4)


def test_the_series_asked_for_gives_the_grid_whatever_it_is(tmp_path: Path, volume: np.ndarray) -> None:
    dicom(tmp_path / "P1" / "s1", volume, "Ax FLAIR")
    t2 = dicom(tmp_path / "P1" / "s2", volume[:, :24] + 1, "Ax T2")
    study = load_study(t2, MR)
    assert study.sequence.frames.shape == (6, 3, 24, 48)
    assert study.sequence.channel_present == (False, True, False)
    np.testing.assert_allclose(study.sequence.frames[:, 1], volume[:, :24], rtol=1e-5)


def test_a_folder_with_all_series_of_a_study_has_the_grid_of_the_reference(tmp_path: Path, volume: np.ndarray) -> None:
    dicom(tmp_path / "P1" / "a", volume[:, :24] + 3, "T1")
    dicom(tmp_path / "P1" / "b", volume, "FLAIR")
    study = load_study(tmp_path / "P1", MR)
    assert study.sequence.frames.shape == (6, 3, 48, 48)
    assert study.sequence.channel_present == (True, True, False)


def test_the_local_store_finds_them_also_where_all_lie_in_one_folder(tmp_path: Path, volume: np.ndarray) -> None:
    for number, name in enumerate(("FLAIR", "T1", "T1 GD")):
        dicom(tmp_path / "new", volume + number, name)
        (tmp_path / "studies" / "P1").mkdir(parents=True, exist_ok=True)
        for file in sorted((tmp_path / "new").iterdir()):
            shutil.move(file, tmp_path / "studies" / "P1" / f"{number}_{file.name}")
    store = LocalStore(tmp_path / "studies")
    flair = next(i for i in store.list_images() if store.get_image_info(i)["SeriesDescription"] == "FLAIR")
    sequence, _ = load_sequence(Path(store.get_image_uri(flair)), MR)
    assert sequence.channel_present == (True, True, True)
    np.testing.assert_array_equal(sequence.frames[:, 2], sequence.frames[:, 1] + 2)


def test_no_series_that_is_a_channel_is_named(tmp_path: Path, volume: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"none of the channels .*, and none was found beside it"):
        load_study(dicom(tmp_path / "P1" / "s1", volume, "Ax T2"), MR)
    dicom(tmp_path / "P1" / "s2", volume + 1, "DWI")
    with pytest.raises(InputError, match=r"none of the series 'MR Ax T2', 'MR DWI' is one of the channels"):
        load_study(tmp_path / "P1", MR)


# --- other frames of reference


def test_another_frame_of_reference_is_registered_and_reported() -> None:
    stack = head_stack(2, n_frames=12, size=40, spacing_mm=(5.0, 5.0, 10.0)).image
    fixed = sequence(stack, affine=np.diag([5.0, 5.0, 10.0, 1.0]))
    moved = np.diag([5.0, 5.0, 10.0, 1.0])
    moved[:3, 3] = (15.0, -10.0, 0.0)  # the same voxels, placed elsewhere
    other = ChannelImage(replace(fixed, affine_lps=moved), "2.25.2")
    reference = ChannelImage(fixed, "2.25.1")
    joined, problems = together(reference, {"t1": other}, "flair", MR)
    assert any("'t1' has another frame of reference: registered" in problem for problem in problems)
    inner = (slice(2, -2), slice(6, -6), slice(6, -6))
    there, registered = joined.frames[:, 1][inner], joined.frames[:, 0][inner]
    unregistered, _ = together(reference, {"t1": replace(other, frame_of_reference="2.25.1")}, "flair", MR)
    assert np.corrcoef(there.ravel(), registered.ravel())[0, 1] > 0.95
    assert np.corrcoef(there.ravel(), unregistered.frames[:, 0][inner].ravel())[0, 1] < 0.9


def test_what_is_no_stack_or_has_several_channels_cannot_join() -> None:
    image = sequence(noise(0))
    cine = replace(image, kind=SequenceKind.CINE)
    with pytest.raises(InputError, match="only stacks can share a grid"):
        together(ChannelImage(image), {"t1": ChannelImage(cine)}, "flair", MR)
    with pytest.raises(InputError, match="channel 't1': its image has 2 channels itself"):
        together(ChannelImage(image), {"t1": ChannelImage(sequence(noise(0), noise(1)))}, "flair", MR)
