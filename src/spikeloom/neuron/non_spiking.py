"""Neurons that only integrate: their output is the membrane potential, to read a value out of a network."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from spikeloom.errors import describe
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.leaky import checked_tau, leaky_charge

_DECODERS: dict[str, Callable[[Tensor], Tensor]] = {
    "max-mem": lambda v_seq: v_seq.amax(0),
    "max-abs-mem": lambda v_seq: v_seq.gather(0, v_seq.abs().argmax(0, keepdim=True)).squeeze(0),
    "mean-mem": lambda v_seq: v_seq.mean(0),
    "last-mem": lambda v_seq: v_seq[-1],
}


class NonSpikingBaseNode(BaseNode):
    """A neuron that never fires: each step returns its potential; a sequence may be decoded into one value.

    Args:
        decode: what a sequence is reduced to, in multi-step mode only: ``'max-mem'``, ``'max-abs-mem'`` (the
            potential of largest magnitude, with its sign), ``'mean-mem'``, ``'last-mem'``, or ``None`` for
            every step's potential.
        step_mode: as for :class:`~spikeloom.neuron.BaseNode`; default: ``'m'`` with ``decode``, else ``'s'``.
        backend: as for :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step), output the same; or input ``[T, N, *]`` (multi-step), output ``[N,
        *]``, or ``[T, N, *]`` with ``decode=None``.
    Raises:
        ValueError: ``decode`` is unknown, or a step is run by itself.
    Differs from: SpikingJelly 2.0's, which takes sequences without ``decode`` too, and begins each at 0: here
        give ``step_mode='m'``, and the potential is kept until a reset.
    """

    def __init__(self, decode: str | None = None, step_mode: str | None = None, backend: str = "auto"):
        super().__init__(step_mode=step_mode or ("m" if decode else "s"), backend=backend)
        decode = decode.replace("_", "-") if decode else None
        if decode is not None and decode not in _DECODERS:
            raise ValueError(f"`decode` must be None or one of {list(_DECODERS)}, got {decode!r}.")
        self.decode = decode

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.decode and self.step_mode == "s":
            raise ValueError(
                f"`decode` of {describe(self)} must be None in single-step mode, got {self.decode!r}, which "
                "reduces a sequence. Call functional.set_step_mode(net, 'm')."
            )
        return super().forward(*args, **kwargs)

    def neuronal_fire(self) -> Tensor:
        return self.v

    def neuronal_reset(self, spike: Tensor) -> None:
        """Nothing fires, so nothing is reset."""

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        v_seq = super().multi_step_forward(x_seq)
        return v_seq if self.decode is None else _DECODERS[self.decode](v_seq)


class NonSpikingIFNode(NonSpikingBaseNode):
    r"""Integrator without a threshold: :math:`v_t = v_{t-1} + x_t`.

    Args:
        decode, step_mode, backend: as for :class:`NonSpikingBaseNode`.
    Shape:
        as :class:`NonSpikingBaseNode`.
    Example:
        >>> import torch
        >>> NonSpikingIFNode("last-mem", step_mode="m")(torch.ones(5, 2))
        tensor([5., 5.])
    """

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = self.v + x


class NonSpikingLIFNode(NonSpikingBaseNode):
    r"""Leaky integrator without a threshold: :math:`v_t = v_{t-1} + \tfrac{1}{\tau}(x_t - v_{t-1})`.

    Args:
        tau: membrane time constant, in time steps; greater than 1.
        decode, step_mode, backend: as for :class:`NonSpikingBaseNode`.
    Shape:
        as :class:`NonSpikingBaseNode`.
    Raises:
        ValueError: ``tau`` is not greater than 1.
    Example:
        >>> import torch
        >>> NonSpikingLIFNode(2.0, step_mode="m")(torch.ones(3, 1)).flatten().tolist()
        [0.5, 0.75, 0.875]
    """

    def __init__(
        self,
        tau: float | Tensor = 2.0,
        decode: str | None = None,
        step_mode: str | None = None,
        backend: str = "auto",
    ):
        super().__init__(decode, step_mode, backend)
        self.add_setting("tau", checked_tau(tau))

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = leaky_charge(self.v, x, self.tau, 0.0, decay_input=True)
