"""Linear layers: the usual one, and what reshapes around it."""

from torch import Tensor, nn

from spikeloom.layer.time_wise import TimeWise


class Linear(TimeWise, nn.Linear, shapes=("* C",)):
    """Linear map of the last dimension, the same in both step modes."""

    def forward(self, input: Tensor) -> Tensor:
        input = self._readable(input)
        self._check(input)
        return nn.Linear.forward(self, input)


class Flatten(TimeWise, nn.Flatten, shapes=("N *",)):
    """Flatten from ``start_dim`` to ``end_dim``; in multi-step mode they are counted without time."""

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        shift = 1 if self.step_mode == "m" else 0
        start, end = (dim + shift if dim >= 0 else dim for dim in (self.start_dim, self.end_dim))
        return input.flatten(start, end)
