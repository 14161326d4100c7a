# SPDX-License-Identifier: Apache-2.0
"""A live server with phantoms on an embedded store, and real browser pages on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from pydicom import dcmread

from lib.phantom import PhantomStack, head_stack, head_visits, write_dicom
from monailabel_app.process import free_port, start_server
from monailabel_app.roots import APP_DIR
from tests.browser.page import SHOWN
from tests.chromium import BLANK, opened, running_browser

DAYS, GROWTH = (0, 120), (1.0, 1.6)
SEEDS = {"phantom-a": 12, "phantom-b": 3}


@dataclass(frozen=True)
class Phantom:
    """A phantom in a store.

    Attributes:
        study: Study Instance UID.
        image: Series Instance UID, the image's id in the store.
        stack: Its voxels and true lesions.
        folder: Its DICOM files.
    """

    study: str
    image: str
    stack: PhantomStack
    folder: Path


@dataclass(frozen=True)
class Live:
    """A running server and what it holds.

    Attributes:
        url: Of the server.
        phantoms: By name.
        images: Image id by name.
        folder: Of this server, for what a test wants to keep apart.
    """

    url: str
    phantoms: dict[str, Phantom]
    images: dict[str, str]
    folder: Path


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Phantom]:
    """Two visits of one patient and a second patient, as DICOM."""
    folder = tmp_path_factory.mktemp("phantoms")
    first, second = head_visits(SEEDS["phantom-a"], DAYS, GROWTH, n_lesions=2)
    stacks = {"phantom-a__visit1": first, "phantom-a__visit2": second, "phantom-b": head_stack(SEEDS["phantom-b"])}
    found = {}
    for name, stack in stacks.items():
        files = write_dicom(stack, folder / name, patient_id=name.partition("__")[0])
        header = dcmread(files[0], stop_before_pixels=True)
        found[name] = Phantom(str(header.StudyInstanceUID), str(header.SeriesInstanceUID), stack, folder / name)
    return found


@contextmanager
def serving(phantoms: dict[str, Phantom], studies: Path | str, folder: Path) -> Iterator[Live]:
    """Serve a store that holds the phantoms."""
    conf = {"model_dir": str(folder / "model")}
    if isinstance(studies, Path):
        conf["store"] = "embedded"
    with start_server(APP_DIR, studies, conf, port=free_port(), log=folder / "server.log") as server:
        yield Live(server.url, phantoms, {name: phantom.image for name, phantom in phantoms.items()}, folder)


def copy_studies(phantoms: dict[str, Phantom], target: Path) -> Path:
    """A studies folder of its own with the phantoms' files."""
    for name, phantom in phantoms.items():
        (target / name).mkdir(parents=True)
        for file in phantom.folder.iterdir():
            (target / name / file.name).write_bytes(file.read_bytes())
    return target


@pytest.fixture(scope="module")
def live(phantoms: dict[str, Phantom], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server of this test file's own, on an embedded store."""
    folder = tmp_path_factory.mktemp("live")
    with serving(phantoms, copy_studies(phantoms, folder / "studies"), folder) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the whole session: Playwright's event loop runs on, and tests elsewhere start their own."""
    with running_browser() as running:
        yield running


def open_blank(page: Page, url: str) -> None:
    """Open a page with an empty ``<main>`` on the server's origin, where the viewer's modules can be imported."""
    page.route("**/blank", lambda route: route.fulfill(body=BLANK, content_type="text/html"))
    page.goto(f"{url}/blank")


@pytest.fixture
def module_page(browser: Browser, live: Live) -> Iterator[Page]:
    """A blank page on the server's origin that must not complain."""
    with opened(browser) as (page, watched):
        open_blank(page, live.url)
        yield page
        assert not watched.errors


@pytest.fixture
def ohif(browser: Browser, live: Live) -> Iterator[Page]:
    """OHIF in the mode LesionLoop on the second visit of phantom-a."""
    with opened(browser) as (page, watched):
        open_study(page, live.url, live.phantoms["phantom-a__visit2"].study)
        yield page
        assert not watched.errors


def open_study(page: Page, url: str, *studies: str) -> None:
    """Open studies in the mode and wait until the panel knows the image and the viewport shows it."""
    page.goto(f"{url}/ohif/lesionloop?StudyInstanceUIDs={','.join(studies)}")
    page.wait_for_function(SHOWN, timeout=120_000)
