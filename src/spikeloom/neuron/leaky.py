"""Leaky integrate-and-fire: a potential that decays towards rest."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from spikeloom.checks import checked_above
from spikeloom.neuron.base import BaseNode, SimpleBaseNode


class LIFNode(BaseNode):
    r"""Leaky integrate-and-fire neuron.

    .. math:: h_t = v_{t-1} + \tfrac{1}{\tau}(x_t - (v_{t-1} - v_{rest}))
              \quad\text{or, with decay_input=False,}\quad
              h_t = v_{t-1} - \tfrac{1}{\tau}(v_{t-1} - v_{rest}) + x_t

    with :math:`v_{rest}` = ``v_reset``, or 0 when that is ``None``. Fire and reset as in
    :class:`~spikeloom.neuron.BaseNode`.

    Args:
        tau: membrane time constant, in time steps; greater than 1; a number, a tensor (kept as a buffer) or
            an ``nn.Parameter``.
        decay_input: whether the input is divided by ``tau`` too.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq, old: as for
            :class:`~spikeloom.neuron.BaseNode`.
        leak_after_reset: leak at the end of a step instead of at its start, as in ``v = v * (1 - spike) *
            decay`` with ``decay = 1 - 1 / tau``. The spikes are the same but for rounding; ``v`` is then the
            potential after its leak.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
    Raises:
        ValueError: ``tau`` is not greater than 1.
    Differs from: snnTorch's ``Leaky`` (fires on ``>``, resets one step later, does not scale its input by
    1/tau).
    Source: Gerstner & Kistler, Spiking Neuron Models, 2002, sec. 4.1.
    Example:
        >>> import torch
        >>> neuron = LIFNode(tau=2.0)
        >>> neuron(torch.full([1], 3.0)), neuron.v
        (tensor([1.]), tensor([0.]))
    """

    def __init__(
        self,
        tau: float | Tensor = 2.0,
        decay_input: bool = True,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
        leak_after_reset: bool = False,
        **old: Any,
    ):
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq, **old
        )
        self.add_setting("tau", checked_tau(tau))
        self.decay_input = decay_input
        self.leak_after_reset = leak_after_reset

    def neuronal_charge(self, x: Tensor) -> None:
        if self.leak_after_reset:
            self.v = self.v + (x / self.tau if self.decay_input else x)
        else:
            self.v = leaky_charge(self.v, x, self.tau, self.rest, self.decay_input)

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        if self.leak_after_reset:
            self.v = (self.v - self.rest) * (1.0 - 1.0 / self.tau) + self.rest


class SimpleLIFNode(SimpleBaseNode):
    """:class:`LIFNode` with the arguments of :class:`~spikeloom.neuron.SimpleBaseNode`; it starts at 0.

    Args:
        tau, decay_input: as for :class:`LIFNode`; both must be given.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Example:
        >>> import torch
        >>> neuron = SimpleLIFNode(tau=2.0, decay_input=False, step_mode="m")
        >>> neuron(torch.full([3, 1], 0.6)).flatten().tolist()
        [0.0, 0.0, 1.0]
    """

    def __init__(
        self,
        tau: float | Tensor,
        decay_input: bool,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
    ):
        super().__init__(v_threshold, v_reset, surrogate_function, detach_reset, step_mode)
        self.add_setting("tau", checked_tau(tau))
        self.decay_input = decay_input

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = leaky_charge(self.v, x, self.tau, self.rest, self.decay_input)


def leaky_charge(v: Tensor, x: Tensor, tau: Any, rest: float, decay_input: bool) -> Tensor:
    """The potential after one step of leak towards ``rest`` and of input; equations in :class:`LIFNode`."""
    if decay_input:
        return v + (x - (v - rest)) / tau
    return v - (v - rest) / tau + x


def checked_tau(tau: Any) -> Any:
    """``tau`` itself, if it is a time constant: greater than 1, everywhere if it is a tensor."""
    return checked_above("tau", tau, 1.0)
