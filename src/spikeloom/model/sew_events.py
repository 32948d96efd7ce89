"""The SEW-ResNets for event cameras: one block at each size, from 128 x 128 pixels to one."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from spikeloom import layer
from spikeloom.checks import checked_count
from spikeloom.model.blocks import SEWBlock
from spikeloom.model.network import Network, Neuron, Norm
from spikeloom.model.parts import pooled_size
from spikeloom.model.plif import parametric_leaky
from spikeloom.model.registered import MODELS


def sew_event_net(
    *,
    num_classes: int = 10,
    in_channels: int = 2,
    T: int | None = 4,
    neuron: Neuron = parametric_leaky,
    norm: Norm = layer.BatchNorm2d,
    connect: str = "ADD",
    zero_init_residual: bool = True,
    channels: Sequence[int] = (32,) * 7,
    size: int = 128,
) -> Network:
    """The SEW-ResNet for the frames of an event camera: blocks, each followed by maximum pooling by 2.

    A convolution of 1 x 1, with normalisation and a neuron, stands before the first block, and before each
    that has other channels than the one before.

    Args:
        num_classes, in_channels, T, neuron, norm: as for :func:`spikeloom.model.create`.
        connect: ``'ADD'``, ``'AND'`` or ``'IAND'``; see :class:`~spikeloom.model.SEWBlock`.
        zero_init_residual: whether each block starts as the identity, as published.
        channels: of each block.
        size: height and width of the frames; each block halves them.
    Raises:
        TypeError, ValueError: an option has no such value.
    Source: Fang et al., Deep residual learning in spiking neural networks, NeurIPS 2021: 7B-Net and
        Wide-7B-Net.
    """
    features = pooled_size(["P"] * len(channels), size) ** 2
    layers: dict[str, nn.Module] = {}
    before = in_channels
    for number, width in enumerate(channels, 1):
        if checked_count("channels", width) != before or number == 1:
            layers[f"conv{number}"] = layer.Conv2d(before, width, 1, bias=False)
            layers |= {f"bn{number}": norm(width), f"sn{number}": neuron()}
        path = [layer.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2)]
        block = SEWBlock(path, neuron, norm, connect=connect)
        if zero_init_residual:
            block.start_as_identity()
        layers |= {f"block{number}": block, f"pool{number}": layer.MaxPool2d(2)}
        before = width
    layers |= {"flatten": layer.Flatten(), "fc": layer.Linear(before * features, num_classes)}
    return Network(layers, T, size)


MODELS.register("sew-resnet-dvs-gesture")(sew_event_net)
MODELS.register("sew-resnet-cifar10-dvs")(partial(sew_event_net, channels=(64,) * 4 + (128,) * 3))
