# SPDX-License-Identifier: Apache-2.0
import os
import time
from pathlib import Path

import pytest

from lib.dicom.files import atomic_write, remove_leftovers


def write_half(target: Path) -> None:
    with atomic_write(target) as temporary:
        temporary.write_text("second")
        raise RuntimeError("half way")


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "label.nii.gz"
    with atomic_write(target) as temporary:
        temporary.write_text("first")
        assert temporary.name.endswith("label.nii.gz")
        assert not target.exists()
    assert target.read_text() == "first"
    with pytest.raises(RuntimeError, match="half way"):
        write_half(target)
    assert target.read_text() == "first"
    assert list(target.parent.iterdir()) == [target]


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    old, young = tmp_path / "deep" / ".0123456789ab-label.dcm", tmp_path / ".ba9876543210-label.dcm"
    others = [tmp_path / ".hidden", tmp_path / ".0123-label.dcm", tmp_path / "0123456789ab-label.dcm"]
    for path in (old, young, *others):
        path.write_text("x")
    past = time.time() - 7200
    for path in (old, *others):
        os.utime(path, (past, past))
    assert remove_leftovers(tmp_path) == [old]
    assert all(path.exists() for path in (young, *others))
