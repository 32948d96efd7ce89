"""The networks of the parametric LIF neuron: convolutions, two fully connected layers, a vote."""

from functools import partial

from spikeloom import layer
from spikeloom.model.network import Network, Neuron, Norm
from spikeloom.model.parts import (
    Convolutions,
    Pool,
    convolution_layers,
    hidden_layers,
    last_channels,
    pooled_size,
    voting_head,
)
from spikeloom.model.registered import MODELS
from spikeloom.neuron import ParametricLIFNode
from spikeloom.surrogate import ATan


def parametric_leaky() -> ParametricLIFNode:
    """The neuron of these networks."""
    return ParametricLIFNode(init_tau=2.0, surrogate_function=ATan(), detach_reset=True)


def plif_net(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    T: int | None = 4,
    neuron: Neuron = parametric_leaky,
    norm: Norm | None = layer.BatchNorm2d,
    convolutions: Convolutions = (256, 256, 256, "P", 256, 256, 256, "P"),
    hidden: int = 2048,
    size: int = 32,
    voters: int = 10,
    pool: Pool = "max",
    dropout: float = 0.5,
) -> Network:
    """The network of the parametric LIF neuron: every layer spikes, and ten neurons vote for each class.

    Args:
        num_classes, in_channels, T, neuron, norm: as for :func:`spikeloom.model.create`.
        convolutions: channels of each, and ``"P"`` where pooling halves height and width.
        hidden: neurons of the fully connected layer.
        size: height and width of the images.
        voters: neurons for each class.
        pool: ``'max'``, which keeps spikes binary, or ``'average'``.
        dropout: probability that an input of a fully connected layer is dropped.
    Raises:
        TypeError, ValueError: an option has no such value.
    Source: Fang et al., Incorporating learnable membrane time constant to enhance learning of spiking neural
        networks, ICCV 2021.
    """
    layers = convolution_layers(convolutions, in_channels, neuron, norm, pool, bias=False)
    features = last_channels(convolutions) * pooled_size(convolutions, size) ** 2
    layers |= {"flatten": layer.Flatten(), "dropout": layer.Dropout(dropout)}
    layers |= hidden_layers(features, (hidden,), neuron, dropout)
    layers |= voting_head(hidden, num_classes, voters, neuron)
    return Network(layers, T, size)


MODELS.register("plif-net")(plif_net)
MODELS.register("plif-net-mnist")(partial(plif_net, convolutions=(128, "P") * 2, size=28))
MODELS.register("plif-net-cifar10-dvs")(partial(plif_net, convolutions=(128, "P") * 4, hidden=512, size=128))
MODELS.register("plif-net-dvs-gesture")(partial(plif_net, convolutions=(128, "P") * 5, hidden=512, size=128))
