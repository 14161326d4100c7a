# SPDX-License-Identifier: Apache-2.0
"""Streams on a live server with real, small models."""

import asyncio
import io
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from fastapi import WebSocket
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lib.phantom.cine import cine
from lib.prediction.predictor import Predictor
from lib.prediction.stream_input import StreamInput
from lib.prediction.streaming import FrameStream
from lib.registry import build_network
from lib.types import Source
from lib.weights.files import load_weights
from monailabel_app.serving import stream_session
from monailabel_app.serving.stream import Streams
from monailabel_app.serving.stream_session import Session

TOKEN = "a-token-of-these-tests-0123456789"
SIZE = (60, 84)
LIMIT_S = 30


@pytest.fixture(scope="module")
def server(serve):
    return serve(label_app="stream_app", LESIONLOOP_TOKEN=TOKEN, LESIONLOOP_STREAMS="2")


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return cine(1, n_frames=12, size=SIZE).image


@contextmanager
def opened(server, model: str = "outlines", **hello: Any) -> Iterator[ClientConnection]:
    """A connection that has said hello; values that are None are left out."""
    url = f"{server.url.replace('http', 'ws')}/stream/{model}"
    rows, columns = SIZE
    said = {"type": "hello", "rows": rows, "columns": columns, "spacing_mm": [1, 1], "frame_rate_hz": 25, **hello}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with connect(url, additional_headers=headers, proxy=None, compression=None) as socket:
        socket.send(json.dumps({key: value for key, value in said.items() if value is not None}))
        yield socket


