"""diehl-cook: digits learned without labels, by STDP, inhibition and adaptive thresholds.

Each pixel is a Poisson spike train to all excitatory neurons, which inhibit each other through a partner
neuron each. A neuron that fires often becomes harder to fire. So each comes to stand for a way of writing one
digit, by STDP alone. Afterwards each is labelled with the digit that it responds to most, and they vote.

Command   spikeloom train diehl-cook                                  on the built-in digits
          spikeloom train diehl-cook --dataset mnist                  400 neurons
          spikeloom train diehl-cook --dataset mnist --neurons 1600
"""

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.recipe.base import RECIPES
from spikeloom.recipe.competition_base import Competition

PASSES = {0: 8, 400: 3, 1600: 7, 6400: 15}
"""Over MNIST, by the number of neurons from which on they are made; as published, but that fewer than 400
neurons, which learn more slowly, have 3 there."""


@RECIPES.register("diehl-cook")
@dataclass(frozen=True, kw_only=True)
class DiehlCookRecipe(Competition):
    """Diehl & Cook's network of competing neurons, which learns digits by STDP without labels."""

    claim: ClassVar[str] = "89.4 % on digits; MNIST: 85.6, 90.5, 94.0 % with 100, 400, 1600 neurons (mean)"
    cost: ClassVar[str] = "digits: a minute; MNIST: 9, 7 and 60 minutes for these (one core)"

    epochs: int | None = None
    """Passes over the training images. Default: 10 for digits; else 8, from 400 neurons on 3, from 1600 on 7,
    from 6400 on 15."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.neurons is not None
        passes = PASSES[max(least for least in PASSES if least <= self.neurons)]
        self.fill(epochs=10 if self.dataset == "digits" else passes)
