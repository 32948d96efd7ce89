"""Linear layers: the usual one, and what reshapes around it."""

from torch import Tensor, nn

from spikeloom.errors import ShapeError, describe
from spikeloom.layer.time_wise import TimeWise


class Linear(TimeWise, nn.Linear, shapes=("* C",)):
    """Linear map of the last dimension, the same in both step modes."""

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        input = self._readable(input)
        if input.shape[-1] != self.in_features:
            cure = "Reshape it, or make the layer with another `in_features`."
            if self.step_mode == "s":
                cure = "It is in single-step mode: for a sequence, call functional.set_step_mode(net, 'm')."
            raise ShapeError(
                f"{describe(self)} expects [*, {self.in_features}], got {list(input.shape)}. {cure}"
            )
        return nn.functional.linear(input, self._weight(), self.bias)

    def _weight(self) -> Tensor:
        """The weight as it acts."""
        return self.weight


class Flatten(TimeWise, nn.Flatten, shapes=("N *",)):
    """Flatten from ``start_dim`` to ``end_dim``; in multi-step mode they are counted without time."""

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        shift = 1 if self.step_mode == "m" else 0
        if shift and -input.dim() in (self.start_dim, self.end_dim):
            raise ShapeError(
                f"{describe(self)} must leave time as it is, but {-input.dim()} is the dimension of time in "
                f"{list(input.shape)}. Count from 0, the batch, or choose a later dimension."
            )
        start, end = (dim + shift if dim >= 0 else dim for dim in (self.start_dim, self.end_dim))
        return input.flatten(start, end)
