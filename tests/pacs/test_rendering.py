# SPDX-License-Identifier: Apache-2.0
"""The embedded PACS: rendered images (WADO-RS, PS3.18 10.4.1.1.3)."""

import os
import shutil
import threading
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from lib.pacs import NotInPacs, open_pacs
from lib.pacs import worker as pacs_worker
from lib.types import InputError

from .conftest import TEST_FILES, uids


def picture(data):
    return np.asarray(Image.open(BytesIO(data)))


def test_windows(pacs):
    entry = pacs.search_for_instances()[0]
    values = dcmread(pacs.instance_path(*uids(entry))).pixel_array.astype(float)

    def shown(window):
        return picture(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",), {"window": window}))

    assert np.abs(shown("160,101,linear") - np.clip((values - 159.5) / 100 + 0.5, 0, 1) * 255).max() <= 0.5
    assert np.abs(shown("160,100,linear-exact") - np.clip((values - 160) / 100 + 0.5, 0, 1) * 255).max() <= 0.5
    assert np.abs(shown("160,100,sigmoid") - 255 / (1 + np.exp(-4 * (values - 160) / 100))).max() <= 0.5


def test_monochrome1_is_shown_inverted(folder, pacs):
    entry = pacs.search_for_instances()[0]
    params = {"window": "160,300,linear"}
    before = picture(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",), params))
    file = pacs.instance_path(*uids(entry))
    dataset = dcmread(file)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(file)
    after = picture(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",), params))
    assert np.abs(before.astype(int) + after - 255).max() <= 1


def test_viewports_scale_crop_and_mirror(pacs):
    entry = pacs.search_for_instances()[0]  # 20 rows x 16 columns

    def shown(viewport):
        return picture(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",), {"viewport": viewport}))

    whole = shown("")
    assert whole.shape == (20, 16)
    assert shown("160,160").shape == (160, 128)
    part = shown("4,5,2,3,4,5")
    assert np.array_equal(part, whole[3:8, 2:6])
    assert np.array_equal(shown("4,5,2,3,-4,5"), part[:, ::-1])
    assert np.array_equal(shown("4,5,2,3,4,-5"), part[::-1])
    for bad in ("0,5", "5", "99999,5", "a,b", "4,5,50,3,4,5"):
        with pytest.raises((InputError, NotInPacs)):
            shown(bad)


def test_series_are_shown_by_their_middle_and_reports_not_at_all(pacs, tmp_path):
    entries = pacs.search_for_instances()
    middle = pacs.retrieve_instance_rendered(*uids(entries[1]))
    assert pacs.retrieve_series_rendered(*uids(entries[1])[:2]) == middle
    shutil.copyfile(TEST_FILES / "test-SR.dcm", tmp_path / "sr.dcm")
    other = open_pacs(tmp_path, tmp_path / "index")
    report = next(e for e in other.search_for_instances(fields=["all"]) if e["00080060"]["Value"] == ["SR"])
    with pytest.raises(NotInPacs) as caught:
        other.retrieve_instance_rendered(*uids(report))
    assert caught.value.response.status_code == 406


def test_a_decoder_that_hangs_or_crashes_costs_the_picture_only(tmp_path, monkeypatch):
    shutil.copyfile(TEST_FILES / "MR_small_jp2klossless.dcm", tmp_path / "mr.dcm")
    pacs = open_pacs(tmp_path)
    entry = pacs.search_for_instances()[0]
    assert pacs.retrieve_instance_rendered(*uids(entry))
    worker = pacs_worker._worker
    timer = threading.Timer(0.3, worker.process.kill)
    os.kill(worker.process.pid, 19)  # stopped: as good as a decoder that hangs
    timer.start()
    with pytest.raises(NotInPacs, match="crashed"):
        pacs.retrieve_instance_rendered(*uids(entry))
    assert pacs.retrieve_instance_rendered(*uids(entry))
    monkeypatch.setattr(pacs_worker, "TIMEOUT_S", 0.2)
    os.kill(pacs_worker._worker.process.pid, 19)
    with pytest.raises(NotInPacs, match="took longer"):
        pacs.retrieve_instance_rendered(*uids(entry))
    monkeypatch.undo()
    assert pacs.retrieve_instance_rendered(*uids(entry))
