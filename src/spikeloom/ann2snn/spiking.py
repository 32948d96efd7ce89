"""What stands in a converted network where the ANN had an activation function or maximum pooling.

Both take all time steps folded into the batch, ``[T * N, *]``, as the layers around them do.
"""

import torch
from torch import Tensor, nn

from spikeloom.memory import MemoryModule
from spikeloom.neuron import IFNode


class SpikingActivation(nn.Module):
    r"""Integrate-and-fire neurons whose spikes have the height of their threshold.

    .. math:: h_t = v_{t-1} + x_t + b,\quad s_t = \Theta(h_t - \lambda),\quad v_t = h_t - \lambda s_t,\quad
              y_t = \lambda s_t

    The mean of :math:`y` over time approaches the activation of a ReLU, up to :math:`\lambda`. So the weights
    stay as they are, and what is added behind the neurons has the right scale.

    Args:
        threshold: :math:`\lambda`.
        initial: potential at the start, as a part of the threshold; half of it rounds the number of spikes
            instead of rounding it down.
    Shape:
        input and output ``[T * N, *]``.
    Source: as for :func:`convert`.
    Example:
        >>> layer = SpikingActivation(2.0, initial=0.5)
        >>> layer(torch.full([4, 1], 1.0), num_steps=4).flatten().tolist()
        [2.0, 0.0, 2.0, 0.0]
    """

    initial: Tensor
    shift: Tensor | None

    def __init__(self, threshold: float, initial: float):
        super().__init__()
        value = torch.tensor(float(threshold))
        self.node = IFNode(v_threshold=value, v_reset=None, step_mode="m")
        self.register_buffer("initial", initial * value)
        self.register_buffer("shift", None)  # the b above, from calibration

    def forward(self, x: Tensor, num_steps: int = 1) -> Tensor:
        if self.shift is not None:
            x = x + self.shift
        if not isinstance(self.node.v, Tensor):  # the first step since a reset
            self.start_memories()
        spikes = self.node(_over_time(x, num_steps))
        return (spikes * self.node.v_threshold).flatten(0, 1)

    def _load_from_state_dict(self, state_dict, prefix, *args):  # pyright: ignore[reportIncompatibleMethodOverride]
        initial, shift = (state_dict.get(prefix + name) for name in ("initial", "shift"))
        if initial is not None:  # calibration gives it another shape
            self.initial = self.initial.new_zeros(initial.shape)
            self.shift = None if shift is None else self.initial.new_zeros(shift.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def start_memories(self) -> None:
        """Set the potential to what it starts from: a buffer, which is calibrated, saved and moved."""
        self.node.v = self.initial

    def extra_repr(self) -> str:
        return "calibrated" if self.shift is not None or self.initial.dim() else ""


class SpikingMaxPool(MemoryModule):
    r"""Maximum pooling of what has come so far, passed on as it grows.

    .. math:: A_t = A_{t-1} + x_t,\quad y_t = \mathrm{pool}(A_t) - \mathrm{pool}(A_{t-1})

    The largest spike of a step would be the wrong answer: two neurons that fire in turn, at half the rate,
    would come out as one that always fires. Here the sum over time is at each step exactly the maximum of the
    sums. If the inputs are spikes of one height, so are the outputs: a maximum of counts grows by one spike
    or not at all.

    Args:
        pool: maximum pooling of one step, such as ``nn.MaxPool2d(2)``.
    Shape:
        input ``[T * N, C, *]``; output the same with the pooled size.
    Example:
        >>> layer = SpikingMaxPool(nn.MaxPool1d(2))
        >>> in_turn = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]])
        >>> layer(in_turn, num_steps=3).flatten().tolist()
        [1.0, 0.0, 1.0]
    """

    _step_modes = ("m",)
    total: Tensor | float
    pooled: Tensor | float

    def __init__(self, pool: nn.Module):
        super().__init__(step_mode="m")
        self.pool = pool
        self.register_memory("total", 0.0)
        self.register_memory("pooled", 0.0)

    def forward(self, x: Tensor, num_steps: int = 1) -> Tensor:
        return super().forward(_over_time(x, num_steps)).flatten(0, 1)

    def single_step_forward(self, x: Tensor) -> Tensor:
        # Not the sums of all steps at once: a convolutional network then took twice as long (2026-11-22).
        self.total = self.total + x
        pooled = self.pool(self.total)
        grown = pooled - self.pooled
        self.pooled = pooled
        return grown


def _over_time(x: Tensor, num_steps: int) -> Tensor:
    """``[T * N, *]`` as ``[T, N, *]``."""
    return x.unflatten(0, (num_steps, x.shape[0] // num_steps))
