"""sew-resnet: a deep residual network whose shortcuts join spikes with spikes.

The first convolution sees the image once, and its result drives the neurons at each of T time steps; every
block adds its spikes to those that come in (--connect), so that a block that is silent passes them on, and
gradients reach the first layer through any depth. The output is the mean over time. SEW-ResNet-18 in its form
for small images by default; on digits and with --quick a small one. In full it has not been run yet; the
87.1 % on CIFAR-10 are the third command's.

Recordings of event cameras are frames of the same number of events each. cifar10-dvs and dvs-gesture have the
published networks, T, batches, epochs and learning rates; published are 74.4 and 97.9 % (best epoch). They have
not been run either: the recordings could not be had.

Command   spikeloom train sew-resnet                                       on the built-in digits
          spikeloom train sew-resnet --dataset cifar10 --quick             minutes on a CPU
          spikeloom train sew-resnet --dataset cifar10 --net sew-resnet-small-cifar -T 2 --epochs 30 --lr 0.2 --precision bf16-mixed
          spikeloom train sew-resnet --dataset cifar10 --device cuda --precision bf16-mixed
          spikeloom train sew-resnet --dataset nmnist -b 25 --precision bf16-mixed
          spikeloom train sew-resnet --dataset dvs-gesture --device cuda --precision bf16-mixed
Source    Fang, Yu, Chen, Huang, Masquelier, Tian, Deep residual learning in spiking neural networks, NeurIPS
          2021; docs/deep-networks.md
"""  # noqa: E501 - a command is one line

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import tyro

from spikeloom.recipe.base import RECIPES
from spikeloom.recipe.deep_base import Deep

Datasets = Literal["digits", "mnist", "fashion-mnist", "cifar10", "nmnist", "cifar10-dvs", "dvs-gesture"]
EVENTS = {
    "nmnist": {"net": "sew-resnet-mini-cifar", "T": 10, "epochs": 30, "lr": 0.1},
    "cifar10-dvs": {"net": "sew-resnet-cifar10-dvs", "T": 16, "epochs": 64, "lr": 0.01},
    "dvs-gesture": {"net": "sew-resnet-dvs-gesture", "T": 16, "epochs": 192, "lr": 0.001},
}
"""What is taken for recordings of event cameras."""
BATCH = {"cifar10-dvs": 16, "dvs-gesture": 16}  # as published; a sample takes half a gigabyte or more


@RECIPES.register("sew-resnet")
@dataclass(frozen=True, kw_only=True)
class SewResNet(Deep):
    """A deep residual spiking network whose shortcuts join spikes with spikes."""

    claim: ClassVar[str] = "98.3 % on digits, 87.1 % on CIFAR-10 with a small network (last epoch)"
    cost: ClassVar[str] = "digits: ten seconds; CIFAR-10, small network: 137 minutes (2 busy cores with AMX)"
    EPOCHS: ClassVar[int] = 100
    NET: ClassVar[str] = "sew-resnet18-cifar"
    QUICK_NET: ClassVar[str] = "sew-resnet-mini-cifar"

    batch_size: Annotated[int | None, tyro.conf.arg(aliases=["-b"])] = None  # type: ignore[assignment]
    """Samples in a batch, over all processes together. Default: 100, on cifar10-dvs and dvs-gesture 16."""
    dataset: Datasets = "digits"
    """Images or recordings to classify; digits needs no download."""
    net: str | None = None
    """The network; a wrong name lists all. Default: sew-resnet18-cifar, on cifar10-dvs and dvs-gesture that
    of their name; sew-resnet-mini-cifar with --quick, on digits and nmnist."""
    T: Annotated[int | None, tyro.conf.arg(aliases=["-T"])] = None
    """Time steps that each image is shown, or frames of a recording. Default: 4, of a recording 10 or 16."""
    epochs: int | None = None
    """Passes over the training samples. Default: 10 with --quick and on digits, else 100; 30 on nmnist, 64 on
    cifar10-dvs, 192 on dvs-gesture."""
    lr: float | None = None
    """Highest learning rate of stochastic gradient descent with momentum 0.9; it rises over a twentieth of
    the steps, and falls to 0 along half a cosine. Default: 0.1, without --quick on cifar10-dvs 0.01, on
    dvs-gesture 0.001."""
    connect: Literal["ADD", "AND", "IAND"] | None = None
    """How a block of a sew-resnet joins its spikes with those of its shortcut. Default: ADD."""

    def __post_init__(self):
        self.fill(batch_size=BATCH.get(self.dataset, 100))
        super().__post_init__()

    def defaults(self):
        common = {"T": 4, "lr": 0.1} | super().defaults()
        events = EVENTS.get(self.dataset, {})
        return common | ({"T": events["T"]} if self.quick and events else events)

    def load(self):
        from spikeloom import data

        functions = {"nmnist": data.nmnist, "cifar10-dvs": data.cifar10_dvs, "dvs-gesture": data.dvs_gesture}
        function = functions.get(self.dataset)
        return super().load() if function is None else function(self.data_dir, self.T)  # type: ignore[arg-type]

    def network(self, name, dataset):
        from spikeloom import model

        channels, _, side = dataset.sample_shape[-3:]
        options: dict[str, Any] = {"in_channels": channels, "T": self.T}
        if self.connect not in (None, "ADD"):
            options["connect"] = self.connect
        if "size" in inspect.signature(model.MODELS[name]).parameters:
            options["size"] = side
        return model.create(name, num_classes=dataset.num_classes, **options)
