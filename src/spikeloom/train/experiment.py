"""What the training loop needs to know of an experiment."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikeloom.data import Dataset
from spikeloom.encoding import SampleGenerator


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
        scheduler: stepped once per optimiser step.
        augment: raw samples ``[N, *]`` and a source of random numbers, to changed samples of the same shape,
            before ``encode``; in training only.
    """

    net: nn.Module
    data: Dataset
    encode: Callable[[Tensor, SampleGenerator], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    predict: Callable[[Tensor], Tensor]
    optimizer: Optimizer
    scheduler: LRScheduler | None = None
    augment: Callable[[Tensor, SampleGenerator], Tensor] | None = None
