"""What the training loop needs to know of an experiment."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikeloom.checks import is_number
from spikeloom.data import Dataset, as_float
from spikeloom.encoding import SampleGenerator
from spikeloom.errors import RunError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ARGUMENTS = {
    "encode": ("samples", "random"),
    "loss": ("output", "classes"),
    "predict": ("output",),
    "augment": ("samples", "random"),
    "before_epoch": ("epoch",),
    "draw": ("net", "sample", "title"),
    "done": ("row",),
}
"""What the functions of an experiment are given."""


@dataclass
class Experiment:
    """A network, its data, and how one is fed to the other.

    Args:
        net: takes what ``encode`` returns; in multi-step mode.
        data: training and test samples with their classes.
        encode: raw samples ``[N, *]`` and a source of random numbers, to the network's input, usually ``[T,
            N, *]``.
        loss: the network's output and the classes ``[N]``, to a scalar that is a mean over the samples.
        predict: the network's output to classes, int64 ``[N]``.
        optimizer: of the network's parameters.
        scheduler: stepped once per optimiser step, without a metric.
        augment: raw samples ``[N, *]`` and a source of random numbers, to changed samples of the same shape,
            before ``encode``; in training only.
        mixup: in training, each sample is mixed with another one before ``encode``, with a share that is
            drawn from Beta(mixup, mixup) for a batch; the loss is that of both classes, in the same shares.
            0 leaves samples alone.
        before_epoch: called with the number of each epoch, from 0, before it begins; the numbers that it
            returns, by name, join the row of the epoch. What it changes must be in the state of ``net``, so
            that a killed training resumes with it.
        draw: the network, one encoded sample and a title, to figures by name, in place of the rasters and
            membrane potentials of the network's neurons.
        done: the row of an epoch, as :meth:`Trainer.fit() <spikeloom.train.loop.Trainer.fit>` returns it, to
            whether training ends with it.
    Raises:
        ValueError: ``mixup`` is out of range.
        TypeError: a function takes other arguments; the optimiser wants a closure, as LBFGS does, or the
            scheduler a metric.
    """

    net: nn.Module
    data: Dataset
    encode: Callable[[Tensor, SampleGenerator], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    predict: Callable[[Tensor], Tensor]
    optimizer: Optimizer
    scheduler: LRScheduler | None = None
    augment: Callable[[Tensor, SampleGenerator], Tensor] | None = None
    mixup: float = 0.0
    before_epoch: Callable[[int], Mapping[str, float]] | None = None
    draw: Callable[[Any, Tensor, str], Mapping[str, Figure]] | None = None
    done: Callable[[Mapping[str, Any]], bool] | None = None

    def __post_init__(self) -> None:
        if not (is_number(self.mixup) and 0 <= self.mixup < math.inf):
            raise ValueError(f"`mixup` must be a finite number of at least 0, got {self.mixup!r}.")
        for name, arguments in _ARGUMENTS.items():
            function = getattr(self, name)
            if function is not None and (reason := _refused(function, *arguments)):
                raise TypeError(f"`{name}` must take {', '.join(arguments)}, got {function!r}: {reason}.")
        for name, one in (("optimizer", self.optimizer), ("scheduler", self.scheduler)):
            step = getattr(type(one), "step", None)  # that of the object may be wrapped by a scheduler
            if step and (reason := _refused(step, one)):
                raise TypeError(
                    f"`{name}` must make its steps without arguments, but {type(one).__name__}.step() is "
                    f"{reason}, which the training loop does not have."
                )

    def encoded_test(self, seed: int, indices: Sequence[int] | Tensor) -> Tensor:
        """Test samples as the network gets them in a test, on its device and in its number format."""
        which, weight = torch.as_tensor(indices), next(self.net.parameters())
        x = as_float(self.data.test_x[which].to(weight.device)).to(weight.dtype)
        return self.encode(x, SampleGenerator(seed, which, "test"))

    def has_time(self, seed: int) -> bool:
        """Whether encoded samples are ``[T, N, *]`` and not ``[N, *]``: then two are as long as one."""
        return len(self.encoded_test(seed, [0])) == len(self.encoded_test(seed, [0, 0]))


def _refused(function: Callable[..., Any], *arguments: Any) -> str | None:
    """Why a function does not take these arguments; ``None`` if it does, or cannot be asked."""
    try:
        takes = signature(function, follow_wrapped=False)
        first = next(iter(takes.parameters.values()), None)
        if first is not None and first.kind is first.VAR_POSITIONAL:  # it hands them on to what it wraps
            takes = signature(function)
        takes.bind(*arguments)
    except TypeError as error:
        return str(error)
    except ValueError:  # it is not written in Python
        return None


def require_answers(loss: Tensor, predicted: Tensor, labels: Tensor) -> None:
    """Refuse an experiment whose loss is not one number, or that does not give one class for each sample."""
    if loss.dim():
        raise RunError(
            f"`loss` of the experiment must give one number, got a tensor {list(loss.shape)}. Take its mean."
        )
    if predicted.shape != labels.shape:
        raise RunError(
            f"`predict` of the experiment must give one class for each of {len(labels)} samples, "
            f"{list(labels.shape)}, got {list(predicted.shape)}."
        )
