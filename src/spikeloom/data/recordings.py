"""What the datasets of event cameras share: where recordings lie, and the frames that they become."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.data.dataset import Dataset
from spikeloom.data.events import Events
from spikeloom.data.frames import count_events, split_by_number, split_by_time
from spikeloom.data.kept import frames_file, keep_frames, read_frames
from spikeloom.data.known import readable
from spikeloom.errors import DataError

_SPLITS: dict[str, Callable[[Events, int], np.ndarray]] = {"number": split_by_number, "time": split_by_time}
_MOST_IN_ONE_BYTE, _MOST = 127, 32_767  # counts in int8 and int16
SLOW = 5.0
"""Seconds after which frames that were made are kept for the next time."""
Part = tuple[Tensor, Tensor]
"""Counts ``[N, T, *]`` and labels ``[N]``."""


def check_frames(T: int, split_by: str) -> int:
    """``T`` as Python's integer; refuse a number of frames, or a way to cut them, that cannot be."""
    T = checked_count("T", T)
    if split_by not in tuple(_SPLITS):
        raise ValueError(f"`split_by` must be 'number' or 'time', got {split_by!r}.")
    return T


def find_folder(dataset: str, root: Path, names: Sequence[str], marks: Sequence[str], cure: str) -> Path:
    """The first folder that holds one of ``marks``, among ``names`` within ``root`` and ``root`` itself.

    Args:
        cure: where to get the set, and what to do with it in the first of the folders.
    """
    folders = [*(root / name for name in names), root]
    for folder in folders:
        with readable(folder):
            if any((folder / mark).exists() for mark in marks):
                return folder
    places = "\n  ".join(str(folder / marks[0]) for folder in folders)
    raise DataError(
        f"The dataset '{dataset}' is not in {root}, and is not downloaded: {cure} {folders[0]}, or name "
        f"the folder that has it with --data-dir or SPIKELOOM_DATA.\n  looked for:\n  {places}"
    )


def files_in(folder: Path, suffix: str) -> list[Path]:
    """The files with a suffix, hidden ones left out; none if there is no such folder."""
    with readable(folder):
        files = folder.iterdir() if folder.is_dir() else ()
        return [path for path in files if path.suffix == suffix and path.name[0] != "."]


def first_nine_tenths(folder: Path, classes: Sequence[str], suffix: str) -> tuple[list[Path], list[Path]]:
    """The recordings to train on and those to test on, of a set with a folder for each class and no official
    split: the first nine tenths of each class, by the numbers in the files' names, and the others.

    Returns:
        two lists, in which the classes take turns: first the first recording of each, then the second
    """
    parts: tuple[list[tuple[int, int, Path]], ...] = ([], [])  # number within the class, class, recording
    for label, name in enumerate(classes):
        paths = sorted(files_in(folder / name, suffix), key=lambda path: (_number(path), path.name))
        first = len(paths) * 9 // 10
        if not first:
            raise DataError(
                f"{folder / name} must hold at least 2 recordings ({suffix}), got {len(paths)}. "
                "Unzip the set again."
            )
        for part, chosen in zip(parts, (paths[:first], paths[first:]), strict=True):
            part += [(number, label, path) for number, path in enumerate(chosen)]
    train, test = ([path for _, _, path in sorted(part)] for part in parts)
    return train, test


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else 0


def part_of(
    dataset: str,
    folder: Path,
    classes: Sequence[str],
    recordings: Sequence[Path],
    frames: Callable[[Path], np.ndarray],
    sensor_size: tuple[int, int],
    T: int,
    split_by: str,
    clip: bool,
) -> Part:
    """The frames and labels of recordings that have a file each, in a folder for each class.

    Args:
        folder: of the dataset.
        frames: of a recording, as of :func:`frames_of`.
    """
    kept = frames_file(folder, f"T{T}", recordings, T, split_by, clip)
    shape = (len(recordings), T, 2, *sensor_size)
    labels = [classes.index(path.parent.name) for path in recordings]
    return stacked(dataset, map(frames, recordings), shape, clip, kept), torch.tensor(labels)


def frames_of(events: Events, T: int, split_by: str) -> np.ndarray:
    """Counts ``int64 [T, 2, H, W]``; see :func:`frames_by_number` and :func:`frames_by_time`."""
    return count_events(events, _SPLITS[split_by](events, T), T)


def stacked(
    dataset: str, counts: Iterable[np.ndarray], shape: tuple[int, ...], clip: bool, kept: Path
) -> Tensor:
    """The counts of all recordings, ``[N, T, *]``: in one byte each, in two where one does not suffice, or
    with ``clip`` whether there is any.

    Args:
        counts: of each recording, made while it is asked for; at least one.
        shape: ``(N, T, *)``.
        kept: the file that has them if they were made before, and gets them if that took long.
    """
    frames = read_frames(kept, shape, clip)
    if frames is not None:
        return torch.from_numpy(frames)
    started = time.perf_counter()
    try:
        frames = _stacked(dataset, counts, shape[0], clip)
    except MemoryError as error:
        raise DataError(
            f"{shape[0]:,} recordings of {dataset} do not fit into memory: {error}. Lower `T`, or leave some "
            "recordings out."
        ) from None
    is_slow = time.perf_counter() - started > SLOW
    if is_slow and read_frames(kept, shape, clip) is None:  # what another process has mapped is not replaced
        keep_frames(kept, frames)
    return torch.from_numpy(frames)


def _stacked(dataset: str, counts: Iterable[np.ndarray], length: int, clip: bool) -> np.ndarray:
    from tqdm import tqdm

    frames, most = np.empty(0), _MOST_IN_ONE_BYTE
    for index, count in enumerate(tqdm(counts, dataset, length, disable=None, leave=False)):
        if index == 0:
            frames = np.empty((length, *count.shape), bool if clip else np.int8)
        if not clip and count.max() > most:
            if count.max() > _MOST:
                raise DataError(
                    f"At most {_MOST:,} events may fall on a pixel in a frame, got {count.max():,} in "
                    f"recording {index} of {dataset}. Set `clip`, or raise `T`."
                )
            frames, most = frames.astype(np.int16), _MOST
        frames[index] = count  # to bool: whether there is any
    return frames


def dataset_of(name: str, classes: tuple[str, ...], train: Part, test: Part) -> Dataset:
    """A dataset of two parts, which may be counted in different types: both get the larger one."""
    dtype = torch.promote_types(train[0].dtype, test[0].dtype)
    return Dataset(name, classes, train[0].to(dtype), train[1], test[0].to(dtype), test[1])
