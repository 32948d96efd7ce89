"""The network of spatio-temporal backpropagation (STBP) for CIFAR-10, whose output neurons vote."""

from collections.abc import Sequence

from spikeloom import layer
from spikeloom.model.network import Network, Neuron, Norm
from spikeloom.model.parts import (
    Convolutions,
    Pool,
    convolution_layers,
    draw_weights,
    hidden_layers,
    last_channels,
    pooled_size,
    voting_head,
)
from spikeloom.model.registered import MODELS
from spikeloom.neuron import LIFNode
from spikeloom.surrogate import Rectangular


def stbp_neuron() -> LIFNode:
    """The neuron of this network: ``v = v * 0.25 * (1 - spike) + x``, threshold 0.75."""
    return LIFNode(tau=4 / 3, decay_input=False, v_threshold=0.75, surrogate_function=Rectangular())


@MODELS.register("stbp-cifar")
def stbp_cifar(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    T: int | None = 4,
    neuron: Neuron = stbp_neuron,
    norm: Norm | None = None,
    convolutions: Convolutions = (128, 256, "P", 512, "P", 1024, 512),
    hidden: Sequence[int] = (1024, 512),
    size: int = 32,
    voters: int = 10,
    pool: Pool = "average",
    dropout: float = 0.5,
) -> Network:
    """STBP's network for CIFAR-10, 128C3-256C3-AP2-512C3-AP2-1024C3-512C3-1024-512-100 and a vote.

    The published code says no more of the weights at the start; here they are drawn for the number of inputs
    (He et al., 2015), so that spikes reach the last layer.

    Args:
        num_classes, in_channels, T, neuron: as for :func:`spikeloom.model.create`.
        norm: makes a normalisation; ``None``, as published, has none.
        convolutions: channels of each, and ``"P"`` where pooling halves height and width.
        hidden: neurons of each fully connected layer before the vote.
        size: height and width of the images.
        voters: neurons for each class.
        pool: ``'average'`` or ``'max'``.
        dropout: probability that the output of a hidden neuron is dropped.
    Raises:
        TypeError, ValueError: an option has no such value.
    Differs from: the published code, which takes 5 time steps, and drops inputs of all layers between the
        first and the last one, anew at each time step.
    Source: Wu et al., Direct training for spiking neural networks: faster, larger, better, AAAI 2019; sizes
        and constants from github.com/yjwu17/STBP-for-training-SpikingNN
    """
    layers = convolution_layers(convolutions, in_channels, neuron, norm, pool, bias=True)
    features = last_channels(convolutions) * pooled_size(convolutions, size) ** 2
    layers |= {"flatten": layer.Flatten()} | hidden_layers(features, hidden, neuron, dropout)
    layers |= voting_head(hidden[-1] if hidden else features, num_classes, voters, neuron)
    draw_weights(layers)
    return Network(layers, T, size)
