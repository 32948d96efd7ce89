"""spikeprop-xor: the exclusive or, learnt on spike times.

Two inputs spike at 0 ms for 0 and at 6 ms for 1, a third always at 0 ms. The output neuron should spike at
10 ms if the inputs differ, and at 16 ms if they are alike. Between them are five hidden neurons, the last of
them inhibitory, and 16 terminals per connection, with delays of 1 to 16 ms. Weights change after each of the
four patterns; training ends when the summed error, half the squared deviation in ms over the four patterns
(four times the loss that is printed), is below 1.

Time constant and threshold are chosen so that the published rate of 0.01 suits them: with a threshold that is
k times as high, the same rate learns k^2 times as slowly.

Command   spikeloom train spikeprop-xor
          python benchmarks/spikeprop_xor.py                  20 seeds
Source    Bohte, Kok, La Poutré, Error-backpropagation in temporally encoded networks of spiking neurons,
          Neurocomputing 48, 2002
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from spikeloom.recipe.base import RECIPES, BatchSize, Duration, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from spikeloom.data import Dataset

ONE = 6.0  # ms, when an input of 1 spikes
EARLY, LATE = 10.0, 16.0  # ms, for inputs that differ, and for equal ones
HIDDEN, DELAYS = 5, 16
SSE = 1.0  # over the four patterns


@RECIPES.register("spikeprop-xor")
@dataclass(frozen=True, kw_only=True)
class SpikePropXor(Recipe):
    """The exclusive or in a network of neurons that spike once, 3-5-1, by SpikeProp."""

    claim: ClassVar[str] = "a summed error below 1 with 95 % of 20 seeds, in a median of 44 cycles"
    cost: ClassVar[str] = "a few seconds (one core)"
    OVER_TIME: ClassVar[bool] = False
    UNUSED: ClassVar[frozenset[str]] = frozenset({"data_dir"})

    batch_size: BatchSize = 1
    """Patterns after which the weights change; 1 as published."""
    epochs: int = 1000
    """Cycles through the four patterns, at most."""
    lr: float = 0.01
    """Learning rate of gradient descent."""
    tau: float = 7.0
    """Time constant of the potentials, in ms."""
    v_threshold: float = 1.0
    """Firing threshold; the response to a spike of weight 1 has its peak at 1."""
    T: Duration = 50.0
    """End of the window, in ms; an output neuron that does not spike counts as if it had then."""
    min_slope: float = 0.1
    """Slope of the potential below which gradients are clipped, per ms."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.T < LATE:
            raise ValueError(f"`T` must be at least {LATE:g}, the latest target, got {self.T}.")

    @property
    def dataset_name(self) -> str:
        return "xor"

    def build(self):
        import torch
        from torch import nn

        from spikeloom import layer, timing
        from spikeloom.timing.potential_figures import draw_potentials
        from spikeloom.train.experiment import Experiment

        shared = (DELAYS, self.tau, self.v_threshold, self.T)
        net = nn.Sequential(
            timing.SpikeProp(3, HIDDEN, *shared, min_slope=self.min_slope),
            timing.SpikeProp(HIDDEN, 1, *shared, min_slope=self.min_slope),
        )
        sign = torch.ones(HIDDEN, 1)  # broadcast against [1, HIDDEN, DELAYS]
        sign[-1] = -1
        layer.constrain_sign(net[1], sign)
        return Experiment(
            net,
            exclusive_or(),
            encode=lambda x, _random: nn.functional.pad(ONE * x, (0, 1)),
            loss=self._loss,
            predict=lambda times: torch.where(times < 0, -1, times < (EARLY + LATE) / 2)[:, 0].long(),
            optimizer=torch.optim.SGD(net.parameters(), self.lr),
            draw=partial(draw_potentials, xlabel="time in ms"),
            done=is_solved,
        )

    def _loss(self, times: Tensor, label: Tensor) -> Tensor:
        import torch

        from spikeloom import timing

        target = torch.where(label == 1, EARLY, LATE)[:, None].to(times)  # [N, 1]
        return timing.spike_time_mse(times, target, self.T)


def is_solved(row: Mapping[str, Any]) -> bool:
    """Whether the summed error over the four patterns, after an epoch, is small enough."""
    return 4 * row["test_loss"] < SSE


def exclusive_or() -> Dataset:
    """The four patterns, to train on and to test."""
    import torch

    from spikeloom.data import Dataset

    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([0, 1, 1, 0])
    return Dataset("xor", ("equal", "different"), x, y, x, y)
