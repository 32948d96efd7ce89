"""Spiking Heidelberg Digits and Spiking Speech Commands: words as spikes of an artificial inner ear."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spikeloom.checks import checked_count, checked_inside
from spikeloom.data.catalogue import DATASETS, DataFolder
from spikeloom.data.dataset import Dataset
from spikeloom.data.folder import data_folder
from spikeloom.data.kept import frames_file
from spikeloom.data.known import is_file
from spikeloom.data.recordings import dataset_of, find_folder, stacked
from spikeloom.errors import DataError

CHANNELS = 700
"""Fibres of the artificial inner ear."""
_SECONDS = 1.4  # in which all spikes of the digits fall


def shd(
    data_dir: DataFolder = None,
    T: int = 100,
    duration: float = _SECONDS,
    channels: int = CHANNELS,
    clip: bool = False,
) -> Dataset:
    """Spiking Heidelberg Digits: the digits from zero to nine, spoken in English and German, as spikes.

    8,156 recordings to train on and 2,264 to test, where two of the twelve speakers are heard only. There is
    no part to choose settings by; :meth:`Dataset.held_out` makes one. What took long to make is kept in
    ``frames/`` beside the files. Needs h5py: ``pip install 'spikeloom[hdf5]'``.

    Args:
        data_dir: see :func:`data_folder`. ``shd_train.h5`` and ``shd_test.h5`` are looked for in its
            ``shd/``, ``SHD/`` or ``hdspikes/``, in ``extract/`` within these (the place of SpikingJelly), and
            in itself. Nothing is downloaded.
        T: number of time steps.
        duration: of all of them together, in seconds; later spikes are left out.
        channels: neighbouring fibres are counted together, so that so many are left; a divisor of 700.
        clip: whether samples say 1 where any spike fell instead of how many did.
    Shape:
        samples ``int8 [N, T, channels]``, counts, ``int16`` where there are more than 127, or with ``clip``
        ``bool``. A network takes ``[T, N, channels]``: ``as_float(x).transpose(0, 1)``.
    Raises:
        DataError: a file is missing, or is no such file.
        ImportError: h5py is missing.
        TypeError, ValueError: ``T``, ``duration`` or ``channels`` cannot be.
    Source: B. Cramer, Y. Stradmann, J. Schemmel, F. Zenke, The Heidelberg spiking data sets for the
        systematic evaluation of spiking neural networks, IEEE Trans. Neural Netw. Learn. Syst. 33:2744-2757,
        2022.
    """
    return _load("shd", data_dir, "test", T, duration, channels, clip)


def ssc(
    data_dir: DataFolder = None,
    T: int = 100,
    duration: float = _SECONDS,
    channels: int = CHANNELS,
    clip: bool = False,
    validation: bool = False,
) -> Dataset:
    """Spiking Speech Commands: 35 English words by many speakers, as spikes.

    75,466 recordings to train on, 9,981 to choose settings by, and 20,382 to test. They take T times
    ``channels`` bytes each, 6.7 GB for training and test part as they are; with 140 channels 1.3 GB. What
    took long to make is kept in ``frames/`` beside the files. Needs h5py: ``pip install 'spikeloom[hdf5]'``.

    Args:
        data_dir: see :func:`data_folder`. ``ssc_train.h5``, ``ssc_valid.h5`` and ``ssc_test.h5`` are looked
            for in its ``ssc/``, ``SSC/`` or ``hdspikes/``, in ``extract/`` within these, and in itself.
            Nothing is downloaded.
        T, duration, channels, clip: as for :func:`shd`.
        validation: take the recordings to choose settings by as the test part; the others remain unread.
    Shape:
        as for :func:`shd`.
    Raises:
        DataError, ImportError, TypeError, ValueError: as for :func:`shd`.
    Source: as for :func:`shd`.
    """
    return _load("ssc", data_dir, "valid" if validation else "test", T, duration, channels, clip)


def _load(
    name: str, data_dir: DataFolder, test: str, T: int, duration: float, channels: int, clip: bool
) -> Dataset:
    T, channels = checked_count("T", T), checked_count("channels", channels)
    duration = float(checked_inside("duration", duration, 0))
    if CHANNELS % channels:
        raise ValueError(f"`channels` must divide {CHANNELS}, got {channels}. Take 350, 140, 100 or 70.")
    places = (name, name.upper(), "hdspikes")
    folder = find_folder(
        name,
        data_folder(data_dir),
        (*places, *(f"{place}/extract" for place in places)),
        [f"{name}_train.h5"],
        f"get {name}_train.h5.gz and {name}_{test}.h5.gz from https://zenkelab.org/datasets/, and unpack "
        "them in",
    )
    parts, titles = [], []
    for part in ("train", test):
        path = folder / f"{name}_{part}.h5"
        with _damage_named(path), _opened(path) as file:
            keys, labels = _classes(file)
            counts = _counts(file, T, duration, channels)  # made while the file is open
            kept = frames_file(folder, f"{name}-T{T}", [path], T, duration, channels, clip)
            frames = stacked(name, counts, (len(labels), T, channels), clip, kept)
            parts.append((frames, torch.from_numpy(labels)))
            titles.append(keys)
    if titles[0] != titles[1]:
        raise DataError(f"{folder}: the files must have the same classes, got {titles[0]} and {titles[1]}.")
    return dataset_of(name, titles[0], *parts)


def _opened(path: Path) -> Any:
    """The file, as h5py has it; it closes at the end of a ``with`` block."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "Spiking Heidelberg Digits need the package h5py, which is not installed: pip install "
            "'spikeloom[hdf5]', or pip install h5py."
        ) from error
    if not is_file(path):
        raise DataError(
            f"{path} is missing. Get it from https://zenkelab.org/datasets/, and unpack it there."
        )
    try:
        file = h5py.File(path)
    except OSError as error:
        raise DataError(f"{path} must be a readable HDF5 file, got: {error}. Get it again.") from None
    for entry in ("spikes/times", "spikes/units", "labels", "extra/keys"):
        if entry not in file:
            found = sorted(file)
            file.close()
            raise DataError(f"{path} must hold '{entry}', got {found}. Get it again.")
    return file


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """A block in which what h5py and NumPy say of a damaged file, which is many things, names the file."""
    try:
        yield
    except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}. Get it again.") from error


