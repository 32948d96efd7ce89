"""A dataset that is small enough to live in memory: two parts, training and test, as tensors."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from spikeloom.checks import check_tensor, checked_count
from spikeloom.data.split import random_words, stratified_split


def as_float(x: Tensor) -> Tensor:
    """Samples as ``float32``: images, which are ``uint8`` in 0..255, are scaled to [0, 1].

    All else keeps its values: floats, and what is counted in time steps, ``int8`` or ``int16``, or ``bool``
    (spikes).

    Example:
        >>> as_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
        >>> as_float(torch.tensor([0, 1, 7], dtype=torch.int8))
        tensor([0., 1., 7.])
    """
    check_tensor("x", x)
    return x.float().div_(255) if x.dtype == torch.uint8 else x.float()


class _Part(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Samples, as floats, with their labels; made floats one by one, as all together take four times the
    memory of images."""

    def __init__(self, x: Tensor, y: Tensor):
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return as_float(self.x[index]), self.y[index]


_COUNTS = (torch.int8, torch.int16)
_DIMENSIONS = {
    torch.uint8: (4,),
    **dict.fromkeys((*_COUNTS, torch.bool), (3, 5)),
    torch.float32: (2, 3, 4, 5),
}


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples and labels of a classification task, split into a training and a test part.

    Args:
        name: what the set is called.
        classes: names of the classes; label ``i`` means ``classes[i]``.
        train_x: training samples: images ``uint8 [N, C, H, W]``, feature vectors ``float32 [N, F]``, or event
            frames ``[N, T, C, H, W]`` and spike sequences ``[N, T, F]``, as ``int8`` or ``int16`` for counts
            and ``bool`` for spikes. All may also be ``float32``.
        train_y: their labels, ``int64 [N]``, each in ``0..num_classes-1``.
        test_x: test samples, of the same type and shape but for their number.
        test_y: their labels.
    Raises:
        ValueError: types, shapes, or numbers of samples and labels do not fit together, a label is out of
            range, a feature is not finite, or a count is negative.
    Example:
        >>> x, y = torch.tensor([[1.0, 7.0], [3.0, 7.0]]), torch.tensor([0, 1])
        >>> data = Dataset("pair", ("left", "right"), x, y, test_x=x + 1, test_y=y)
        >>> data
        Dataset('pair', 2 training and 2 test samples of shape (2,), 2 classes)
        >>> data.standardised().test_x  # training part: mean 2, deviation 1; its constant feature becomes 0
        tensor([[0., 0.],
                [2., 0.]])
        >>> x, y = next(iter(torch.utils.data.DataLoader(data.train, batch_size=2)))  # of PyTorch's own kind
        >>> x.shape, y
        (torch.Size([2, 2]), tensor([0, 1]))
    """

    name: str
    classes: tuple[str, ...]
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def __post_init__(self) -> None:
        _check_part("train", self.train_x, self.train_y, self.num_classes)
        _check_part("test", self.test_x, self.test_y, self.num_classes)
        train, test = _kind(self.train_x), _kind(self.test_x)
        if train != test:
            raise ValueError(
                f"`test_x` must have the type and sample shape of `train_x`, {train}, got {test}."
            )

    def __repr__(self) -> str:
        samples = f"{len(self.train_y)} training and {len(self.test_y)} test samples"
        return f"Dataset({self.name!r}, {samples} of shape {self.sample_shape}, {self.num_classes} classes)"

    @property
    def train(self) -> torch.utils.data.Dataset[tuple[Tensor, Tensor]]:
        """The training part for a ``DataLoader``: pairs of a sample, by :func:`as_float`, and its label."""
        return _Part(self.train_x, self.train_y)

    @property
    def test(self) -> torch.utils.data.Dataset[tuple[Tensor, Tensor]]:
        """The test part, in the same way."""
        return _Part(self.test_x, self.test_y)

    def __len__(self) -> NoReturn:
        raise self._two_parts()

    def __getitem__(self, _index: object) -> NoReturn:
        raise self._two_parts()

    def __bool__(self) -> bool:
        return True  # which Python would ask the length for

    def _two_parts(self) -> TypeError:
        return TypeError(
            f"The dataset {self.name!r} has two parts, and neither a length nor samples of its own: give a "
            "DataLoader its `train` or its `test`; the tensors are train_x, train_y, test_x, test_y."
        )

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of a sample: ``(C, H, W)`` an image, ``(F,)`` features, ``(T, C, H, W)`` event frames,
        ``(T, F)`` a spike sequence."""
        return tuple(self.train_x.shape[1:])

    def take(self, num_train: int | None = None, num_test: int | None = None) -> "Dataset":
        """The first samples of each part; ``None`` keeps all. Meant for quick trials."""
        for argument, count in (("num_train", num_train), ("num_test", num_test)):
            if count is not None:
                checked_count(argument, count, least=0)
        return replace(
            self,
            train_x=self.train_x[:num_train],
            train_y=self.train_y[:num_train],
            test_x=self.test_x[:num_test],
            test_y=self.test_y[:num_test],
        )

    def held_out(self, seed: int = 0, fraction: float = 1 / 6) -> "Dataset":
        """The training part alone, split in two: to choose settings by, with the test part untouched.

        Args:
            seed: another seed, another split.
            fraction: the part of each class that becomes the test part; in (0, 1).
        """
        parts = stratified_split(self.train_y.numpy(), fraction, seed)
        # In an order of its own: that of the split may be the one that the samples were made in.
        orders = (np.argsort(random_words(len(part), seed, 2), kind="stable") for part in parts)
        train, test = (torch.from_numpy(part[order]) for part, order in zip(parts, orders, strict=True))
        x, y = self.train_x, self.train_y
        return replace(self, train_x=x[train], train_y=y[train], test_x=x[test], test_y=y[test])

    def standardised(self) -> "Dataset":
        """The set as floats: each feature, or each channel of images or frames, has mean 0 and deviation 1.

        Mean and standard deviation (of the population: divided by N) are those of the training part; the test
        part is shifted and scaled by the same numbers. A feature that is constant in training becomes 0 in
        both.
        """

        def rule(train: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
            deviation, mean = torch.std_mean(train, dims, correction=0, keepdim=True)
            return mean, deviation

        return self._rescaled(rule)

    def min_max(self, clip: bool = True) -> "Dataset":
        """The set as floats from 0 to 1, for encoders that need a bounded range.

        Smallest and largest value of each feature, or of each channel of images or frames, are those of the
        training part. A feature that is constant in training becomes 0 in both parts.

        Args:
            clip: bring test values from outside the training range to its nearest end; ``False`` lets them
                leave [0, 1].
        """

        def rule(train: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
            low, high = train.amin(dims, keepdim=True), train.amax(dims, keepdim=True)
            return low, high - low

        scaled = self._rescaled(rule)
        return replace(scaled, test_x=scaled.test_x.clamp(0, 1)) if clip else scaled

    def _rescaled(self, rule: Callable[[Tensor, tuple[int, ...]], tuple[Tensor, Tensor]]) -> "Dataset":
        """Both parts, less an offset and divided by a scale that ``rule`` measures on the training part."""
        if not len(self.train_x):
            raise ValueError("`train_x` must hold samples to measure a range on, got none.")
        train = as_float(self.train_x)
        kept = 1 if train.ndim in (2, 4) else 2  # the features or channels, after the time if there is one
        dims = tuple(dim for dim in range(train.ndim) if dim != kept)
        offset, scale = rule(train, dims)
        # Rounding can leave a constant feature with a tiny deviation, so ask for the range instead.
        constant = train.amin(dims, keepdim=True) == train.amax(dims, keepdim=True)
        scale = torch.where(constant, torch.inf, scale)  # what is divided by infinity becomes 0
        test = as_float(self.test_x)
        return replace(self, train_x=(train - offset).div_(scale), test_x=(test - offset).div_(scale))


def _kind(x: Tensor) -> tuple[torch.dtype, tuple[int, ...]]:
    return x.dtype, tuple(x.shape[1:])


def _check_part(part: str, x: Tensor, y: Tensor, num_classes: int) -> None:
    for name, value in ((f"{part}_x", x), (f"{part}_y", y)):
        check_tensor(name, value)
    if x.ndim not in _DIMENSIONS.get(x.dtype, ()):
        raise ValueError(
            f"`{part}_x` must be images uint8 [N, C, H, W], event frames [N, T, C, H, W] or spike sequences "
            f"[N, T, F] of int8, int16 or bool, or float32 in these shapes or [N, F], got {x.dtype} "
            f"{list(x.shape)}."
        )
    if y.dtype != torch.int64 or tuple(y.shape) != (len(x),):
        raise ValueError(f"`{part}_y` must be labels int64 [{len(x)}], got {y.dtype} {list(y.shape)}.")
    if len(y) and not (int(y.min()) >= 0 and int(y.max()) < num_classes):
        raise ValueError(
            f"`{part}_y` must lie in 0..{num_classes - 1}, got {int(y.min())}..{int(y.max())}. "
            "Number the classes from 0, and name all of them in `classes`."
        )
    if x.ndim == 2 and not bool(x.isfinite().all()):
        raise ValueError(f"`{part}_x` must be finite, got NaN or infinity. Replace missing values first.")
    if x.dtype in _COUNTS and x.numel() and int(x.min()) < 0:
        raise ValueError(
            f"`{part}_x` must hold counts of at least 0, got {int(x.min())}. int8 counts up to 127, int16 to "
            "32,767: make more or clipped frames, or use float32."
        )
