"""What the STBP recipes share: data, neuron, loss, and the two configurations; docs/stbp.md explains them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from spikeloom.recipe.base import Recipe, Steps, Validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from spikeloom.encoding import SampleGenerator
    from spikeloom.neuron import LIFNode

PLAIN_EPOCHS, PLAIN_LR_EPOCHS = 100, 40
SMALL_SETS, TUNED_EPOCHS_OF_SMALL_SETS = ("digits", "nmnist"), 60
WARMUP = 0.1  # of the steps of a tuned training
SHIFT, DEGREES, SCALE = 2 / 28, 10.0, 0.1  # at most, of an augmented image; the shift is a part of its width


@dataclass(frozen=True, kw_only=True)
class Stbp(Validated, Recipe):
    """Spatio-temporal backpropagation: settings, data and training. A subclass adds its network."""

    PLAIN_LR: ClassVar[float]
    """Learning rate as published."""
    TUNED_LR: ClassVar[float]
    """Highest learning rate of the tuned configuration."""
    TUNED_EPOCHS: ClassVar[int]
    """Its passes over the training samples, except for small sets."""

    dataset: Literal["digits", "mnist", "fashion-mnist", "nmnist"] = "digits"
    """What to classify; digits needs no download. The pixels of images fire with their intensity as
    probability."""
    config: Literal["plain", "tuned"] = "tuned"
    """plain: as published; the learning rate is divided by 10 every 40 epochs. tuned: the same network in
    fewer epochs, with augmented images and a learning rate that warms up and falls to 0."""
    epochs: int | None = None
    """Passes over the training samples; default: 100 for plain, fewer for tuned."""
    T: Steps = 20
    """Time steps that each image is shown."""
    decay: float = 0.2
    """Part of its potential that a silent neuron keeps from one time step to the next; less than 1."""
    threshold: float = 0.5
    """Potential at which a neuron fires."""
    curve: Literal["Rectangular", "Polynomial", "LogisticDensity", "Gaussian"] = "Rectangular"
    """Stands in for the derivative of the spike: one of the paper's four, in its order."""
    width: float = 1.0
    """The curve's parameter, a1 to a4 of the paper; with 1, Rectangular reaches 0.5 to each side."""
    lr: float | None = None
    """Learning rate of Adam, in tuned the highest one; default: as the configuration says."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config == "tuned":
            few = TUNED_EPOCHS_OF_SMALL_SETS if self.dataset in SMALL_SETS else self.TUNED_EPOCHS
            self.fill(epochs=few, lr=self.TUNED_LR)
        else:
            self.fill(epochs=PLAIN_EPOCHS, lr=self.PLAIN_LR)
        if self.decay >= 1:
            raise ValueError(f"`decay` must be less than 1, got {self.decay}.")

    def lif(self) -> LIFNode:
        """A layer's neurons: ``v = v * decay * (1 - spike) + x``."""
        from spikeloom import neuron, surrogate

        curve = getattr(surrogate, self.curve)(self.width)
        return neuron.LIFNode(1 / (1 - self.decay), False, self.threshold, surrogate_function=curve)

    @abstractmethod
    def network(self, shape: Sequence[int], num_classes: int) -> nn.Module:
        """The network for time steps of samples ``[C, H, W]``."""

    def build(self):
        import torch

        from spikeloom import data, functional
        from spikeloom.train.experiment import Experiment

        is_events = self.dataset == "nmnist"
        if is_events:
            dataset = data.nmnist(self.data_dir, self.T, "time", clip=True)
        else:
            dataset = data.load(self.dataset, self.data_dir)
        dataset = self.parts(dataset)
        net = self.network(dataset.sample_shape[-3:], dataset.num_classes)
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        functional.set_step_mode(net, "m")
        optimizer = torch.optim.Adam(net.parameters(), self.lr)  # type: ignore[arg-type]
        if self.config == "plain":
            lr_steps = PLAIN_LR_EPOCHS * self.steps_in_epoch(dataset)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, lr_steps, 0.1)
        else:
            scheduler = self.warmup_cosine(optimizer, dataset, WARMUP)
        return Experiment(
            net,
            dataset,
            encode=(lambda x, _random: x.movedim(1, 0)) if is_events else self._spikes,
            loss=functional.firing_rate_mse,
            predict=lambda spikes: spikes.sum(0).argmax(-1),
            optimizer=optimizer,
            scheduler=scheduler,
            augment=None if self.config == "plain" else _moved,
        )

    def _spikes(self, x: Tensor, random: SampleGenerator) -> Tensor:
        """Images ``[N, C, H, W]`` as spikes ``[T, N, C, H, W]``."""
        from spikeloom import encoding

        return encoding.PoissonEncoder(generator=random).encode(x, self.T)


def _moved(x: Tensor, random: SampleGenerator) -> Tensor:
    """Images ``[N, C, H, W]``, each moved a little; recordings ``[N, T, C, H, W]`` as one image, whose pixels
    remain spikes."""
    from spikeloom.train.augment import random_affine

    shift, mode = SHIFT * x.shape[-1], "bilinear" if x.dim() == 4 else "nearest"
    moved = random_affine(x.flatten(1, -3), random, shift=shift, degrees=DEGREES, scale=SCALE, mode=mode)
    return moved.view_as(x)
