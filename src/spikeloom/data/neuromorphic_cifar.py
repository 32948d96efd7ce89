"""CIFAR10-DVS: photographs of CIFAR-10 that moved before an event camera."""

from pathlib import Path
from typing import Literal

import numpy as np

from spikeloom.data.aedat import DVS128, read_aedat
from spikeloom.data.catalogue import DATASETS, DataFolder
from spikeloom.data.cifar import CLASSES
from spikeloom.data.dataset import Dataset
from spikeloom.data.folder import data_folder
from spikeloom.data.recordings import (
    check_frames,
    dataset_of,
    find_folder,
    first_nine_tenths,
    frames_of,
    part_of,
)
from spikeloom.errors import DataError

_FULL = 10_000  # recordings
_PLACES = ("cifar10-dvs", "CIFAR10DVS", "CIFAR10-DVS", "cifar10dvs")
_FOLDERS = (*_PLACES, *(f"{place}/extract" for place in _PLACES))
_CURE = (
    "get the ten zip files, airplane.zip and so on, from "
    "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671, and unzip them in"
)


def cifar10_dvs(
    data_dir: DataFolder = None,
    T: int = 10,
    split_by: Literal["number", "time"] = "number",
    clip: bool = False,
) -> Dataset:
    """CIFAR10-DVS: 1,000 photographs of each class of CIFAR-10, moved on a screen before an event camera.

    There is no official split. As most publications do, the first nine tenths of each class, by the numbers
    of the files, are trained on. The name says so if fewer recordings than all were found.

    Frames are made while loading: T times 32,768 bytes for each recording, 3.3 GB for the set at T = 10. What
    took long is kept in ``frames/`` beside the classes.

    Args:
        data_dir: see :func:`data_folder`. ``CLASS/*.aedat`` are looked for in its ``cifar10-dvs/``,
            ``CIFAR10DVS/``, ``CIFAR10-DVS/`` or ``cifar10dvs/``, in ``extract/`` within these (the place of
            SpikingJelly), and in itself. Nothing is downloaded.
        T: number of frames that a recording becomes.
        split_by: ``number`` for frames of the same number of events, ``time`` for frames of the same length;
            see :func:`frames_by_number` and :func:`frames_by_time`.
        clip: whether frames say 1 where any event fell, a spike, instead of how many did.
    Shape:
        samples ``int8 [N, T, 2, 128, 128]``, counts, ``int16`` where a pixel has more than 127 in a frame, or
        with ``clip`` ``bool``; channel 0 is OFF, channel 1 is ON. :func:`as_float` leaves all unscaled.
        Rows and columns are exchanged against :func:`read_aedat`, as SpikingJelly has them.
    Raises:
        DataError: the recordings are missing, a class has less than two, or a file is damaged or empty.
        TypeError, ValueError: ``T`` is no positive integer, or ``split_by`` is unknown.
    Source: H. Li, H. Liu, X. Ji, G. Li, L. Shi, CIFAR10-DVS: an event-stream dataset for object
        classification, Front. Neurosci. 11:309, 2017.
    """
    T = check_frames(T, split_by)
    folder = find_folder("cifar10-dvs", data_folder(data_dir), _FOLDERS, CLASSES, _CURE)
    train, test = first_nine_tenths(folder, CLASSES, ".aedat")
    count = len(train) + len(test)
    name = "cifar10-dvs" if count == _FULL else f"cifar10-dvs, {count} of {_FULL} recordings"

    def frames(path: Path) -> np.ndarray:
        return _frames(path, T, split_by)

    of_set = ("cifar10-dvs", folder, CLASSES)
    parts = (part_of(*of_set, part, frames, DVS128, T, split_by, clip) for part in (train, test))
    return dataset_of(name, CLASSES, *parts)


def _frames(path: Path, T: int, split_by: str) -> np.ndarray:
    """The frames of a recording, with rows for columns."""
    events = read_aedat(path)
    if not len(events):
        raise DataError(f"{path} must hold events, got none. It is damaged; get it again.")
    return frames_of(events, T, split_by).swapaxes(2, 3)


DATASETS.register("cifar10-dvs")(lambda data_dir, _seed: cifar10_dvs(data_dir))