def told(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(socket.recv(timeout=LIMIT_S))


def refused(socket: ClientConnection) -> tuple[int, str]:
    """Close code and message of a stream that the server ends; what came before is skipped."""
    answers: list[dict[str, Any]] = []
    with pytest.raises(ConnectionClosed) as closed:
        answers.extend(iter(lambda: told(socket), None))
    assert closed.value.rcvd is not None
    code, reason = closed.value.rcvd.code, closed.value.rcvd.reason
    assert (answers[-1]["type"], answers[-1]["code"]) == ("error", code)
    assert answers[-1]["detail"].startswith(reason[:100])
    return code, answers[-1]["detail"]


def wait_until_free(server) -> None:
    """A server notices a moment later that a client has gone."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        with opened(server) as one, opened(server) as two:
            if told(one)["type"] == told(two)["type"] == "ready":
                return
        time.sleep(0.1)
    pytest.fail("places for streams are still taken")


@pytest.mark.parametrize("model", ["outlines", "boxes"])
def test_frames_are_answered_one_by_one(server, clip, model):
    with opened(server, model) as socket:
        ready = told(socket)
        assert (ready["type"], ready["model"], ready["version"], ready["window"]) == ("ready", model, "v0001", 4)
        found, confirmed = 0, set()
        for number, frame in enumerate(clip):
            socket.send(frame.tobytes())
            answer = told(socket)
            assert (answer["type"], answer["frame"], answer["time_s"]) == ("frame", number, number / 25)
            assert 0 <= answer["presence"] <= 1
            assert answer["latency_ms"] > 0
            for finding in answer["findings"]:
                x0, y0, x1, y1 = finding["box"]
                assert 0 <= x0 < x1 <= SIZE[1]
                assert 0 <= y0 < y1 <= SIZE[0]
                assert finding["track_id"] >= 1
            assert all(event["kind"] in ("born", "lost") for event in answer["events"])
            confirmed |= {event["track_id"] for event in answer["events"] if event["kind"] == "born"}
            assert {f["track_id"] for f in answer["findings"] if f["confirmed"]} <= confirmed
            found += len(answer["findings"])
        assert found
        socket.send('{"type": "end"}')
        assert told(socket) == {"type": "end", "frames": 12, "dropped": 0}
        with pytest.raises(ConnectionClosed) as closed:
            told(socket)
        assert closed.value.rcvd.code == 1000


def test_the_answers_are_those_of_the_library(server, clip, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "stream_app"))
    from main import OUTLINES

    network = build_network(OUTLINES)
    load_weights(network, server.infer_log.parent / "app" / "model" / "outlines" / "v0001.safetensors")
    given = StreamInput(*SIZE, (1.0, 1.0), 25.0)
    stream = FrameStream(Predictor(OUTLINES, network), OUTLINES, given, Source("outlines", "v0001", ""))
    with opened(server) as socket:
        told(socket)
        for number, frame in enumerate(clip[:5]):
            socket.send(frame.tobytes())
            answer = told(socket)
            expected = stream.push(stream.read_frame(frame.tobytes()), number, number / 25).to_json()
            assert answer["presence"] == pytest.approx(expected["presence"], abs=2e-4)
            assert [f["track_id"] for f in answer["findings"]] == [f["track_id"] for f in expected["findings"]]
    sys.modules.pop("main")


def test_reset_encoded_frames_and_times_of_the_sender(server, clip):
    files = []
    for frame in clip[:3]:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "PNG")
        files.append(file.getvalue())
    with opened(server, encoding="image", frame_rate_hz=None) as socket:
        told(socket)
        rounds = []
        for start in (0.5, 7.25):
            answers = []
            for i, data in enumerate(files):
                socket.send(json.dumps({"type": "time", "time_s": start + i}))
                socket.send(data)
                answers.append(told(socket))
            assert [answer["time_s"] for answer in answers] == [start, start + 1, start + 2]
            rounds.append([(answer["presence"], answer["findings"]) for answer in answers])
            socket.send('{"type": "reset"}')
            assert told(socket) == {"type": "reset"}
        assert rounds[0] == rounds[1]
        socket.send(files[0])
        assert refused(socket) == (1008, 'Frame 6 has no time: send {"type": "time", "time_s": ...} before it.')


@pytest.mark.parametrize(
    ("model", "hello", "code", "words"),
    [
        ("both_ways", {}, 1008, "network.frame_recurrence.bidirectional: false"),
        ("elsewhere", {}, 1008, "does not stream"),
        ("nobody", {}, 1008, "There is no model 'nobody'"),
        ("outlines", {"type": "hi"}, 1008, "Say first what your frames are like"),
        ("outlines", {"rows": 100_000}, 1008, "'rows'"),
        ("outlines", {"rows": 4096, "columns": 4096}, 1008, "larger than 8 MiB"),
        ("outlines", {"dtype": "object"}, 1008, "'dtype'"),
        ("outlines", {"score_threshold": 7}, 1008, "score_threshold"),
        ("outlines", {"device": ["x"]}, 1008, "device"),
        ("outlines", {"image": "/etc/passwd"}, 1008, "'image'"),
    ],
)
def test_hellos_that_are_refused(server, model, hello, code, words):
    with opened(server, model, **hello) as socket:
        found, detail = refused(socket)
    assert found == code
    assert words in detail


@pytest.mark.parametrize(
    ("messages", "code", "words"),
    [
        ([b"\0" * 5039], 1007, "Frame 0: a frame has 5039 bytes"),
        ([b"\0" * 5040, b"\0" * 9_000_000], 1009, "Frame 1 has 9000000 bytes"),
        (["{"], 1007, "must be a JSON object"),
        (["[1]"], 1007, "must be a JSON object"),
        (["[" * 60_000], 1007, "must be a JSON object"),
        (["x" * 70_000], 1009, "frames are binary messages"),
        (['{"type": "time", "time_s": 1}'], 1007, "not understood"),
        (['{"type": "delete"}'], 1007, "not understood"),
    ],
)
def test_messages_that_end_a_stream(server, messages, code, words):
    with opened(server) as socket:
        told(socket)
        for message in messages:
            socket.send(message)
        found, detail = refused(socket)
    assert found == code
    assert words in detail


@pytest.mark.parametrize("time_s", ["1", None, True, float("nan"), -1e999])
def test_times_that_are_none(server, time_s):
    with opened(server, frame_rate_hz=None) as socket:
        told(socket)
        socket.send(json.dumps({"type": "time", "time_s": time_s}))
        code, detail = refused(socket)
    assert code == 1007
    assert "it must be a number of seconds that rises" in detail


def test_the_first_message_must_be_text(server):
    url = f"{server.url.replace('http', 'ws')}/stream/outlines"
    with connect(url, additional_headers={"Authorization": f"Bearer {TOKEN}"}, proxy=None) as socket:
        socket.send(b"\0" * 100)
        assert refused(socket)[0] == 1007


def flood(socket: ClientConnection, frame: bytes, count: int) -> list[dict[str, Any]]:
    """What the server says to frames that are sent without waiting for answers."""
    for _ in range(count):
        socket.send(frame)
    socket.send('{"type": "reset"}')
    return list(iter(lambda: told(socket), {"type": "reset"}))


@pytest.mark.slow
def test_a_client_that_does_not_wait_loses_frames_and_nothing_else(server):
    """Answers stay in order, every frame is accounted for, and the server's memory does not grow with what is sent."""
    n_frames, size = 100, 512
    process = psutil.Process(server.process.pid)
    frame = np.random.default_rng(0).integers(0, 255, (size, size), dtype=np.uint8).tobytes()
    with opened(server, "slow", rows=size, columns=size, spacing_mm=[0.1, 0.1], window=2) as socket:
        told(socket)
        answers = [*flood(socket, frame, n_frames), *flood(socket, frame, n_frames)]
        resident = process.memory_info().rss  # by now the model and the sockets have what they work with
        for _ in range(3):
            answers += flood(socket, frame, n_frames)
        grown = process.memory_info().rss - resident
        socket.send('{"type": "end"}')
        end = told(socket)
    seen = [answer["frame"] for answer in answers if answer["type"] == "frame"]
    dropped = [answer["frame"] for answer in answers if answer["type"] == "dropped"]
    assert seen == sorted(seen)
    assert sorted(seen + dropped) == list(range(5 * n_frames))
    assert dropped
    assert end == {"type": "end", "frames": 5 * n_frames, "dropped": len(dropped)}
    sent = 3 * n_frames * len(frame)
    assert grown < sent / 2, f"{sent} bytes were sent, {grown} stayed"


def test_places_are_limited_and_given_back(server, clip):
    wait_until_free(server)
    with ExitStack() as stack:
        first, second = (stack.enter_context(opened(server)) for _ in range(2))
        assert told(first)["type"] == told(second)["type"] == "ready"
        with opened(server) as third:
            code, detail = refused(third)
        assert code == 1013
        assert "All 2 places" in detail
        for socket in (first, second):
            socket.send(clip[0].tobytes())
            assert told(socket)["frame"] == 0
        first.socket.shutdown(SHUT_RDWR)  # gone without a word
    wait_until_free(server)


def test_only_who_may_gets_in(server):
    url = f"{server.url.replace('http', 'ws')}/stream/outlines"
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    session = requests.Session()
    session.post(f"{server.url}/login", data={"token": TOKEN}, timeout=LIMIT_S)
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in session.cookies.items())}
    for headers, origin in [
        ({}, None),
        ({"Authorization": "Bearer wrong-token-0123456789"}, None),
        ({}, server.url),
        (bearer, "https://evil.example"),
        (cookie, "https://evil.example"),
        (cookie, None),
    ]:
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, additional_headers=headers, origin=origin, proxy=None)
    for headers, origin in [(bearer, None), (bearer, server.url), (cookie, server.url)]:
        with connect(url, additional_headers=headers, origin=origin, proxy=None) as socket:
            socket.send("{}")
            assert refused(socket)[0] == 1008
    assert TOKEN not in server.output.read_text()


