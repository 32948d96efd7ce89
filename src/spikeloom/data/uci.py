"""Tables of the UCI Machine Learning Repository that come as files."""

import numpy as np
import torch
from torch import Tensor

from spikeloom.data.catalogue import DATASETS, DataFolder
from spikeloom.data.dataset import Dataset
from spikeloom.data.folder import data_folder, obtain
from spikeloom.data.known import KnownFile

_CLASSES = {
    1: "red soil",
    2: "cotton crop",
    3: "grey soil",
    4: "damp grey soil",
    5: "soil with vegetation stubble",
    7: "very damp grey soil",
}
_ATTRIBUTES = 36
_FILES = (
    KnownFile("sat.trn", 525_830, "e896dc88a960fa2404160fc4c3cb3dc53fcf4afd80ba920bf2d261bd42d12613"),
    KnownFile("sat.tst", 236_745, "4b9167b8a92baafafed7c8809aef86d0683a5e685c19d98d119fa6974f0f2479"),
)
_MIRROR = "https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/satimage/"


def landsat(data_dir: DataFolder = None) -> Dataset:
    """Statlog (Landsat Satellite): kinds of soil, 4,435 samples to train on and 2,000 to test, six classes.

    A sample is a neighbourhood of 3 by 3 pixels of a satellite image in four spectral bands. Its class is
    that of the central pixel, whose bands are features 16 to 19 (17 to 20 in UCI's count). UCI's class 6,
    "mixture", has no samples and is left out.

    Args:
        data_dir: see :func:`data_folder`. ``sat.trn`` and ``sat.tst`` are looked for in its ``landsat/``,
            ``statlog/``, ``uci/statlog/`` and in itself; missing ones are downloaded to ``landsat/``.
    Shape:
        samples ``float32 [N, 36]``: the four bands of each pixel, from left to right and top to bottom.
    Raises:
        DataError: a file is missing and cannot be downloaded, or is damaged.
    Source: A. Srinivasan, Statlog (Landsat Satellite), UCI, 1993, doi:10.24432/C55887; CC BY 4.0.
    """
    root = data_folder(data_dir)
    folders = [root / "landsat", root / "statlog", root / "uci" / "statlog", root]
    paths = obtain("landsat", _FILES, folders, [_MIRROR])
    parts = (_parse(file.read(paths[file])) for file in _FILES)
    return Dataset("landsat", tuple(_CLASSES.values()), *next(parts), *next(parts))


def _parse(content: bytes) -> tuple[Tensor, Tensor]:
    table = np.loadtxt(content.decode("ascii").splitlines(), dtype=np.int64)
    labels = np.searchsorted(list(_CLASSES), table[:, _ATTRIBUTES])
    return torch.from_numpy(table[:, :_ATTRIBUTES]).float(), torch.from_numpy(labels)


DATASETS.register("landsat")(lambda data_dir, seed: landsat(data_dir))
