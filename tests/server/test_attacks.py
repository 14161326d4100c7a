# SPDX-License-Identifier: Apache-2.0
"""Each test tries an attack that works on the stock MONAI Label server against a live server of ours."""

import io
import json
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
import requests

PATHS = [
    "/etc/passwd",
    "../secret",
    "..",
    "../../etc/passwd",
    "case_0/../../secret",
    "..\\secret",
    ".hidden",
    "file:///etc/passwd",
    "case_0\x00.nii.gz",
]


@pytest.fixture
def secret(live):
    """A file beside the store that no request may read or change."""
    file = live.studies.parent / "secret.nii.gz"
    file.write_bytes(b"secret")
    yield file
    assert file.read_bytes() == b"secret"
    file.unlink()


def infer(live, image="case_0", /, **params):
    data = {"params": json.dumps(params)}
    query = {"image": image, "output": "image"}
    return requests.post(f"{live.url}/infer/sleep", params=query, data=data, timeout=20)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name not in (".lock", "infer.log")}


@pytest.mark.parametrize("image", PATHS)
def test_infer_reads_no_path(live, secret, image):
    answer = infer(live, image)
    assert answer.status_code == 400
    assert "plain name" in answer.json()["detail"]


@pytest.mark.parametrize("key", ["image", "image_path", "model", "session", "file", "result_file_name", "description"])
def test_infer_params_cannot_replace_the_image(live, secret, key):
    answer = infer(live, **{key: str(secret)})
    assert answer.status_code == 400
    assert f"'{key}' is not allowed. Allowed are:" in answer.json()["detail"]


@pytest.mark.parametrize(
    "params",
    [
        {"label": "/etc/passwd"},
        {"label_tag": "../../x"},
        {"result_extension": "/../../x.nii.gz"},
        {"result_dtype": "os.system"},
        {"device": "cuda:0; rm"},
        {"device": ["cpu", "/etc"]},
        {"depth": "/etc/passwd"},
        {"depth": {"a": "b"}},
        {"threshold": "nan"},
        {"roi": [["/etc/passwd"]]},
        {"label_info": "/etc/passwd"},
        {"client_id": "../../x"},
        {"logging": "../x"},
    ],
)
def test_infer_params_hold_no_paths(live, params):
    answer = infer(live, **params)
    assert answer.status_code == 400
    assert f"'{next(iter(params))}'" in answer.json()["detail"]


@pytest.mark.parametrize("text", ["[1]", "{", '"x"', "[" * 100_000])
def test_params_must_be_an_object(live, text):
    answer = requests.post(f"{live.url}/infer/sleep?image=case_0", data={"params": text}, timeout=20)
    assert answer.status_code == 400


def test_upload_suffix_cannot_be_chosen_freely(live):
    for name in ("x.sh", "x.pt", "x.nii.gz/../../y", "x"):
        sent = {"file": (name, b"data")}
        assert requests.post(f"{live.url}/infer/sleep", files=sent, timeout=20).status_code == 400


@pytest.mark.parametrize("image", [*PATHS, "datastore_v2", "labels", "x" * 200])
@pytest.mark.parametrize("route", ["/datastore/", "/datastore/image"])
def test_upload_writes_nothing_outside_the_store(live, secret, image, route):
    before = tree(live.studies.parent)
    sent = {"file": ("a.nii.gz", b"evil")}
    answer = requests.put(f"{live.url}{route}", params={"image": image}, files=sent, timeout=20)
    assert answer.status_code == 400
    assert tree(live.studies.parent) == before


def test_upload_takes_only_images(live):
    for name in ("datastore_v2.json", "a.html", "../../a.nii.gz\\..\\b.exe"):
        sent = {"file": (name, b"evil")}
        assert requests.put(f"{live.url}/datastore/image", files=sent, timeout=20).status_code == 400
    assert json.loads((live.studies / "datastore_v2.json").read_text())["objects"]


@pytest.mark.parametrize("tag", ["../../../x", "..", "a/b", "a b", "x" * 65, "%2e%2e", "\u00e4"])
def test_label_tag_is_no_path(live, secret, tag):
    before = tree(live.studies.parent)
    query = {"image": "case_0", "tag": tag}
    sent = {"label": ("a.nii.gz", b"evil")}
    assert requests.put(f"{live.url}/datastore/label", params=query, files=sent, timeout=20).status_code == 400
    query = {"label": "case_0", "tag": tag}
    assert requests.get(f"{live.url}/datastore/label", params=query, timeout=20).status_code == 400
    assert requests.get(f"{live.url}/datastore/label/info", params=query, timeout=20).status_code == 400
    query = {"id": "case_0", "tag": tag}
    assert requests.delete(f"{live.url}/datastore/label", params=query, timeout=20).status_code == 400
    assert tree(live.studies.parent) == before


