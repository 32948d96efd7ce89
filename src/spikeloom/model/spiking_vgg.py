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
    norm: Norm | None,
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
        norm=norm and (norm_layer or norm),
        convolutions=vgg.VGG[number],
        pool="max",
    )


spiking_vgg11 = partial(_spiking_vgg, "11", None)
spiking_vgg11_bn = partial(_spiking_vgg, "11", layer.BatchNorm2d)
spiking_vgg13 = partial(_spiking_vgg, "13", None)
spiking_vgg13_bn = partial(_spiking_vgg, "13", layer.BatchNorm2d)
spiking_vgg16 = partial(_spiking_vgg, "16", None)
spiking_vgg16_bn = partial(_spiking_vgg, "16", layer.BatchNorm2d)
spiking_vgg19 = partial(_spiking_vgg, "19", None)
spiking_vgg19_bn = partial(_spiking_vgg, "19", layer.BatchNorm2d)
