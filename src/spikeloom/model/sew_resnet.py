"""SEW-ResNets under the names that tutorials use: ``sew_resnet18(spiking_neuron=neuron.IFNode)``.

They are for images of 224 x 224, begin in single-step mode, and take sequences ``[T, N, C, H, W]`` after
``functional.set_step_mode(net, 'm')``. :func:`spikeloom.model.create` makes the same networks, and others.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from spikeloom import layer
from spikeloom.model import resnet, tutorial
from spikeloom.model.network import Network, Norm
from spikeloom.model.resnet_form import NAMED_FORMS


def _sew_resnet(
    number: str,
    pretrained: bool = False,
    progress: bool = True,
    cnf: str = "ADD",
    spiking_neuron: Callable[..., nn.Module] | None = None,
    num_classes: int = 1000,
    zero_init_residual: bool = False,
    norm_layer: Norm = layer.BatchNorm2d,
    **settings: Any,
) -> Network:
    """The SEW-ResNet with this number of layers.

    Args:
        number: of layers.
        pretrained: must be false.
        progress: of a download, so it has no effect.
        cnf: ``connect`` of :func:`spikeloom.model.resnet.sew_resnet`.
        spiking_neuron: class of the neurons.
        num_classes: outputs.
        zero_init_residual: as for :func:`spikeloom.model.resnet.sew_resnet`.
        norm_layer: class of the normalisation.
        settings: those of each neuron.
    Raises:
        TypeError, ValueError: there are no weights to load, or no such neuron or option.
    """
    return tutorial.made(
        resnet.sew_resnet,
        spiking_neuron,
        settings,
        pretrained,
        num_classes=num_classes,
        norm=norm_layer,
        connect=cnf,
        zero_init_residual=zero_init_residual,
        **NAMED_FORMS[number],
    )


sew_resnet18 = partial(_sew_resnet, "18")
sew_resnet34 = partial(_sew_resnet, "34")
sew_resnet50 = partial(_sew_resnet, "50")
sew_resnet101 = partial(_sew_resnet, "101")
sew_resnet152 = partial(_sew_resnet, "152")
