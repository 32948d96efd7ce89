"""VGG networks with spikes, and VGG-SNN for event cameras."""

from collections.abc import Sequence
from functools import partial

from spikeloom import layer
from spikeloom.checks import checked_count
from spikeloom.model.network import Network, Neuron, Norm
from spikeloom.model.parts import (
    Convolutions,
    Pool,
    convolution_layers,
    draw_weights,
    hidden_layers,
    last_channels,
)
from spikeloom.model.registered import MODELS
from spikeloom.neuron import LIFNode
from spikeloom.surrogate import Triangle

VGG: dict[str, Convolutions] = {
    "11": (64, "P", 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"),
    "13": (64, 64, "P", 128, 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"),
    "16": (64, 64, "P", 128, 128, "P", *(256,) * 3, "P", *(512,) * 3, "P", *(512,) * 3, "P"),
    "19": (64, 64, "P", 128, 128, "P", *(256,) * 4, "P", *(512,) * 4, "P", *(512,) * 4, "P"),
}
"""By the number of layers, of which three are fully connected."""
VGG_SNN: Convolutions = (64, 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P")


def leaky() -> LIFNode:
    """The neuron of VGG-SNN: ``v = v / 2 + x``, threshold 1."""
    return LIFNode(tau=2.0, decay_input=False, surrogate_function=Triangle())


def spiking_vgg(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    T: int | None = 4,
    neuron: Neuron = leaky,
    norm: Norm | None = layer.BatchNorm2d,
    convolutions: Convolutions = VGG["11"],
    grid: int = 7,
    hidden: Sequence[int] = (4096, 4096),
    pool: Pool = "average",
    dropout: float = 0.5,
) -> Network:
    """A VGG network with neurons for ReLU.

    Args:
        num_classes, in_channels, T, neuron, norm: as for :func:`spikeloom.model.create`.
        convolutions: channels of each, and ``"P"`` where pooling halves height and width.
        grid: height and width to which the last spikes are averaged.
        hidden: neurons in each fully connected layer before the last one.
        pool: ``'average'``, or ``'max'``, which keeps spikes binary.
        dropout: probability that the output of a hidden neuron is dropped.
    Raises:
        TypeError, ValueError: an option has no such value.
    Source: Simonyan & Zisserman, Very deep convolutional networks, ICLR 2015. VGG-SNN: Deng et al., Temporal
        efficient training of spiking neural network, ICLR 2022.
    """
    layers = convolution_layers(convolutions, in_channels, neuron, norm, pool, bias=True)
    features = last_channels(convolutions) * checked_count("grid", grid) ** 2
    layers |= {"avgpool": layer.AdaptiveAvgPool2d(grid), "flatten": layer.Flatten()}
    layers |= hidden_layers(features, hidden, neuron, dropout)
    draw_weights(layers)
    layers["fc"] = layer.Linear(hidden[-1] if hidden else features, num_classes)
    return Network(layers, T)


for _number, _convolutions in VGG.items():
    MODELS.register(f"spiking-vgg{_number}")(partial(spiking_vgg, convolutions=_convolutions))
    MODELS.register(f"spiking-vgg{_number}-cifar")(
        partial(spiking_vgg, convolutions=_convolutions, grid=1, hidden=())
    )
MODELS.register("vgg-snn")(partial(spiking_vgg, convolutions=VGG_SNN, grid=3, hidden=()))
