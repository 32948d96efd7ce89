"""Training samples as a network takes them: augmented, mixed, encoded."""

from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from spikeloom.data import as_float
from spikeloom.encoding import SampleGenerator, derive_seed
from spikeloom.train.experiment import Experiment


def order_of_epoch(num_samples: int, seed: int, epoch: int) -> Tensor:
    """The training samples, in the order in which an epoch takes them."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(num_samples, generator=generator)


class Prepared(NamedTuple):
    """Some samples of a step.

    Args:
        x: what the network takes.
        classes: ``[K, N]``, one or two for each sample.
        shares: of the loss that these classes have, ``[K]``.
    """

    x: Tensor
    classes: Tensor
    shares: Tensor


class TrainingSamples:
    """Prepares training samples; all random numbers follow from (seed, epoch, step or sample).

    Args:
        fabric: moves them to its device.
        experiment: has them, and says how they are changed and encoded.
        seed: of augmentation, mixing and encoding.
        pin: whether they pass through pinned memory, so that nobody waits while they are copied.
    """

    def __init__(self, fabric: Fabric, experiment: Experiment, seed: int, pin: bool = False):
        self.fabric, self.experiment, self.seed, self.pin = fabric, experiment, seed, pin

    def prepare(self, indices: Tensor, epoch: int, step: int) -> Prepared:
        """The samples ``indices``, for a step of an epoch."""
        experiment = self.experiment
        x, labels = self._batch(indices, epoch)
        classes, shares = labels[None], x.new_ones(1)
        if experiment.mixup:
            share, others = self.partners(indices, epoch, step)
            other_x, other_labels = self._batch(others, epoch)
            x = share * x + (1 - share) * other_x
            classes, shares = torch.stack([labels, other_labels]), shares.new_tensor([share, 1 - share])
        x = experiment.encode(x, SampleGenerator(self.seed, indices, "train", epoch))
        return Prepared(x, classes, shares)

    def partners(self, indices: Tensor, epoch: int, step: int) -> tuple[float, Tensor]:
        """The share that samples keep, one for the step, and the samples that they are mixed with, drawn for
        each from all; both are the same for any number of processes."""
        mixup = self.experiment.mixup
        share = np.random.default_rng(derive_seed(self.seed, "mixup", epoch, step)).beta(mixup, mixup)
        drawn = SampleGenerator(self.seed, indices, "mixup", epoch).rand([len(indices)], dtype=torch.float64)
        return float(share), (drawn * len(self.experiment.data.train_y)).long()

    def _batch(self, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Samples, augmented, and their labels."""
        data, augment = self.experiment.data, self.experiment.augment
        x, labels = data.train_x[indices], data.train_y[indices]
        if self.pin:
            x, labels = x.pin_memory(), labels.pin_memory()
        x, labels = self.fabric.to_device((x, labels))
        x = as_float(x)
        if augment:
            x = augment(x, SampleGenerator(self.seed, indices, "augment", epoch))
        return x, labels
