"""What the functions with the names that tutorials use share: the same networks, made step by step."""

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from spikeloom import functional
from spikeloom.model.network import Network, Neuron


def neuron_of(spiking_neuron: Callable[..., nn.Module] | None, settings: dict[str, Any]) -> Neuron:
    """Makes neurons of a class with settings of their own: a surrogate that is a module is not shared.

    Raises:
        TypeError: there is no class, or it does not take these settings.
    """
    if spiking_neuron is None or isinstance(spiking_neuron, nn.Module):
        raise TypeError(
            f"`spiking_neuron` must be a class of neurons, got {type(spiking_neuron).__name__}. "
            "Give spiking_neuron=neuron.IFNode."
        )

    def neuron() -> nn.Module:
        return spiking_neuron(**copy.deepcopy(settings))

    neuron()
    return neuron


def refuse_weights(pretrained: bool) -> None:
    """Raise a ValueError if weights are asked for, of which there are none."""
    if pretrained:
        raise ValueError(
            "`pretrained` must be False, got True: there are no weights to download. Train the network, or "
            "load your own with net.load_state_dict(torch.load(path))."
        )


def single_step(net: Network) -> Network:
    """The network in single-step mode, in which tutorials begin."""
    functional.set_step_mode(net, "s")
    return net
