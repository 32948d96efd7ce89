"""What the recipes of deep networks share: images, augmentation, losses, the quick version."""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from spikeloom.recipe.base import BatchSize, Recipe, Validated

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from spikeloom.data import Dataset
    from spikeloom.encoding import SampleGenerator
    from spikeloom.model.network import Network
    from spikeloom.train.experiment import Experiment

WARMUP = 0.05  # of the steps
PADDING = {
    "digits": 1,
    "mnist": 2,
    "fashion-mnist": 2,
    "cifar10": 4,
    "nmnist": 2,
    "cifar10-dvs": 8,
    "dvs-gesture": 8,
}  # pixels, of a random crop
MIRRORED = ("fashion-mnist", "cifar10", "cifar10-dvs")  # digits, and left and right hands, may not be
QUICK_TRAIN, QUICK_TEST = 5_000, 1_000  # images


@dataclass(frozen=True, kw_only=True)
class Deep(Validated, Recipe):
    """A deep spiking network on static images, which its first convolution encodes, or on the frames of an
    event camera. A subclass says on which sets, which network, and how long it is trained."""

    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"weight_decay", "label_smoothing", "mixup"})
    EPOCHS: ClassVar[int]
    """Of a full training."""
    QUICK_EPOCHS: ClassVar[int] = 10
    """With ``--quick``, and on digits."""
    NET: ClassVar[str]
    """The network of a full training."""
    QUICK_NET: ClassVar[str]
    """The small one, for a CPU."""

    batch_size: BatchSize = 100
    """Samples in a batch, over all processes together."""
    dataset: str
    """What to classify."""
    quick: bool = False
    """A small network, 5,000 training and 1,000 test samples, few epochs: for images minutes on a CPU."""
    net: str | None = None
    """The network; a wrong name lists all."""
    T: int | None = None
    """Time steps."""
    epochs: int | None = None
    """Passes over the training samples."""
    lr: float | None = None
    """Highest learning rate of stochastic gradient descent with momentum 0.9; it rises over a twentieth of
    the steps, and falls to 0 along half a cosine."""
    weight_decay: float = 5e-4
    """Decay of the weights per step, as a part of the learning rate."""
    loss: Literal["every-step", "mean"] = "every-step"
    """Cross-entropy of the output of every time step (temporal efficient training), or of their mean."""
    label_smoothing: float = 0.0
    """Part of the probability that all classes share alike."""
    mixup: float = 0.0
    """Mix images in pairs, with shares from Beta(mixup, mixup); 0 does not."""
    cutout: int | None = None
    """Sides of a square that is cut out of each training image, in pixels. Default: none."""
    augment: bool = True
    """Crop training images at random, and mirror those that may be."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing >= 1:
            raise ValueError(f"`label_smoothing` must be less than 1, got {self.label_smoothing}.")
        self.fill(**self.defaults())

    def defaults(self) -> dict[str, Any]:
        """What stands for settings that are left out."""
        if self.quick or self.dataset == "digits":
            return {"epochs": self.QUICK_EPOCHS, "net": self.QUICK_NET}
        return {"epochs": self.EPOCHS, "net": self.NET}

    def load(self) -> Dataset:
        """The dataset, whole."""
        from spikeloom import data

        return data.load(self.dataset, self.data_dir)

    @abstractmethod
    def network(self, name: str, dataset: Dataset) -> Network:
        """The network ``name`` for the images of a dataset."""

    def build(self) -> Experiment:
        import torch

        from spikeloom.train.experiment import Experiment

        dataset = self.parts(self.load())
        if self.quick:
            dataset = dataset.take(QUICK_TRAIN, QUICK_TEST)
        assert self.net is not None
        assert self.lr is not None
        side = dataset.sample_shape[-1]
        if self.cutout and self.cutout >= side:
            raise ValueError(f"`cutout` must be less than {side}, the side of an image, got {self.cutout}.")
        net = self.network(self.net, dataset)
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(net.parameters(), self.lr, momentum=0.9, weight_decay=self.weight_decay)
        is_events = len(dataset.sample_shape) == 4
        return Experiment(
            net,
            dataset,
            encode=_frames if is_events else _standardised(dataset.train_x),
            loss=self.cost_of,
            predict=lambda output: output.mean(0).argmax(-1),
            optimizer=optimizer,
            scheduler=self.warmup_cosine(optimizer, dataset, WARMUP),
            augment=self.changed,
            mixup=self.mixup,
            draw=_draw,
        )

    def cost_of(self, output: Tensor, labels: Tensor) -> Tensor:
        """The loss of outputs ``[T, N, classes]``."""
        from spikeloom import functional

        output = output.float()
        if self.loss == "mean":
            output = output.mean(0, keepdim=True)
        return functional.temporal_efficient_training_cross_entropy(
            output, labels, label_smoothing=self.label_smoothing
        )

    def changed(self, x: Tensor, random: SampleGenerator) -> Tensor:
        """Training images ``[N, C, H, W]``, augmented; recordings ``[N, T, C, H, W]`` as one image each."""
        from spikeloom.train.augment import cutout, random_crop

        images = x.flatten(1, -3)
        if self.augment:
            mirrored = self.dataset in MIRRORED
            images = random_crop(images, random, padding=PADDING[self.dataset], flip=mirrored)
        return (cutout(images, random, size=self.cutout) if self.cutout else images).view_as(x)


def _frames(x: Tensor, _random: SampleGenerator) -> Tensor:
    """Recordings ``[N, T, C, H, W]`` with the time first."""
    return x.movedim(1, 0)


def _standardised(images: Tensor) -> Callable[[Tensor, SampleGenerator], Tensor]:
    """What gives each channel of images mean 0 and deviation 1, measured on those ``uint8 [N, C, H, W]``."""
    import torch

    pixels = images.movedim(1, 0).flatten(1).double() / 255  # [C, pixels]
    mean, deviation = (
        pixels.mean(1).view(-1, 1, 1),
        pixels.std(1, correction=0).clamp(min=1e-3).view(-1, 1, 1),
    )

    @functools.cache
    def moved(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return mean.to(device, dtype), deviation.to(device, dtype)

    def encode(x: Tensor, _random: SampleGenerator) -> Tensor:
        shift, scale = moved(x.device, x.dtype)
        scaled = (x - shift) / scale  # [N, C, H, W]
        return scaled.contiguous(memory_format=torch.channels_last)

    return encode


def _draw(net: nn.Module, x: Tensor, title: str) -> dict[str, Figure]:
    """How often the neurons of each layer fire at each time step."""
    import torch
    from matplotlib.figure import Figure

    from spikeloom import plot
    from spikeloom.monitor import record
    from spikeloom.neuron import BaseNode

    with record(net, "spike", instance=BaseNode) as records:
        net(x)
    rates = torch.stack(
        [100 * layer["spike"].float().flatten(1).mean(1) for layer in records.values()], 1
    )  # [T, layers], in %
    figure = Figure(figsize=(8, 1.5 + 0.25 * len(records)), layout="constrained")
    panel = plot.heatmap(
        rates, figure.subplots(), title=title, ylabel="layer", colorbar_label="neurons that fire, in %"
    )
    panel.images[0].set_clim(0)
    panel.set_yticks(range(len(records)), list(records), fontsize=7)
    return {"firing_rates": figure}
