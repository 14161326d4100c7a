# SPDX-License-Identifier: Apache-2.0
"""Token authentication on a live server: what is open, what is closed, and the browser session."""

import re

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

OPEN = ["/health", "/login", "/auth/"]
CLOSED = ["/", "/docs", "/openapi.json", "/info/", "/ohif/", "/ohif/app-config.js", "/static/favicon.ico", "/logs/"]
CLOSED += ["/train/", "/datastore/", "/model/sleep", "/proxy/dicom/studies", "/favicon.ico", "/auth/token/valid", "/no"]


@pytest.fixture
def browser(locked, token):
    session = requests.Session()
    answer = session.post(
        f"{locked.url}/login", data={"token": token, "next": "/ohif/"}, allow_redirects=False, timeout=20
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/ohif/")
    return session


@pytest.mark.parametrize("path", OPEN)
def test_open_without_token(locked, path):
    answer = requests.get(f"{locked.url}{path}", timeout=20)
    assert answer.status_code == 200
    assert "case_0" not in answer.text


@pytest.mark.parametrize("path", CLOSED)
def test_closed_without_token(locked, path):
    for headers in ({}, {"authorization": "Bearer wrong-token-0123456789"}, {"cookie": "lesionloop_session=x"}):
        answer = requests.get(f"{locked.url}{path}", headers=headers, timeout=20)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert requests.post(f"{locked.url}{path}", timeout=20).status_code == 401


@pytest.mark.parametrize("header", ["{}", "Basic {}", "Bearer {}x", "Bearer ", "Bearer {} x"])
def test_malformed_credentials(locked, token, header):
    headers = {"authorization": header.format(token)}
    assert requests.get(f"{locked.url}/info/", headers=headers, timeout=20).status_code == 401


def test_bearer_token_opens(locked, token):
    for value, name in ((token, "anna"), (f"{token}-of-ben", "ben")):
        headers = {"authorization": f"Bearer {value}"}
        assert requests.get(f"{locked.url}/info/", headers=headers, timeout=20).ok
        assert requests.get(f"{locked.url}/auth/token/valid", headers=headers, timeout=20).json() == {"username": name}


def test_browser_is_sent_to_the_login_page_and_back(locked):
    answer = requests.get(f"{locked.url}/ohif/", headers={"accept": "text/html"}, allow_redirects=False, timeout=20)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fohif%2F")
    form = requests.get(f"{locked.url}{answer.headers['location']}", timeout=20).text
    assert 'name="next" value="/ohif/"' in form
    assert '<label for="token">' in form
    assert 'lang="en"' in form


def test_browser_session_opens_ohif_and_its_requests(locked, browser):
    cookie = next(iter(browser.cookies))
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "strict"
    assert cookie.expires
    assert "OHIF" in browser.get(f"{locked.url}/ohif/", timeout=20).text
    assert browser.get(f"{locked.url}/info/", timeout=20).ok
    assert "anna" in browser.get(f"{locked.url}/", timeout=20).text
    own = {"origin": locked.url}
    assert browser.post(f"{locked.url}/infer/sleep?image=case_0&output=json", headers=own, timeout=20).ok


def test_cookie_needs_this_servers_origin(locked, browser):
    url = f"{locked.url}/infer/sleep?image=case_0&output=json"
    for headers in ({}, {"origin": "https://viewer.example"}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert browser.post(url, headers=headers, timeout=20).status_code == 403, headers


def test_logout_ends_the_session(locked, browser):
    cookie = dict(browser.cookies)
    answer = browser.post(f"{locked.url}/logout", headers={"origin": locked.url}, allow_redirects=False, timeout=20)
    assert answer.status_code == 303
    assert requests.get(f"{locked.url}/info/", cookies=cookie, timeout=20).status_code == 401


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_login_redirects_to_this_server_only(locked, token, target):
    data = {"token": token, "next": target}
    answer = requests.post(f"{locked.url}/login", data=data, allow_redirects=False, timeout=20)
    assert answer.headers["location"] == "/"
    assert "evil" not in requests.get(f"{locked.url}/login", params={"next": target}, timeout=20).text


def test_login_page_escapes(locked):
    text = requests.get(f"{locked.url}/login", params={"next": '/"><b>x'}, timeout=20).text
    assert "<b>x" not in text


def test_login_across_sites_is_refused(locked, token):
    headers = {"origin": "https://evil.example"}
    answer = requests.post(f"{locked.url}/login", data={"token": token}, headers=headers, timeout=20)
    assert answer.status_code == 403


def test_websocket_is_guarded(locked, token, browser):
    url = locked.url.replace("http", "ws") + "/echo"
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    for headers, origin in [
        ({}, None),
        ({"Authorization": "Bearer wrong-token-0123456789"}, None),
        ({"Authorization": f"Bearer {token}"}, "https://evil.example"),
        ({"Cookie": cookie}, "https://evil.example"),
        ({"Cookie": cookie}, None),
    ]:
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, additional_headers=headers, origin=origin, proxy=None)
    for headers, origin in [({"Authorization": f"Bearer {token}"}, None), ({"Cookie": cookie}, locked.url)]:
        with connect(url, additional_headers=headers, origin=origin, proxy=None) as socket:
            assert socket.recv(timeout=5) == "anna"


def test_tokens_do_not_reach_the_log(locked, token):
    assert token not in locked.output.read_text()


def test_failed_logins_are_slowed_down(locked, token):
    headers = {"x-forwarded-for": "10.9.8.7"}  # from this machine uvicorn takes it, so other tests are not slowed
    statuses = [
        requests.post(
            f"{locked.url}{path}", data={"token": "x", "password": "x"}, headers=headers, timeout=20
        ).status_code
        for path in ["/login", "/auth/token"] * 3
    ]
    assert statuses == [401, 401, 401, 401, 401, 429]
    answer = requests.post(f"{locked.url}/login", data={"token": token}, headers=headers, timeout=20)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    assert re.search(r'role="alert">Too many failed logins', answer.text)
    headers["authorization"] = f"Bearer {token}"
    assert requests.get(f"{locked.url}/info/", headers=headers, timeout=20).ok
    del headers["x-forwarded-for"]
    assert requests.post(f"{locked.url}/auth/token", data={"password": token}, timeout=20).ok
