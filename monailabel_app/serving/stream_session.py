# SPDX-License-Identifier: Apache-2.0
"""One client's stream of frames: its messages are read as they come, its frames are answered in their order.

What waits in memory is bounded: a frame on top of those that wait is dropped, and the client is told.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeAlias

from fastapi import HTTPException, WebSocket, WebSocketDisconnect

from ..roots import lib_module
from .stock import error_answer

HELLO_S = 10.0
IDLE_S = 300.0
MAX_TEXT_CHARS = 65_536
MAX_DROPPED_IN_A_ROW = 1000
MAX_CONTROLS_WAITING = 8

DONE, NOT_UNDERSTOOD, REFUSED, TOO_LARGE, FAILED, TRY_LATER = 1000, 1007, 1008, 1009, 1011, 1013
"""Close codes (RFC 6455, 7.4.1, and IANA's registry)."""

Run: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]


class Refusal(Exception):
    """Ends a stream with a message and a close code."""

    def __init__(self, code: int, detail: str) -> None:
        """Keep both."""
        super().__init__(detail)
        self.code, self.detail = code, detail


class Control(Enum):
    """What a client wants, other than a frame looked at."""

    RESET = auto()
    END = auto()
    GONE = auto()


@dataclass(frozen=True)
class Frame:
    """A frame that waits.

    Attributes:
        number: From 0, dropped ones included.
        time_s: When it was taken.
        data: As it was sent.
        received_s: When it came, on the clock of this process.
    """

    number: int
    time_s: float
    data: bytes
    received_s: float


