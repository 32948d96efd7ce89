"""eprop: a recurrent network that remembers cues for a second, trained by e-prop.

Seven cues come on the left or on the right; after a pause of a second the network is asked on which side
there were more. 40 input neurons fire at up to 40 Hz, for 2,250 time steps of 1 ms. 100 leaky neurons see
them; half of these have thresholds that rise at each spike and fall over two seconds. No gradient goes back
through the network: each synapse has a trace of what it did, and the errors of the two outputs, while they
are asked, say what to make of it. A loss holds every neuron near 10 Hz.

Published: solved, by e-prop as by backpropagation through time; the authors' code stops at an error of 7 %.
In several processes each holds the rates of its own samples.

Command   spikeloom train eprop                          errors come back through the outputs' weights
          spikeloom train eprop --feedback random        through fixed random weights
          spikeloom train eprop --validate               tested on held-out training samples
Source    Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, Nat.
          Commun. 11:3625, 2020
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from spikeloom.recipe.base import RECIPES, Recipe, Validated

if TYPE_CHECKING:
    from torch import Tensor

    from spikeloom.learning import EProp as Layer

RISE = 1.7  # of a threshold, relative to what a step of current does to a potential in the end
WARMUP = 0.05  # of the steps
NUM_TEST = 1000


@RECIPES.register("eprop")
@dataclass(frozen=True, kw_only=True)
class EProp(Validated, Recipe):
    """Recurrent leaky neurons with adaptive thresholds that weigh cues of a second ago, trained by e-prop."""

    claim: ClassVar[str] = "95 % on evidence accumulation (mean of 4 runs, last epoch)"
    cost: ClassVar[str] = "evidence accumulation: four minutes (2 cores)"
    UNUSED: ClassVar[frozenset[str]] = frozenset({"data_dir", "gradient", "micro_batch", "time_chunk"})
    WHY_UNUSED: ClassVar[str] = (
        "the loss holds mean rates of firing, over all time steps and samples of a batch, and the rule is "
        "e-prop. To save memory, use a smaller `batch_size`"
    )
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"rate_strength", "refractory"})

    dataset: Literal["evidence"] = "evidence"
    """Cues on two sides; made from the seed."""
    samples: int = 6400
    """Training samples of an epoch; they have other spikes in each."""
    neurons: int = 100
    """Recurrent neurons, of which half have adaptive thresholds."""
    feedback: Literal["symmetric", "random"] = "symmetric"
    """What brings errors back to the neurons: the weights of the outputs, or fixed random ones."""
    epochs: int = 10
    """Passes over the training samples."""
    lr: float = 5e-3
    """Highest learning rate of Adam; it rises over a twentieth of the steps, and falls to 0."""
    tau: float = 20.0
    """Time constant of the neurons and of the outputs, in ms."""
    tau_adaptation: float = 2000.0
    """Time constant of the adaptive thresholds, in ms."""
    refractory: int = 5
    """Time in which a neuron cannot fire again, in ms."""
    rate: float = 10.0
    """At which every neuron should fire, in Hz."""
    rate_strength: float = 1.0
    """Weight of the loss that holds the neurons there."""

    def build(self):
        import torch

        from spikeloom import data
        from spikeloom.data.cues import RECALL
        from spikeloom.learning.eprop.figures import draw_decision
        from spikeloom.train.experiment import Experiment

        dataset = self.parts(data.evidence(self.samples, min(NUM_TEST, self.samples), self.seed))
        net = self.network(dataset.num_classes)
        optimizer = torch.optim.Adam(net.parameters(), self.lr)

        def loss(y_seq: Tensor, label: Tensor) -> Tensor:
            asked = y_seq[-RECALL:]  # [RECALL, N, 2]
            decision = torch.nn.functional.cross_entropy(asked.flatten(0, 1), label.repeat(len(asked)))
            rates = 1000 * net.z_seq.mean((0, 1))  # in Hz
            return decision + self.rate_strength * (rates / self.rate - 1).square().mean()

        return Experiment(
            net,
            dataset,
            encode=data.evidence_spikes,
            loss=loss,
            predict=lambda y_seq: y_seq[-RECALL:].mean(0).argmax(1),
            optimizer=optimizer,
            scheduler=self.warmup_cosine(optimizer, dataset, WARMUP),
            draw=partial(
                draw_decision,
                xlabel="time in ms",
                groups=("cue left", "cue right", "question", "noise"),
                classes=dataset.classes,
            ),
        )

    def network(self, num_classes: int) -> Layer:
        """The recurrent neurons and their outputs."""
        import torch

        from spikeloom import learning
        from spikeloom.data.cues import GROUP

        beta = torch.zeros(self.neurons)
        adaptation, membrane = (1 - math.exp(-1 / tau) for tau in (self.tau_adaptation, self.tau))
        beta[self.neurons // 2 :] = RISE * adaptation / membrane
        return learning.EProp(
            4 * GROUP,
            self.neurons,
            num_classes,
            self.tau,
            self.tau,
            self.tau_adaptation,
            beta,
            feedback=self.feedback,
            refractory=self.refractory,
            step_mode="m",
        )
