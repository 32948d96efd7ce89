"""Trainings whose gradient does not go through time."""

from torch import nn

from spikeloom import learning
from spikeloom.errors import RunError

GRADIENTS = ("bptt", "sltt", "ottt")


def online(gradient: str, net: nn.Module) -> nn.Module:
    """The network with the gradient of online training; refuse one that has none."""
    try:
        found = {"sltt": learning.SLTT, "ottt": learning.OTTT}[gradient](net)
        if found.step_mode == "m":
            return found
        reason = "It has no modules that take sequences. Call functional.set_step_mode(net, 'm')."
    except ValueError as error:
        reason = str(error)
    raise RunError(
        f"`gradient` must be 'bptt' for this network: {reason} On the command line: leave out --gradient."
    )
