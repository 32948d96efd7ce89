"""stdp-fc: one fully connected layer of spiking neurons that learns by STDP alone, and votes.

With STDP alone every neuron learns the same: a mean of the last images. Inhibition makes neurons compete, so
that one learns while the others are silent; adaptive thresholds let another one win the next time. The
figure `variants` shows accuracies and input weights of the four combinations, which learn from the same
images.

Command   spikeloom train stdp-fc                                     on the built-in digits
          spikeloom train stdp-fc --no-inhibition --no-compare        one of the four
          spikeloom train stdp-fc --dataset mnist --epochs 1
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

from spikeloom.recipe.base import RECIPES
from spikeloom.recipe.competition_base import Competition

if TYPE_CHECKING:
    from spikeloom.learning import DiehlCookConstants
    from spikeloom.train.run import Run
    from spikeloom.train.unsupervised import UnsupervisedTrainer


@RECIPES.register("stdp-fc")
@dataclass(frozen=True, kw_only=True)
class StdpFc(Competition):
    """One layer that learns by STDP, with and without inhibition and adaptive thresholds."""

    claim: ClassVar[str] = "83.8 % on digits with inhibition and adaptive thresholds, 10 % by STDP alone"
    cost: ClassVar[str] = "digits: four minutes for the four combinations (one core)"

    epochs: int | None = None
    """Passes over the training images. Default: 3 for digits, else 1."""
    inhibition: bool = True
    """Whether a neuron that fires inhibits all others."""
    adaptive: bool = True
    """Whether a neuron's threshold rises with each of its spikes."""
    compare: bool = True
    """Whether the other three combinations of the two are trained too, for the figure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fill(epochs=3 if self.dataset == "digits" else 1)

    @property
    def constants(self) -> DiehlCookConstants:
        constants = super().constants
        return replace(
            constants,
            lateral=constants.lateral if self.inhibition else 0.0,
            theta_plus=constants.theta_plus if self.adaptive else 0.0,
        )

    def train(self, run: Run) -> None:
        from spikeloom.train.unsupervised_report import draw_variants

        with run.locked():
            variants = self._variants(run)
            for name, trainer in variants.items():
                print(f"{name}:")
                trainer.fit()
            if self.compare:
                draw_variants(run, variants)

    def summary(self, history: list[dict[str, Any]]) -> str:
        return f"{self._name}: {super().summary(history)}"

    def plot(self, run: Run, state: dict[str, Any], sample: int) -> None:
        from spikeloom.train.unsupervised_report import draw_variants

        super().plot(run, state, sample)
        if self.compare:
            draw_variants(run, self._variants(run))

    def _variants(self, run: Run) -> dict[str, UnsupervisedTrainer]:
        """This recipe's combination; with ``compare`` also the others, in folders of their own."""
        from spikeloom.train.run import Run

        trainers = {self._name: self.trainer(run)}  # first: a run has started once its own network has
        for inhibition, adaptive in product((True, False), repeat=2) if self.compare else ():
            variant = self.with_settings(inhibition=inhibition, adaptive=adaptive)
            if variant != self:
                folder = run.folder / "variants" / variant._name.replace(" ", "-")
                trainers[variant._name] = variant.trainer(Run(folder))
        return trainers

    @property
    def _name(self) -> str:
        parts = ["inhibition"] * self.inhibition + ["adaptive thresholds"] * self.adaptive
        return " + ".join(parts) or "STDP alone"
