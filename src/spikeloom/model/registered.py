"""The registry of networks, and how one is made by name."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from spikeloom.checks import checked_count
from spikeloom.errors import suggest
from spikeloom.model.network import Network
from spikeloom.registry import Registry

MODELS: Registry[Callable[..., Network]] = Registry("model")

_COMMON = ("num_classes", "in_channels", "T", "neuron", "norm")


def names(pattern: str = "*") -> list[str]:
    """The names of the networks that match a shell-style ``pattern``, sorted.

    Example:
        >>> names("sew-resnet*-cifar")[:3]
        ['sew-resnet-mini-cifar', 'sew-resnet-small-cifar', 'sew-resnet101-cifar']
    """
    return MODELS.names(pattern)


def create(
    name: str,
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    T: int = 4,
    neuron: Callable[[], nn.Module] | None = None,
    norm: Callable[[int], nn.Module] | None = None,
    **options: Any,
) -> Network:
    """A network by its name, untrained and in multi-step mode.

    Args:
        name: one of :func:`names`.
        num_classes: outputs.
        in_channels: channels of the images or frames.
        T: time steps for which a static image is shown.
        neuron: makes one neuron, as ``lambda: neuron.LIFNode(tau=2.0)``; default: that of the network's
            paper.
        norm: makes the normalisation of a number of channels; default ``layer.BatchNorm2d``, and none in
            ``stbp-cifar``.
        options: what else the network's builder takes, such as ``connect`` of a SEW-ResNet.
    Returns:
        a network of a static image ``[N, C, H, W]`` or of frames ``[T', N, C, H, W]``, with output
        ``[T, N, num_classes]``
    Raises:
        UnknownNameError: there is no such network.
        TypeError: the network has no such option, or ``neuron`` or ``norm`` cannot be called.
        ValueError: a count is below 1, or an option has no such value.
    Example:
        >>> import torch
        >>> from spikeloom import layer
        >>> norm = lambda channels: layer.ThresholdDependentBatchNorm2d(1.0, 1.0, channels)
        >>> net = create("sew-resnet-mini-cifar", T=2, norm=norm, connect="IAND")
        >>> net(torch.rand(3, 3, 32, 32)).shape
        torch.Size([2, 3, 10])
    """
    builder = MODELS[name]
    known = [key for key in inspect.signature(builder).parameters if key not in _COMMON]
    for option in options:
        if option not in known:
            raise TypeError(
                f"`{option}` is no option of model '{name}', which has {', '.join(known)}. "
                f"{suggest(option, known)}"
            )
    _check_maker("neuron", neuron, "lambda: neuron.LIFNode(tau=2.0)")
    _check_maker("norm", norm, "layer.BatchNorm2d")
    makers = {key: maker for key, maker in (("neuron", neuron), ("norm", norm)) if maker is not None}
    return builder(
        num_classes=checked_count("num_classes", num_classes),
        in_channels=checked_count("in_channels", in_channels),
        T=checked_count("T", T),
        **makers,
        **options,
    )


def _check_maker(name: str, value: Any, example: str) -> None:
    if value is not None and (isinstance(value, nn.Module) or not callable(value)):
        raise TypeError(
            f"`{name}` must make a new module for each layer, got {type(value).__name__}. "
            f"Give a function or a class, such as {example}."
        )
