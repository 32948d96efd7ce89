"""Real sets that ship with the package; files/README.md names their sources and licences.

None of them has an official split into training and test part, so each is split by :func:`stratified_split`:
every class in proportion, the same on every machine for the same seed. Both parts come shuffled.
"""

from importlib.resources import files

import numpy as np
import torch

from spikeloom.data.catalogue import DATASETS
from spikeloom.data.dataset import Dataset
from spikeloom.data.split import stratified_split

_FILES = files("spikeloom.data") / "files"


def digits(seed: int = 0, test_fraction: float = 0.2) -> Dataset:
    """Handwritten digits: 1,797 grey images of 8 by 8 pixels, ten classes.

    The 17 grey levels 0..16 are spread over 0..255, rounded, so that they read like any other image.

    Args:
        seed: decides the split.
        test_fraction: share of the test part; by default 1,438 images to train on and 359 to test.
    Shape:
        samples ``uint8 [N, 1, 8, 8]``.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (test part), UCI, 1998; CC BY.
    Example:
        >>> digits()
        Dataset('digits', 1438 training and 359 test samples of shape (1, 8, 8), 10 classes)
    """
    with (_FILES / "digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        levels, labels = arrays["images"], arrays["labels"].astype(np.int64)
    images = np.rint(levels * (255 / 16)).astype(np.uint8)[:, None]  # [N, 1, 8, 8]
    return _split("digits", tuple("0123456789"), images, labels, seed, test_fraction)


def iris(seed: int = 0, test_fraction: float = 0.5) -> Dataset:
    """Iris flowers: 150 samples of four lengths in centimetres, three species of 50 flowers each.

    The values are those of UCI's file, which differs from Fisher's paper in two samples. Counted from 1,
    sample 35 has petal width 0.1 (in the paper 0.2); sample 38 has sepal width 3.1 and petal length 1.5 (in
    the paper 3.6 and 1.4).

    Args:
        seed: decides the split.
        test_fraction: share of the test part; by default 75 flowers to train on and 75 to test.
    Shape:
        samples ``float32 [N, 4]``: sepal length and width, petal length and width.
    Source: R. A. Fisher, The use of multiple measurements in taxonomic problems, 1936; UCI, CC BY 4.0.
    Example:
        >>> iris().classes
        ('setosa', 'versicolor', 'virginica')
    """
    features, labels = _read_csv("iris.csv")
    return _split("iris", ("setosa", "versicolor", "virginica"), features, labels, seed, test_fraction)


def breast_cancer(seed: int = 0, test_fraction: float = 0.5) -> Dataset:
    """Breast Cancer Wisconsin (Original): 699 tissue samples, nine cell properties graded 1..10, two classes.

    The 16 missing values, all of the sixth feature (bare nuclei), are replaced by its median over the
    training part.

    Args:
        seed: decides the split.
        test_fraction: share of the test part; by default 350 samples to train on and 349 to test.
    Shape:
        samples ``float32 [N, 9]``.
    Source: W. H. Wolberg, O. L. Mangasarian, PNAS 87, 1990, 9193-9196; UCI, CC BY 4.0.
    Example:
        >>> breast_cancer()
        Dataset('breast-cancer', 350 training and 349 test samples of shape (9,), 2 classes)
    """
    features, labels = _read_csv("breast_cancer.csv")
    train, _ = stratified_split(labels, test_fraction, seed)
    features = np.where(np.isnan(features), np.nanmedian(features[train], axis=0), features)
    return _split("breast-cancer", ("benign", "malignant"), features, labels, seed, test_fraction)


def _read_csv(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features ``[N, F]`` and labels ``[N]`` of a table with a header line and the label as last column."""
    with (_FILES / name).open(encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", skiprows=1)
    return table[:, :-1].astype(np.float32), table[:, -1].astype(np.int64)


def _split(
    name: str, classes: tuple[str, ...], x: np.ndarray, y: np.ndarray, seed: int, test_fraction: float
) -> Dataset:
    train, test = (torch.from_numpy(part) for part in stratified_split(y, test_fraction, seed))
    samples, labels = torch.from_numpy(x), torch.from_numpy(y)
    return Dataset(name, classes, samples[train], labels[train], samples[test], labels[test])


DATASETS.register("digits")(lambda data_dir, seed: digits(seed))
DATASETS.register("iris")(lambda data_dir, seed: iris(seed))
DATASETS.register("breast-cancer")(lambda data_dir, seed: breast_cancer(seed))
