"""sew-resnet: a deep residual network whose shortcuts join spikes with spikes.

The first convolution sees the image once, and its result drives the neurons at each of T time steps; every
block adds its spikes to those that come in (--connect), so that a block that is silent passes them on, and
gradients reach the first layer through any depth. The output is the mean over time. SEW-ResNet-18 in its form
for small images by default; on digits and with --quick a small one. In full it has not been run yet; the
87.1 % on CIFAR-10 are the third command's.

Command   spikeloom train sew-resnet                                       on the built-in digits
          spikeloom train sew-resnet --dataset cifar10 --quick             minutes on a CPU
          spikeloom train sew-resnet --dataset cifar10 --net sew-resnet-small-cifar -T 2 --epochs 30 --lr 0.2 --precision bf16-mixed
          spikeloom train sew-resnet --dataset cifar10 --device cuda --precision bf16-mixed
Source    Fang, Yu, Chen, Huang, Masquelier, Tian, Deep residual learning in spiking neural networks, NeurIPS
          2021; docs/deep-networks.md
"""  # noqa: E501 - a command is one line

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from spikeloom.recipe.base import RECIPES
from spikeloom.recipe.deep_base import Deep


@RECIPES.register("sew-resnet")
@dataclass(frozen=True, kw_only=True)
class SewResNet(Deep):
    """A deep residual spiking network whose shortcuts join spikes with spikes."""

    claim: ClassVar[str] = "98.3 % on digits, 87.1 % on CIFAR-10 with a small network (last epoch)"
    cost: ClassVar[str] = "digits: ten seconds; CIFAR-10, small network: 137 minutes (2 busy cores with AMX)"
    EPOCHS: ClassVar[int] = 100
    NET: ClassVar[str] = "sew-resnet18-cifar"
    QUICK_NET: ClassVar[str] = "sew-resnet-mini-cifar"

    connect: Literal["ADD", "AND", "IAND"] | None = None
    """How a block of a sew-resnet joins its spikes with those of its shortcut. Default: ADD."""

    def network(self, name, dataset):
        from spikeloom import model

        classes, channels = dataset.num_classes, dataset.sample_shape[0]
        create = partial(model.create, name, num_classes=classes, in_channels=channels, T=self.T)
        return create() if self.connect in (None, "ADD") else create(connect=self.connect)
