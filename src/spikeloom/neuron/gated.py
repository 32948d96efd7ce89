"""GLIF: learned gates choose between two leaks, two ways to integrate, and two resets."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_range
from spikeloom.neuron.base import BaseNode


class GLIFNode(BaseNode):
    r"""Gated leaky integrate-and-fire neuron: a learned mixture of neurons.

    .. math:: h_t = v_{t-1} - (1-\alpha)\, l + (1 - \beta (1 - g))\, x_t,\quad s_t = \Theta(h_t - v_{th}),\\
              v_t = (1 - \alpha(1-\tau))\, h_t\, (1 - \gamma s_t) - (1-\gamma)\, v_{sub}\, s_t

    The gate :math:`\alpha` is 1 for an exponential leak by the factor :math:`\tau` and 0 for a linear one by
    :math:`l`; :math:`\beta` is 1 for an input scaled by the conductance :math:`g` and 0 for the plain input;
    :math:`\gamma` is 1 for a hard reset to 0 and 0 for a soft one by :math:`v_{sub}`. The leak stands at the
    end of a step, so ``v`` is the potential after reset and leak; the source's, before both, is
    :math:`h_t`.

    Each of the eight is the logistic of a learned parameter ``w_<name>``, so it stays between 0 and 1; one
    that is given as exactly 0 or 1 is fixed there and has no parameter.

    Args:
        alpha, beta, gamma: where the gates start, in [0, 1].
        tau: where the factor of the exponential leak starts, in [0, 1].
        v_threshold: where the threshold starts, in (0, 1].
        linear_decay: where the linear leak :math:`l` starts, in [0, 1]; the source takes
            :math:`v_{th} / (2T)`, which the default is for 4 time steps.
        v_subreset: where :math:`v_{sub}` starts, in [0, 1]; the source takes :math:`v_{th}`.
        conduct: where the conductance :math:`g` starts, in [0, 1].
        shape: shape of each parameter; broadcasts against the input, as ``(channels, 1, 1)``, which is the
            source's choice for images; the default is one for the layer.
        surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Parameters: ``shape`` each.
    Raises:
        TypeError, ValueError: a start is no number or outside [0, 1], or ``v_threshold`` is 0.
    Differs from: the authors' code and SpikingJelly's ``GatedLIFNode``, whose conductance differs from step
        to step and so needs ``T``, and whose gates start at random.
    Source: Yao et al., GLIF: a unified gated leaky integrate-and-fire neuron for spiking neural networks,
        NeurIPS 2022.
    Example:
        >>> lif = GLIFNode(alpha=1.0, beta=0.0, gamma=1.0, tau=0.5, v_threshold=1.0)
        >>> lif(torch.tensor([0.5, 2.0])).tolist(), lif.v.tolist()
        ([0.0, 1.0], [0.25, 0.0])
        >>> len(list(GLIFNode().parameters()))
        8
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        gamma: float = 0.5,
        tau: float = 0.25,
        v_threshold: float = 0.5,
        linear_decay: float = 0.0625,
        v_subreset: float = 0.5,
        conduct: float = 0.5,
        shape: int | tuple[int, ...] = (),
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        self._shape = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        _refuse_tensor("v_threshold", v_threshold)  # which would become a buffer
        super().__init__(v_threshold, None, surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        starts = {"alpha": alpha, "beta": beta, "gamma": gamma, "tau": tau, "conduct": conduct}
        starts |= {"linear_decay": linear_decay, "v_subreset": v_subreset}
        for name, start in starts.items():
            self._add(name, start)

    @property
    def v_threshold(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The threshold as it acts; setting it starts its parameter anew."""
        return self.value("v_threshold")

    @v_threshold.setter
    def v_threshold(self, start: float) -> None:
        if start == 0:
            raise ValueError("`v_threshold` must be greater than 0, got 0.")
        self._add("v_threshold", start)

    def _add(self, name: str, start: float) -> None:
        _refuse_tensor(name, start)
        start = torch.tensor(checked_range(name, start, 0.0, 1.0)).item()  # as a parameter rounds it
        fixed = start in (0.0, 1.0)
        logit = torch.full(self._shape, start).logit()
        self._parameters.pop(f"w_{name}", None)
        setattr(self, f"w_{name}", start if fixed else nn.Parameter(logit))

    def value(self, name: str) -> Any:
        """A gate or constant as it acts, between 0 and 1: a number if it is fixed, else a tensor."""
        start = getattr(self, f"w_{name}")
        return start.sigmoid() if isinstance(start, Tensor) else start

    def neuronal_charge(self, x: Tensor) -> None:
        scale = 1.0 - self.value("beta") * (1.0 - self.value("conduct"))
        self.v = self.v + x * scale - (1.0 - self.value("alpha")) * self.value("linear_decay")

    def neuronal_reset(self, spike: Tensor) -> None:
        if self.detach_reset:
            spike = spike.detach()
        gamma = self.value("gamma")
        leak = 1.0 - self.value("alpha") * (1.0 - self.value("tau"))
        self.v = self.v * leak * (1.0 - spike * gamma) - spike * ((1.0 - gamma) * self.value("v_subreset"))

    def extra_repr(self) -> str:
        return f"shape={self._shape}, step_mode={self.step_mode}"


def _refuse_tensor(name: str, start: Any) -> None:
    if isinstance(start, Tensor):
        raise TypeError(f"`{name}` must be a number; `shape` makes it many. Got a tensor.")
