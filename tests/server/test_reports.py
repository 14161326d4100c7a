# SPDX-License-Identifier: Apache-2.0
"""The report routes on live servers: a PACS folder with logins, and a folder of NIfTI files without."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmread

from lib.phantom import head_stack, write_dicom, write_nifti
from monailabel_app.process import free_port, start_server
from monailabel_app.roots import APP_DIR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ANNA, BEN = "a-token-for-tests-0123456789", "b-token-for-tests-0123456789"
SEEDS = (310, 311, 312, 313, 314)
SMALL = {"n_frames": 6, "size": 64, "spacing_mm": (3.75, 3.75, 18.0), "n_lesions": 1}
DRAFT = {
    "status": "draft",
    "model": "report_brain_mr",
    "model_version": "v0001",
    "sections": {
        "findings": [
            {"text": "There is a lesion of 12 mm on the left.", "finding_ids": [1], "confidence": 0.8},
            {"text": "The midline is shifted.", "support": "unsupported", "confidence": 0.2},
        ],
        "impression": [{"text": "One lesion.", "finding_ids": [1], "frame_attention": {"3": 1.0}}],
    },
}


@dataclass
class Live:
    """A server with images that have no report yet."""

    url: str
    images: Iterator[str]
    token: str

    def ask(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> requests.Response:
        if self.token:
            headers["authorization"] = f"Bearer {token or self.token}"
        return requests.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def ok(self, method: str, path: str, body: Any = None, token: str = "") -> dict[str, Any]:
        answer = self.ask(method, path, body, token)
        assert answer.ok, answer.text
        return dict(answer.json())

    def refused(self, status: int, method: str, path: str, body: Any = None, **headers: str) -> str:
        answer = self.ask(method, path, body, **headers)
        assert answer.status_code == status, answer.text
        return str(answer.json()["detail"])


@contextmanager
def running(folder: Path, kind: str) -> Iterator[Live]:
    images = []
    for seed in SEEDS:
        stack = head_stack(seed, **SMALL)
        if kind == "embedded":
            files = write_dicom(stack, folder / "studies" / str(seed), patient_id=f"P{seed}")
            images.append(str(dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID))
        else:
            write_nifti(stack, folder / "studies" / f"{seed}.nii.gz", folder / "truth" / f"{seed}.nii.gz")
            images.append(str(seed))
    (folder / "tokens").write_text(f"anna:{ANNA}\nben:{BEN}\n")
    conf = {"model_dir": str(folder / "model"), "store": kind}
    with ExitStack() as started:
        with pytest.MonkeyPatch.context() as patch:  # for this server only
            patch.setenv("OMP_NUM_THREADS", "1")
            if kind == "embedded":
                patch.setenv("LESIONLOOP_TOKENS_FILE", str(folder / "tokens"))
            start = start_server(APP_DIR, folder / "studies", conf, port=free_port(), log=folder / "log")
            server = started.enter_context(start)
        yield Live(server.url, iter(images), ANNA if kind == "embedded" else "")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("locked"), "embedded") as live:
        yield live


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("local"), "local") as live:
        yield live


def corrected(report: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Strike the doubtful sentence, and put a number right."""
    findings = [dict(sentence) for sentence in report["sections"]["findings"]]
    findings[0]["text"] = "There is a lesion of 14 mm on the left."
    findings[1]["decision"] = "struck"
    return {**report, "status": "corrected", "sections": {**report["sections"], "findings": findings}, **changes}


def test_from_the_draft_to_an_amendment(locked: Live) -> None:
    path = f"/reports/{next(locked.images)}"
    first = locked.ok("PUT", path, DRAFT)["report"]
    assert (first["version"], first["status"], first["author"]) == (1, "draft", "report_brain_mr")
    assert [s["id"] for s in first["sections"]["findings"]] == ["findings-1", "findings-2"]
    second = locked.ok("PUT", path, corrected(first, author="eve"))["report"]
    assert (second["version"], second["status"], second["author"]) == (2, "corrected", "anna")
    assert [s["decision"] for s in second["sections"]["findings"]] == ["edited", "struck"]
    third = locked.ok("POST", f"{path}/sign", {"name": "eve", "version": 2}, BEN)["report"]
    assert (third["status"], third["signer"], third["signed_at"][-6] in "+-") == ("signed", "ben", True)
    third["sections"]["impression"][0]["text"] = "One lesion, of 14 mm."
    body = {"sections": third["sections"], "version": 3, "reason": "size was missing"}
    fourth = locked.ok("POST", f"{path}/amend", body)
    assert (fourth["report"]["status"], fourth["report"]["signer"]) == ("amended", "anna")
    told = [(v["version"], v["status"], v["signer"]) for v in fourth["versions"]]
    assert told == [(1, "draft", ""), (2, "corrected", ""), (3, "signed", "ben"), (4, "amended", "anna")]
    assert fourth["versions"][0]["changed"] == 0 < fourth["versions"][1]["changed"] < fourth["versions"][3]["changed"]
    answer = locked.ask("GET", path)
    assert answer.json() == fourth
    assert answer.headers["etag"] == '"4"'
    assert locked.ok("GET", f"{path}/versions/1")["report"] == first
    assert "no version 9; there are 1, 2, 3, 4" in locked.refused(404, "GET", f"{path}/versions/9")


