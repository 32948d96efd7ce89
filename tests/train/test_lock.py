"""One training at a time into a run folder, and no obstacle for the next one, however the last one ended."""

import errno
import os
import signal
import subprocess
import sys
import time
import types
import warnings

import pytest

from spikeloom.errors import RunError
from spikeloom.train import checkpoint, lock
from spikeloom.train.run import Run

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
HOLD = """
import os, sys, time
from pathlib import Path
from spikeloom.train.lock import locked

with locked(Path(sys.argv[1])):
    if "fork" in sys.argv:
        begun, begins = os.pipe()
        child = os.fork()
        if not child:
            os.write(begins, b"1")
            time.sleep(60)
            os._exit(0)
        os.read(begun, 1)  # a child that has not begun yet still holds what its parent does
        print(child, flush=True)
    print("locked", flush=True)
    time.sleep(60)
"""
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork and no SIGKILL")


@pytest.fixture
def hold(tmp_path):
    """Starts processes that hold the lock of ``tmp_path``, and ends them."""
    started = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), *options],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        child = int(process.stdout.readline()) if "fork" in options else None
        assert process.stdout.readline() == "locked\n"
        return process, child

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_process_is_refused_until_the_first_one_is_killed(tmp_path, hold):
    process, _ = hold()
    with pytest.raises(RunError, match=rf"trained into by process {process.pid} on .*--run-dir"):
        lock.locked(tmp_path).__enter__()
    process.kill()  # SIGKILL
    process.wait()
    with lock.locked(tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} on ")
    with lock.locked(tmp_path):
        pass


@needs_posix
def test_a_worker_that_outlives_a_killed_training_does_not_hold_the_lock(tmp_path, hold):
    process, child = hold("fork")
    process.kill()
    process.wait()
    os.kill(child, 0)  # it is alive
    with lock.locked(tmp_path):
        os.kill(child, signal.SIGKILL)


def test_a_worker_that_ends_does_not_give_the_lock_back(tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("no fork")
    with lock.locked(tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of forks beside threads
            child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(RunError):
            lock.locked(tmp_path).__enter__()


def test_a_run_is_neither_made_nor_removed_while_another_process_trains_into_it(tmp_path, hold):
    run = Run.create(tmp_path, "blobs", {})
    hold()
    run.discard_unstarted()
    assert (tmp_path / "config.json").exists()
    (tmp_path / "config.json").unlink()
    with pytest.raises(RunError, match="trained into by process"):
        Run.create(tmp_path, "blobs", {})
    assert not (tmp_path / "config.json").exists()


def test_a_run_that_did_not_start_leaves_nothing(tmp_path):
    run = Run.create(tmp_path / "run", "blobs", {})
    with run.locked():
        pass
    run.discard_unstarted()
    assert not (tmp_path / "run").exists()


@needs_posix
def test_a_lock_file_that_is_removed_in_the_meantime_is_not_relied_on(tmp_path, monkeypatch):
    import fcntl

    flock, removed = fcntl.flock, []

    def flock_after_removal(file, how):
        if not removed:
            removed.append((tmp_path / "lock").unlink())
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock_after_removal)
    with lock.locked(tmp_path), pytest.raises(RunError):
        lock.locked(tmp_path).__enter__()


@needs_posix
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_locking_is_not_to_be_had_there_is_a_warning(tmp_path, monkeypatch, number):
    import fcntl

    def flock(_file, _how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="cannot be locked .* network drives"), lock.locked(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="it stands in for Windows")
def test_on_windows_a_byte_is_locked(tmp_path, monkeypatch):
    calls = []

    def locking(file, how, count):
        calls.append((os.lseek(file, 0, os.SEEK_CUR), how, count))
        if len(calls) > 1:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(lock.sys, "platform", "win32")
    with lock.locked(tmp_path), pytest.raises(RunError, match=f"by process {os.getpid()} on "):
        lock.locked(tmp_path).__enter__()
    assert calls == [(1 << 30, 2, 1)] * 2


def written_at(path):
    """When it was written; 0 between the renames of a training, and for good if it is killed there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@needs_posix
@pytest.mark.slow
def test_a_training_refuses_a_second_one_and_is_resumed_at_once_after_a_kill(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "spikeloom", "train"]
    new = ["blobs", "--epochs", "400", "--points", "512", "--run-dir", str(run)]
    first = subprocess.Popen([*command, *new], env=ENVIRONMENT, stdout=subprocess.PIPE)
    last, deadline = run / "checkpoints" / checkpoint.LAST, time.monotonic() + 120
    try:
        while not last.exists() and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        second = subprocess.run(
            [*command, "--resume", str(run)], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
        )
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 1
    assert second.stderr.strip().splitlines() == [
        line for line in second.stderr.strip().splitlines() if f"trained into by process {first.pid}" in line
    ]
    before = max(map(written_at, last.parent.iterdir()))
    third = subprocess.Popen([*command, "--resume", str(run)], env=ENVIRONMENT, stdout=subprocess.PIPE)
    try:
        while written_at(last) <= before and third.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert written_at(last) > before
    finally:
        third.kill()
        third.communicate()
