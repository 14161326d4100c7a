# SPDX-License-Identifier: Apache-2.0
"""The whole loop in OHIF in a real browser: find, look, correct, submit, train; embedded store and Orthanc."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from pydicom import dcmread

from lib.dicom.seg import read_seg
from lib.dicom.series import find_series, read_series
from lib.dicom.sr import read_boxes
from lib.types import Finding
from tests.browser.conftest import Phantom
from tests.browser.page import (
    BOXES,
    CURRENT_SOP,
    LESIONS,
    drag,
    draw,
    find_lesions,
    on_page,
    open_from_the_list,
    submit,
)
from tests.browser.stores import Real, Store, serving_store, unpack_real
from tests.chromium import artefacts, opened
from tests.conftest import shared_data_folder
from tests.orthanc import orthanc

__all__ = ["orthanc"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

VISIT = "phantom-a__visit2"
USER = "Dr Test"
HIT_IOU = 0.3
DRAG_PX = (6.0, 3.0)
COLOUR = 12
"""By how much the channels of a screen pixel differ where something coloured lies over the grey image."""
CLIP = "ultrasound cine"
DRAWN = {"chest CT": (180.0, 200.0, 260.0, 270.0), CLIP: (100.0, 90.0, 160.0, 140.0)}
"""A box to draw on each real series."""

MASK = """() => {
  const { workspace: { image, session }, viewer } = window.lesionloop;
  return viewer.readMask(image.id, session.frameRefs(), session.labels);
}"""


@pytest.fixture(scope="module")
def real_series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Real]:
    """Empty where the shared data is not there."""
    shared = shared_data_folder()
    return unpack_real(shared, tmp_path_factory.mktemp("real")) if shared.is_dir() else {}


@pytest.fixture(scope="module", params=("embedded", "orthanc"))
def store(
    request: pytest.FixtureRequest,
    phantoms: dict[str, Phantom],
    real_series: dict[str, Real],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Store]:
    pacs = request.getfixturevalue("orthanc") if request.param == "orthanc" else None
    with serving_store(request.param, phantoms, real_series, tmp_path_factory.mktemp(request.param), pacs) as running:
        yield running


def picture(page: Page, store: Store, name: str) -> None:
    """Keep what the page shows; those of the embedded store illustrate the documentation (``make pictures``)."""
    page.screenshot(path=artefacts() / f"ohif-{name}{'' if store.kind == 'embedded' else f'-{store.kind}'}.png")


def frame_uids(phantom: Phantom) -> list[str]:
    """SOP Instance UID of each frame, in the order of the phantom's frames."""
    headers = [dcmread(file, stop_before_pixels=True) for file in phantom.folder.iterdir()]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    return [str(header.SOPInstanceUID) for header in headers]


def true_box(phantom: Phantom, lesion: int, frame: int) -> tuple[float, float, float, float]:
    y, x = np.nonzero(phantom.stack.instances[frame] == lesion)
    return float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)


