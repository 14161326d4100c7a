# SPDX-License-Identifier: Apache-2.0
"""The whole loop in OHIF in a real browser: find, look, correct, submit, train; embedded store and Orthanc."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from pydicom import Dataset, dcmread

from lib.dicom.seg import read_seg
from lib.dicom.series import find_series, read_series
from lib.dicom.sr import read_boxes
from lib.types import Finding
from tests.browser.conftest import Live, Phantom, copy_studies, serving
from tests.chromium import artefacts, opened
from tests.orthanc import Orthanc, orthanc

__all__ = ["orthanc"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

VISIT = "phantom-a__visit2"
USER = "Dr Test"
HIT_IOU = 0.3
DRAG_PX = 14.0
COLOUR = 12
"""By how much the channels of a screen pixel differ where something coloured lies over the grey image."""

BOXES = """() => cornerstoneTools.annotation.state.getAllAnnotations()
  .filter(one => one.metadata.toolName === 'RectangleROI')
  .map(one => {
    const imageId = one.metadata.referencedImageId;
    const corners = one.data.handles.points.map(p => cornerstone.utilities.worldToImageCoords(imageId, p));
    const x = corners.map(c => c[0]), y = corners.map(c => c[1]);
    return {
      uid: one.annotationUID,
      sop: cornerstone.metaData.get('instance', imageId).SOPInstanceUID,
      box: [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)],
    };
  })"""
TO_SCREEN = """([x, y]) => {
  const { viewport } = cornerstone.getEnabledElements()[0];
  const world = cornerstone.utilities.imageToWorldCoords(viewport.getCurrentImageId(), [x, y]);
  const [left, top] = viewport.worldToCanvas(world);
  const place = viewport.element.getBoundingClientRect();
  return [place.left + left, place.top + top];
}"""
CURRENT_SOP = """() => {
  const { viewport } = cornerstone.getEnabledElements()[0];
  return cornerstone.metaData.get('instance', viewport.getCurrentImageId()).SOPInstanceUID;
}"""
LESIONS = """() => window.lesionloop.workspace.session.lesions.map(
  ({ key, label, status, edited, origin, score, boxes }) =>
    ({ key, label, status, edited, origin, score, boxes: Object.fromEntries(boxes) }))"""

MASK = """() => {
  const { workspace: { image, session }, viewer } = window.lesionloop;
  return viewer.readMask(image.id, session.frameRefs(), session.labels);
}"""


@dataclass(frozen=True)
class Store:
    """A live server, what it holds, and the DICOMweb interface of its store."""

    kind: str
    live: Live
    dicom_web: str

    def objects(self, image: str, modality: str) -> list[Dataset]:
        """The SEG or SR objects in the study of an image."""
        client = DICOMwebClient(self.dicom_web)
        study = next(p.study for p in self.live.phantoms.values() if p.image == image)
        found = client.search_for_series(study, search_filters={"Modality": modality})
        uids = [one["0020000E"]["Value"][0] for one in found]
        return [dataset for uid in uids for dataset in client.retrieve_series(study, uid)]


@pytest.fixture(scope="module", params=("embedded", "orthanc"))
def store(
    request: pytest.FixtureRequest, phantoms: dict[str, Phantom], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with serving(phantoms, copy_studies(phantoms, folder / "studies"), folder) as live:
            yield Store("embedded", live, f"{live.url}/dicom-web")
        return
    pacs: Orthanc = request.getfixturevalue("orthanc")
    pacs.clear()
    files = [dcmread(file) for phantom in phantoms.values() for file in phantom.folder.iterdir()]
    DICOMwebClient(pacs.dicom_web).store_instances(files)
    with serving(phantoms, pacs.dicom_web, folder) as live:
        yield Store("orthanc", live, pacs.dicom_web)


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
    """By how much the colour channels differ at a point of the image, in image pixels."""
    x, y = page.evaluate(TO_SCREEN, list(point))
    return int(np.ptp(screen(page)[round(y), round(x)]))


def test_loop(store: Store, browser: Browser, tmp_path: Path):
    live, phantom = store.live, store.live.phantoms[VISIT]
    with opened(browser) as (page, watched):
        open_from_the_list(page, live, phantom)
        find(page)
        page.screenshot(path=artefacts() / f"{store.kind}-found.png")
        check_drawn_where_the_lesions_are(page, phantom)
        dragged = drag_a_box(page)
        page.screenshot(path=artefacts() / f"{store.kind}-dragged.png")
        mask = page.evaluate(MASK)
        submit(page)
        page.screenshot(path=artefacts() / f"{store.kind}-submitted.png")
        check_stored(store, phantom, dragged, mask, tmp_path)
        train(page)
        page.screenshot(path=artefacts() / f"{store.kind}-trained.png")
        assert not watched.errors


def open_from_the_list(page: Page, live: Live, phantom: Phantom) -> None:
    """As a user: the study list, the patient, the first mode."""
    page.goto(f"{live.url}/ohif/")
    expect(page.get_by_text("phantom-a", exact=True).first).to_be_visible(timeout=60_000)
    page.get_by_text("phantom-a", exact=True).first.click()
    page.locator(f'[data-cy="mode-lesionloop-{phantom.study}"]').click()
    page.wait_for_function("() => window.lesionloop?.workspace?.session", timeout=120_000)
    assert page.evaluate("() => window.lesionloop.workspace.image.id") == phantom.image


def find(page: Page) -> None:
    page.get_by_test_id("find-lesions").click()
    expect(page.get_by_test_id("finding").first).to_be_visible(timeout=120_000)
    page.wait_for_function("() => !window.lesionloop.workspace.busy", timeout=120_000)
    assert page.get_by_test_id("strip").is_visible()


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


def drag_a_box(page: Page) -> tuple[str, str, list[float]]:
    """Drag the lower right corner of the first lesion's box; returns lesion key, SOP UID and the box afterwards."""
    row = page.get_by_test_id("finding").first
    key = row.get_attribute("data-key")
    row.get_by_role("button").first.click()
    page.wait_for_timeout(800)
    sop = page.evaluate(CURRENT_SOP)
    before = next(one for one in page.evaluate(BOXES) if one["sop"] == sop)
    x, y = page.evaluate(TO_SCREEN, before["box"][2:])
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + DRAG_PX, y + DRAG_PX / 2, steps=6)
    page.mouse.up()
    page.wait_for_timeout(800)
    after = next(one for one in page.evaluate(BOXES) if one["uid"] == before["uid"])
    assert after["box"][2] > before["box"][2] + 1
    assert after["box"][:2] == pytest.approx(before["box"][:2], abs=0.01)
    return key, sop, after["box"]


