"""Spiking ResNets under the names that tutorials use, as in :mod:`spikeloom.model.sew_resnet`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from spikeloom import layer
from spikeloom.model import resnet, tutorial
from spikeloom.model.network import Network, Norm
from spikeloom.model.resnet_form import NAMED_FORMS


def _spiking_resnet(
    number: str,
    pretrained: bool = False,
    progress: bool = True,
    spiking_neuron: Callable[..., nn.Module] | None = None,
    num_classes: int = 1000,
    zero_init_residual: bool = False,
    norm_layer: Norm = layer.BatchNorm2d,
    **settings: Any,
) -> Network:
    """The spiking ResNet with this number of layers; arguments as in :mod:`spikeloom.model.sew_resnet`."""
    return tutorial.made(
        resnet.spiking_resnet,
        spiking_neuron,
        settings,
        pretrained,
        num_classes=num_classes,
        norm=norm_layer,
        zero_init_residual=zero_init_residual,
        **NAMED_FORMS[number],
    )


spiking_resnet18 = partial(_spiking_resnet, "18")
spiking_resnet34 = partial(_spiking_resnet, "34")
spiking_resnet50 = partial(_spiking_resnet, "50")
spiking_resnet101 = partial(_spiking_resnet, "101")
spiking_resnet152 = partial(_spiking_resnet, "152")
