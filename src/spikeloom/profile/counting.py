"""Running a network once, and counting what its layers do."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from spikeloom import functional
from spikeloom.errors import ShapeError
from spikeloom.neuron import BaseNode
from spikeloom.profile.feed import checked, feed, own_random_numbers, size, told_apart
from spikeloom.profile.result import LayerProfile, Profile
from spikeloom.profile.watch import Seen, Watch


def count(net: nn.Module, x: Tensor | Iterable[Tensor], num_steps: int | None = None) -> Profile:
    """Run a network on samples, and count what each layer does.

    A layer whose inputs are spikes adds a weight for each spike and target: an accumulate (AC). A layer with
    other inputs multiplies too: a multiply-accumulate (MAC) for each input that is not zero and each target.
    Spikes are inputs that are zero or all of one magnitude, which can be folded into the weights. Counts of
    several spikes (0, 1, 2), or averages of spikes, are not, and their layer counts as MACs.

    The network is copied, and the copy is run in evaluation mode, from the reset state.

    Args:
        net: the network, in either step mode; in single-step mode it is given one step after the other.
        x: encoded samples, or several batches of them, which run one after the other.
        num_steps: time steps that the network makes of an input without time, ``[N, *]``, which it repeats
            itself; default: ``x`` has time steps.
    Shape:
        x ``[T, N, *]``, or with ``num_steps`` ``[N, *]``.
    Raises:
        ShapeError: there are no samples or no time steps, or batches differ in their number of steps.
    Source: of counting an accumulate for each spike and target: Rueckauer et al., Conversion of
        continuous-valued deep networks to efficient event-driven networks for image classification, Front.
        Neurosci. 11:682, 2017.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(4, 3, bias=False), neuron.IFNode(step_mode="m"))
        >>> spikes = torch.tensor([[[1.0, 0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0, 1.0]]])  # T=2, one sample
        >>> profile = count(net, spikes)
        >>> profile.acs, profile.macs, profile.ann_macs  # 3 spikes and 3 targets; 4 inputs and 3 targets
        (9.0, 0.0, 12.0)
    """
    net = copy.deepcopy(getattr(net, "_orig_mod", net)).eval()  # what torch.compile made hides its layers
    functional.set_backend(net, "torch", BaseNode)  # where every step is PyTorch's, and can be seen
    watch = Watch(net)
    num_samples, lengths = 0, set()
    with own_random_numbers(net), torch.no_grad():
        for batch in [x] if isinstance(x, Tensor) else x:
            length, samples = size(checked(batch, num_steps), num_steps)
            num_samples += samples
            lengths.add(length)
            for part in told_apart(batch, num_steps):
                watch.size = size(part, num_steps)
                with watch, functional.fresh_state(net):
                    feed(net, part, num_steps)
    if len(lengths) != 1:
        raise ShapeError(
            f"`x` must hold batches with one number of time steps, got {sorted(lengths) or 'no batch'}. "
            "Count the others apart."
        )
    return _result(watch, lengths.pop(), num_samples)


def _result(watch: Watch, num_steps: int, num_samples: int) -> Profile:
    """What was seen, per sample."""
    rows = watch.rows()
    owned = dict.fromkeys(rows, 0)
    for name, parameter in watch.net.named_parameters():
        owner = name
        while owner and owner not in owned:
            owner = owner.rpartition(".")[0]
        if owner in owned:
            owned[owner] += parameter.numel()
    layers = [
        _layer(name, watch.modules[name], watch.seen[name], owned[name], num_steps, num_samples)
        for name in rows
    ]
    total = sum(parameter.numel() for parameter in watch.net.parameters())
    return Profile(tuple(layers), total, num_steps, num_samples, tuple(watch.missing()))


def _layer(
    name: str, module: nn.Module, seen: Seen, parameters: int, num_steps: int, num_samples: int
) -> LayerProfile:
    """A row: what was seen of one module, per sample."""
    # A layer before time begins, such as on an image that is then repeated, saw each sample once.
    passes = num_steps if seen.rows >= num_steps * num_samples else 1
    active = seen.active / num_samples
    return LayerProfile(
        name,
        type(module).__name__,
        seen.output_shape,
        parameters,
        seen.nonzero / seen.values if seen.values else None,
        seen.spikes / seen.outputs if seen.outputs else None,
        seen.dense / num_samples / passes,
        active if seen.has_spikes else 0.0,
        0.0 if seen.has_spikes else active,
    )
