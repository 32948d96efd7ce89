"""Gradients through depth, but not back through time: memory that does not grow with the number of steps."""

from torch import Tensor, nn

from spikeloom import functional
from spikeloom.functional.networks import require_single_step
from spikeloom.memory import MemoryModule


class SLTT(MemoryModule):
    r"""Spatial learning through time: a network whose gradient of a step stays within the step.

    Each call is one time step, before which all memories are cut from the graph. So call ``backward()`` on
    the loss of each step: the gradients add up over the steps, and nothing of the step before is kept. The
    optimiser may step once per sequence, or after each time step.

    .. math:: \nabla_W = \sum_t g_t\, s_t^\top

    of a linear layer with input :math:`s_t`; :math:`g_t` is the gradient of the loss of step :math:`t` for
    its output of that step.

    Args:
        net: layers and neurons in single-step mode.
    Shape:
        as one time step of ``net``.
    Raises:
        ValueError: ``net`` has modules in multi-step mode.
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
        require_single_step(self, [net])

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("s",)

    def single_step_forward(self, x: Tensor) -> Tensor:
        require_single_step(self, [self.net])  # again: it may have changed since
        functional.detach_net(self.net)
        return self.net(x)