def _classes(file: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the classes, and the label ``int64 [N]`` of each recording."""
    keys = tuple(_text(key) for key in file["extra/keys"][:])
    labels = file["labels"][:].astype(np.int64)
    counts = [len(labels), len(file["spikes/times"]), len(file["spikes/units"])]
    if not counts[0] or len(set(counts)) > 1:
        raise DataError(
            f"{file.filename} must hold as many labels as recordings, at least one, got {counts[0]} labels, "
            f"and times of {counts[1]} and units of {counts[2]} recordings. Get it again."
        )
    if labels.ndim != 1 or not 0 <= labels.min() <= labels.max() < len(keys):
        raise DataError(
            f"{file.filename} must hold labels from 0 to {len(keys) - 1}, got {labels.min()} to "
            f"{labels.max()}. Get it again."
        )
    return keys, labels


def _counts(file: Any, T: int, duration: float, channels: int) -> Iterator[np.ndarray]:
    """Of each recording how many spikes fell in each time step and channel, ``int64 [T, channels]``."""
    for times, units in zip(file["spikes/times"], file["spikes/units"], strict=True):
        if not ((times >= 0).all() and ((units >= 0) & (units < CHANNELS)).all()):
            raise DataError(
                f"{file.filename} must hold times of at least 0 and units below {CHANNELS}, got others. "
                "Get it again."
            )
        step = times.astype(np.float64) * (T / duration)
        kept = step < T  # before it is an integer, which the latest could not be
        place = step[kept].astype(np.int64) * channels + units[kept].astype(np.int64) // (
            CHANNELS // channels
        )
        yield np.bincount(place, minlength=T * channels).reshape(T, channels)


def _text(key: object) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)


DATASETS.register("shd")(lambda data_dir, _seed: shd(data_dir))
DATASETS.register("ssc")(lambda data_dir, _seed: ssc(data_dir))
