"""Frames that were made once are kept beside their recordings, and read from there the next time."""

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from spikeloom.files import beside, remove_unfinished

_FORMAT = 1  # of what is kept: raise it when frames are counted otherwise


def frames_file(folder: Path, part: str, files: Iterable[Path], *settings: object) -> Path:
    """Where the frames of a part of a dataset are kept, or would be.

    Args:
        folder: of the dataset; they are in ``frames`` within it.
        part: what they are frames of, for the name.
        files: that they are made from; other sizes or times of change are other frames.
        settings: what else decides what they are.
    """
    digest = hashlib.sha256(repr((_FORMAT, settings)).encode())
    for file in files:
        with contextlib.suppress(OSError):  # what is not there is found missing where it is read
            state = file.stat()
            name = file.relative_to(folder) if file.is_relative_to(folder) else file
            digest.update(repr((str(name), state.st_size, state.st_mtime_ns)).encode())
    return folder / "frames" / f"{part}-{digest.hexdigest()[:16]}.npy"


def read_frames(path: Path, shape: tuple[int, ...], clip: bool) -> np.ndarray | None:
    """The frames in a file, mapped into memory, where changes stay.

    Args:
        path: of the file.
        shape: what they must have.
        clip: whether they must be ``bool``, and not counts.
    Returns:
        ``None`` if the file is missing or damaged, or holds something else
    """
    with contextlib.suppress(Exception):  # NumPy raises many things for a header that is none
        frames = np.lib.format.open_memmap(path, mode="c")
        if frames.shape == shape and frames.dtype in ((bool,) if clip else (np.int8, np.int16)):
            return frames
    return None


def keep_frames(path: Path, frames: np.ndarray) -> None:
    """Write frames to a file, unless the folder cannot be written, or the disk is full. What a process that
    was killed has left is removed a day later."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        remove_unfinished(path.parent, shared=True)
        with beside(path) as part, part.open("wb") as file:
            np.save(file, frames)