@pytest.mark.parametrize("image", PATHS)
def test_datastore_names_no_path(live, secret, image):
    sent = {"label": ("a.nii.gz", b"evil")}
    put = requests.put(f"{live.url}/datastore/label", params={"image": image}, files=sent, timeout=20)
    assert put.status_code == 400
    for method, route, key in [
        ("GET", "/datastore/image", "image"),
        ("HEAD", "/datastore/image", "image"),
        ("GET", "/datastore/image/info", "image"),
        ("DELETE", "/datastore/image", "id"),
        ("GET", "/datastore/label?tag=final", "label"),
        ("PUT", "/datastore/image/info", "image"),
    ]:
        answer = requests.request(method, f"{live.url}{route}", params={key: image}, timeout=20)
        assert answer.status_code == 400, (method, route)


def make_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def make_zip(name: str, data: bytes, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        bundle.writestr(info, data)
    return buffer.getvalue()


EVIL_ARCHIVES = {
    "tar up": make_tar((tarfile.TarInfo("../../evil"), b"x")),
    "tar absolute": make_tar((tarfile.TarInfo("/tmp/lesionloop-evil"), b"x")),
    "tar symlink": make_tar((link("a", "/etc", tarfile.SYMTYPE), b""), (tarfile.TarInfo("a/evil"), b"x")),
    "tar hard link": make_tar((link("a", "../../secret.nii.gz", tarfile.LNKTYPE), b"")),
    "tar device": make_tar((link("a", "", tarfile.CHRTYPE), b"")),
    "tar fifo": make_tar((link("a", "", tarfile.FIFOTYPE), b"")),
    "zip up": make_zip("../../evil", b"x"),
    "zip absolute": make_zip("/tmp/lesionloop-evil", b"x"),
    "zip backslash": make_zip("..\\..\\evil", b"x"),
    "zip symlink": make_zip("a", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "no archive": b"just text",
    "cut tar": make_tar((tarfile.TarInfo("a"), bytes(range(256)) * 400))[:300],
}


@pytest.mark.parametrize("kind", EVIL_ARCHIVES)
def test_session_archive_stays_inside(live, secret, kind):
    before = tree(live.studies.parent)
    sent = {"files": ("study.tar.gz", EVIL_ARCHIVES[kind])}
    answer = requests.put(f"{live.url}/session/?uncompress=true", files=sent, timeout=20)
    assert answer.status_code == 400
    assert tree(live.studies.parent) == before
    assert not Path("/tmp/lesionloop-evil").exists()


def test_session_archive_bomb_is_refused(live):
    sent = {"files": ("study.zip", make_zip("a", bytes(20 << 20)))}
    answer = requests.put(f"{live.url}/session/?uncompress=true", files=sent, timeout=20)
    assert answer.status_code == 413


def test_session_takes_a_good_archive(live):
    for data in (make_zip("series/a.dcm", b"x"), make_tar((tarfile.TarInfo("series/a.dcm"), b"x"))):
        sent = {"files": ("study.zip", data)}
        answer = requests.put(f"{live.url}/session/?uncompress=true", files=sent, timeout=20).json()
        image = Path(answer["session_info"]["image"])
        assert (image / "series" / "a.dcm").read_bytes() == b"x"
        assert requests.delete(f"{live.url}/session/{answer['session_id']}", timeout=20).ok


@pytest.mark.parametrize("session_id", ["..", "%2e%2e", "..%2fstudies", "x", "../studies"])
def test_session_id_is_no_path(live, session_id):
    request = f"DELETE /session/{session_id} HTTP/1.1\nHost: localhost\nConnection: close\n\n"
    assert live.raw(request).split()[1] in ("400", "404", "405")
    answer = requests.post(f"{live.url}/infer/sleep", params={"session_id": session_id}, timeout=20)
    assert answer.status_code == 400
    assert live.studies.exists()


@pytest.mark.parametrize("name", ["../../evil.dcm", "..", "/etc/evil", "a\\..\\..\\evil"])
def test_session_file_names_are_cut_to_their_last_part(live, name):
    before = tree(live.studies.parent)
    answer = requests.put(f"{live.url}/session/", files={"files": (name, b"x")}, timeout=20)
    if answer.ok:
        folder = live.studies.parent / "sessions" / answer.json()["session_id"]
        assert Path(answer.json()["session_info"]["image"]).parent == folder
        assert requests.delete(f"{live.url}/session/{folder.name}", timeout=20).ok
    else:
        assert answer.status_code == 400
    assert tree(live.studies.parent) - {"sessions"} == before - {"sessions"}


@pytest.mark.parametrize(
    "path",
    [
        "/ohif/../../../app.py",
        "/ohif/..%2f..%2f..%2fapp.py",
        "/ohif/%2e%2e/%2e%2e/%2e%2e/app.py",
        "/ohif//etc/passwd",
        "/ohif/..\\..\\app.py",
        "/static/../../app.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/model/..%2f..%2fmain.py",
        "/model/info/..%2fmain.py",
        "/logs/..%2fmain.py",
        "/logs/../main.py",
    ],
)
def test_files_outside_are_not_served(live, path):
    answer = live.raw(f"GET {path} HTTP/1.1\nHost: localhost\nConnection: close\n\n")
    assert answer.split()[1] in ("400", "404")
    assert "import " not in answer
    assert "root:" not in answer


@pytest.mark.parametrize(
    "params",
    [
        {"name": "../../../x"},
        {"bundle_path": "/tmp"},
        {"tracking_uri": "http://evil.example"},
        {"dataset": "../x"},
        {"gpus": "0;rm"},
        {"model": "other"},
        {"local_rank": 1},
        {"patience": "../x"},
        {"max_epochs": {"a": 1}},
    ],
)
def test_train_params_are_an_allow_list(live, params):
    answer = requests.post(f"{live.url}/train/sleep", json=params, timeout=20)
    assert answer.status_code == 400
    assert f"'{next(iter(params))}'" in answer.json()["detail"]
    assert requests.post(f"{live.url}/train/", json={"sleep": params}, timeout=20).status_code == 400
    assert requests.post(f"{live.url}/train/", json=params, timeout=20).status_code == 400


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /train/sleep?run_sync=true",
        "POST /batch/infer/sleep?run_sync=true",
        "POST /batch/infer/..%2fsleep",
        "POST /scoring/dice?run_sync=true",
        "POST /reload",
        "POST /infer/wsi/sleep?image=case_0",
        "POST /infer/wsi_v2/sleep?image=case_0",
        "PUT /model/sleep",
        "DELETE /model/sleep",
        "DELETE /datastore/?id=case_0",
        "POST /scoring/",
        "POST /activelearning/..%2fx",
    ],
)
def test_dangerous_routes_are_gone_or_guarded(live, request_line):
    request = f"{request_line} HTTP/1.1\nHost: localhost\nContent-Length: 0\nConnection: close\n\n"
    assert live.raw(request).split()[1] in ("400", "404", "405")


