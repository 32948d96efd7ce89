"""Phase coding: the binary digits of a value, the heaviest first."""

from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.encoding.stateful import StatefulEncoder
from spikeloom.encoding.values import check_range

MOST_PHASES = 53  # bits in the significand of a float64: more would be noise, and 1 - 2^-K would round to 1


class WeightedPhaseEncoder(StatefulEncoder):
    r"""The first K binary digits of each value, one per time step.

    .. math:: \sum_{t=0}^{K-1} s_t\, 2^{-(t+1)} = 2^{-K} \lfloor 2^K x \rfloor

    Args:
        K: number of phases, the time steps of the code; 1 to 53.
        step_mode: as for :class:`StatefulEncoder`, like shapes and memories.
    Raises:
        ValueError: a value of the input is outside [0, 1 - 2^-K] or NaN; ``K`` is out of range.
    Source: Kim et al., Deep neural networks with weighted spikes, Neurocomputing 311, 2018.
    Example:
        >>> import torch
        >>> WeightedPhaseEncoder(K=4).encode(torch.tensor([0.25, 0.6])).T
        tensor([[0., 1., 0., 0.],
                [1., 0., 0., 1.]])
    """

    def __init__(self, K: int, step_mode: str = "s"):
        super().__init__(checked_count("K", K, most=MOST_PHASES), step_mode)
        self.K = K

    def code(self, x: Tensor) -> Tensor:
        check_range(x, 1.0 - 2.0**-self.K, "Scale values that reach 1 by 1 - 2 ** -K.")
        digits, rest = x.new_empty(self.K, *x.shape), x.detach().clone()
        for digit in digits:  # to double a number, and to take off its whole part, rounds nothing
            rest -= digit.copy_(rest.mul_(2)).floor_()
        return digits

    def extra_repr(self) -> str:
        return f"K={self.K}, step_mode={self.step_mode!r}"
