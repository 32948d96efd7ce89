"""One training at a time into a run folder.

The lock belongs to an open file, so the operating system gives it back whatever ends the process: the file
that a killed process leaves behind is no obstacle.
"""

import contextlib
import errno
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from spikeloom.errors import RunError

NAME = "lock"
_BYTE = 1 << 30  # on Windows a locked byte cannot be read, so it is one behind the text
_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_open: set[int] = set()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A block in which no other process trains into ``folder``; where locking is not to be had, a warning.

    Raises:
        RunError: another process does.
        OSError: the folder cannot be written.
    """
    path = folder / NAME
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            is_locked = _lock(file, path)
            if not is_locked or _is_at(file, path):
                break
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # removed with its run between the two lines above
    _open.add(file)
    try:
        with contextlib.suppress(OSError):  # it only says who it is
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        _open.discard(file)
        os.close(file)


def _lock(file: int, path: Path) -> bool:
    """Lock the file; or say whether that cannot be had here."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, _BYTE, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            os.lseek(file, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise RunError(
                f"{path.parent} is being trained into by {_holder(path)}. Wait for it or "
                "stop it, or choose another --run-dir."
            ) from None
        warnings.warn(
            f"{path} cannot be locked ({error.strerror}), as on some network drives. Do not train into "
            f"{path.parent} from two processes at the same time.",
            stacklevel=2,
        )
        return False
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether the open file is still the one with that name."""
    if sys.platform == "win32":  # where an open file cannot be removed
        return True
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        if text := path.read_text(errors="replace").strip():
            return f"process {text}"
    return "another process"


def _close_in_child() -> None:
    """A child that was forked does not train, but would hold the lock after its parent was killed."""
    for file in _open:
        with contextlib.suppress(OSError):
            os.close(file)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
