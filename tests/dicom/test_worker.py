# SPDX-License-Identifier: Apache-2.0
"""The worker is tested as it will be met: killed, hung, starved of memory, orphaned, and used by many at once."""

import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from lib.dicom.series import read_series
from lib.dicom.types import DicomSeries
from lib.dicom.worker import GIB, WorkerPool, read_series_isolated
from lib.dicom.write import Subject, write_mr_series
from lib.types import InputError, Sequence

ROOT = Path(__file__).resolve().parents[2]
SPACING_MM, ORIGIN_MM = (0.5, 0.5, 2.0), (1.0, 2.0, 3.0)


def write(folder: Path, slices: int, size: int = 64) -> list[Path]:
    volume = np.random.default_rng(slices).integers(0, 3000, (slices, size, size)).astype(np.uint16)
    subject = Subject(f"patient {slices}", datetime.date(2024, 5, 6))
    return write_mr_series(volume, folder, subject, spacing_mm=SPACING_MM, origin_lps_mm=ORIGIN_MM)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("series"), 8)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """105 MB of pixels."""
    paths = write(tmp_path_factory.mktemp("large"), 200, 8)
    noise = np.random.default_rng(0).integers(0, 4096, (512, 512)).astype(np.uint16)
    for k, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns, dataset.PixelData = 512, 512, np.roll(noise, k).tobytes()
        dataset.save_as(path)
    return paths


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(size=2)
    yield pool
    pool.close()


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(size=1)
    yield pool
    pool.close()


def gone(pid: int) -> bool:
    """Whether a process has ended (it may wait for its parent to ask how)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not gone(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return gone(pid)


def never_ending(folder: Path) -> Path:
    """A file on which any reader hangs: a pipe to which nobody writes."""
    os.mkfifo(folder / "endless.dcm")
    return folder / "endless.dcm"


def assert_same(found: DicomSeries, expected: DicomSeries) -> None:
    assert (found.facts, found.files, found.problems) == (expected.facts, expected.files, expected.problems)
    assert isinstance(found.image, Sequence)
    assert isinstance(expected.image, Sequence)
    for name in ("kind", "positions", "spacing_mm", "channels", "sop_instance_uids", "frame_numbers", "content_px"):
        assert getattr(found.image, name) == getattr(expected.image, name)
    assert found.image.frames.dtype == expected.image.frames.dtype
    np.testing.assert_array_equal(found.image.frames, expected.image.frames)
    np.testing.assert_array_equal(found.image.affine_lps, expected.image.affine_lps)


def test_it_reads_what_the_reader_reads(shared_pool: WorkerPool, files: list[Path], large: list[Path]) -> None:
    for paths in (files, large):
        found = shared_pool.read(paths)
        assert_same(found, read_series(paths))
        assert isinstance(found.image, Sequence)
        found.image.frames[0, 0, 0, 0] = 7  # ordinary memory, the caller's own
        assert found.image.frames[0, 0, 0, 0] == 7


def test_the_module_function_and_a_relative_path(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files[0].parent)
    names = [Path(path.name) for path in files]
    assert_same(read_series_isolated(names), read_series(names))


def test_a_worker_is_kept(pool: WorkerPool, files: list[Path]) -> None:
    pool.read(files)
    pids = pool.pids
    assert len(pids) == 1
    for _ in range(3):
        pool.read(files)
    assert pool.pids == pids
    pool.close()
    assert all(map(gone, pids))


def test_input_errors_travel_and_the_worker_stays(pool: WorkerPool, files: list[Path], tmp_path: Path) -> None:
    pool.read(files)
    pids = pool.pids
    missing = tmp_path / "missing.dcm"
    with pytest.raises(InputError) as here:
        read_series([missing])
    with pytest.raises(InputError) as there:
        pool.read([missing])
    assert str(there.value) == str(here.value)
    with pytest.raises(InputError, match="at least one file"):
        pool.read([])
    assert pool.pids == pids


def test_a_crash_is_an_input_error_and_the_next_call_works(pool: WorkerPool, files: list[Path]) -> None:
    pool.read(files)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)  # so that the crash comes in the middle of reading
    threading.Timer(0.3, os.kill, (pid, signal.SIGSEGV)).start()
    threading.Timer(0.4, os.kill, (pid, signal.SIGCONT)).start()
    with pytest.raises(InputError, match=r"8 files in .*: reading crashed \(SIGSEGV\)"):
        pool.read(files)
    assert gone(pid)
    assert isinstance(pool.read(files).image, Sequence)
    assert pid not in pool.pids


def test_a_worker_that_died_while_idle_is_replaced(pool: WorkerPool, files: list[Path]) -> None:
    pool.read(files)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    assert wait_until_gone(pid)
    assert isinstance(pool.read(files).image, Sequence)


def test_a_hung_worker_is_killed_in_time(pool: WorkerPool, files: list[Path], tmp_path: Path) -> None:
    pool.read(files)
    (pid,) = pool.pids
    start = time.monotonic()
    with pytest.raises(InputError, match=r"endless\.dcm: reading took longer than 0\.5 s and was stopped"):
        pool.read([never_ending(tmp_path)], timeout_s=0.5)
    assert time.monotonic() - start < 5
    assert gone(pid)
    assert isinstance(pool.read(files).image, Sequence)


def test_memory_is_limited(tmp_path: Path) -> None:
    """180 million pixels in 3 MB of RLE, which take more than 180 MB; the worker itself fits into 0.6 GiB."""
    dataset = pydicom.dcmread(write(tmp_path, 1)[0])
    rows = columns = 13_400
    segment = b"\x81\x05" * (rows * columns // 128) + b"\x81\x05"
    header = np.array([1, 64, *[0] * 14], "<u4").tobytes()
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = rows, columns, 8, 8, 7
    dataset.PixelData = encapsulate([header + segment])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.save_as(tmp_path / "bomb.dcm")
    pool = WorkerPool(size=1, memory_limit_bytes=int(0.6 * GIB))
    try:
        with pytest.raises(InputError, match=r"bomb\.dcm.* memory"):
            pool.read([tmp_path / "bomb.dcm"])
    finally:
        pool.close()


def test_threads_share_the_workers(shared_pool: WorkerPool, files: list[Path], tmp_path: Path) -> None:
    other = write(tmp_path, 5)
    expected = [read_series(files), read_series(other)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(shared_pool.read, [files, other] * 9))
    for k, series in enumerate(found):
        assert_same(series, expected[k % 2])
    assert len(shared_pool.pids) <= 2


SCRIPT = """
import sys
from pathlib import Path
from {package}.dicom.worker import WorkerPool
from {package}.dicom.types import DicomSeries
from {package}.types import Sequence
if __name__ == "__main__":
    assert "torch" not in sys.modules, "the worker's module must be cheap to import"
    pool = WorkerPool(size=1)
    series = pool.read([Path(a) for a in sys.argv[1:]])
    assert type(series) is DicomSeries and type(series.image) is Sequence
    print(series.image.frames.shape[0], *pool.pids, flush=True)
    {then}
