# SPDX-License-Identifier: Apache-2.0
"""`lesionloop doctor` tells the truth about a folder: what is there, what is odd, what a model could do with it."""

import datetime
import io
import lzma
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from rich.console import Console

from lib.configs import load_configs
from lib.dicom.write import Subject, write_mr_series, write_us_multiframe
from lib.doctor import examine
from lib.phantom import head_stack, write_nifti
from lib.types import InputError, SequenceKind
from monailabel_app.doctor import run_doctor
from monailabel_app.roots import CONFIGS_DIR

MODELS = load_configs(CONFIGS_DIR)
THREE = "mr_three_channel_segmentation"
RNG = np.random.default_rng(0)


def mr_series(folder: Path, day: int, slices: int = 6) -> list[Path]:
    volume = RNG.integers(0, 900, (slices, 40, 48)).astype(np.uint16)
    subject = Subject("P1", datetime.date(2026, 1, day), "Follow-up", "FLAIR")
    return write_mr_series(volume, folder, subject, spacing_mm=(1.0, 1.5, 5.0), origin_lps_mm=(0.0, 0.0, 10.0 * day))


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """Two visits, a clip, a NIfTI volume with its label, and three files that are not what they seem."""
    folder = tmp_path_factory.mktemp("studies")
    mr_series(folder / "visit1", 1)
    mr_series(folder / "visit2", 20)[2].unlink()
    clip = RNG.integers(0, 255, (10, 40, 60)).astype(np.uint8)
    subject = Subject("P2", datetime.date(2026, 2, 1), "Lung", "Cine")
    write_us_multiframe(clip, folder / "clip.dcm", subject, frame_time_ms=50, pixel_spacing_mm=(0.5, 0.5))
    (folder / "labels" / "final").mkdir(parents=True)
    stack = head_stack(3)
    write_nifti(stack, folder / "phantom.nii.gz", folder / "labels" / "final" / "phantom.nii.gz")
    (folder / "broken.nii.gz").write_bytes(b"\x1f\x8b not an image")
    (folder / "cut.dcm").write_bytes((folder / "visit1" / "IM0001.dcm").read_bytes()[:700])
    (folder / "notes.txt").write_text("nothing to see")
    return folder


def test_every_sequence_is_listed_with_its_kind_size_and_spacing(studies):
    found = {s.name: s for s in examine(studies, MODELS).sequences}
    assert set(found) == {"visit1 (FLAIR)", "visit2 (FLAIR)", "clip.dcm (Cine)", "phantom.nii.gz"}
    visit = found["visit1 (FLAIR)"]
    assert (visit.kind, visit.modality, visit.frames, visit.size_px) == (SequenceKind.STACK, "MR", "6", (48, 40))
    assert visit.spacing_mm == pytest.approx((1.0, 1.5, 5.0))
    clip = found["clip.dcm (Cine)"]
    assert (clip.kind, clip.frames, clip.duration_s) == (SequenceKind.CINE, "10", pytest.approx(0.45))
    assert clip.spacing_mm[2] is None


def test_a_missing_slice_is_noticed_where_it_is_missing(studies):
    found = {s.name: s for s in examine(studies, MODELS).sequences}
    assert found["visit1 (FLAIR)"].problems == ()
    assert any("Missing slices: 1 at 10.00 mm" in problem for problem in found["visit2 (FLAIR)"].problems)


def test_each_model_is_told_apart_by_kind_and_modality(studies):
    found = {s.name: s for s in examine(studies, MODELS).sequences}
    stacks = {name for name, config in MODELS.items() if config.input.kind == "stack"}
    others = {name: MODELS[name].input.modalities for name in stacks if "MR" not in MODELS[name].input.modalities}
    assert set(others) < stacks < set(MODELS)
    clips = dict.fromkeys(set(MODELS) - stacks, "a stack, but the model reads a cine")
    other = {name: f"the model was made for {' or '.join(made)}, this image is MR" for name, made in others.items()}
    alone = {n: "the model is not made for studies without t1" for n, c in MODELS.items() if "t1" in c.input.required}
    assert found["visit1 (FLAIR)"].models == {**dict.fromkeys(MODELS, ""), **clips, **other, **alone}
    still = dict.fromkeys(stacks, "a cine, but the model reads a stack")
    assert found["clip.dcm (Cine)"].models == {**dict.fromkeys(MODELS, ""), **still}


