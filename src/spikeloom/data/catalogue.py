"""The datasets by name."""

import os
from collections.abc import Callable

from spikeloom.data.dataset import Dataset
from spikeloom.registry import Registry

DataFolder = str | os.PathLike[str] | None
Loader = Callable[[DataFolder, int], Dataset]

DATASETS: Registry[Loader] = Registry("dataset")
"""Loaders ``(data_dir, seed) -> Dataset``; enter your own with ``@DATASETS.register("name")``."""


def load(name: str, data_dir: DataFolder = None, seed: int = 0) -> Dataset:
    """A dataset by name, in memory.

    ``digits``, ``iris``, ``breast-cancer``, ``blobs``, ``yin-yang`` and ``evidence`` need no files and no
    network. ``mnist``, ``fashion-mnist``, ``cifar10`` and ``landsat`` are found in the data folder or
    downloaded into it, and checked against their SHA-256. ``nmnist``, ``n-caltech101``, ``cifar10-dvs``,
    ``dvs-gesture``, ``shd`` and ``ssc`` are found in the data folder.

    Args:
        name: one of :func:`names`.
        data_dir: the data folder; ``None`` takes the one that :func:`data_folder` describes.
        seed: decides the split of sets without an official one, and the samples of ``blobs``, ``yin-yang``
            and ``evidence``; other sets do not use it.
    Raises:
        UnknownNameError: there is no such set.
        DataError: a file is missing and cannot be downloaded, or is damaged.
    Example:
        >>> load("iris")
        Dataset('iris', 75 training and 75 test samples of shape (4,), 3 classes)
    """
    return DATASETS[name](data_dir, seed)


def names() -> list[str]:
    """The names that :func:`load` knows, sorted.

    Example:
        >>> names()[:3]
        ['blobs', 'breast-cancer', 'cifar10']
    """
    return DATASETS.names()
