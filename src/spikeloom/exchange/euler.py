"""Neurons whose every number is one neuron's own, as NIR describes them, in steps of Euler's method."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from spikeloom.neuron import BaseNode, NonSpikingBaseNode

Number = float | Tensor
"""The same for all neurons, or one for each: a tensor of the shape of a sample's input."""


class _Euler(BaseNode):
    """What the neurons below share: a leaky potential, which a current may drive that decays too."""

    leak: Any
    gain: Any
    v_leak: Any
    current_leak: Any
    current_gain: Any
    current: Any

    def add_numbers(
        self, leak: Number, gain: Number, v_leak: Number, current_leak: Number | None, current_gain: Number
    ) -> None:
        """Set what the potential, and the current unless ``current_leak`` is ``None``, are computed with."""
        self.add_setting("leak", leak)
        self.add_setting("gain", gain)
        self.add_setting("v_leak", v_leak)
        self.has_current = current_leak is not None
        if current_leak is not None:
            self.add_setting("current_leak", current_leak)
            self.add_setting("current_gain", current_gain)
            self.register_memory("current", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        if self.has_current:
            self.current = self.current - self.current_leak * self.current + self.current_gain * x
            x = self.current
        self.v = self.v + self.leak * (self.v_leak - self.v) + self.gain * x


class EulerNode(_Euler):
    r"""Integrate-and-fire neurons, leaky or not, with a synaptic current or without, each with its own
    numbers.

    .. math:: i_t = i_{t-1} - a\, i_{t-1} + b\, x_t,\qquad
              h_t = v_{t-1} + l\,(v_{leak} - v_{t-1}) + g\, i_t

    Without a current, :math:`i_t = x_t`. With a time constant :math:`\tau`, a resistance :math:`R` and steps
    of :math:`dt` seconds, :math:`l = dt / \tau` and :math:`g = R\, dt / \tau`. The potential starts at
    ``v_reset`` where that is one number, else at 0.

    Args:
        leak: :math:`l`, from 0 to 1; here and below a number, or a tensor with one for each neuron (kept as a
            buffer).
        gain: :math:`g`.
        v_leak: the potential that the neuron leaks to.
        v_threshold: firing threshold.
        v_reset: potential after a spike; ``None`` subtracts the threshold instead.
        current_leak, current_gain: :math:`a` and :math:`b`; ``current_leak=None`` for no current.
        surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
    Source: Pedersen et al., Neuromorphic intermediate representation: a unified instruction set for
        interoperable brain-inspired computing, Nat. Commun. 15, 2024.
    Example:
        >>> import torch
        >>> node = EulerNode(leak=0.0, gain=torch.tensor([0.5, 1.0]), step_mode="m")
        >>> node(torch.ones(2, 1, 2))[:, 0].tolist()
        [[0.0, 1.0], [1.0, 1.0]]
    """

    v_after_spike: Any

    def __init__(
        self,
        leak: Number,
        gain: Number,
        v_leak: Number = 0.0,
        v_threshold: Number = 1.0,
        v_reset: Number | None = 0.0,
        current_leak: Number | None = None,
        current_gain: Number = 1.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        start = 0.0 if isinstance(v_reset, Tensor) else v_reset
        super().__init__(
            v_threshold, start, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.add_numbers(leak, gain, v_leak, current_leak, current_gain)
        if v_reset is not None:
            self.add_setting("v_after_spike", v_reset)

    def neuronal_reset(self, spike: Tensor) -> None:
        if self.v_reset is None:
            super().neuronal_reset(spike)
            return
        if self.detach_reset:
            spike = spike.detach()
        self.v = (1.0 - spike) * self.v + spike * self.v_after_spike


class EulerIntegrator(NonSpikingBaseNode, _Euler):
    """:class:`EulerNode` without a threshold: each step returns the potential, which starts at 0.

    Args:
        leak, gain, v_leak, current_leak, current_gain: as for :class:`EulerNode`.
        step_mode, backend: as for :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same.
    Example:
        >>> import torch
        >>> EulerIntegrator(leak=0.5, gain=1.0, step_mode="m")(torch.ones(3, 1)).flatten().tolist()
        [1.0, 1.5, 1.75]
    """

    def __init__(
        self,
        leak: Number,
        gain: Number,
        v_leak: Number = 0.0,
        current_leak: Number | None = None,
        current_gain: Number = 1.0,
        step_mode: str = "s",
        backend: str = "auto",
    ):
        super().__init__(step_mode=step_mode, backend=backend)
        self.add_numbers(leak, gain, v_leak, current_leak, current_gain)


class ThresholdNode(BaseNode):
    """Fires where its input reaches the threshold, and remembers nothing.

    Args:
        v_threshold: a number, or a tensor with one for each neuron.
        surrogate_function, step_mode, backend: as for :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
    Example:
        >>> import torch
        >>> ThresholdNode(0.5, step_mode="m")(torch.tensor([0.4, 0.5]))
        tensor([0., 1.])
    """

    def __init__(
        self,
        v_threshold: Number,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        step_mode: str = "s",
        backend: str = "auto",
    ):
        super().__init__(
            v_threshold, surrogate_function=surrogate_function, step_mode=step_mode, backend=backend
        )

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = x

    def neuronal_reset(self, spike: Tensor) -> None:
        """Nothing is remembered, so nothing is reset."""