def test_it_is_a_signed_document_in_the_pacs(locked: Live) -> None:
    image = next(locked.images)
    path = f"/reports/{image}"
    report = locked.ok("PUT", path, corrected(locked.ok("PUT", path, DRAFT)["report"]))["report"]
    locked.ok("POST", f"{path}/sign", {"version": report["version"]})
    info = locked.ok("GET", f"/datastore/label/info?label={image}&tag=report")
    client = DICOMwebClient(f"{locked.url}/dicom-web", headers={"authorization": f"Bearer {ANNA}"})
    keys = (info["StudyInstanceUID"], info["SeriesInstanceUID"], info["SOPInstanceUID"])
    document = client.retrieve_instance(*keys)
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert str(document.VerifyingObserverSequence[0].VerifyingObserverName).startswith("anna")
    assert len(client.search_for_instances(keys[0], keys[1])) == 1
    resource = locked.ask("GET", f"{path}/fhir")
    assert resource.headers["content-type"] == "application/fhir+json"
    assert (resource.json()["status"], resource.json()["subject"]["identifier"]["value"]) == ("final", "P311")
    assert resource.json()["identifier"][0]["value"] == f"urn:oid:{keys[2]}"
    assert resource.json()["result"] == [{"reference": "#lesion-1"}]
    assert locked.ok("GET", f"{path}/fhir?version=1")["status"] == "preliminary"


def test_a_signed_report_stays(locked: Live) -> None:
    image = next(locked.images)
    path = f"/reports/{image}"
    report = locked.ok("PUT", path, corrected(locked.ok("PUT", path, DRAFT)["report"]))["report"]
    signed = locked.ok("POST", f"{path}/sign", {"version": 2})
    assert "amend it" in locked.refused(409, "PUT", path, {**report, "version": 3})
    assert "cannot be signed again" in locked.refused(409, "POST", f"{path}/sign", {"version": 3})
    assert "never removed" in locked.refused(409, "DELETE", f"/datastore/label?id={image}&tag=report")
    files = {"label": ("report.json", json.dumps({**DRAFT}).encode())}
    answer = requests.put(
        f"{locked.url}/datastore/label",
        params={"image": image, "tag": "report"},
        files=files,
        headers={"authorization": f"Bearer {ANNA}"},
        timeout=60,
    )
    assert (answer.status_code, "amend it" in answer.text) == (409, True)
    assert locked.ok("GET", path) == signed


def test_an_upload_takes_the_place_of_drafts_only(local: Live) -> None:
    image = next(local.images)
    path = f"/reports/{image}"

    def upload() -> requests.Response:
        files = {"label": ("report.json", json.dumps(DRAFT).encode())}
        tag = {"image": image, "tag": "report"}
        return requests.put(f"{local.url}/datastore/label", params=tag, files=files, timeout=60)

    assert upload().ok
    assert upload().ok
    first = local.ok("GET", path)["report"]
    second = local.ok("PUT", path, corrected(first, author="Anna"))
    refused = upload()
    assert (refused.status_code, "with the report routes, which keeps its versions" in refused.json()["detail"]) == (
        409,
        True,
    )
    assert local.ok("GET", path) == second


def test_without_logins_people_say_who_they_are(local: Live) -> None:
    path = f"/reports/{next(local.images)}"
    first = local.ok("PUT", path, DRAFT)["report"]
    assert "Say who you are" in local.refused(400, "PUT", path, corrected(first, author=""))
    second = local.ok("PUT", path, corrected(first, author="Dr O'Neill"))["report"]
    assert second["author"] == "Dr O'Neill"
    assert "Say who you are" in local.refused(400, "POST", f"{path}/sign", {"version": 2})
    assert local.ok("POST", f"{path}/sign", {"version": 2, "name": "Dr Ä"})["report"]["signer"] == "Dr Ä"
    assert local.ok("GET", f"{path}/fhir")["performer"][0]["display"] == "Dr Ä"


