"""blobs: two classes of points, the smallest network that shows what surrogate gradients are for.

A 2-10-1 network with a spiking hidden layer sees each point as a constant current for T steps; the mean
output is the logit of a binary cross-entropy. The naive version of this example keeps its membrane potential
from batch to batch and passes no gradient through its threshold; docs/two-classes.md shows what that costs.

Command   spikeloom train blobs
"""

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.recipe.base import RECIPES, Recipe, Steps


@RECIPES.register("blobs")
@dataclass(frozen=True, kw_only=True)
class Blobs(Recipe):
    """Two linearly separable classes of points, a 2-10-1 network with a spiking hidden layer."""

    claim: ClassVar[str] = "99 % on new points (last epoch)"
    cost: ClassVar[str] = "seconds"
    UNUSED: ClassVar[frozenset[str]] = frozenset({"data_dir"})

    epochs: int = 20
    """Passes over the training points."""
    points: int = 1000
    """Training points; as many new ones test the network."""
    T: Steps = 10
    """Time steps that each point is shown."""
    tau: float = 2.0
    """Membrane time constant, in time steps."""
    lr: float = 1e-2
    """Learning rate of Adam."""

    @property
    def dataset_name(self) -> str:
        return "blobs"

    def build(self):
        import torch
        import torch.nn.functional as F
        from torch import nn

        from spikeloom import data, functional, layer, neuron, surrogate
        from spikeloom.train.experiment import Experiment

        dataset = data.blobs(self.points, self.points, seed=self.seed).standardised()
        net = nn.Sequential(
            layer.Linear(2, 10),
            neuron.LIFNode(self.tau, surrogate_function=surrogate.ATan()),
            layer.Linear(10, 1),
        )
        functional.set_step_mode(net, "m")
        return Experiment(
            net,
            dataset,
            encode=lambda x, _random: x.expand(self.T, *x.shape),
            loss=lambda out, labels: F.binary_cross_entropy_with_logits(
                out.mean(0).squeeze(1), labels.float()
            ),
            predict=lambda out: (out.mean(0).squeeze(1) > 0).long(),
            optimizer=torch.optim.Adam(net.parameters(), self.lr),
        )
