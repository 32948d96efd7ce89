"""DVS-Gesture: gestures of hands and arms before an event camera."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from spikeloom.data.aedat import DVS128, read_aedat
from spikeloom.data.catalogue import DATASETS, DataFolder
from spikeloom.data.dataset import Dataset
from spikeloom.data.folder import data_folder
from spikeloom.data.kept import frames_file
from spikeloom.data.known import read_raw
from spikeloom.data.recordings import Part, check_frames, dataset_of, find_folder, frames_of, stacked
from spikeloom.errors import DataError

_CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
_PLACES = ("dvs-gesture", "DVS128Gesture", "DVSGesture")
_FOLDERS = (
    *_PLACES,
    "DvsGesture",  # as it is unpacked
    *(f"{place}/{within}" for place in _PLACES for within in ("DvsGesture", "extract/DvsGesture")),
)
_TRAIN, _TEST = "trials_to_train.txt", "trials_to_test.txt"
_CURE = (
    "get DvsGesture.tar.gz from https://research.ibm.com/interactive/dvsgesture/, unpack it, and move what "
    "is in its folder DvsGesture to"
)
_Trial = tuple[int, int, int]  # label, and where it begins and ends, in microseconds


def dvs_gesture(
    data_dir: DataFolder = None,
    T: int = 16,
    split_by: Literal["number", "time"] = "number",
    clip: bool = False,
) -> Dataset:
    """DVS-Gesture: 11 gestures of 29 people under three kinds of light, before an event camera.

    Of the official parts, the people of one are not in the other. Each gesture is cut out of a longer
    recording at the times of its list: from the begin, up to and without the end, as SpikingJelly does it,
    which counts 1,176 to train on and 288 to test. Each part is in the order of its lists.

    Frames are made while loading: T times 32,768 bytes for each gesture, 770 MB for the set at T = 16. What
    took long is kept in ``frames/`` beside the recordings.

    Args:
        data_dir: see :func:`data_folder`. ``trials_to_train.txt``, ``trials_to_test.txt`` and the recordings
            that these name, each with its ``..._labels.csv``, are looked for in its ``dvs-gesture/``,
            ``DVS128Gesture/`` or ``DVSGesture/``, in its ``DvsGesture/`` (as the set is unpacked), in
            ``DvsGesture/`` or ``extract/DvsGesture/`` within the first three (the place of SpikingJelly), and
            in itself. Nothing is downloaded.
        T: number of frames that a gesture of some six seconds becomes.
        split_by: ``number`` for frames of the same number of events, ``time`` for frames of the same length;
            see :func:`frames_by_number` and :func:`frames_by_time`.
        clip: whether frames say 1 where any event fell, a spike, instead of how many did.
    Shape:
        samples ``int8 [N, T, 2, 128, 128]``, counts, ``int16`` where a pixel has more than 127 in a frame, or
        with ``clip`` ``bool``; channel 0 is OFF, channel 1 is ON. :func:`as_float` leaves all unscaled.
    Raises:
        DataError: a file is missing or damaged, or a recording has no events where gestures are listed.
        TypeError, ValueError: ``T`` is no positive integer, or ``split_by`` is unknown.
    Source: A. Amir et al., A low power, fully event-based gesture recognition system, CVPR 2017.
    """
    T = check_frames(T, split_by)
    folder = find_folder("dvs-gesture", data_folder(data_dir), _FOLDERS, [_TRAIN], _CURE)
    parts = (_part(folder, name, T, split_by, clip) for name in (_TRAIN, _TEST))
    return dataset_of("dvs-gesture", _CLASSES, *parts)


def _part(folder: Path, names: str, T: int, split_by: str, clip: bool) -> Part:
    """Frames and labels of the recordings that a list names."""
    lines = _lines(folder / names)
    if not lines or not all(line.endswith(".aedat") for line in lines):
        found = next((repr(line) for line in lines if not line.endswith(".aedat")), "none")
        raise DataError(f"{folder / names} must name recordings (.aedat), got {found}. Unpack the set again.")
    trials = [(folder / line, _trials(folder / line)) for line in lines]
    labels = [label for _, cuts in trials for label, _, _ in cuts]

    def counts() -> Iterator[np.ndarray]:
        for path, cuts in trials:
            events = read_aedat(path)
            gestures = [events.between(start, end) for _, start, end in cuts]
            if not any(map(len, gestures)):
                raise DataError(
                    f"{path} must have events where {_table(path).name} lists gestures, got none there: "
                    f"{events}. Unpack the set again."
                )
            for gesture in gestures:
                yield frames_of(gesture, T, split_by)

    files = [file for path, _ in trials for file in (path, _table(path))]
    kept = frames_file(folder, f"T{T}", files, T, split_by, clip)
    shape = (len(labels), T, 2, *DVS128)
    return stacked("dvs-gesture", counts(), shape, clip, kept), torch.tensor(labels)


def _lines(path: Path) -> list[str]:
    """The lines of a text that are not blank, of whatever system it is."""
    text = read_raw(path).decode("utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _table(path: Path) -> Path:
    return path.with_name(f"{path.stem}_labels.csv")


def _trials(path: Path) -> list[_Trial]:
    """What was done when in a recording: lines of a class from 1 to 11, a begin and an end, after a title."""
    table = _table(path)
    lines = _lines(table)
    if lines and "class" in lines[0].lower():
        lines = lines[1:]
    trials = []
    for line in lines or ["no lines"]:
        try:
            label, start, end = map(int, line.split(","))
        except ValueError:
            label = start = end = 0
        if not 1 <= label <= len(_CLASSES):
            raise DataError(
                f"{table} must have lines of a class from 1 to {len(_CLASSES)}, a begin and an end in "
                f"microseconds, got {line!r}. Unpack the set again."
            )
        trials.append((label - 1, start, end))
    return trials


DATASETS.register("dvs-gesture")(lambda data_dir, _seed: dvs_gesture(data_dir))