def test_info_says_which_models_stream(server):
    info = requests.get(f"{server.url}/info/", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=LIMIT_S).json()
    assert {name: model.get("streams") for name, model in info["models"].items()} == {
        "outlines": True,
        "boxes": True,
        "slow": True,
        "both_ways": False,
        "elsewhere": None,
    }


# ---- without a server: what would take minutes


def test_streams_can_be_turned_off():
    with pytest.raises(stream_session.Refusal, match="All 0 places"), Streams(0).place():
        pytest.fail("there is no place")


def silent_session() -> Session:
    """A session whose client connects and says nothing."""
    connected = [{"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        if connected:
            return connected.pop()
        await asyncio.sleep(60)
        return {"type": "websocket.disconnect"}

    async def send(_: dict[str, Any]) -> None:
        """Nobody looks."""

    socket = WebSocket({"type": "websocket", "path": "/", "headers": [], "query_string": b""}, receive, send)
    return Session(socket, Streams(1).run)


def test_a_client_that_says_nothing_is_sent_away(monkeypatch):
    monkeypatch.setattr(stream_session, "HELLO_S", 0.05)
    session = silent_session()

    async def run() -> None:
        await session._socket.accept()
        await session.hello()

    with pytest.raises(stream_session.Refusal, match=r"No message came for 0\.05 s") as refusal:
        asyncio.run(run())
    assert refusal.value.code == 1008
