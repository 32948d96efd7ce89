"""I-LIF: several spikes in one time step, as an integer."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from spikeloom import surrogate
from spikeloom.checks import checked_positive
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.leaky import checked_tau, leaky_charge


class ILIFNode(BaseNode):
    r"""Integer leaky integrate-and-fire neuron: it trains with spike counts.

    .. math:: h_t = (1 - \tfrac{1}{\tau}) v_{t-1} + x_t,\quad
              s_t = \min(\max(\operatorname{round}(h_t / v_{th}), 0), D),\quad v_t = h_t - v_{th} s_t

    A count of ``s`` stands for ``s`` spikes within one time step: a following linear layer computes the same
    from ``D`` binary steps. Halves are rounded to the even neighbour.

    Args:
        tau: membrane time constant, in time steps; greater than 1; a number, a tensor (kept as a buffer) or
            an ``nn.Parameter``. The default keeps a quarter of the potential, as the source does.
        v_threshold: potential that one spike stands for; greater than 0; otherwise as for
            :class:`~spikeloom.neuron.BaseNode`.
        surrogate_function: what rounds; default ``surrogate.MultiLevelSpikeCount(4)``, so ``D`` = 4, whose
            gradient is 1 for :math:`0 \le h_t / v_{th} \le D`.
        detach_reset, step_mode, backend, store_v_seq: as for :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1, ...,
        D}.
    Raises:
        ValueError: ``tau`` is not greater than 1, or ``v_threshold`` not greater than 0.
    Source: Luo et al., Integer-valued training and spike-driven inference spiking neural network for
        high-performance and energy-efficient object detection, ECCV 2024.
    Example:
        >>> import torch
        >>> neuron = ILIFNode(step_mode="m", store_v_seq=True)
        >>> neuron(torch.tensor([0.6, 2.5, 9.0])), neuron.v_seq
        (tensor([1., 2., 4.]), tensor([-0.4000,  0.4000,  5.1000]))
    """

    default_surrogate = partial(surrogate.MultiLevelSpikeCount, 4)

    def __init__(
        self,
        tau: float | Tensor = 4 / 3,
        v_threshold: float | Tensor = 1.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        v_threshold = checked_positive("v_threshold", v_threshold)
        super().__init__(v_threshold, None, surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        self.add_setting("tau", checked_tau(tau))

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = leaky_charge(self.v, x, self.tau, 0.0, decay_input=False)

    def neuronal_fire(self) -> Tensor:
        return self.surrogate_function(self.v / self.v_threshold)