def submit(page: Page) -> None:
    page.get_by_test_id("user-name").fill(USER)
    page.get_by_test_id("accept-all").click()
    assert {one["status"] for one in page.evaluate(LESIONS)} == {"accepted"}
    assert page.evaluate("() => window.lesionloop.workspace.dirty")
    page.get_by_test_id("submit").click()
    page.wait_for_function("() => !window.lesionloop.workspace.dirty", timeout=60_000)


def check_stored(
    store: Store, phantom: Phantom, dragged: tuple[str, str, list[float]], mask: dict[str, object], folder: Path
) -> None:
    """The PACS holds one SR with the dragged coordinates and one SEG with the mask as it was on the screen."""
    _, sop, box = dragged
    series = read_series(find_series(phantom.folder).series[0].files)
    (report,) = [one for one in store.objects(phantom.image, "SR")]
    findings: tuple[Finding, ...] = tuple(read_boxes(report, series).findings)
    frame = frame_uids(phantom).index(sop)
    stored = [one.boxes[frame] for one in findings if frame in one.boxes]
    assert any(saved == pytest.approx(box, abs=0.01) for saved in stored), f"{box} is not among {stored}"
    (seg,) = store.objects(phantom.image, "SEG")
    pixels = read_seg(seg, series)
    drawn = sum(sum(runs[1::2]) for part in mask["parts"] for runs in part["frames"].values())
    assert np.count_nonzero(pixels.mask) == drawn > 0
    info = requests.get(
        f"{store.live.url}/datastore/label/info", params={"label": phantom.image, "tag": "boxes"}, timeout=30
    ).json()
    assert info["user"] == USER
    (folder / "info.json").write_text(json.dumps(info))


def train(page: Page) -> None:
    """One short epoch, seen from its start to its end in the panel."""
    page.get_by_test_id("tab-learn").click()
    page.get_by_label("Epochs").fill("1")
    page.get_by_label("Steps per epoch").fill("2")
    page.get_by_test_id("train").click()
    expect(page.get_by_test_id("training-progress")).to_be_visible(timeout=60_000)
    page.wait_for_function("() => window.lesionloop.workspace.training?.running === false", timeout=300_000)
    expect(page.locator("lesionloop-loop")).to_contain_text("ublished", timeout=30_000)
