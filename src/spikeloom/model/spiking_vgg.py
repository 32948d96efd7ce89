"""VGG networks under the names that tutorials use, as in :mod:`spikeloom.model.sew_resnet`.

They pool maxima. Those with ``_bn`` normalise.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from spikeloom import layer
from spikeloom.model import tutorial, vgg
from spikeloom.model.network import Network, Norm


def _spiking_vgg(
    number: str,
    pretrained: bool = False,
    progress: bool = True,
    spiking_neuron: Callable[..., nn.Module] | None = None,
    num_classes: int = 1000,
    norm_layer: Norm | None = None,
    **settings: Any,
) -> Network:
    """The VGG network with this number of layers; arguments as in :mod:`spikeloom.model.sew_resnet`."""
    return tutorial.made(
        vgg.spiking_vgg,
        spiking_neuron,
        settings,
        pretrained,
        num_classes=num_classes,
        norm=norm_layer,
        convolutions=vgg.VGG[number],
        pool="max",
    )


def _spiking_vgg_bn(
    number: str,
    pretrained: bool = False,
    progress: bool = True,
    norm_layer: Norm | None = None,
    spiking_neuron: Callable[..., nn.Module] | None = None,
    num_classes: int = 1000,
    **settings: Any,
) -> Network:
    """The same with normalisation: batch normalisation, unless ``norm_layer`` is another."""
    norm = norm_layer or layer.BatchNorm2d
    return _spiking_vgg(number, pretrained, progress, spiking_neuron, num_classes, norm, **settings)


spiking_vgg11 = partial(_spiking_vgg, "11")
spiking_vgg11_bn = partial(_spiking_vgg_bn, "11")
spiking_vgg13 = partial(_spiking_vgg, "13")
spiking_vgg13_bn = partial(_spiking_vgg_bn, "13")
spiking_vgg16 = partial(_spiking_vgg, "16")
spiking_vgg16_bn = partial(_spiking_vgg_bn, "16")
spiking_vgg19 = partial(_spiking_vgg, "19")
spiking_vgg19_bn = partial(_spiking_vgg_bn, "19")