def test_no_change_is_lost(local: Live) -> None:
    path = f"/reports/{next(local.images)}"
    first = local.ok("PUT", path, DRAFT)["report"]
    second = local.ok("PUT", path, corrected(first, author="Anna"))["report"]
    late = corrected(first, author="Ben", prior_image="x")
    said = local.refused(409, "PUT", path, late)
    assert "version 2 is corrected by Anna" in said
    assert "you have seen version 1" in said
    assert "you have seen version 1" in local.refused(409, "POST", f"{path}/sign", {"name": "Ben", "version": 1})
    unseen = {key: value for key, value in late.items() if key != "version"}
    assert 'say which version you have seen, {"version": 2}' in local.refused(400, "PUT", path, unseen)
    assert "is not a number" in local.refused(400, "PUT", path, unseen, **{"if-match": "*"})
    assert local.ask("PUT", path, unseen, **{"if-match": '"1"'}).status_code == 409
    assert local.ok("PUT", path, second)["report"]["version"] == 2
    assert local.ask("PUT", path, unseen, **{"if-match": 'W/"2"'}).json()["report"]["version"] == 3


def test_the_difference_word_by_word(local: Live) -> None:
    path = f"/reports/{next(local.images)}"
    first = local.ok("PUT", path, DRAFT)["report"]
    second = local.ok("PUT", path, corrected(first, author="Anna"))["report"]
    second["sections"]["impression"][0]["text"] = "One large lesion."
    local.ok("PUT", path, second)
    change = local.ok("GET", f"{path}/diff")
    assert (change["from"], change["to"]) == ("draft", 3)
    kinds = {s["id"]: s["kind"] for s in change["sentences"]}
    assert kinds == {"findings-1": "edited", "findings-2": "removed", "impression-1": "edited"}
    spans = change["sentences"][0]["spans"]
    assert [s["text"] for s in spans if s["kind"] != "kept"] == [" 12", " 14"]
    assert change["share"] == pytest.approx((2 + 5 + 1) / (11 + 11 + 5 + 3 + 4))
    later = local.ok("GET", f"{path}/diff?from=2&to=3")
    assert {s["id"]: s["kind"] for s in later["sentences"]} == {"findings-1": "same", "impression-1": "edited"}
    assert local.refused(404, "GET", f"{path}/diff?from=7")


def test_refusals_say_why(local: Live) -> None:
    image = next(local.images)
    path = f"/reports/{image}"
    for method, ending, body in (
        ("GET", "", None),
        ("GET", "/versions/1", None),
        ("GET", "/diff", None),
        ("GET", "/fhir", None),
        ("POST", "/sign", {"name": "Anna", "version": 1}),
        ("POST", "/amend", {"name": "Anna", "version": 1, "reason": "x", "sections": {}}),
    ):
        assert "There is no report" in local.refused(404, method, path + ending, body)
    assert "no image 'nobody'" in local.refused(404, "GET", "/reports/nobody")
    assert "no image 'nobody'" in local.refused(404, "PUT", "/reports/nobody", DRAFT)
    assert "plain name" in local.refused(400, "GET", "/reports/..%5Cx")
    assert "unknown key 'textt'" in local.refused(
        400, "PUT", path, {"sections": {"a": [{"textt": "x"}]}, "author": "A"}
    )
    assert "not saved as signed" in local.refused(400, "PUT", path, {**DRAFT, "status": "signed", "author": "A"})
    assert local.ask("PUT", path, [1]).status_code == 422
    local.ok("PUT", path, DRAFT)
    assert "is not signed" in local.refused(
        409, "POST", f"{path}/amend", {"name": "A", "version": 1, "reason": "x", "sections": {}}
    )
    assert "needs its reason" in local.refused(
        400, "POST", f"{path}/amend", {"name": "A", "version": 1, "sections": {}}
    )
    said = local.refused(400, "POST", f"{path}/sign", {"name": "A", "version": 1})
    assert "doubtful and undecided" in said
    assert "The midline is shifted." in said
    odd = {**DRAFT, "version": 1, "sections": {"findings": [{"text": "\ud83d \x00"}]}}
    assert local.ok("PUT", path, odd)["report"]["sections"]["findings"][0]["text"] == "\ud83d \x00"


def test_logins_are_needed(locked: Live) -> None:
    for path in ("/reports/x", "/reports/x/fhir", "/reports/x/diff"):
        assert requests.get(f"{locked.url}{path}", timeout=20).status_code == 401
