"""Points in the plane, made from a seed."""

import math

import numpy as np
import torch
from torch import Tensor

from spikeloom.checks import checked_count, checked_inside
from spikeloom.data.catalogue import DATASETS
from spikeloom.data.dataset import Dataset
from spikeloom.data.split import random_uniform, random_words


def blobs(
    num_train: int = 1000, num_test: int = 1000, seed: int = 0, radius: float = 0.2, margin: float = 0.1
) -> Dataset:
    """Two round, linearly separable clouds of points in the unit square.

    Points are uniform in two discs whose centres lie on the diagonal, on either side of (0.5, 0.5). The line
    ``x0 + x1 = 1`` separates the classes, and no point is nearer to it than ``margin / 2``. Both parts are
    balanced and shuffled; the test points do not depend on ``num_train``.

    Args:
        num_train: number of training points.
        num_test: number of test points.
        seed: another seed, other points.
        radius: of each disc; greater than 0.
        margin: distance between the discs; greater than 0.
    Shape:
        samples ``float32 [N, 2]``; with the default radius and margin, coordinates lie within [0.12, 0.88].
    Raises:
        ValueError: a count is negative, or ``radius`` or ``margin`` is not greater than 0.
    Example:
        >>> data = blobs()
        >>> data
        Dataset('blobs', 1000 training and 1000 test samples of shape (2,), 2 classes)
        >>> bool(((data.train_x.sum(1) > 1) == (data.train_y == 1)).all())
        True
    """
    for argument, count in (("num_train", num_train), ("num_test", num_test)):
        checked_count(argument, count, least=0)
    for argument, length in (("radius", radius), ("margin", margin)):
        checked_inside(argument, length, 0)
    train_x, train_y = _two_discs(num_train, seed, 0, radius, margin)
    test_x, test_y = _two_discs(num_test, seed, 1, radius, margin)
    return Dataset("blobs", ("lower", "upper"), train_x, train_y, test_x, test_y)


def yin_yang(num_train: int = 5000, num_test: int = 1000, seed: int = 0) -> Dataset:
    """The Yin-Yang dataset: points of a disc whose three classes, yin, yang and two dots, are entangled.

    The disc has the radius 0.5 and the dots 0.1. A linear classifier gets about two thirds of the points
    right. Both parts are balanced and shuffled; the test points do not depend on ``num_train``.

    Args:
        num_train: number of training points.
        num_test: number of test points.
        seed: another seed, other points.
    Shape:
        samples ``float32 [N, 4]`` in [0, 1]: ``x``, ``y``, ``1 - x`` and ``1 - y``, so that each point has
        the same sum, whichever code the numbers are given.
    Raises:
        ValueError: a count is negative.
    Source: Kriener, Göltz & Petrovici, The Yin-Yang dataset, NICE 2022.
    Example:
        >>> yin_yang()
        Dataset('yin-yang', 5000 training and 1000 test samples of shape (4,), 3 classes)
        >>> yin_yang().train_x[0]
        tensor([0.4492, 0.3910, 0.5508, 0.6090])
    """
    for argument, count in (("num_train", num_train), ("num_test", num_test)):
        checked_count(argument, count, least=0)
    parts = [_entangled(num_train, seed, 0), _entangled(num_test, seed, 1)]
    return Dataset("yin-yang", ("yin", "yang", "dot"), *parts[0], *parts[1])


def _entangled(count: int, seed: int, part: int) -> tuple[Tensor, Tensor]:
    labels = np.empty(count, dtype=np.int64)
    labels[np.argsort(random_words(count, seed, part), kind="stable")] = np.arange(count) % 3
    points, found = np.empty((count, 2)), np.zeros(count, dtype=bool)
    turn = 0
    while not found.all():
        turn += 1
        drawn = random_uniform(20 * count, seed, part, turn).reshape(-1, 2)
        drawn = drawn[np.hypot(*(drawn - 0.5).T) <= 0.5]
        kinds = _kinds(drawn)
        for kind in range(3):
            missing = np.flatnonzero(~found & (labels == kind))
            fitting = drawn[kinds == kind][: len(missing)]
            points[missing[: len(fitting)]], found[missing[: len(fitting)]] = fitting, True
    samples = np.concatenate([points, 1 - points], axis=1).astype(np.float32)
    return torch.from_numpy(samples), torch.from_numpy(labels)


def _kinds(points: np.ndarray) -> np.ndarray:
    """0 for yin, 1 for yang, 2 for the dots, of points ``[N, 2]``."""
    left, right = (np.hypot(points[:, 0] - centre, points[:, 1] - 0.5) for centre in (0.25, 0.75))
    is_yin = (left <= 0.25) | ((points[:, 1] > 0.5) & (right > 0.25))
    return np.where(np.minimum(left, right) < 0.1, 2, np.where(is_yin, 0, 1))


def _two_discs(count: int, seed: int, part: int, radius: float, margin: float) -> tuple[Tensor, Tensor]:
    uniform = random_uniform(3 * count, seed, part).reshape(3, count)
    labels = np.empty(count, dtype=np.int64)
    labels[np.argsort(uniform[0], kind="stable")] = np.arange(count) % 2
    distance, angle = radius * np.sqrt(uniform[1]), 2 * math.pi * uniform[2]  # the root spreads points evenly
    centre = 0.5 + (2 * labels - 1) * (radius + margin / 2) / math.sqrt(2)
    points = np.stack(
        [centre + distance * np.cos(angle), centre + distance * np.sin(angle)], axis=1
    )  # [N, 2]
    return torch.from_numpy(points.astype(np.float32)), torch.from_numpy(labels)


DATASETS.register("blobs")(lambda data_dir, seed: blobs(seed=seed))
DATASETS.register("yin-yang")(lambda data_dir, seed: yin_yang(seed=seed))
