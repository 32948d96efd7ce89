"""N-MNIST: MNIST's digits as an event camera saw them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spikeloom.data.atis import NMNIST_SENSOR, read_atis
from spikeloom.data.catalogue import DATASETS, DataFolder
from spikeloom.data.dataset import Dataset
from spikeloom.data.folder import data_folder
from spikeloom.data.recordings import (
    check_frames,
    dataset_of,
    files_in,
    find_folder,
    frames_of,
    part_of,
)
from spikeloom.data.split import stratified_split
from spikeloom.errors import DataError

_CLASSES = tuple("0123456789")
_FULL = (60_000, 10_000)  # recordings to train on and to test
_HELD_OUT = 0.2  # of the recordings, where the official test part is missing
_FEWEST = 3  # recordings of a class, for one of them to be held out
_FOLDERS = ("nmnist", "N-MNIST", "NMNIST", "n-mnist", "nmnist/extract", "N-MNIST/extract", "NMNIST/extract")
_CURE = (
    "its site lets only a browser do it. Get Train.zip and Test.zip from "
    "https://www.garrickorchard.com/datasets/n-mnist (or https://data.mendeley.com/datasets/468j46mzdv/1), "
    "and unzip both in"
)


def nmnist(
    data_dir: DataFolder = None,
    T: int = 10,
    split_by: Literal["number", "time"] = "number",
    clip: bool = False,
    seed: int = 0,
) -> Dataset:
    """N-MNIST: MNIST's digits, filmed by an event camera that made three small jerks in front of each.

    The full set has 60,000 recordings to train on and 10,000 to test. The name says so if fewer were found.
    Without its test part, a fifth is held out as one, of each class alike. Each part is in the order of the
    files' numbers, which are the positions in MNIST, or shuffled where a part was held out.

    Frames are made while loading, in one byte a value: T times 2,312 bytes for each recording. The 60,000 at
    T = 20 take 2.8 GB of memory, the 1,000 of a trial 46 MB. What took long is kept in ``frames/`` beside the
    recordings.

    Args:
        data_dir: see :func:`data_folder`. ``Train/DIGIT/*.bin`` and ``Test/DIGIT/*.bin`` are looked for in
            its ``nmnist/``, ``N-MNIST/``, ``NMNIST/`` or ``n-mnist/``, in ``extract/`` within these (the
            place of SpikingJelly), and in itself. Nothing is downloaded.
        T: number of frames that a recording of 0.3 s becomes.
        split_by: ``number`` for frames of the same number of events, ``time`` for frames of the same length;
            see :func:`frames_by_number` and :func:`frames_by_time`.
        clip: whether frames say 1 where any event fell, a spike, instead of how many did.
        seed: decides what is held out where the test part is missing; else it is not used.
    Shape:
        samples ``int8 [N, T, 2, 34, 34]``, counts, ``int16`` where a pixel has more than 127 in a frame, or
        with ``clip`` ``bool``; channel 0 is OFF, channel 1 is ON. :func:`as_float` leaves all unscaled.
    Raises:
        DataError: the recordings are missing, or one is damaged; a class has none.
        TypeError, ValueError: ``T`` is no positive integer, or ``split_by`` is unknown.
    Source: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, Converting static image datasets to spiking
        neuromorphic datasets using saccades, Front. Neurosci. 9:437, 2015.
    """
    T = check_frames(T, split_by)
    marks = [f"Train/{digit}" for digit in _CLASSES]
    folder = find_folder("nmnist", data_folder(data_dir), _FOLDERS, marks, _CURE)
    train, test = _recordings(folder / "Train"), _recordings(folder / "Test")
    found = (len(train), len(test))
    _check_classes(folder / "Train", train, at_least=1 if test else _FEWEST)
    if test:
        _check_classes(folder / "Test", test, at_least=1)
    else:
        train, test = _hold_out(train, seed)
    name = "nmnist" if found == _FULL else f"nmnist, {sum(found)} of {sum(_FULL)} recordings"

    def frames(path: Path) -> np.ndarray:
        return frames_of(read_atis(path), T, split_by)

    of_set = ("nmnist", folder, _CLASSES)
    parts = (part_of(*of_set, part, frames, NMNIST_SENSOR, T, split_by, clip) for part in (train, test))
    return dataset_of(name, _CLASSES, *parts)


def _recordings(part: Path) -> list[Path]:
    """The recordings of all digits, in the order of MNIST."""
    paths = [path for digit in _CLASSES for path in files_in(part / digit, ".bin")]
    return sorted(paths, key=lambda path: (path.name, path.parent.name))


def _check_classes(part: Path, recordings: list[Path], at_least: int) -> None:
    counts = Counter(path.parent.name for path in recordings)
    for digit in _CLASSES:
        if counts[digit] < at_least:
            raise DataError(
                f"{part / digit} must hold at least {at_least} recordings (.bin), got {counts[digit]}. "
                "Unzip the set again."
            )


def _hold_out(recordings: list[Path], seed: int) -> tuple[list[Path], list[Path]]:
    """A training and a test part of recordings that have none; the test part is a fifth of each class, and of
    all at least a fifth."""
    train, test = stratified_split(_labels(recordings).numpy(), _HELD_OUT, seed)
    order = np.concatenate([train, test])  # rounding class by class may have held out a few too few
    first = min(len(train), len(order) - round(_HELD_OUT * len(order)))
    return [recordings[i] for i in order[:first]], [recordings[i] for i in order[first:]]


def _labels(recordings: Sequence[Path]) -> Tensor:
    return torch.tensor([int(path.parent.name) for path in recordings], dtype=torch.int64)


DATASETS.register("nmnist")(lambda data_dir, seed: nmnist(data_dir, seed=seed))
