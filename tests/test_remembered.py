# SPDX-License-Identifier: Apache-2.0
"""What has been found once is not found again, and only as much is kept as there is room for."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from monailabel_app.serving.remembered import Remembered


def test_work_is_done_once_for_each_key() -> None:
    done: list[str] = []
    known: Remembered[str] = Remembered(2)

    def work(key: str) -> str:
        return known.of(key, lambda: done.append(key) or key.upper())

    assert [work("a"), work("b"), work("a")] == ["A", "B", "A"]
    assert done == ["a", "b"]
    work("c")  # the one that was not asked for longest, b, goes
    assert [work("a"), work("c"), work("b")] == ["A", "C", "B"]
    assert done == ["a", "b", "c", "b"]


def test_what_fails_is_tried_again() -> None:
    known: Remembered[int] = Remembered(1)
    with pytest.raises(ZeroDivisionError):
        known.of("a", lambda: 1 // 0)
    assert known.of("a", lambda: 3) == 3


def test_many_threads_get_what_belongs_to_their_key() -> None:
    known: Remembered[int] = Remembered(4)
    keys = [n % 9 for n in range(600)]
    with ThreadPoolExecutor(8) as over:
        found = list(over.map(lambda key: known.of(key, lambda: key * key), keys))
    assert found == [key * key for key in keys]
