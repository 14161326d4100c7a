# SPDX-License-Identifier: Apache-2.0
"""Inference beside the event loop: a few workers, a bounded queue, and jobs dropped when their client is gone."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from fastapi import HTTPException, Request

logger = logging.getLogger(__name__)

T = TypeVar("T")
NICENESS = 10
"""How far inference threads step back, so that the event loop gets a processor at once (Linux, per thread)."""


class ClientGone(HTTPException):
    """The client closed the connection before its answer was ready; nobody sees this answer."""

    def __init__(self) -> None:
        """Use the status that proxies log for it."""
        super().__init__(499, "The client closed the connection.")


class InferencePool:
    """Runs at most ``workers`` jobs at a time and lets at most ``queue`` more wait.

    Args:
        workers: Jobs that run at the same time; the processor cores are divided among them.
        queue: Jobs that may wait.
    """

    def __init__(self, workers: int, queue: int) -> None:
        """Start without threads; they start with the first jobs."""
        self.workers = workers
        self.capacity = workers + queue
        self._pending = 0
        self._lock = threading.Lock()
        self._mean_s = 5.0
        self._executor = ThreadPoolExecutor(workers, "inference", initializer=prepare_thread, initargs=(workers,))

    async def run(self, request: Request, job: Callable[[], T], discard: Callable[[T], None]) -> T:
        """Run a job for a request whose body has been read, and wait for it.

        Args:
            request: The request; when its client disconnects a waiting job is dropped.
            job: The work, run in a worker thread.
            discard: Called with a result that nobody waits for any more.

        Raises:
            HTTPException: 503 with Retry-After when the queue is full.
            ClientGone: When the client has disconnected.
        """
        future = self._submit(job)
        waiting = asyncio.wrap_future(future)
        gone: asyncio.Future[None] = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait(set[asyncio.Future[Any]]((waiting, gone)), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            raise ClientGone
        finally:
            gone.cancel()
            if not waiting.done():
                future.add_done_callback(lambda done: _discard(done, discard))
                waiting.cancel()

    def _submit(self, job: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._pending >= self.capacity:
                wait_s = max(1, math.ceil(self._mean_s * self._pending / self.workers))
                raise HTTPException(
                    503,
                    f"All {self.workers} inference workers are busy and the queue is full; try again in {wait_s} s.",
                    headers={"Retry-After": str(wait_s)},
                )
            self._pending += 1
        future = self._executor.submit(self._timed, job)
        future.add_done_callback(self._finished)
        return future

    def _timed(self, job: Callable[[], T]) -> T:
        start = time.monotonic()
        try:
            return job()
        finally:
            self._mean_s += 0.3 * (time.monotonic() - start - self._mean_s)

    def _finished(self, _: Future[T]) -> None:
        with self._lock:
            self._pending -= 1

    def close(self) -> None:
        """Drop what waits; what runs ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _discard(done: Future[T], discard: Callable[[T], None]) -> None:
    if done.cancelled():
        logger.info("Dropped a waiting inference: its client is gone")
    elif done.exception() is None:
        discard(done.result())


def prepare_thread(workers: int) -> None:
    """Give a worker thread its share of the cores and a lower priority than the event loop."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, cores // workers))
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS))
