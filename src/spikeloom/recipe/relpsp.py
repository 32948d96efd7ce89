"""relpsp: deep networks that compute with the times of single spikes, trained by exact gradients.

A pixel spikes once, the earlier the brighter; black ones last of all, or, with fc, never. A neuron's
potential rises linearly after each input spike, so the time at which it reaches its threshold is known in
closed form, with its derivatives: no surrogate gradients, no time steps. The output neuron that fires first
names the class, or, if none does within the window, the one that comes nearest to it; the loss is the
cross-entropy of a softmax over negative firing times.

fc is 784-800-10 (784-1000-10 for Fashion-MNIST, 64-200-10 for the digits), cnn 16C5-P2-32C5-P2-800-128-10
with pooling by the earliest spike. Time is counted in units in which the grey levels take 1. Published on
MNIST are 98.5 % with fc and 99.4 % with cnn, of images as they are; here, unless --no-augment is given, they
are shifted, turned and scaled a little in training.

Command   spikeloom train relpsp                                        on the built-in digits
          spikeloom train relpsp --dataset mnist                        784-800-10
          spikeloom train relpsp --dataset mnist --net cnn              the convolutional network
          spikeloom train relpsp --dataset fashion-mnist --no-augment   784-1000-10
Source    Zhang et al., Rectified linear postsynaptic potential function for backpropagation in deep spiking
          neural networks, IEEE Trans. Neural Netw. Learn. Syst. 33(5), 2022
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from spikeloom.recipe.base import RECIPES, BatchSize, Duration, Recipe, Validated

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spikeloom.data import Dataset
    from spikeloom.encoding import SampleGenerator

WARMUP = 0.1  # of the steps
SHIFT, DEGREES, SCALE = 1 / 28, 8.0, 0.08  # at most, of an augmented image; the shift is a part of its width
HIDDEN = {"digits": 200, "mnist": 800, "fashion-mnist": 1000}  # of fc
FC_EPOCHS = {"digits": 60, "mnist": 60, "fashion-mnist": 10}
FC_LR = {"digits": 3e-3, "mnist": 1e-3, "fashion-mnist": 1e-3}
CNN_EPOCHS, CNN_LR = 45, 4e-3
TAU = {"fc": 1.0, "cnn": 0.5}
DELAY = {"fc": 1 / 4, "cnn": 1 / 8}  # of the window, that a layer takes at first
SPREAD = {"fc": 0.1, "cnn": 0.4}  # of the slopes of a layer's potentials at first
WAKE = {"fc": 0.01, "cnn": 0.1}  # pull on neurons that fire too seldom
WAKE_RATE = {"fc": 0.0, "cnn": 0.05}  # without it most first channels of cnn end up silent nearly everywhere


@RECIPES.register("relpsp")
@dataclass(frozen=True, kw_only=True)
class ReLPSP(Validated, Recipe):
    """Networks of neurons that spike once, on images coded by spike times, trained by exact gradients."""

    claim: ClassVar[str] = (
        "93.8 % on digits; MNIST: 98.7 % (fc), 99.4 % (cnn); 88.1 % on Fashion-MNIST (last epoch)"
    )
    cost: ClassVar[str] = "digits: 15 seconds; MNIST: 35 minutes with fc (one core), 66 with cnn (2 cores)"
    OVER_TIME: ClassVar[bool] = False

    batch_size: BatchSize = 128
    """Samples in a batch, over all processes together."""
    dataset: Literal["digits", "mnist", "fashion-mnist"] = "digits"
    """Images to classify; digits needs no download."""
    net: Literal["fc", "cnn"] = "fc"
    """fc: one hidden layer. cnn: 16C5-P2-32C5-P2-800-128; not on digits."""
    hidden: int | None = None
    """Neurons of the hidden layer of fc. Default: 200 on digits, 800 on mnist, 1000 on fashion-mnist."""
    epochs: int | None = None
    """Passes over the training images. Default: 60 on digits and mnist, 10 on fashion-mnist; 45 for
    cnn."""
    T: Duration = 3.0
    """End of the window in which neurons may fire; the brightest pixels spike at 0, the darkest at 1."""
    tau: float | None = None
    """Difference of firing times that matters to the loss. Default: 1 for fc, 0.5 for cnn."""
    lr: float | None = None
    """Highest learning rate of Adam; it rises over a tenth of the steps, and falls to 0. Default: 3e-3 for
    fc on digits, else 1e-3; 4e-3 for cnn."""
    black: bool | None = None
    """Whether black pixels spike too, last of all. Default: with cnn, of which many neurons see only such."""
    augment: bool = True
    """Shift, turn and scale the training images a little."""

    def __post_init__(self) -> None:
        super().__post_init__()
        is_fc, dataset = self.net == "fc", self.dataset
        if not is_fc and self.hidden not in (None, HIDDEN[dataset]):
            raise ValueError(
                f"`hidden` must be left out with `net` 'cnn', of fixed layers, got {self.hidden}."
            )
        epochs = FC_EPOCHS[dataset] if is_fc else CNN_EPOCHS
        lr = FC_LR[dataset] if is_fc else CNN_LR
        self.fill(hidden=HIDDEN[dataset], epochs=epochs, lr=lr, tau=TAU[self.net], black=not is_fc)
        if self.T < 1:
            raise ValueError(f"`T` must be at least 1, the time of the darkest pixels, got {self.T}.")
        if self.net == "cnn" and self.dataset == "digits":
            raise ValueError("`net` must be 'fc' on digits: images of 8 x 8 are too small for the other.")

    def build(self):
        import torch

        from spikeloom import data, timing
        from spikeloom.timing.figures import draw_spike_times
        from spikeloom.train.experiment import Experiment

        dataset = self.parts(data.load(self.dataset, self.data_dir))
        assert self.lr is not None
        assert self.tau is not None
        net, tau = self.network(dataset), self.tau
        optimizer = torch.optim.Adam(net.parameters(), self.lr)
        return Experiment(
            net,
            dataset,
            encode=self.encode,
            loss=lambda times, label: timing.first_spike_cross_entropy(times, label, self.T, tau),
            predict=timing.first_spike,
            optimizer=optimizer,
            scheduler=self.warmup_cosine(optimizer, dataset, WARMUP),
            augment=_moved if self.augment else None,
            draw=partial(draw_spike_times, xlabel="time; the grey levels of a pixel take 1"),
        )

    def encode(self, x: Tensor, _random: SampleGenerator | None) -> Tensor:
        """Spike times of images with values from 0 to 1."""
        return 1 - x if self.black else (1 - x).masked_fill(x <= 0, -1.0)

    def network(self, dataset: Dataset) -> nn.Sequential:
        """The network for a dataset, whose images say how many pixels spike."""
        from torch import nn

        from spikeloom.timing import EarliestPool2d, ReLPSPConv2d, ReLPSPLinear

        assert self.hidden is not None
        wake, rate = WAKE[self.net], WAKE_RATE[self.net]
        conv = partial(ReLPSPConv2d, T=self.T, wake=wake, wake_rate=rate)
        linear = partial(ReLPSPLinear, T=self.T, wake=wake, wake_rate=rate)
        if self.net == "fc":
            sizes = [math.prod(dataset.sample_shape), self.hidden, dataset.num_classes]
            layers: list[nn.Module] = [nn.Flatten()]
        else:
            sizes = [32 * 4 * 4, 800, 128, dataset.num_classes]
            layers = [conv(1, 16, 5), EarliestPool2d(2), conv(16, 32, 5), EarliestPool2d(2), nn.Flatten()]
        for inputs, outputs in itertools.pairwise(sizes[:-1]):
            layers.append(linear(inputs, outputs))
        layers.append(linear(sizes[-2], sizes[-1], extrapolate=True))
        firing = [layer for layer in layers if isinstance(layer, ReLPSPLinear | ReLPSPConv2d)]
        active = 1.0 if self.black else (dataset.train_x[:1000] > 0).float().mean().item()
        for layer in firing:
            layer.reset_parameters(
                active if layer is firing[0] else 1.0, SPREAD[self.net], self.T * DELAY[self.net]
            )
        return nn.Sequential(*layers)


def _moved(x: Tensor, random: SampleGenerator) -> Tensor:
    """Images, each moved a little."""
    from spikeloom.train.augment import random_affine

    return random_affine(x, random, shift=SHIFT * x.shape[-1], degrees=DEGREES, scale=SCALE)
