"""Quadratic integrate-and-fire: the potential runs away beyond a critical value."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from spikeloom.checks import checked_positive
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.leaky import checked_tau


class QIFNode(BaseNode):
    r"""Quadratic integrate-and-fire neuron.

    .. math:: h_t = v_{t-1} + \tfrac{1}{\tau}(x_t + a_0 (v_{t-1} - v_{rest})(v_{t-1} - v_c))

    Without input the potential stays at :math:`v_{rest}`, which attracts, and at :math:`v_c`, which repels.

    Args:
        tau: membrane time constant, in time steps; greater than 1; a number, a tensor (kept as a buffer) or
            an ``nn.Parameter``, like the next two.
        v_c: critical potential, beyond which the neuron fires by itself.
        a0: curvature; greater than 0.
        v_threshold: as for :class:`~spikeloom.neuron.BaseNode`.
        v_rest: resting potential.
        v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`. With soft reset, an input far above the threshold leaves a
            potential that grows as a square, to infinity.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
    Raises:
        ValueError: ``tau`` is not greater than 1, or ``a0`` not greater than 0.
    Source: Gerstner et al., Neuronal Dynamics, 2014, sec. 5.3.
    Example:
        >>> import torch
        >>> neuron = QIFNode(v_reset=0.0, step_mode="m", store_v_seq=True)
        >>> neuron(torch.tensor([1.0, 0.0, 0.0])), neuron.v_seq
        (tensor([0., 0., 0.]), tensor([0.5000, 0.4250, 0.3453]))
    """

    def __init__(
        self,
        tau: float | Tensor = 2.0,
        v_c: float | Tensor = 0.8,
        a0: float | Tensor = 1.0,
        v_threshold: float | Tensor = 1.0,
        v_rest: float | Tensor = 0.0,
        v_reset: float | None = -0.1,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.add_setting("tau", checked_tau(tau))
        self.add_setting("v_c", v_c)
        self.add_setting("a0", checked_positive("a0", a0))
        self.add_setting("v_rest", v_rest)

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = self.v + (x + quadratic(self.v, self.a0, self.v_rest, self.v_c)) / self.tau


def quadratic(v: Tensor, a0: Any, v_rest: Any, v_c: Any) -> Tensor:
    """The drift ``a0 (v - v_rest) (v - v_c)``."""
    return (v - v_rest) * (v - v_c) * a0
