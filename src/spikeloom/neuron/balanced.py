"""Balanced resonate-and-fire: a swing whose damping fits its frequency, and rises with its own spikes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikeloom.checks import checked_number, checked_positive, checked_range
from spikeloom.neuron.base import BaseNode

_SMALLEST = 1e-12  # of what a root is taken: at 0 it has no gradient


class BalancedResonateAndFireNode(BaseNode):
    r"""Balanced resonate-and-fire neuron (BRF), its complex state :math:`v + i u` in two memories.

    .. math:: b_t = \frac{-1 + \sqrt{1 - (\omega\,\Delta)^2}}{\Delta} - b' - q_{t-1},\\
              h_t = v_{t-1} + \Delta(b_t v_{t-1} - \omega u_{t-1} + x_t),\quad
              u_t = u_{t-1} + \Delta(\omega v_{t-1} + b_t u_{t-1}),\\
              s_t = \Theta(h_t - v_{th} - q_{t-1}),\quad v_t = h_t,\quad q_t = \gamma q_{t-1} + s_t

    With the first term of the damping alone a swing neither grows nor decays under Euler's method; with
    :math:`b' + q` it decays, as long as :math:`\Delta (b' + q) < 2 \sqrt{1 - (\omega\,\Delta)^2}`. A spike
    resets nothing: it raises the threshold and the damping for a while.

    Args:
        omega: angular frequency, in radians per unit of time; a number, a tensor (kept as a buffer) or an
            ``nn.Parameter``, like the next; ``omega * dt`` must be from -1 to 1, and acts as that bound where
            learning takes it beyond.
        b_offset: the damping :math:`b'`, per unit of time; not negative.
        gamma: decay of the refractory period :math:`q` per time step, at least 0 and less than 1.
        dt: the length of a time step, :math:`\Delta`; greater than 0.
        v_threshold, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`. With ``detach_reset`` there is no gradient through ``q``.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``u``, ``q``: ``[N, *]``.
    Raises:
        ValueError: a setting is out of its range, or a swing could grow: with a spike at every step :math:`q`
            comes to :math:`1/(1-\gamma)`.
    Source: Higuchi, Kairat, Bohté & Otte, Balanced resonate-and-fire neurons, ICML 2024.
    Example:
        >>> import torch
        >>> neuron = BalancedResonateAndFireNode(omega=10.0, b_offset=0.1, step_mode="m", store_v_seq=True)
        >>> _ = neuron(torch.cat([torch.tensor([50.0]), torch.zeros(199)]))
        >>> (neuron.v_seq.diff().sign().diff() != 0).nonzero().flatten().tolist()  # every 31 steps: pi / 0.1
        [30, 62, 93, 124, 156, 187]
    """

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
        self.dt = checked_positive("dt", checked_number("dt", dt))
        self.gamma = checked_range("gamma", checked_number("gamma", gamma), 0.0)
        self.add_setting("omega", checked_range("omega", omega, -1.0 / self.dt, 1.0 / self.dt))
        self.add_setting("b_offset", checked_range("b_offset", b_offset, 0.0))
        self.register_memory("u", 0.0)
        self.register_memory("q", 0.0)
        strongest = torch.as_tensor(self.b_offset + 1.0 / (1.0 - self.gamma)) if self.gamma < 1 else torch.inf
        if not bool(torch.as_tensor(strongest * self.dt < 2.0 * self._turn()[1]).all()):
            raise ValueError(
                f"`dt` must be short enough for the damping, dt (b_offset + 1 / (1 - gamma)) < 2 sqrt(1 - "
                f"(omega dt)^2), or a swing would grow; got dt={self.dt}, omega={omega}, "
                f"b_offset={b_offset}, gamma={self.gamma}."
            )

    def _turn(self) -> tuple[Any, Any]:
        """Sine and cosine of the angle by which a step turns the state."""
        turn = self.omega * self.dt
        if not isinstance(turn, Tensor):
            return turn, math.sqrt(max(0.0, 1.0 - turn * turn))
        turn = turn.clamp(-1.0, 1.0)
        return turn, (1.0 - turn * turn).clamp(min=_SMALLEST).sqrt()

    def neuronal_charge(self, x: Tensor) -> None:
        turn, root = self._turn()
        kept = root - (self.q + self.b_offset) * self.dt  # one more than the damping of the step
        v, u = self.v, self.u
        self.v = v * kept - u * turn + x * self.dt
        self.u = v * turn + u * kept

    def neuronal_fire(self) -> Tensor:
        return self.surrogate_function(self.v - self.v_threshold - self.q)

    def neuronal_reset(self, spike: Tensor) -> None:
        self.q = self.q * self.gamma + (spike.detach() if self.detach_reset else spike)
