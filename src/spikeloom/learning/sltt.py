"""Gradients through depth, but not back through time: memory that does not grow with the number of steps."""

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from spikeloom import functional, layer, neuron
from spikeloom.errors import describe, named
from spikeloom.functional.networks import in_one_step_mode, require_single_step
from spikeloom.memory import MemoryModule
from spikeloom.rnn import SpikingRNNBase
from spikeloom.steps import takes_single_steps

# What takes whole sequences of a module with memories one step after the other, or keeps none of their graph.
_STEP_BY_STEP = frozenset(
    kind.multi_step_forward
    for kind in (MemoryModule, neuron.BaseNode, neuron.NonSpikingBaseNode, layer.Dropout)
)


class SLTT(MemoryModule):
    r"""Spatial learning through time: a network whose gradient of a step stays within the step.

    All memories are cut from the graph before each time step. In single-step mode each call is one, so call
    ``backward()`` on the loss of each step: the gradients add up over the steps, and nothing of the step
    before is kept. The optimiser may step once per sequence, or after each time step.

    .. math:: \nabla_W = \sum_t g_t\, s_t^\top

    of a linear layer with input :math:`s_t`; :math:`g_t` is the gradient of the loss of step :math:`t` for
    its output of that step.

    In multi-step mode it has the same gradient of several steps at once, in compiled loops, and needs the
    memory of the steps that it is given. Batch normalisation then takes its statistics over these.

    Args:
        net: layers and neurons, all in single-step mode or all in multi-step mode.
    Shape:
        as ``net``.
    Raises:
        ValueError: ``net`` has modules in both modes; or, in multi-step mode, one that looks at several time
            steps at once, such as a delay, a parallel neuron, or attention over time.
    Source: Meng et al., Towards memory- and time-efficient backpropagation for training spiking neural
        networks, ICCV 2023.
    Example:
        >>> import torch
        >>> from spikeloom import functional, layer, neuron
        >>> net = SLTT(nn.Sequential(layer.Linear(4, 2), neuron.LIFNode()))
        >>> for x in torch.rand(10, 3, 4):  # ten steps, batch of three
        ...     (net(x) - 1).square().mean().backward()
        >>> functional.reset_net(net)
        >>> net.net[0].weight.grad.shape
        torch.Size([2, 4])
    """

    computes_in_float32 = False

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        modes = {module.step_mode for module in in_one_step_mode(net)}
        self.step_mode = "m" if modes == {"m"} else "s"
        self._check()

    def single_step_forward(self, x: Tensor) -> Tensor:
        functional.detach_net(self.net)
        return self._run(x)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        functional.detach_net(self.net)
        with _cut(self.net):
            return self._run(x_seq)

    def _run(self, x: Tensor) -> Tensor:
        self._check()  # again: it may have changed since
        return self.net(x)

    def _check(self) -> None:
        if self.step_mode == "s":
            require_single_step(self, [self.net])
            return
        in_mode = set(in_one_step_mode(self.net))  # what a container runs by steps is cut like any step
        for name, module in self.net.named_modules():  # at each call, so names are made for errors only
            if module in in_mode and module.step_mode == "s":
                raise ValueError(
                    f"{describe(self)} gives its modules sequences, so `step_mode` of {named(module, name)} "
                    "must be 'm'. Call functional.set_step_mode(net, 'm')."
                )
            looks_across = module in in_mode and _looks_at_several_steps(module)
            if looks_across or isinstance(module, nn.RNNBase | SpikingRNNBase):
                raise ValueError(
                    f"`net` of {describe(self)} must run sequences step by step, but "
                    f"{named(module, name)} looks at several steps at once, and its gradient cannot be cut. "
                    "Leave it out, or, if it can take single steps, call functional.set_step_mode(net, 's')."
                )


def _looks_at_several_steps(module: nn.Module) -> bool:
    """Whether a module in multi-step mode may do more than one step after the other; what normalises over
    time is left alone, since its statistics are of all steps in any case."""
    takes_steps = takes_single_steps(module)
    if isinstance(module, MemoryModule) and (module._memories or not takes_steps):
        return type(module).multi_step_forward not in _STEP_BY_STEP or module.has_sequence_function()
    return not takes_steps and not isinstance(module, nn.modules.batchnorm._BatchNorm)


@contextlib.contextmanager
def _cut(net: nn.Module) -> Iterator[None]:
    """A block in which modules cut their memories from the graph before each time step."""
    modules = [one for one in net.modules() if isinstance(one, MemoryModule) and not one.cuts_memories]
    for module in modules:
        module.cuts_memories = True
    try:
        yield
    finally:
        for module in modules:
            module.cuts_memories = False
