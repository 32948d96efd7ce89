"""Making a trained network event-driven, and asking it what it has done."""

import copy
from typing import TypeVar

from torch import nn

from spikeloom import layer
from spikeloom.event.layers import (
    EventConv2d,
    EventDriven,
    EventLinear,
    TimeWiseEventConv2d,
    TimeWiseEventLinear,
    Work,
)
from spikeloom.event.report import Report, Row

Net = TypeVar("Net", bound=nn.Module)
# By exact class: a subclass may compute its weights.
_EVENT_DRIVEN: dict[type[nn.Module], type[EventDriven]] = {
    nn.Linear: EventLinear,
    nn.Conv2d: EventConv2d,
    layer.Linear: TimeWiseEventLinear,
    layer.Conv2d: TimeWiseEventConv2d,
}
_SYNAPSES = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)


def event_driven(net: Net, dense_above: float = 1.0) -> Net:
    """A copy of a trained network whose layers do nothing for an input of zero.

    ``Linear`` and ``Conv2d`` of :mod:`torch.nn` and of :mod:`spikeloom.layer` list their inputs that are not
    zero, and add the weights of these. All else is as it was: the copy takes and gives what the network does,
    equal up to the rounding of sums, in either step mode, and has the same ``state_dict``. It is in
    evaluation mode, and its weights have no gradient; where the input has one, the layers run as usual.

    It pays where few inputs are not zero, above all for one sample step by step; docs/event-driven.md has
    times. Weights are copied as they are read: after ``weight.data`` was written into, make the network anew.

    Args:
        net: the network; it is not changed.
        dense_above: layers take all inputs in calls in which a larger part of them is not zero; default:
            never. With 0.1 most networks are as fast as they can be.
    Raises:
        TypeError: ``net`` is no module.
        ValueError: ``dense_above`` is not from 0 to 1; the network cannot be copied, or has no such layer.
    Example:
        >>> import torch
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(4, 3), neuron.IFNode(step_mode="m"))
        >>> fast = event_driven(net)
        >>> spikes = torch.zeros(8, 2, 4)  # T=8, two samples
        >>> bool((fast(spikes) == net(spikes)).all())
        True
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"`net` must be a network, got a {type(net).__name__}.")
    if not 0 <= dense_above <= 1:
        raise ValueError(
            f"`dense_above` must be a part of the inputs, from 0 to 1, got {dense_above}. Take 1 for layers "
            "that follow events whatever their number."
        )
    try:
        net = copy.deepcopy(net)
    except RuntimeError as error:
        raise ValueError(
            f"`net` must be a network that copy.deepcopy can copy, got {error} Make weights that hooks "
            "compute plain ones first (torch.nn.utils.remove_weight_norm, prune.remove)."
        ) from error
    net.eval().requires_grad_(False)
    found = [module for module in net.modules() if _can_be_event_driven(module)]
    if not found:
        kinds = ", ".join(sorted({type(module).__name__ for module in net.modules()}))
        raise ValueError(
            "`net` must have a Linear or Conv2d of torch.nn or spikeloom.layer, without parametrizations, "
            f"hooks before it, or padding other than zeros; got {kinds}."
        )
    for module in found:
        module.__class__ = _EVENT_DRIVEN[type(module)]
        module.take_over(dense_above)  # type: ignore[operator]
    return net


def report(net: nn.Module, num_samples: int = 1) -> Report:
    """What the layers of a network have done since it was made or :func:`reset_work` was called.

    Args:
        net: what :func:`event_driven` returned.
        num_samples: that it has run; the report is of one.
    Raises:
        ValueError: the network is not event-driven, or ``num_samples`` is less than 1.
    Example:
        >>> import torch
        >>> net = event_driven(nn.Linear(4, 3))
        >>> _ = net(torch.tensor([[0.0, 1.0, 0.0, 1.0]]))
        >>> report(net).operations, report(net).dense_operations
        (6.0, 12.0)
    """
    if num_samples < 1:
        raise ValueError(f"`num_samples` must be at least 1, got {num_samples}.")
    rows = [
        Row(name, type(module).__name__.replace("TimeWise", ""), copy.copy(module.work), num_samples)
        for name, module in net.named_modules()
        if isinstance(module, EventDriven)
    ]
    if not rows:
        raise ValueError("`net` must be event-driven. Give what event.event_driven(net) returned.")
    others = [
        name
        for name, module in net.named_modules()
        if isinstance(module, _SYNAPSES) and not isinstance(module, EventDriven)
    ]
    return Report(tuple(rows), tuple(others))


def reset_work(net: nn.Module) -> None:
    """Begin to count anew what the layers of an event-driven network do."""
    for module in net.modules():
        if isinstance(module, EventDriven):
            module.work = Work()


def _can_be_event_driven(module: nn.Module) -> bool:
    return (
        type(module) in _EVENT_DRIVEN
        and not module._forward_pre_hooks  # they may compute the weights
        and getattr(module, "padding_mode", "zeros") == "zeros"
        and isinstance(module._parameters.get("weight"), nn.Parameter)
        and "forward" not in vars(module)
    )
