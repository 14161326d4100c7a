# SPDX-License-Identifier: Apache-2.0
"""An invented draft on a phantom's lesions, stored on a live server, and what the tests of the report do with it."""

import json
from typing import Any

import requests
from axe_playwright_python.sync_playwright import Axe
from dicomweb_client import DICOMwebClient
from playwright.sync_api import Locator, Page
from pydicom import Dataset

from lib.phantom import PhantomLesion
from lib.types import Finding, Measurement
from tests.browser.conftest import Live

LESION = "There is a lesion of 42 x 40 mm in the left cerebellar hemisphere."
SECOND = "A second lesion of 15 mm lies in the left frontal lobe."
MIDLINE = "The midline is shifted by 4 mm."
VENTRICLES = "The ventricles are of normal width."
IMPRESSION = "Two lesions."
OTHER_WORDS = "A left cerebellar lesion measures 42 x 40 mm."
FRAMES = {"1": 0.05, "2": 0.1, "3": 0.2, "4": 0.4, "5": 0.15, "6": 0.1}


def sentence(text: str, support: str, **evidence: Any) -> dict[str, Any]:
    return {"text": text, "support": support, **evidence}


DRAFT = {
    "status": "draft",
    "model": "report_brain_mr",
    "model_version": "v0001",
    "sections": {
        "indication": [sentence("Headache for three weeks.", "not_assessed")],
        "findings": [
            sentence(
                LESION,
                "supported",
                finding_ids=[1],
                confidence=0.92,
                facts=[{"finding": "lesion", "present": True, "side": "left", "size_mm": [42, 40]}],
                frame_attention=FRAMES,
                word_attention=[["Headache", 0.7], ["for", 0.05], ["three", 0.05], ["weeks", 0.2]],
                alternatives=[{"text": OTHER_WORDS, "confidence": 0.31}],
            ),
            sentence(SECOND, "contradicted", finding_ids=[2], confidence=0.61, facts=[{"finding": "lesion"}]),
            sentence(MIDLINE, "unsupported", confidence=0.34, facts=[{"finding": "midline_shift", "size_mm": 4}]),
            sentence(VENTRICLES, "not_assessed", confidence=0.88),
        ],
        "impression": [sentence(IMPRESSION, "supported", finding_ids=[1, 2], confidence=0.8)],
    },
}


def store_lesions(live: Live, name: str) -> list[dict[str, Any]]:
    """Store a phantom's true lesions as a person's, the largest first, on the frames that the viewer shows."""
    phantom = live.phantoms[name]
    largest = sorted(phantom.stack.lesions, key=lambda lesion: -lesion.volume_mm3)
    found = [finding(lesion, number) for number, lesion in enumerate(largest, 1)]
    label = ("boxes.json", json.dumps({"findings": found}))
    tag = {"image": phantom.image, "tag": "boxes", "form": "frames"}
    url, who = f"{live.url}/datastore/label", {"params": json.dumps({"user": "Dr Test"})}
    requests.put(url, params=tag, files={"label": label}, data=who, timeout=60).raise_for_status()
    return found


def finding(lesion: PhantomLesion, number: int) -> dict[str, Any]:
    boxes = {t: tuple(map(float, box)) for t, box in lesion.frame_boxes.items()}
    place = {"box_lps_mm": lesion.box_lps_mm, "center_lps_mm": lesion.center_lps_mm}
    volume = {"volume": Measurement(lesion.volume_mm3 / 1000, "ml")}
    known = Finding(id=number, label="lesion", score=1.0, boxes=boxes, frame_scores={}, measurements=volume, **place)
    return known.to_json()


def store_draft(live: Live, image: str) -> dict[str, Any]:
    """Store the draft in place of a report that nobody has signed."""
    requests.delete(f"{live.url}/datastore/label", params={"id": image, "tag": "report"}, timeout=60)
    return put(live, image, DRAFT)


def put(live: Live, image: str, report: dict[str, Any]) -> dict[str, Any]:
    answer = requests.put(f"{live.url}/reports/{image}", json=report, timeout=60)
    assert answer.ok, answer.text
    return dict(answer.json()["report"])


def stored(live: Live, image: str) -> dict[str, Any]:
    return dict(requests.get(f"{live.url}/reports/{image}", timeout=60).json())


def texts(report: dict[str, Any], decision: str) -> list[str]:
    """The sentences about which a person has decided so."""
    return [one["text"] for part in report["sections"].values() for one in part if one["decision"] == decision]


def structured_reports(live: Live, study: str) -> list[tuple[Dataset, str]]:
    """The text SRs of a study in the PACS, each with all the text in it."""
    client = DICOMwebClient(f"{live.url}/dicom-web")
    series = client.search_for_series(study, search_filters={"Modality": "SR"})
    found = [one for s in series for one in client.retrieve_series(study, s["0020000E"]["Value"][0])]
    return [(one, " ".join(words(one))) for one in found if str(one.SeriesDescription).startswith("report")]


def words(item: Dataset) -> list[str]:
    below = [text for one in item.get("ContentSequence", []) for text in words(one)]
    return [str(item.TextValue), *below] if "TextValue" in item else below


def row(page: Page, text: str) -> Locator:
    return page.get_by_test_id("sentence").filter(has_text=text)


def violations(page: Page, context: str) -> list[str]:
    """What axe-core objects to, of all its rules."""
    found = Axe().run(page, context=context).response["violations"]
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