def iou(a: tuple[float, ...] | list[float], b: tuple[float, ...] | list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def largest_frame(phantom: Phantom, lesion: int) -> int:
    return int(np.argmax((phantom.stack.instances == lesion).sum((1, 2))))


def screen(page: Page) -> np.ndarray:
    """What the page shows, (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), dtype=int)


def colour_at(page: Page, point: tuple[float, float]) -> int:
    """By how much the colour channels differ at a position on the image."""
    x, y = on_page(page, point)
    return int(np.ptp(screen(page)[round(y), round(x)]))


def test_loop(store: Store, browser: Browser):
    phantom = store.live.phantoms[VISIT]
    with opened(browser) as (page, watched):
        open_from_the_list(page, store.live.url, "phantom-a", phantom.study)
        assert page.evaluate("() => window.lesionloop.workspace.image.id") == phantom.image
        find_lesions(page)
        assert page.get_by_test_id("strip").is_visible()
        picture(page, store, "found")
        check_drawn_where_the_lesions_are(page, phantom)
        dragged = drag_a_box(page)
        delete_what_is_no_lesion(page, phantom)
        page.get_by_test_id("accept-all").click()
        assert {one["status"] for one in page.evaluate(LESIONS)} == {"accepted", "deleted"}
        mask = page.evaluate(MASK)
        submit(page, USER)
        picture(page, store, "submitted")
        check_stored(store, phantom, dragged, mask)
        train(page)
        picture(page, store, "trained")
        assert not watched.errors


@pytest.mark.usefixtures("shared_data")
@pytest.mark.parametrize("name", list(DRAWN))
def test_a_real_series(store: Store, browser: Browser, real_series: dict[str, Real], name: str):
    """Models that do not fit say why, the clip model runs; what a person draws is there when it is opened again."""
    series = real_series[name]
    with opened(browser) as (page, watched):
        open_from_the_list(page, store.live.url, series.patient, series.study)
        assert page.evaluate("() => window.lesionloop.workspace.image.id") == series.image
        if name == CLIP:
            find_and_reject_all(page)
            picture(page, store, "clip")
        else:
            expect(page.get_by_test_id("find-lesions")).to_be_disabled()
            expect(page.get_by_text("No model fits this image.")).to_contain_text("It reads MR images; this one is")
        box = draw_on_the_third_frame(page, DRAWN[name])
        submit(page, USER)
        check_sr(store, series, box)
        open_from_the_list(page, store.live.url, series.patient, series.study)
        assert [one["box"] for one in page.evaluate(BOXES)] == [pytest.approx(box, abs=0.02)]
        expect(page.get_by_test_id("finding")).to_contain_text("Accepted")
        assert not watched.errors


def check_drawn_where_the_lesions_are(page: Page, phantom: Phantom) -> None:
    """Every true lesion has a box in cornerstone's state, and box and mask are coloured pixels on the screen."""
    uids, boxes = frame_uids(phantom), page.evaluate(BOXES)
    assert boxes
    for lesion in (found.id for found in phantom.stack.lesions):
        frame = largest_frame(phantom, lesion)
        truth = true_box(phantom, lesion, frame)
        here = [one["box"] for one in boxes if one["sop"] == uids[frame]]
        best = max(here, key=lambda box: iou(box, truth))
        assert iou(best, truth) >= HIT_IOU, f"lesion {lesion} on frame {frame}: {truth} against {here}"
        page.evaluate("f => window.lesionloop.workspace.showFrame(f)", frame)
        page.wait_for_function(f"() => ({CURRENT_SOP})() === '{uids[frame]}'")
        page.wait_for_timeout(500)
        y, x = np.nonzero(phantom.stack.instances[frame] == lesion)
        assert colour_at(page, (x.mean() + 0.5, y.mean() + 0.5)) > COLOUR, "the mask is not drawn over the lesion"
        left, top, right, _ = best
        edge = [colour_at(page, (left + part * (right - left), top)) for part in (0.3, 0.4, 0.5, 0.6, 0.7)]
        assert max(edge) > COLOUR, "the box is not drawn around the lesion"


def drag_a_box(page: Page) -> tuple[str, list[float]]:
    """Drag the lower right corner of the first lesion's box; returns SOP Instance UID and the box afterwards."""
    page.get_by_test_id("finding").first.get_by_role("button").first.click()
    page.wait_for_timeout(800)
    sop = page.evaluate(CURRENT_SOP)
    before = next(one for one in page.evaluate(BOXES) if one["sop"] == sop)
    x, y = before["box"][2:]
    drag(page, (x, y), (x + DRAG_PX[0], y + DRAG_PX[1]))
    page.wait_for_timeout(400)
    after = next(one for one in page.evaluate(BOXES) if one["uid"] == before["uid"])
    assert after["box"] == pytest.approx([*before["box"][:2], x + DRAG_PX[0], y + DRAG_PX[1]], abs=1)
    return sop, after["box"]


def delete_what_is_no_lesion(page: Page, phantom: Phantom) -> None:
    """As a clinician would: what overlaps no true lesion on any frame is thrown out, with its pixels."""
    before = pixel_count(page.evaluate(MASK))
    for one in page.evaluate(LESIONS):
        shared = [
            iou(box, true_box(phantom, lesion.id, int(frame)))
            for frame, box in one["boxes"].items()
            for lesion in phantom.stack.lesions
            if (phantom.stack.instances[int(frame)] == lesion.id).any()
        ]
        if max(shared, default=0.0) == 0:
            page.locator(f'[data-testid="finding"][data-key="{one["key"]}"]').get_by_test_id("reject").click()
    assert pixel_count(page.evaluate(MASK)) < before


def pixel_count(mask: dict[str, Any]) -> int:
    return sum(sum(runs[1::2]) for part in mask["parts"] for runs in part["frames"].values())


def find_and_reject_all(page: Page) -> None:
    """Run the one model that fits; a heart has no lesion, so whatever it proposes goes."""
    page.get_by_test_id("find-lesions").click()
    expect(page.locator('[data-testid="notice"][data-kind="success"]')).to_be_visible(timeout=120_000)
    for one in page.evaluate(LESIONS):
        page.locator(f'[data-testid="finding"][data-key="{one["key"]}"]').get_by_test_id("reject").click()
    assert not page.evaluate(BOXES)


def draw_on_the_third_frame(page: Page, box: tuple[float, float, float, float]) -> list[float]:
    page.evaluate("() => lesionloop.workspace.showFrame(2)")
    page.wait_for_timeout(500)
    draw(page, box[:2], box[2:])
    expect(page.get_by_test_id("finding").filter(has_text="drawn by hand")).to_have_count(1)
    [drawn] = page.evaluate(BOXES)
    assert drawn["box"] == pytest.approx(box, abs=2)
    return list(drawn["box"])


def check_stored(store: Store, phantom: Phantom, dragged: tuple[str, list[float]], mask: dict[str, Any]) -> None:
    """The PACS holds one SR with the dragged coordinates and one SEG with the mask as it was on the screen."""
    sop, box = dragged
    series = read_series(find_series(phantom.folder).series[0].files)
    (report,) = store.objects(phantom.study, "SR")
    findings: tuple[Finding, ...] = tuple(read_boxes(report, series).findings)
    frame = frame_uids(phantom).index(sop)
    stored = [one.boxes[frame] for one in findings if frame in one.boxes]
    assert any(saved == pytest.approx(box, abs=0.01) for saved in stored), f"{box} is not among {stored}"
    (seg,) = store.objects(phantom.study, "SEG")
    pixels = read_seg(seg, series)
    assert np.count_nonzero(pixels.mask) == pixel_count(mask) > 0
    check_author(store, phantom.image)


def check_sr(store: Store, series: Real, box: list[float]) -> None:
    """The PACS holds one SR with the drawn box on the third frame, and no SEG: nobody outlined anything."""
    (report,) = store.objects(series.study, "SR")
    image = read_series(find_series(series.folder).series[0].files)
    [finding] = read_boxes(report, image).findings
    assert [saved == pytest.approx(box, abs=0.02) for saved in finding.boxes.values()] == [True]
    assert not store.objects(series.study, "SEG")
    check_author(store, series.image)


def check_author(store: Store, image: str) -> None:
    asked = {"label": image, "tag": "boxes"}
    answer = requests.get(f"{store.live.url}/datastore/label/info", params=asked, timeout=30)
    assert answer.json()["user"] == USER


def train(page: Page) -> None:
    """One short epoch, seen from its start to its end in the panel."""
    page.get_by_test_id("tab-learn").click()
    page.get_by_label("Epochs").fill("1")
    page.get_by_label("Steps per epoch").fill("2")
    page.get_by_test_id("train").click()
    expect(page.get_by_test_id("training-progress")).to_be_visible(timeout=60_000)
    page.wait_for_function("() => window.lesionloop.workspace.training?.running === false", timeout=300_000)
    expect(page.locator("lesionloop-loop")).to_contain_text("ublished", timeout=30_000)
