"""Resonate-and-fire: a potential that swings, and answers best to inputs in its own rhythm."""

from collections.abc import Callable

from torch import Tensor

from spikeloom.checks import checked_positive
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.setting import function


class ResonateAndFireNode(BaseNode):
    r"""Resonate-and-fire neuron, its complex state written as a real pair :math:`z = u + i v`.

    .. math:: z'_t = e^{(b + i\omega)\,dt} z_{t-1} + x_t,\quad\text{that is}\\
              u_t = e^{b\,dt}(u_{t-1}\cos\omega\,dt - v_{t-1}\sin\omega\,dt) + x_t,\quad
              h_t = e^{b\,dt}(u_{t-1}\sin\omega\,dt + v_{t-1}\cos\omega\,dt)

    It fires on the potential ``v``, the imaginary part, and resets that; the current-like ``u`` goes on. So
    an input acts on the potential one step later.

    Args:
        b: damping, per unit of time; less than 0 to decay; a number, a tensor (kept as a buffer) or an
            ``nn.Parameter``, like the next.
        omega: angular frequency, in radians per unit of time; the period is ``2 pi / (omega dt)`` steps.
        dt: length of a time step; greater than 0.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``u``: ``[N, *]``.
    Raises:
        ValueError: ``dt`` is not greater than 0.
    Differs from: the source, whose spike sets :math:`z` to :math:`i`.
    Source: Izhikevich, Resonate-and-fire neurons, Neural Networks 14, 2001.
    Example:
        >>> import torch
        >>> neuron = ResonateAndFireNode(b=0.0, omega=torch.pi / 2, step_mode="m", store_v_seq=True)
        >>> _ = neuron(torch.tensor([0.5, 0.0, 0.0, 0.0, 0.0, 0.0]))
        >>> [round(v, 6) for v in neuron.v_seq[1::2].tolist()]
        [0.5, -0.5, 0.5]
    """

    def __init__(
        self,
        b: float | Tensor = -0.2,
        omega: float | Tensor = 1.0,
        dt: float = 1.0,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.add_setting("b", b)
        self.add_setting("omega", omega)
        self.add_setting("dt", checked_positive("dt", dt))
        self.register_memory("u", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        decay, angle = function("exp", self.b * self.dt), self.omega * self.dt
        across, up = decay * function("cos", angle), decay * function("sin", angle)
        u = self.u
        self.u = u * across - self.v * up + x
        self.v = u * up + self.v * across
