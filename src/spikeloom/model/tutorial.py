"""What the functions with the names that tutorials use share: the same networks, in single-step mode."""

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from spikeloom import functional
from spikeloom.model.network import Network

Class = Callable[..., nn.Module] | None
_FIXED = {"groups": 1, "width_per_group": 64, "replace_stride_with_dilation": None, "init_weights": True}
"""Arguments of the tutorials' functions that have one value here."""


def made(
    build: Callable[..., Network],
    spiking_neuron: Class,
    settings: dict[str, Any],
    pretrained: bool = False,
    **options: Any,
) -> Network:
    """The network that ``build`` makes, with neurons of a class that have settings of their own: a surrogate
    that is a module is not shared.

    Args:
        build: takes the options, ``T`` and ``neuron``.
        spiking_neuron: class of the neurons.
        settings: those of each neuron.
        pretrained: whether weights are asked for, of which there are none.
        options: those of ``build``.
    Raises:
        TypeError: there is no class, or it does not take these settings.
        ValueError: weights are asked for, or a network that is not here.
    """
    if pretrained:
        raise ValueError(
            "`pretrained` must be False, got True: there are no weights to download. Train the network, or "
            "load your own with net.load_state_dict(torch.load(path))."
        )
    if spiking_neuron is None or isinstance(spiking_neuron, nn.Module):
        raise TypeError(
            f"`spiking_neuron` must be a class of neurons, got {type(spiking_neuron).__name__}. "
            "Give spiking_neuron=neuron.IFNode."
        )

    for name, value in _FIXED.items():
        if settings.pop(name, value) != value:
            raise ValueError(
                f"`{name}` must be {value!r} here. See spikeloom.model.create for other networks."
            )

    def neuron() -> nn.Module:
        return spiking_neuron(**copy.deepcopy(settings))

    neuron()
    net = build(T=None, neuron=neuron, **options)
    functional.set_step_mode(net, "s")
    return net
