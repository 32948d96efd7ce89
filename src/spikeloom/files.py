"""Writing files so that a crash at any moment leaves the old one or the new one, never a half."""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".spikeloom-*.part"
"""Names of files that are being written, or were when their process was killed."""

_DAY = 24 * 3600.0


def remove_unfinished(folder: Path, shared: bool = False) -> None:
    """Remove what processes that are gone have left unfinished in a folder, and in those in it.

    Args:
        shared: whether others may be writing there, perhaps on another machine, where nobody can ask whether
            they are gone: what has changed within a day stays.
    """
    for path in folder.rglob(UNFINISHED):
        with contextlib.suppress(OSError):  # it is gone already, or somebody else's
            is_old = time.time() - path.stat().st_mtime > _DAY
            if is_old if shared else not _runs(path.stem.rpartition("-")[2]):
                path.unlink()


def _runs(pid: str) -> bool:
    """Whether another process of this machine has this number; where that can be asked without harm."""
    if os.name != "posix" or not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except PermissionError:  # somebody else's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def unfinished(path: Path) -> Path:
    """What a file is called until it is finished; a name that no other process and no other thread uses."""
    name = path.name[-32:]  # as long as it is, it may be as long as a name can be
    return path.with_name(f".spikeloom-{name}-{secrets.token_hex(4)}-{os.getpid()}.part")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A block that writes the file it is given, which is then flushed to disk and renamed to ``path``; after
    an error ``path`` is as it was.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    part = unfinished(path)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        # A full disk does not name the file, and some libraries have words of their own.
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_beside(path: Path, content: bytes | str) -> None:
    """Write ``content`` to a file beside ``path``, flush it to disk, and rename it to ``path``.

    Raises:
        OSError: the disk is full or the folder cannot be written; ``path`` is then as it was.
    """
    with beside(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
