# SPDX-License-Identifier: Apache-2.0
"""Inferences beside the event loop: what runs, waits, is refused and is dropped, on a live server."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import numpy as np
import pytest
import requests


def infer(server, seconds, name="x", model="sleep"):
    data = {"params": json.dumps({"threshold": seconds, "client_id": name})}
    query = {"image": "case_0", "output": "json"}
    start = time.monotonic()
    answer = requests.post(f"{server.url}/infer/{model}", params=query, data=data, timeout=30)
    return answer, time.monotonic() - start


def info_latencies_ms(server, while_running):
    """Time GET /info/ every 10 ms while any of the futures runs."""
    latencies = []
    with requests.Session() as session:
        while not all(future.done() for future in while_running):
            start = time.perf_counter()
            assert session.get(f"{server.url}/info/", timeout=10).ok
            latencies.append(1000 * (time.perf_counter() - start))
            time.sleep(0.01)
    return latencies


def test_two_run_at_once_and_the_third_waits(live):
    assert infer(live, 0)[0].ok
    with ThreadPoolExecutor(3) as clients:
        results = list(clients.map(lambda _: infer(live, 1), range(3)))
    assert all(answer.status_code == 200 for answer, _ in results)
    assert max(answer.json()["beside"] for answer, _ in results) == 2
    times_s = sorted(seconds for _, seconds in results)
    assert times_s[1] < 2  # the second did not wait for the first
    assert times_s[2] >= 1.8  # the third waited for one of them (2 s, less what it was sent later than the first)


def test_a_full_queue_answers_503(live):
    with ThreadPoolExecutor(6) as clients:
        results = list(clients.map(lambda _: infer(live, 0.7)[0], range(6)))  # 2 run, 2 wait
    assert sorted(answer.status_code for answer in results) == [200, 200, 200, 200, 503, 503]
    refused = next(answer for answer in results if answer.status_code == 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert "queue is full" in refused.json()["detail"]
    assert infer(live, 0)[0].ok


def test_a_waiting_job_is_dropped_when_its_client_leaves(live):
    with ThreadPoolExecutor(2) as clients:
        running = [clients.submit(infer, live, 1.0, f"stays-{i}") for i in range(2)]
        time.sleep(0.3)
        connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=10)
        body = urlencode({"params": json.dumps({"client_id": "leaves"})})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/infer/sleep?image=case_0", body, headers)
        time.sleep(0.3)
        connection.close()
        assert all(future.result()[0].ok for future in running)
    assert infer(live, 0, "last")[0].ok
    names = live.infer_log.read_text().split()
    assert {"stays-0", "stays-1", "last"} <= set(names)
    assert "leaves" not in names


@pytest.mark.parametrize("model", ["sleep", "convolve"])
def test_info_answers_while_inferences_run(live, model):
    with ThreadPoolExecutor(3) as clients:
        running = [clients.submit(infer, live, 1.5, "x", model) for _ in range(3)]
        latencies = info_latencies_ms(live, running)
        assert all(future.result()[0].ok for future in running)
    p95_ms = float(np.percentile(latencies, 95))
    print(f"\n/info/ beside {model}: n={len(latencies)} p50={np.median(latencies):.1f} ms p95={p95_ms:.1f} ms")
    assert len(latencies) > 20
    assert p95_ms < 50


def test_other_routes_do_not_hold_up_the_loop(live):
    """Uploads, downloads and lists run in threads: health answers at once while they work."""

    def upload(number):
        sent = {"file": ("a.nii.gz", bytes(3 << 20))}
        return requests.put(f"{live.url}/datastore/image?image=load_{number}", files=sent, timeout=30).ok

    latencies = []
    with ThreadPoolExecutor(4) as clients:
        running = [clients.submit(upload, number) for number in range(8)]
        while not all(future.done() for future in running):
            start = time.perf_counter()
            assert requests.get(f"{live.url}/health", timeout=10).ok
            latencies.append(1000 * (time.perf_counter() - start))
        assert all(future.result() for future in running)
    for number in range(8):
        assert requests.delete(f"{live.url}/datastore/image?id=load_{number}", timeout=10).ok
    assert np.percentile(latencies, 95) < 250
    objects = requests.get(f"{live.url}/datastore/?output=all", timeout=10).json()["objects"]
    assert "case_0" in objects
