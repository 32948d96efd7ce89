"""tempotron: one layer of neurons that learn from the times of single spikes.

Each pixel drives m neurons with Gaussian tuning curves, which spike once, the earlier the better their curve
fits, or not at all: 784 x 16 inputs for MNIST. Of ten tempotrons, the one with the highest potential names
the class. docs/spike-times.md explains the neuron, the two losses, and what reduces overfitting.

Command   spikeloom train tempotron                                   on the built-in digits
          spikeloom train tempotron --dataset mnist                   with the margin loss
          spikeloom train tempotron --dataset mnist --loss tutorial   with the loss of the tutorials
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from spikeloom.recipe.base import RECIPES, Recipe, Steps, Validated

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 256  # grey levels of an image
WARMUP = 0.1  # of the steps


@RECIPES.register("tempotron")
@dataclass(frozen=True, kw_only=True)
class Tempotron(Validated, Recipe):
    """A layer of tempotrons on images whose pixels are coded as spike times by Gaussian tuning curves."""

    claim: ClassVar[str] = "93 % on digits, 93 % on MNIST (margin loss, last epoch)"
    cost: ClassVar[str] = "digits: under ten seconds; MNIST: three minutes (one core)"
    OVER_TIME: ClassVar[bool] = False
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"margin", "weight_decay", "jitter", "shift"})

    dataset: Literal["digits", "mnist", "fashion-mnist"] = "digits"
    """Images to classify; digits needs no download."""
    epochs: int = 10
    """Passes over the training images."""
    T: Steps = 100
    """Time steps of the window."""
    m: int = 16
    """Neurons that code a pixel; at least 3."""
    tau: float = 15.0
    """Membrane time constant, in time steps; that of the synapse is a quarter of it."""
    loss: Literal["margin", "tutorial"] = "margin"
    """margin: squared hinge loss, neurons must be right by a margin. tutorial: squared distance to the
    threshold of the neurons that are wrong."""
    margin: float = 0.5
    """Margin of the margin loss, in units of the potential; the threshold is 1."""
    shunt: bool = False
    """Whether a neuron takes no more input after it has fired."""
    lr: float = 1e-3
    """Highest learning rate of Adam; it rises over a tenth of the steps, and falls to 0."""
    weight_decay: float = 0.0
    """Decay of the weights per step, as a part of the learning rate."""
    jitter: float = 0.0
    """Standard deviation of noise on the training images' spike times, in time steps."""
    shift: float = 0.0
    """Largest shift of a training image to each side, in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.m < 3:
            raise ValueError(f"`m` must be at least 3, got {self.m}.")

    def build(self):
        import torch
        from torch import nn

        from spikeloom import data, timing
        from spikeloom.timing.figures import draw_pattern
        from spikeloom.train.augment import random_affine
        from spikeloom.train.experiment import Experiment

        dataset = self.parts(data.load(self.dataset, self.data_dir))
        tuning = timing.GaussianTuning(1, self.m, 0.0, 1.0)
        grey = torch.arange(LEVELS) / (LEVELS - 1)
        codes = tuning.encode(grey[:, None], self.T)[:, 0]  # [256, m]: 100 times faster than exponentials

        def encode(x: Tensor, _random: object) -> Tensor:
            level = (x.flatten(1) * (LEVELS - 1)).round().long()
            return codes.to(x)[level].flatten(1)  # [N, pixels * m]

        inputs = math.prod(dataset.sample_shape) * self.m
        neuron = timing.Tempotron(
            inputs, dataset.num_classes, self.T, self.tau, self.tau / 4, shunt=self.shunt
        )
        net = nn.Sequential(timing.Jitter(self.jitter, self.T), neuron) if self.jitter else neuron
        optimizer = torch.optim.AdamW(net.parameters(), self.lr, weight_decay=self.weight_decay)
        return Experiment(
            net,
            dataset,
            encode=encode,
            loss=self._loss,
            predict=lambda v_max: v_max.argmax(-1),
            optimizer=optimizer,
            scheduler=self.warmup_cosine(optimizer, dataset, WARMUP),
            augment=(lambda x, random: random_affine(x, random, shift=self.shift)) if self.shift else None,
            draw=lambda _net, times, title: draw_pattern(neuron, times, title),
        )

    def _loss(self, v_max: Tensor, label: Tensor) -> Tensor:
        from spikeloom import timing

        if self.loss == "margin":
            return timing.margin_loss(v_max, label, margin=self.margin)
        return timing.Tempotron.mse_loss(v_max, 1.0, label, v_max.shape[-1])
