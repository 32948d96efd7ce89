"""Balanced resonate-and-fire: a swing whose damping keeps it stable, and rises with its own spikes."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from spikeloom.checks import checked_positive, checked_range
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.setting import function

_SMALLEST = 1e-12  # of what a root is taken: at 0 it has no gradient


class BalancedResonateAndFireNode(BaseNode):
    r"""Balanced resonate-and-fire neuron (BRF), its complex state :math:`v + i u` in two memories.

    .. math:: b_t = \frac{-1 + \sqrt{1 - (\omega\,\Delta)^2}}{\Delta} - b' - q_{t-1},\\
              h_t = v_{t-1} + \Delta(b_t v_{t-1} - \omega u_{t-1} + x_t),\quad
              u_t = u_{t-1} + \Delta(\omega v_{t-1} + b_t u_{t-1}),\\
              s_t = \Theta(h_t - v_{th} - q_{t-1}),\quad v_t = h_t,\quad q_t = \gamma q_{t-1} + s_t

    The first term of the damping is the one with which Euler's method neither grows nor decays, so every
    :math:`b' > 0` decays. A spike resets nothing: it raises the threshold and the damping for a while.

    Args:
        omega: angular frequency, in radians per unit of time; a number, a tensor (kept as a buffer) or an
            ``nn.Parameter``, like the next; ``omega * dt`` must be from -1 to 1, and counts as that bound
            where learning takes it beyond.
        b_offset: the damping :math:`b'`, per unit of time; not negative.
        gamma: decay of the refractory period :math:`q` per time step, from 0 to 1.
        dt: the length of a time step, :math:`\Delta`; greater than 0.
        v_threshold, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`. With ``detach_reset`` there is no gradient through ``q``.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``u``, ``q``: ``[N, *]``.
    Raises:
        ValueError: a setting is out of its range.
    Source: Higuchi, Kairat, Bohté & Otte, Balanced resonate-and-fire neurons, ICML 2024.
    Example:
        >>> import torch
        >>> neuron = BalancedResonateAndFireNode(omega=10.0, b_offset=0.1, step_mode="m", store_v_seq=True)
        >>> _ = neuron(torch.cat([torch.tensor([50.0]), torch.zeros(199)]))
        >>> (neuron.v_seq.diff().sign().diff() != 0).nonzero().flatten().tolist()  # every 31 steps: pi / 0.1
        [30, 62, 93, 124, 156, 187]
    """

    omega: Any
    b_offset: Any
    u: Any
    q: Any

    def __init__(
        self,
        omega: float | Tensor = 7.5,
        b_offset: float | Tensor = 0.5,
        gamma: float = 0.9,
        dt: float = 0.01,
        v_threshold: float | Tensor = 1.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        super().__init__(v_threshold, 0.0, surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        self.dt = checked_positive("dt", dt)
        self.add_setting("omega", checked_range("omega", omega, -1.0 / self.dt, 1.0 / self.dt))
        self.add_setting("b_offset", checked_range("b_offset", b_offset, 0.0))
        self.gamma = checked_range("gamma", gamma, 0.0, 1.0)
        self.register_memory("u", 0.0)
        self.register_memory("q", 0.0)

    def balance(self) -> Any:
        """The damping per unit of time with which a swing neither grows nor decays."""
        turn = self.omega * self.dt
        inside = 1.0 - turn * turn
        inside = inside.clamp(min=_SMALLEST) if isinstance(inside, Tensor) else max(inside, 0.0)
        return (function("sqrt", inside) - 1.0) / self.dt

    def neuronal_charge(self, x: Tensor) -> None:
        damping = self.balance() - self.b_offset - self.q
        v, u = self.v, self.u
        self.v = v + (v * damping - u * self.omega + x) * self.dt
        self.u = u + (v * self.omega + u * damping) * self.dt

    def neuronal_fire(self) -> Tensor:
        return self.surrogate_function(self.v - self.v_threshold - self.q)

    def neuronal_reset(self, spike: Tensor) -> None:
        self.q = self.q * self.gamma + (spike.detach() if self.detach_reset else spike)