def test_next_sample_params_are_an_allow_list(live):
    for params in ({"strategy": "other"}, {"label_tag": "../x"}, {"path": "/etc"}):
        assert requests.post(f"{live.url}/activelearning/first", json=params, timeout=20).status_code == 400


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]", "", "local host"]
)
def test_dns_rebinding_is_refused(live, host):
    answer = live.raw(f"GET /info/ HTTP/1.1\nHost: {host}\nConnection: close\n\n")
    assert answer.split()[1] == "400"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000"])
def test_names_of_this_machine_are_answered(live, host):
    assert live.raw(f"GET /health HTTP/1.1\nHost: {host}\nConnection: close\n\n").split()[1] == "200"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
)
def test_other_web_pages_can_neither_read_nor_send(live, origin):
    read = requests.get(f"{live.url}/info/", headers={"origin": origin}, timeout=20)
    assert not [name for name in read.headers if name.lower().startswith("access-control-allow")]
    asked = {"origin": origin, "access-control-request-method": "POST"}
    assert requests.options(f"{live.url}/info/", headers=asked, timeout=20).status_code == 400
    sent = requests.post(f"{live.url}/train/sleep", json={"max_epochs": 1}, headers={"origin": origin}, timeout=20)
    assert sent.status_code == 403
    sent = requests.delete(f"{live.url}/train/", headers={"sec-fetch-site": "cross-site"}, timeout=20)
    assert sent.status_code == 403


def test_allowed_origin_may_read_but_never_with_cookies(locked, token):
    headers = {"origin": "https://viewer.example", "authorization": f"Bearer {token}"}
    answer = requests.get(f"{locked.url}/info/", headers=headers, timeout=20)
    assert answer.headers["access-control-allow-origin"] == "https://viewer.example"
    assert "access-control-allow-credentials" not in answer.headers
    headers["origin"] = "https://evil.example"
    assert "access-control-allow-origin" not in requests.get(f"{locked.url}/info/", headers=headers, timeout=20).headers


def test_upload_limit_by_content_length(live):
    head = "PUT /datastore/image?image=big HTTP/1.1\nHost: localhost\nContent-Type: multipart/form-data; boundary=x\n"
    assert live.raw(f"{head}Content-Length: 5000000\n\n").split()[1] == "413"
    assert live.raw(f"{head}Content-Length: 99999999999999\n\n").split()[1] == "413"


@pytest.mark.parametrize(
    "route", ["PUT /datastore/image?image=big", "POST /infer/sleep", "PUT /session/", "POST /train/x"]
)
def test_upload_limit_while_streaming(live, route):
    def chunks():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nii.gz"\r\n\r\n'
        for _ in range(9):
            yield bytes(1 << 20)

    head = f"{route} HTTP/1.1\nHost: localhost\nContent-Type: multipart/form-data; boundary=x\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks())
    answer = live.raw(f"{head}Transfer-Encoding: chunked\n\n", body[: (4 << 20) + 400_000])
    assert answer.split()[1] == "413"
    assert not (live.studies / "big.nii.gz").exists()
    assert requests.get(f"{live.url}/health", timeout=5).ok


def test_answers_carry_security_headers(live):
    headers = requests.get(f"{live.url}/", timeout=20).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "default-src 'none'" in headers["content-security-policy"]


def test_pages_load_nothing_from_other_hosts(live):
    for path in ("/", "/docs", "/login"):
        text = requests.get(f"{live.url}{path}", timeout=20).text
        assert "http://" not in text
        assert "https://" not in text
        assert "<script" not in text
