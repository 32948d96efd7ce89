"""dspike: a deep residual network whose surrogate gradient is adapted to the loss as it learns.

A Dspike surrogate is a piece of a hyperbolic tangent; its temperature b makes it a ramp or nearly a step.
Before each epoch but the first, b - 0.2, b and b + 0.2 are tried on a batch; the one is taken whose gradient
of the first layer is most similar to finite differences of the loss. The run records both numbers.
Neurons: v = v * 0.5 * (1 - spike) + x, threshold 0.5, behind threshold-dependent batch normalisation. Spiking
ResNet-18 in its form for small images by default; on digits and with --quick a small one. The 92.5 % on
CIFAR-10 are those of 165 epochs, by the third command with -T 2 and the settings that docs/deep-networks.md
gives; 300 epochs, and T of 4 and 6, have not been run.

Command   spikeloom train dspike                                       on the built-in digits
          spikeloom train dspike --dataset cifar10 --quick             minutes on a CPU
          spikeloom train dspike --dataset cifar10 --device cuda --precision bf16-mixed --cuda-graph
Source    Li, Guo, Zhang, Deng, Hai, Gu, Differentiable spike: rethinking gradient descent for training
          spiking neural networks, NeurIPS 2021; docs/deep-networks.md
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from spikeloom.recipe.base import RECIPES, Steps
from spikeloom.recipe.deep_base import Deep

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from spikeloom.train.experiment import Experiment

THRESHOLD, DECAY = 0.5, 0.5


@RECIPES.register("dspike")
@dataclass(frozen=True, kw_only=True)
class DspikeRecipe(Deep):
    """A deep residual spiking network whose surrogate gradient is adapted to the loss before each epoch."""

    claim: ClassVar[str] = "98.3 % on digits, 92.5 % on CIFAR-10 after 165 epochs with T = 2 (last epoch)"
    cost: ClassVar[str] = "digits: half a minute (one core); CIFAR-10, 165 epochs: 9 minutes in all (H200)"
    EPOCHS: ClassVar[int] = 300
    NET: ClassVar[str] = "spiking-resnet18-cifar"
    QUICK_NET: ClassVar[str] = "spiking-resnet-mini-cifar"

    dataset: Literal["digits", "mnist", "fashion-mnist", "cifar10"] = "digits"
    """Images to classify; digits needs no download."""
    net: str | None = None
    """The network; a wrong name lists all. Default: spiking-resnet18-cifar; spiking-resnet-mini-cifar with
    --quick and on digits."""
    T: Steps = 2
    """Time steps that each image is shown."""
    epochs: int | None = None
    """Passes over the training images. Default: 10 with --quick and on digits, else 300."""
    lr: float = 0.1
    """Highest learning rate of stochastic gradient descent with momentum 0.9; it rises over a twentieth of
    the steps, and falls to 0 along half a cosine."""
    temperature: float = 3.0
    """Of the surrogate at the start: small makes a ramp, large a step."""
    adapt: bool = True
    """Adapt the temperature before each epoch."""
    adapt_change: float = 0.2
    """Step between the temperatures that are tried."""
    adapt_weights: int = 32
    """Weights of the first layer whose finite differences are taken; each costs two forward passes."""
    adapt_samples: int = 400
    """Training images that they are taken on; with few, spikes that come and go are all that is seen."""
    branch_alpha: float = 1.0
    """Part of the threshold that the two branches of a block are scaled to at first; tdBN has 0.7071."""

    def network(self, name, dataset):
        import torch

        from spikeloom import layer, model, neuron, surrogate

        def lif() -> neuron.LIFNode:
            dspike = surrogate.Dspike(torch.tensor(self.temperature))
            return neuron.LIFNode(1 / (1 - DECAY), False, THRESHOLD, surrogate_function=dspike)

        branches = {}
        if self.branch_alpha != 1:
            norm = partial(layer.ThresholdDependentBatchNorm2d, self.branch_alpha, THRESHOLD)
            branches["branch_norm"] = norm
        return model.create(
            name,
            num_classes=dataset.num_classes,
            in_channels=dataset.sample_shape[0],
            T=self.T,
            neuron=lif,
            norm=partial(layer.ThresholdDependentBatchNorm2d, 1.0, THRESHOLD),
            **branches,
        )

    def build(self) -> Experiment:
        experiment = super().build()
        if self.adapt:
            experiment.before_epoch = self._adaptation(experiment)
        return experiment

    def _adaptation(self, experiment: Experiment) -> Callable[[int], dict[str, float]]:
        """What is done before an epoch: the temperature is adapted, from the second epoch on, since before
        the first one the statistics of the normalisation are not known."""
        import torch
        from torch import nn

        from spikeloom.data import as_float
        from spikeloom.encoding import SampleGenerator, derive_seed
        from spikeloom.train.temperature import TemperatureAdaptation

        net, data = experiment.net, experiment.data
        weight = next(one.weight for one in net.modules() if isinstance(one, nn.Conv2d))
        assert isinstance(weight, nn.Parameter)
        adaptation = TemperatureAdaptation(
            net,
            weight,
            change=self.adapt_change,
            num_weights=self.adapt_weights,
            cuda_graph=self.cuda_graph,
        )
        samples: list[Tensor] = []  # the same tensors in each epoch, for a graph

        def loss() -> Tensor:
            x, labels = samples
            return experiment.loss(net(x), labels)

        def before_epoch(epoch: int) -> dict[str, float]:
            if epoch == 0:
                return {"temperature": adaptation.temperature}
            seed = derive_seed(self.seed, "temperature", epoch)
            order = torch.randperm(len(data.train_y), generator=torch.Generator().manual_seed(seed))
            indices = order[: self.adapt_samples]
            x, labels = as_float(data.train_x[indices]).to(weight), data.train_y[indices].to(weight.device)
            x = experiment.encode(x, SampleGenerator(self.seed, indices, "temperature", epoch))
            if samples:
                samples[0].copy_(x)
                samples[1].copy_(labels)
            else:
                samples.extend((x, labels))
            return adaptation.adapt(loss, seed)

        return before_epoch