def test_a_model_of_several_series_fits_each_of_a_study_that_has_them(tmp_path):
    volume = RNG.integers(0, 900, (6, 40, 48)).astype(np.uint16)
    study, where = pydicom.uid.generate_uid(), {"spacing_mm": (1.0, 1.0, 5.0), "origin_lps_mm": (0.0, 0.0, 0.0)}
    for name in ("AX T1", "AX FLAIR", "AX T1 POST GD"):
        subject = Subject("P1", datetime.date(2026, 1, 1), series_description=name)
        for file in write_mr_series(volume, tmp_path / name, subject, **where):
            header = pydicom.dcmread(file)
            header.StudyInstanceUID, header.SeriesInstanceUID = study, f"{study}.{len(name)}"
            header.save_as(file)
    found = examine(tmp_path, {THREE: MODELS[THREE]}).sequences
    assert [one.models for one in found] == [{THREE: ""}] * 3
    shutil.rmtree(tmp_path / "AX T1")
    found = examine(tmp_path, {THREE: MODELS[THREE]}).sequences
    assert [one.models for one in found] == [{THREE: "the model is not made for studies without t1"}] * 2


def test_what_cannot_be_read_is_listed_with_the_reason_and_the_rest_counted(studies):
    diagnosis = examine(studies, MODELS)
    assert set(diagnosis.failures) == {"broken.nii.gz", "cut.dcm"}
    assert all(len(reason) > 10 for reason in diagnosis.failures.values())
    assert diagnosis.ignored == 1


def test_visits_of_a_patient_are_found(studies):
    (visits,) = examine(studies, MODELS).visits
    assert [facts.study_date for facts in visits] == ["20260101", "20260120"]


def test_progress_is_told_for_each_sequence(studies):
    told: list[tuple[int, int]] = []
    examine(studies, MODELS, lambda done, total, _: told.append((done, total)))
    assert told == [(i, len(told)) for i in range(len(told))]


def test_the_printed_tables_hold_it_all(studies):
    out = io.StringIO()
    assert run_doctor(studies, Console(file=out, width=200)) == 1
    text = out.getvalue()
    for expected in ("visit1 (FLAIR)", "48 x 40", "1 x 1.5 x 5", "broken.nii.gz", "2026-01-01 FLAIR, 2026-01-20 FLAIR"):
        assert expected in text
    assert "4 sequence(s): 1 cine, 3 stack; 2 cannot be read; 1 file(s) of no image format were left out" in text


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        examine(tmp_path / "nowhere", MODELS)


def test_real_series_are_told_truly(shared_data, tmp_path):
    for archive in (shared_data / "dicom").glob("*.tar.xz"):
        with lzma.open(archive) as packed, tarfile.open(fileobj=packed) as files:
            files.extractall(tmp_path / archive.name.split(".")[0], filter="data")
    found = {s.name.split("/")[0]: s for s in examine(tmp_path, MODELS).sequences}
    chest, head = found["ct_chest_lungcancer_A0002_B40f"], found["ct_head_ge_tilt"]
    assert (chest.frames, chest.size_px, chest.problems) == ("30", (512, 512), ())
    assert chest.spacing_mm[2] == pytest.approx(8.0, abs=1e-3)
    assert head.frames == "28"
    assert "Gantry tilt of 18.5 degrees" in head.problems[0]
    assert "13 x 4.00 mm" in head.problems[1]
    assert "13 x 7.00 mm" in head.problems[1]
    assert chest.models["mr_lesion_detection"] == "the model was made for MR, this image is CT"