"""


def start(
    files: list[Path], package: str = "lib", root: Path = ROOT, then: str = "sys.stdin.read()"
) -> tuple[subprocess.Popen[str], int]:
    """A process that reads the files and then waits; its worker's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(package=package, then=then), *map(str, files)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    slices, pid = process.stdout.readline().split()
    assert int(slices) == len(files)
    return process, int(pid)


@pytest.mark.parametrize("how", ["end", "kill"])
def test_no_worker_outlives_its_parent(files: list[Path], how: str) -> None:
    process, worker = start(files)
    assert not gone(worker)
    if how == "end":
        process.communicate("")
    else:
        process.kill()
        process.communicate()
    assert wait_until_gone(worker)


def test_a_worker_that_hangs_ends_by_itself_when_its_parent_is_gone(files: list[Path], tmp_path: Path) -> None:
    """Code that never returns cannot see that the parent is gone: the kernel's alarm ends it."""
    process, worker = start(files, then=f"pool.read([Path({str(never_ending(tmp_path))!r})], 0.9)")
    process.kill()
    process.communicate()
    assert wait_until_gone(worker, 15)


def test_it_works_under_another_package_name(files: list[Path], tmp_path: Path) -> None:
    """As in a wheel, where ``lib`` is ``monailabel_app.lib``; and with a foreign ``lib`` in the working folder."""
    package = tmp_path / "some_app"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "lib").symlink_to(ROOT / "lib")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("raise RuntimeError('the wrong lib')")
    process, _ = start(files, "some_app.lib", tmp_path)
    process.communicate("")
    assert process.returncode == 0


def test_a_worker_starts_fast_and_without_torch() -> None:
    code = "import sys, lib.dicom.worker.process; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_forked_child_does_not_use_the_workers_of_its_parent(files: list[Path]) -> None:
    code = f"""
import os, sys
from pathlib import Path
from lib.dicom import worker
files = [Path(p) for p in {[str(p) for p in files]!r}]
worker.read_series_isolated(files)
mine = worker._default_pool().pids
child = os.fork()
if child == 0:
    worker.read_series_isolated(files)
    os._exit(0 if not set(mine) & set(worker._default_pool().pids) else 3)
assert os.waitpid(child, 0)[1] == 0
worker.read_series_isolated(files)
assert worker._default_pool().pids == mine
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=120).returncode == 0


def test_it_costs_little_more_than_reading_in_process(shared_pool: WorkerPool, large: list[Path]) -> None:
    shared_pool.read(large)

    def seconds(read: object) -> float:
        start = time.perf_counter()
        assert callable(read)
        read(large)
        return time.perf_counter() - start

    isolated, direct = zip(*[(seconds(shared_pool.read), seconds(read_series)) for _ in range(4)], strict=True)
    assert min(isolated) < 2 * min(direct), f"{min(isolated):.2f} s isolated, {min(direct):.2f} s in this process"
