"""Residual networks of three kinds, which differ in where the shortcut joins: SEW-, spiking and MS-ResNet."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from spikeloom import layer
from spikeloom.model.blocks import MembraneBlock, SEWBlock, SpikingBlock
from spikeloom.model.network import Network, Neuron, Norm
from spikeloom.model.registered import MODELS
from spikeloom.model.resnet_form import CPU_FORMS, NAMED_FORMS, ResNetForm
from spikeloom.neuron import IFNode, LIFNode
from spikeloom.surrogate import ATan, Rectangular


def integrate_and_fire() -> IFNode:
    """The neuron of SEW- and spiking ResNet."""
    return IFNode(surrogate_function=ATan(), detach_reset=True)


def membrane_shortcut_neuron() -> LIFNode:
    """The neuron of MS-ResNet: ``v = v * 0.25 * (1 - spike) + x``, threshold 0.5."""
    return LIFNode(
        tau=4 / 3,
        decay_input=False,
        v_threshold=0.5,
        surrogate_function=Rectangular(),
        detach_reset=True,
    )


def threshold_norm(channels: int) -> nn.Module:
    """The normalisation of MS-ResNet, on the scale of its neurons' threshold."""
    return layer.ThresholdDependentBatchNorm2d(1.0, 0.5, channels)


def sew_resnet(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    T: int | None = 4,
    neuron: Neuron = integrate_and_fire,
    norm: Norm = layer.BatchNorm2d,
    connect: str = "ADD",
    zero_init_residual: bool | None = None,
    depths: Sequence[int] = (2, 2, 2, 2),
    bottleneck: bool = False,
    width: int = 64,
    small_input: bool = False,
    pool_stem: bool = False,
) -> Network:
    """SEW-ResNet: its shortcuts join spikes with spikes; see :class:`~spikeloom.model.SEWBlock`.

    Args:
        num_classes, in_channels, T, neuron, norm: as for :func:`spikeloom.model.create`.
        connect: ``'ADD'``, ``'AND'`` or ``'IAND'``.
        zero_init_residual: whether each block starts as the identity; default: with ``'AND'`` and
            ``'IAND'``, where spikes would hardly pass many blocks otherwise.
        depths, bottleneck, width, small_input, pool_stem: as for
            :class:`~spikeloom.model.resnet_form.ResNetForm`.
    Raises:
        TypeError, ValueError: an option has no such value.
    Source: Fang et al., Deep residual learning in spiking neural networks, NeurIPS 2021.
    """
    if zero_init_residual is None:
        zero_init_residual = connect != "ADD"
    form = ResNetForm(depths, bottleneck, width, small_input, pool_stem)
    block = partial(SEWBlock, neuron=neuron, norm=norm, connect=connect)
    layers = form.stem(in_channels, norm, neuron) | form.stages(block, zero_init_residual)
    return form.network(layers, num_classes, T)


def spiking_resnet(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    T: int | None = 4,
    neuron: Neuron = integrate_and_fire,
    norm: Norm = layer.BatchNorm2d,
    branch_norm: Norm | None = None,
    zero_init_residual: bool = False,
    depths: Sequence[int] = (2, 2, 2, 2),
    bottleneck: bool = False,
    width: int = 64,
    small_input: bool = False,
    pool_stem: bool = False,
) -> Network:
    """Spiking ResNet, a ResNet with neurons for ReLU; see :class:`~spikeloom.model.SpikingBlock`.

    Args:
        num_classes, in_channels, T, neuron, norm: as for :func:`spikeloom.model.create`.
        branch_norm: makes the normalisations of what a block adds up, the last one and that of the shortcut;
            default ``norm``.
        zero_init_residual: whether the layers of each block give 0 at first, so that the shortcut and the
            last neuron are left.
        depths, bottleneck, width, small_input, pool_stem: as for
            :class:`~spikeloom.model.resnet_form.ResNetForm`.
    Raises:
        TypeError, ValueError: an option has no such value.
    Source: the baseline of Fang et al., Deep residual learning in spiking neural networks, NeurIPS 2021.
    """
    form = ResNetForm(depths, bottleneck, width, small_input, pool_stem)
    block = partial(SpikingBlock, neuron=neuron, norm=norm, branch_norm=branch_norm)
    layers = form.stem(in_channels, norm, neuron) | form.stages(block, zero_init_residual)
    return form.network(layers, num_classes, T)


def ms_resnet(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    T: int | None = 4,
    neuron: Neuron = membrane_shortcut_neuron,
    norm: Norm = threshold_norm,
    zero_init_residual: bool = True,
    depths: Sequence[int] = (2, 2, 2, 2),
    bottleneck: bool = False,
    width: int = 64,
    small_input: bool = False,
    pool_stem: bool = False,
) -> Network:
    """MS-ResNet: membrane potentials pass its shortcuts; see :class:`~spikeloom.model.MembraneBlock`.

    Where the others pool spikes behind the stem for large images, its first stage has stride 2.

    Args:
        num_classes, in_channels, T, neuron, norm: as for :func:`spikeloom.model.create`.
        zero_init_residual: whether each block starts as the identity, as published; without it the gradient
            grows with the depth.
        depths, bottleneck, width, small_input, pool_stem: as for
            :class:`~spikeloom.model.resnet_form.ResNetForm`.
    Raises:
        TypeError, ValueError: an option has no such value.
    Differs from: the published network of 104 layers, which begins with three convolutions of 3 x 3, averages
        2 x 2 in its shortcuts where they halve height and width, and has dropout before its classifier.
    Source: Hu et al., Advancing spiking neural networks towards deep residual learning, IEEE TNNLS 2024;
        constants from github.com/Ariande1/MS-ResNet
    """
    form = ResNetForm(depths, bottleneck, width, small_input, pool_stem)
    block = partial(MembraneBlock, neuron=neuron, norm=norm)
    stem = form.stem(in_channels, norm, neuron=None)
    layers = stem | form.stages(block, zero_init_residual, first_stride=1 if small_input else 2)
    return form.network(layers | {"sn": neuron()}, num_classes, T)


for _family, _builder, _numbers in (
    ("sew-resnet", sew_resnet, ("18", "34", "50", "101", "152")),
    ("spiking-resnet", spiking_resnet, ("18", "34", "50", "101", "152")),
    ("ms-resnet", ms_resnet, ("18", "34", "104")),
):
    for _number in _numbers:
        _settings = NAMED_FORMS[_number]
        MODELS.register(f"{_family}{_number}")(partial(_builder, **_settings))
        MODELS.register(f"{_family}{_number}-cifar")(partial(_builder, **_settings, small_input=True))
    for _size, _settings in CPU_FORMS.items():
        MODELS.register(f"{_family}-{_size}-cifar")(partial(_builder, **_settings))
