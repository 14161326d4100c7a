# SPDX-License-Identifier: Apache-2.0
"""The stream route: a WebSocket that takes frames and answers each with its findings; docs/how-to/stream.md shows it.

Access tokens, hosts and origins are checked by the same middlewares as for any other route (CORS does not cover
WebSockets).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from .checks import check_model
from .pool import prepare_thread
from .stock import label_app
from .stream_session import DONE, REFUSED, TRY_LATER, Refusal, Session, refusal_of

logger = logging.getLogger(__name__)
router = APIRouter(tags=["Stream"])


class Streams:
    """The streams that are open, and a thread for each.

    Args:
        most: How many may be open.
    """

    def __init__(self, most: int) -> None:
        """Start without threads."""
        self.most, self.open = most, 0
        threads = max(1, most)
        self._executor = ThreadPoolExecutor(threads, "stream", initializer=prepare_thread, initargs=(threads,))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a stream.

        Raises:
            Refusal: If all are taken.
        """
        if self.open >= self.most:
            raise Refusal(TRY_LATER, f"All {self.most} places for streams are taken; try again later.")
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    async def run(self, job: Callable[[], Any]) -> Any:
        """Run a job beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, job)

    def close(self) -> None:
        """End the threads once they have done what they do."""
        self._executor.shutdown(wait=False, cancel_futures=True)


@router.websocket("/stream/{model}")
async def stream(socket: WebSocket, model: str) -> None:
    """Answer the frames of one client."""
    await socket.accept()
    streams: Streams = socket.app.state.streams
    session = Session(socket, streams.run)
    try:
        hello = await session.hello()
        with streams.place():
            check_model(model)
            await session.serve(lambda: open_stream(model, hello))
            logger.info("stream through %s: %d frames, %d dropped", model, session.frames, session.dropped)
        await socket.close(DONE)
    except WebSocketDisconnect:
        pass
    except Exception as error:
        await _refuse(socket, refusal_of(error, REFUSED))


def open_stream(model: str, hello: dict[str, Any]) -> Any:
    """Open a ``lib.prediction.streaming.FrameStream``.

    Raises:
        Refusal: If the model comes from elsewhere and knows no streams.
        InputError: If the model is not forward-only, or the hello does not fit.
    """
    task = label_app()._infers[model]
    if not hasattr(task, "open_stream"):
        raise Refusal(REFUSED, f"The model '{model}' does not stream.")
    return task.open_stream(hello)


async def _refuse(socket: WebSocket, refusal: Refusal) -> None:
    """Tell the client why, and close; a close reason has room for 123 bytes only (RFC 6455, 5.5)."""
    try:
        await socket.send_text(json.dumps({"type": "error", "code": refusal.code, "detail": refusal.detail}))
        await socket.close(refusal.code, refusal.detail.encode()[:120].decode(errors="ignore"))
    except WebSocketDisconnect:
        pass
