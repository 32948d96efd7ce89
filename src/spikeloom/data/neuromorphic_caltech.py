"""N-Caltech101: photographs of Caltech101 before a moving event camera."""

from pathlib import Path
from typing import Literal

import numpy as np

from spikeloom.data.atis import read_atis
from spikeloom.data.catalogue import DATASETS, DataFolder
from spikeloom.data.dataset import Dataset
from spikeloom.data.folder import data_folder
from spikeloom.data.known import readable
from spikeloom.data.recordings import (
    check_frames,
    dataset_of,
    files_in,
    find_folder,
    first_nine_tenths,
    frames_of,
    part_of,
)
from spikeloom.errors import DataError

_FULL = 8_709  # recordings
_SENSOR = (180, 240)  # height and width
_PLACES = ("n-caltech101", "N-Caltech101", "NCaltech101", "ncaltech101")
_FOLDERS = (
    *_PLACES,
    *(f"{place}/{within}" for place in _PLACES for within in ("Caltech101", "extract/Caltech101")),
    "Caltech101",
)
_MARKS = ("BACKGROUND_Google", "accordion")  # classes, of which there is one in any part of the set
_CURE = (
    "its site lets only a browser do it. Get Caltech101.zip from "
    "https://www.garrickorchard.com/datasets/n-caltech101 (or "
    "https://data.mendeley.com/datasets/cy6cvx3ryv/1), and unzip it, so that its classes are in"
)


def n_caltech101(
    data_dir: DataFolder = None,
    T: int = 10,
    split_by: Literal["number", "time"] = "number",
    clip: bool = False,
) -> Dataset:
    """N-Caltech101: photographs of 100 kinds of things and of backgrounds, before a moving event camera.

    The classes are the folders that are there, in alphabetical order, capitals first. There is no official
    split: the first nine tenths of each class, by the numbers of the files, are trained on. The name says so
    if other than the set's 8,709 recordings were found.

    Frames are made while loading: T times 86,400 bytes for each recording, 7.5 GB for the set at T = 10. What
    took long is kept in ``frames/`` beside the classes.

    Args:
        data_dir: see :func:`data_folder`. ``CLASS/image_*.bin`` are looked for in its ``n-caltech101/``,
            ``N-Caltech101/``, ``NCaltech101/`` or ``ncaltech101/``, in ``Caltech101/`` and
            ``extract/Caltech101/`` (the place of SpikingJelly) within these, in its ``Caltech101/``, and in
            itself. Nothing is downloaded.
        T: number of frames that a recording of 0.3 s becomes.
        split_by: ``number`` for frames of the same number of events, ``time`` for frames of the same length;
            see :func:`frames_by_number` and :func:`frames_by_time`.
        clip: whether frames say 1 where any event fell, a spike, instead of how many did.
    Shape:
        samples ``int8 [N, T, 2, 180, 240]``, counts, ``int16`` where a pixel has more than 127 in a frame, or
        with ``clip`` ``bool``; channel 0 is OFF, channel 1 is ON. :func:`as_float` leaves all unscaled.
    Raises:
        DataError: the recordings are missing, a class has less than two, or a file is damaged.
        TypeError, ValueError: ``T`` is no positive integer, or ``split_by`` is unknown.
    Source: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, Converting static image datasets to spiking
        neuromorphic datasets using saccades, Front. Neurosci. 9:437, 2015.
    """
    T = check_frames(T, split_by)
    folder = find_folder("n-caltech101", data_folder(data_dir), _FOLDERS, _MARKS, _CURE)
    classes = _classes(folder)
    train, test = first_nine_tenths(folder, classes, ".bin")
    count = len(train) + len(test)
    name = "n-caltech101" if count == _FULL else f"n-caltech101, {count} of {_FULL} recordings"

    def frames(path: Path) -> np.ndarray:
        return frames_of(read_atis(path, _SENSOR), T, split_by)

    of_set = ("n-caltech101", folder, classes)
    parts = (part_of(*of_set, part, frames, _SENSOR, T, split_by, clip) for part in (train, test))
    return dataset_of(name, classes, *parts)


def _classes(folder: Path) -> tuple[str, ...]:
    """The folders that hold recordings."""
    with readable(folder):
        folders = [one for one in folder.iterdir() if one.is_dir()]
    classes = sorted(one.name for one in folders if _has_recordings(one))
    if not classes:
        raise DataError(
            f"{folder} must hold recordings (CLASS/image_*.bin), got none. Unzip N-Caltech101 there; the "
            "photographs of Caltech101 are another set."
        )
    return tuple(classes)


def _has_recordings(folder: Path) -> bool:
    return any(path.name.startswith("image_") for path in files_in(folder, ".bin"))


DATASETS.register("n-caltech101")(lambda data_dir, _seed: n_caltech101(data_dir))
