"""What the recipes of deep networks share: images, augmentation, losses, the quick version."""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from spikeloom.recipe.base import BatchSize, Recipe, Steps, Validated

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from spikeloom.data import Dataset
    from spikeloom.encoding import SampleGenerator
    from spikeloom.model.network import Network
    from spikeloom.train.experiment import Experiment

WARMUP = 0.05  # of the steps
PADDING = {"digits": 1, "mnist": 2, "fashion-mnist": 2, "cifar10": 4}  # pixels, of a random crop
MIRRORED = ("fashion-mnist", "cifar10")  # whose images may be mirrored: digits may not
QUICK_TRAIN, QUICK_TEST = 5_000, 1_000  # images


@dataclass(frozen=True, kw_only=True)
class Deep(Validated, Recipe):
    """A deep spiking network on static images, which its first convolution encodes. A subclass says which
    network, and how long it is trained."""

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
    dataset: Literal["digits", "mnist", "fashion-mnist", "cifar10"] = "digits"
    """Images to classify; digits needs no download."""
    quick: bool = False
    """A small network, 5,000 training and 1,000 test images, few epochs: minutes on a CPU."""
    net: str | None = None
    """The network; a wrong name lists all. Default: sew-resnet18-cifar for sew-resnet and
    spiking-resnet18-cifar for dspike; sew-resnet-mini-cifar and its like with --quick and on digits."""
    T: Steps = 4
    """Time steps that each image is shown."""
    epochs: int | None = None
    """Passes over the training images. Default: 10 with --quick and on digits, else 100 for sew-resnet and
    300 for dspike."""
    lr: float = 0.1
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
        if self.quick or self.dataset == "digits":
            self.fill(epochs=self.QUICK_EPOCHS, net=self.QUICK_NET)
        else:
            self.fill(epochs=self.EPOCHS, net=self.NET)

    @abstractmethod
    def network(self, name: str, dataset: Dataset) -> Network:
        """The network ``name`` for the images of a dataset."""

    def build(self) -> Experiment:
        import torch

        from spikeloom import data
        from spikeloom.train.experiment import Experiment

        dataset = self.parts(data.load(self.dataset, self.data_dir))
        if self.quick:
            dataset = dataset.take(QUICK_TRAIN, QUICK_TEST)
        assert self.net is not None
        side = dataset.sample_shape[-1]
        if self.cutout and self.cutout >= side:
            raise ValueError(f"`cutout` must be less than {side}, the side of an image, got {self.cutout}.")
        net = self.network(self.net, dataset)
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(net.parameters(), self.lr, momentum=0.9, weight_decay=self.weight_decay)
        mean, deviation = _mean_and_deviation(dataset.train_x)

        @functools.cache
        def moved(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
            return mean.to(device, dtype), deviation.to(device, dtype)

        def encode(x: Tensor, _random: SampleGenerator) -> Tensor:
            shift, scale = moved(x.device, x.dtype)
            scaled = (x - shift) / scale  # [N, C, H, W]
            return scaled.contiguous(memory_format=torch.channels_last)

        return Experiment(
            net,
            dataset,
            encode=encode,
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
        """Training images ``[N, C, H, W]``, augmented."""
        from spikeloom.train.augment import cutout, random_crop

        if self.augment:
            x = random_crop(x, random, padding=PADDING[self.dataset], flip=self.dataset in MIRRORED)
        return cutout(x, random, size=self.cutout) if self.cutout else x


def _mean_and_deviation(images: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel of images ``uint8 [N, C, H, W]``, on the scale from 0 to 1: ``[C, 1, 1]`` each."""
    pixels = images.movedim(1, 0).flatten(1).double() / 255  # [C, pixels]
    return pixels.mean(1).view(-1, 1, 1), pixels.std(1, correction=0).clamp(min=1e-3).view(-1, 1, 1)


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
