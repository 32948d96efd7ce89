"""Writing files so that a crash at any moment leaves the old one or the new one, never a half."""

import os
from pathlib import Path

UNFINISHED = ".spikeloom-*.part"
"""Names of files that are being written, or were when their process was killed."""


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that are gone have left unfinished in a folder, and in those in it."""
    for path in folder.rglob(UNFINISHED):
        if not _runs(path.stem.rpartition("-")[2]):
            path.unlink(missing_ok=True)


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
    """What a file is called until it is finished."""
    return path.with_name(f".spikeloom-{path.name}-{os.getpid()}.part")


def write_beside(path: Path, content: bytes | str) -> None:
    """Write ``content`` to a file beside ``path``, flush it to disk, and rename it to ``path``.

    Raises:
        OSError: the disk is full or the folder cannot be written; ``path`` is then as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = unfinished(path)
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk does not name the file
