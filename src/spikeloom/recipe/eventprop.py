"""eventprop: networks in continuous time, trained by the exact gradients of their spike times.

Leaky integrate-and-fire neurons with exponential synaptic currents, which may fire several times. Gradients
follow the adjoint system from event to event, backwards in time: no time steps, no surrogate.

yin-yang 5-200-3: each of four coordinates spikes once, the later the larger, and one more input at 0 ms. The
output neuron that fires first names the class. mnist 784-350-10: a pixel spikes once, the earlier the
brighter, and not at all if it is black. Output neurons do not fire: the highest potential names the class. Of
each training image a fifth of the pixels are left out. Published are 98.1 % (yin-yang) and 97.6 % (MNIST),
means over ten seeds after the last epoch.

Command   spikeloom train eventprop                          yin-yang, made from the seed
          spikeloom train eventprop --dataset mnist          784-350-10
Source    Wunderlich, Pehle, Event-based backpropagation can compute exact gradients for spiking neural
          networks, Sci. Rep. 11:12829, 2021
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from spikeloom.recipe.base import RECIPES, BatchSize, Duration, Recipe, Validated

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spikeloom.encoding import SampleGenerator

HIDDEN = {"yin-yang": 200, "mnist": 350}
EPOCHS = {"yin-yang": 150, "mnist": 30}
LR = {"yin-yang": 1e-2, "mnist": 4e-2}
LATEST = {"yin-yang": 30.0, "mnist": 20.0}  # ms, of an input spike
MIN_SLOPE = {"yin-yang": 0.01, "mnist": 0.1}  # thresholds per ms
WEIGHTS = {"yin-yang": ((2.0, 1.0), (0.4, 0.4)), "mnist": ((0.078, 0.045), (0.2, 0.37))}  # mean and deviation
WARMUP = 0.05  # of the steps
TAU_LOSS = 0.5  # ms, differences of firing times that matter
EARLY, TAU_EARLY = 3e-3, 6.4  # strength and ms, of what holds the right neuron's spike early
DROPPED = 0.2  # of the pixels of a training image


@RECIPES.register("eventprop")
@dataclass(frozen=True, kw_only=True)
class EventProp(Validated, Recipe):
    """Leaky neurons in continuous time that exchange exact spike times, trained by EventProp."""

    claim: ClassVar[str] = "98.7 % on yin-yang (mean of 3 seeds), 97.6 % on MNIST (last epoch)"
    cost: ClassVar[str] = "yin-yang: three minutes; MNIST: 18 minutes (one core)"
    OVER_TIME: ClassVar[bool] = False

    batch_size: BatchSize = 100
    """Samples in a batch, over all processes together."""
    dataset: Literal["yin-yang", "mnist"] = "yin-yang"
    """Points or images to classify; yin-yang needs no download."""
    hidden: int | None = None
    """Neurons of the hidden layer. Default: 200 on yin-yang, 350 on mnist."""
    num_spikes: int = 4
    """That a hidden neuron may fire for a sample."""
    epochs: int | None = None
    """Passes over the training samples. Default: 150 on yin-yang, 30 on mnist."""
    T: Duration = 40.0
    """End of the window, in ms."""
    tau: float = 20.0
    """Time constant of the membrane, in ms."""
    tau_s: float = 5.0
    """Time constant of the synaptic current, in ms."""
    lr: float | None = None
    """Highest learning rate of Adam; it rises over a twentieth of the steps, and falls to 0. Default: 1e-2 on
    yin-yang, 4e-2 on mnist."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = self.dataset
        self.fill(hidden=HIDDEN[name], epochs=EPOCHS[name], lr=LR[name])
        if LATEST[name] >= self.T:
            raise ValueError(f"`T` must be later than the last input spike, {LATEST[name]:g}, got {self.T}.")

    def build(self):
        import torch

        from spikeloom import data
        from spikeloom.timing import first_spike
        from spikeloom.timing.potential_figures import draw_potentials
        from spikeloom.train.experiment import Experiment

        dataset = self.parts(data.load(self.dataset, self.data_dir, self.seed))
        fires = self.dataset == "yin-yang"
        net = self.network(dataset.sample_shape, dataset.num_classes)
        assert self.lr is not None
        optimizer = torch.optim.Adam(net.parameters(), self.lr)
        return Experiment(
            net,
            dataset,
            encode=self._point if fires else self._image,
            loss=self._first_spike_loss if fires else torch.nn.functional.cross_entropy,
            predict=first_spike if fires else lambda v_max: v_max.argmax(1),
            optimizer=optimizer,
            scheduler=self.warmup_cosine(optimizer, dataset, WARMUP),
            augment=None if fires else _thinned,
            draw=partial(draw_potentials, xlabel="time in ms"),
        )

    def network(self, sample_shape: tuple[int, ...], num_classes: int) -> nn.Sequential:
        """The network for samples of this shape."""
        from torch import nn

        from spikeloom import timing

        assert self.hidden is not None
        fires = self.dataset == "yin-yang"
        inputs = math.prod(sample_shape) + fires
        spiking = partial(
            timing.EventProp, tau=self.tau, tau_s=self.tau_s, T=self.T, min_slope=MIN_SLOPE[self.dataset]
        )
        first = spiking(inputs, self.hidden, num_spikes=self.num_spikes)
        second = (
            spiking(self.hidden, num_classes, extrapolate=True)
            if fires
            else timing.PeakPotential(self.hidden, num_classes, self.tau, self.tau_s, self.T)
        )
        for one, (mean, std) in zip((first, second), WEIGHTS[self.dataset], strict=True):
            nn.init.normal_(one.weight, mean, std)
        return nn.Sequential(first, second)

    def _point(self, x: Tensor, _random: SampleGenerator | None) -> Tensor:
        """Spike times of the coordinates, and of the input that always spikes."""
        from torch.nn.functional import pad

        return pad(LATEST["yin-yang"] * x, (0, 1))

    def _image(self, x: Tensor, _random: SampleGenerator | None) -> Tensor:
        """Spike times of pixels with values from 0 to 1."""
        return (LATEST["mnist"] * (1 - x)).masked_fill(x <= 1 / 255, -1.0).flatten(1)

    def _first_spike_loss(self, times: Tensor, label: Tensor) -> Tensor:
        """The right neuron should fire first, and early."""
        from spikeloom.timing import first_spike_cross_entropy

        right = times.gather(1, label[:, None]).clamp(max=self.T)
        early = ((right / TAU_EARLY).exp() - 1).mean()
        return first_spike_cross_entropy(times, label, self.T, TAU_LOSS) + EARLY * early


def _thinned(x: Tensor, random: SampleGenerator) -> Tensor:
    """Images, each without some of its pixels."""
    return x * (random.rand(x.shape, x.device, x.dtype) >= DROPPED)