class Session:
    """One client's frames.

    Args:
        socket: Accepted.
        run: Runs a job beside the event loop.
    """

    def __init__(self, socket: WebSocket, run: Run) -> None:
        """Start without frames."""
        self.frames = self.dropped = 0
        self._socket, self._run = socket, run
        self._stream: Any = None
        self._waiting = self._dropped_in_a_row = 0
        self._time_s: float | None = None
        self._last_s = -math.inf
        self._items: asyncio.Queue[Frame | Control | Exception] = asyncio.Queue()

    async def hello(self) -> dict[str, Any]:
        """What the client says about its frames, in its first message.

        Raises:
            Refusal: If it says something else, or nothing.
        """
        said = _parsed(await self._message(HELLO_S))
        if said.pop("type", None) != "hello":
            raise Refusal(REFUSED, 'Say first what your frames are like: {"type": "hello", "rows": ..., ...}.')
        return said

    async def serve(self, open_stream: Callable[[], Any]) -> None:
        """Answer until the client ends the stream or is gone.

        Args:
            open_stream: Returns a ``lib.prediction.streaming.FrameStream``.

        Raises:
            Refusal: If it has to end with a message.
            WebSocketDisconnect: If nobody hears the answers.
        """
        self._stream = await self._run(open_stream)
        self._items = asyncio.Queue(self._stream.given.window + MAX_CONTROLS_WAITING)
        source = self._stream.source
        known = {"model": source.model, "version": source.version, "weights_sha256": source.weights_sha256}
        await self._send("ready", **known, window=self._stream.given.window)
        reader = asyncio.create_task(self._read())
        try:
            await self._answer()
        finally:
            reader.cancel()

    async def _answer(self) -> None:
        while True:
            item = await self._items.get()
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Frame):
                await self._answer_frame(item)
            elif item is Control.RESET:
                await self._run(self._stream.reset)
                await self._send("reset")
            else:
                if item is Control.END:
                    await self._send("end", frames=self.frames, dropped=self.dropped)
                return

    async def _answer_frame(self, frame: Frame) -> None:
        try:
            found = await self._run(lambda: self._work(frame))
        except Exception as error:
            refusal = refusal_of(error, NOT_UNDERSTOOD)
            raise Refusal(refusal.code, f"Frame {frame.number}: {refusal.detail}") from error
        self._waiting -= 1
        await self._send("frame", **found, latency_ms=round(1000 * (time.perf_counter() - frame.received_s), 2))

    def _work(self, frame: Frame) -> dict[str, Any]:
        pixels = self._stream.read_frame(frame.data)
        result: dict[str, Any] = self._stream.push(pixels, frame.number, frame.time_s).to_json()
        return result

    async def _read(self) -> None:
        """Take messages as they come, so that a client that is gone or too fast is noticed while the model works."""
        try:
            while True:
                message = await self._message(IDLE_S)
                if isinstance(message, bytes):
                    await self._take_frame(message)
                else:
                    await self._take_text(message)
        except WebSocketDisconnect:
            await self._items.put(Control.GONE)
        except Exception as error:
            await self._items.put(error)

    async def _take_frame(self, data: bytes) -> None:
        number, self.frames = self.frames, self.frames + 1
        time_s = self._time_of(number)
        if len(data) > lib_module("prediction.stream_input").MAX_FRAME_BYTES:
            raise Refusal(TOO_LARGE, f"Frame {number} has {len(data)} bytes; that is too much.")
        if self._waiting < self._stream.given.window:
            self._waiting += 1
            self._dropped_in_a_row = 0
            await self._items.put(Frame(number, time_s, data, time.perf_counter()))
            return
        self.dropped += 1
        self._dropped_in_a_row += 1
        if self._dropped_in_a_row >= MAX_DROPPED_IN_A_ROW:
            raise Refusal(REFUSED, f"The last {MAX_DROPPED_IN_A_ROW} frames were dropped: wait for answers.")
        await self._send("dropped", frame=number, time_s=round(time_s, 4))

    def _time_of(self, number: int) -> float:
        """When a frame was taken: as its sender says, or by the frame rate."""
        rate = self._stream.given.frame_rate_hz
        time_s = self._time_s if rate is None else number / rate
        if time_s is None:
            raise Refusal(REFUSED, f'Frame {number} has no time: send {{"type": "time", "time_s": ...}} before it.')
        self._time_s = None
        return time_s

    async def _take_text(self, text: str) -> None:
        said = _parsed(text)
        if said == {"type": "reset"}:
            await self._items.put(Control.RESET)
        elif said == {"type": "end"}:
            await self._items.put(Control.END)
        elif said.keys() == {"type", "time_s"} and said["type"] == "time" and self._stream.given.frame_rate_hz is None:
            self._time_s = _later(said["time_s"], self._last_s)
            self._last_s = self._time_s
        else:
            raise Refusal(NOT_UNDERSTOOD, f"The message {text[:80]} is not understood.")

    async def _message(self, limit_s: float) -> str | bytes:
        """The next message.

        Raises:
            Refusal: If none comes in time, or a text is too long.
            WebSocketDisconnect: If the client is gone.
        """
        try:
            message = await asyncio.wait_for(self._socket.receive(), limit_s)
        except TimeoutError as error:
            raise Refusal(REFUSED, f"No message came for {limit_s:g} s.") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", DONE))
        data: bytes | None = message.get("bytes")
        if data is not None:
            return data
        text: str = message["text"]
        if len(text) > MAX_TEXT_CHARS:
            raise Refusal(TOO_LARGE, f"A text message has {len(text)} characters; frames are binary messages.")
        return text

    async def _send(self, kind: str, **values: Any) -> None:
        await self._socket.send_text(json.dumps({"type": kind, **values}))


def _parsed(message: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        Refusal: If it is something else.
    """
    try:
        said = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Refusal(NOT_UNDERSTOOD, "A text message must be a JSON object, and the first message must be text.")
    return said


def _later(value: Any, last_s: float) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not known or value <= last_s:
        raise Refusal(NOT_UNDERSTOOD, f"time_s is {str(value)[:40]}; it must be a number of seconds that rises.")
    return float(value)


def refusal_of(error: Exception, code: int) -> Refusal:
    """What a client is told of an error; ``code`` where the error is the client's."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return Refusal(REFUSED, str(error.detail))
    answer = error_answer(error)
    return Refusal(FAILED if answer.status_code >= 500 else code, json.loads(bytes(answer.body))["detail"])
