"""Izhikevich's neuron: a quadratic upswing and a recovery variable, without units and in millivolts."""

from collections.abc import Callable

from torch import Tensor

from spikeloom.checks import checked_number, checked_positive
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.quadratic import QIFNode, quadratic


class IzhikevichNode(QIFNode):
    r"""Izhikevich's neuron without units: :class:`~spikeloom.neuron.QIFNode` with a recovery current.

    .. math:: h_t = v_{t-1} + \tfrac{1}{\tau}(x_t + a_0 (v_{t-1} - v_{rest})(v_{t-1} - v_c) - w_{t-1}),\\
              w_t = w_{t-1} + \tfrac{1}{\tau_w}(a (h_t - v_{rest}) - w_{t-1}) + b s_t

    The current follows the new potential, before its reset.

    Args:
        tau, v_c, a0, v_threshold, v_reset, v_rest: as for :class:`~spikeloom.neuron.QIFNode`.
        w_rest: current at the start.
        tau_w: time constant of the current, in time steps; greater than 0; a number, a tensor (kept as a
            buffer) or an ``nn.Parameter``, like the next two.
        a: how strongly the current follows the potential.
        b: jump of the current at a spike. With ``a`` and ``b`` of 0, as by default, the current stays 0, and
            the neuron is a :class:`~spikeloom.neuron.QIFNode`.
        surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`. ``detach_reset`` leaves the gradient through ``w`` as it is.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``w``: ``[N, *]``.
    Raises:
        ValueError: ``tau`` is not greater than 1, or ``a0`` or ``tau_w`` not greater than 0.
    Differs from: :class:`BiologicalIzhikevichNode`, the published equations with units.
    Source: Izhikevich, Simple model of spiking neurons, IEEE Trans. Neural Netw. 14(6), 2003, in the form of
        Gerstner et al., Neuronal Dynamics, 2014, sec. 6.1.
    Example:
        >>> import torch
        >>> neuron = IzhikevichNode(a=0.3, b=0.5, step_mode="m")
        >>> neuron(torch.tensor([0.6, 1.2, 2.5, 0.1, 3.0])), neuron.w
        (tensor([0., 0., 1., 0., 1.]), tensor(0.8709))
    """

    def __init__(
        self,
        tau: float | Tensor = 2.0,
        v_c: float | Tensor = 0.8,
        a0: float | Tensor = 1.0,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = 0.0,
        v_rest: float | Tensor = -0.1,
        w_rest: float = 0.0,
        tau_w: float | Tensor = 2.0,
        a: float | Tensor = 0.0,
        b: float | Tensor = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        common = (surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        super().__init__(tau, v_c, a0, v_threshold, v_rest, v_reset, *common)
        self.add_setting("tau_w", checked_positive("tau_w", tau_w))
        self.add_setting("a", a)
        self.add_setting("b", b)
        self.register_memory("w", checked_number("w_rest", w_rest))

    def neuronal_charge(self, x: Tensor) -> None:
        drift = quadratic(self.v, self.a0, self.v_rest, self.v_c)
        self.v = self.v + (x + drift - self.w) / self.tau
        self.w = self.w + ((self.v - self.v_rest) * self.a - self.w) / self.tau_w

    def neuronal_reset(self, spike: Tensor) -> None:
        self.w = self.w + spike * self.b
        super().neuronal_reset(spike)


class BiologicalIzhikevichNode(BaseNode):
    r"""Izhikevich's neuron as published, in millivolts and milliseconds.

    .. math:: h_t = v_{t-1} + dt\,(0.04 v_{t-1}^2 + 5 v_{t-1} + 140 - u_{t-1} + x_t),\quad
              u'_t = u_{t-1} + dt\,a (b h_t - u_{t-1}),\\
              s_t = \Theta(h_t - v_{th}),\quad v_t = h_t (1 - s_t) + c s_t,\quad u_t = u'_t + d s_t

    One Euler step per time step, of the potential first and then of the recovery, as in the published
    program. The defaults make a regular spiking cell. It starts at ``v = c``, ``u = b c``.

    Args:
        a: rate of the recovery, per ms; a number, a tensor (kept as a buffer) or an ``nn.Parameter``, like
            ``d``.
        b: how strongly the recovery follows the potential, per ms; a number.
        c: potential after a spike, and at the start, in mV; a number.
        d: jump of the recovery at a spike.
        dt: length of a time step, in ms; greater than 0. From about 1 ms on, the upswing is inaccurate.
        v_threshold: peak of a spike, in mV.
        surrogate_function: as for :class:`~spikeloom.neuron.BaseNode`. To train, take a curve as wide as the
            potential's range in mV: ``surrogate.Sigmoid(alpha=0.1)``.
        detach_reset, step_mode, backend, store_v_seq: as for :class:`~spikeloom.neuron.BaseNode`.
            ``detach_reset`` leaves the gradient through ``u`` as it is.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step), the current as in the source (10 makes a
        regular spiking cell fire); output the same, values in {0, 1}. Memories ``v``, ``u``: ``[N, *]``.
    Raises:
        ValueError: ``dt`` is not greater than 0.
    Differs from: the published program, which takes two half steps of the potential per ms; and its spikes
        reach any height, which here is told as one spike too.
    Source: Izhikevich, Simple model of spiking neurons, IEEE Trans. Neural Netw. 14(6), 2003.
    Example:
        >>> import torch
        >>> neuron = BiologicalIzhikevichNode(dt=0.5, step_mode="m")
        >>> times = neuron(torch.full([400], 10.0)).nonzero().flatten() * 0.5
        >>> times.tolist()
        [3.5, 29.5, 76.0, 122.5, 169.5]
    """

    def __init__(
        self,
        a: float | Tensor = 0.02,
        b: float = 0.2,
        c: float = -65.0,
        d: float | Tensor = 8.0,
        dt: float = 0.5,
        v_threshold: float | Tensor = 30.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        c = checked_number("c", c)
        super().__init__(v_threshold, c, surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        self.add_setting("a", a)
        self.b = checked_number("b", b)
        self.add_setting("d", d)
        self.dt = checked_positive("dt", checked_number("dt", dt))
        self.register_memory("u", self.b * c)

    def neuronal_charge(self, x: Tensor) -> None:
        slope = self.v * self.v * 0.04 + self.v * 5.0 + 140.0 - self.u + x
        self.v = self.v + slope * self.dt
        self.u = self.u + (self.v * self.b - self.u) * self.a * self.dt

    def neuronal_reset(self, spike: Tensor) -> None:
        self.u = self.u + spike * self.d
        super().neuronal_reset(spike)
