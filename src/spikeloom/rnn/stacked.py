"""Recurrent layers of spiking cells above each other, in one direction of time or in both."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeloom.checks import check_tensor, checked_count, checked_range
from spikeloom.errors import ShapeError, describe
from spikeloom.rnn.cells import (
    SpikingGRUCell,
    SpikingLSTMCell,
    SpikingRNNCellBase,
    SpikingVanillaRNNCell,
    states_at_start,
)


class SpikingRNNBase(nn.Module):
    """Recurrent layers above each other, in one direction or in both.

    Args:
        input_size: features of the input.
        hidden_size: features of each layer's hidden state.
        num_layers: layers above each other.
        bias: whether the cells' linear layers have biases.
        dropout_p: probability of dropout between layers.
        invariant_dropout_mask: drop the same features at every time step.
        bidirectional: let other cells run backwards in time, and join their output.
        cell: more arguments of the cells: their surrogate functions.
    Shape:
        input ``[T, N, input_size]``; output ``[T, N, directions * hidden_size]``, and the last states. States
        are a tensor ``[directions * num_layers, N, hidden_size]``, or a tuple of those if the cells have
        several: first those of all layers forwards, then those backwards.
    Raises:
        ShapeError: the input, or a state, has another shape.
        ValueError: a size is less than 1, or ``dropout_p`` is not in [0, 1].
    """

    CELL: ClassVar[type[SpikingRNNCellBase]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool = True,
        dropout_p: float = 0.0,
        invariant_dropout_mask: bool = False,
        bidirectional: bool = False,
        *cell: Any,
        **cell_settings: Any,
    ):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers = checked_count("num_layers", num_layers)
        self.bias = bias
        self.dropout_p = checked_range("dropout_p", dropout_p, 0.0, 1.0)
        self.invariant_dropout_mask = invariant_dropout_mask
        self.bidirectional = bidirectional

        def cells() -> nn.Sequential:
            sizes = [input_size] + [hidden_size * (2 if bidirectional else 1)] * (num_layers - 1)
            made = (self.base_cell()(size, hidden_size, bias, *cell, **cell_settings) for size in sizes)
            return nn.Sequential(*made)

        self.cells = cells()
        if bidirectional:
            self.cells_reverse = cells()

    @classmethod
    def base_cell(cls) -> type[SpikingRNNCellBase]:
        """The class of its cells; a subclass says ``CELL``, or overrides this."""
        return cls.CELL

    @classmethod
    def states_num(cls) -> int:
        """How many states a cell has."""
        return cls.base_cell().NUM_STATES

    def forward(self, x: Tensor, states: Any = None) -> tuple[Tensor, Any]:
        """Outputs and last states of a sequence; without ``states`` they are 0 at first."""
        check_tensor("x", x)
        if x.dim() != 3 or x.shape[-1] != self.input_size or len(x) == 0:
            raise ShapeError(
                f"`x` of {describe(self)} must be [T, N, {self.input_size}] with T >= 1, got {list(x.shape)}."
            )
        directions = [self.cells, *([self.cells_reverse] if self.bidirectional else [])]
        shape = (len(directions) * self.num_layers, x.shape[1], self.hidden_size)
        before = states_at_start(self, x, states, self.states_num(), shape)
        after: list[list[tuple[Tensor, ...]]] = [[] for _ in directions]
        for layer in range(self.num_layers):
            outputs = []
            for number, cells in enumerate(directions):
                start = tuple(one[number * self.num_layers + layer] for one in before)
                cell: Any = cells[layer]
                output, last = cell.over_time(x, start, reverse=number == 1)
                outputs.append(output)
                after[number].append(last)
            x = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
            if layer < self.num_layers - 1:
                x = self._dropped(x)
        last = [torch.stack(one) for one in zip(*(states for one in after for states in one), strict=True)]
        return x, tuple(last) if self.states_num() > 1 else last[0]

    def _dropped(self, x: Tensor) -> Tensor:
        if self.invariant_dropout_mask:
            return x * functional.dropout(torch.ones_like(x[0]), self.dropout_p, self.training)
        return functional.dropout(x, self.dropout_p, self.training)

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
            f"dropout_p={self.dropout_p}, bidirectional={self.bidirectional}"
        )


class SpikingLSTM(SpikingRNNBase):
    """Layers of :class:`SpikingLSTMCell`.

    Args:
        input_size, hidden_size, num_layers, bias, dropout_p, invariant_dropout_mask, bidirectional: as for
            :class:`SpikingRNNBase`.
        surrogate_function1, surrogate_function2: as for :class:`SpikingLSTMCell`.
    Shape:
        as :class:`SpikingRNNBase`, with states ``(h, c)``.
    Example:
        >>> net = SpikingLSTM(28, 64, num_layers=1)
        >>> output, (h, c) = net(torch.rand(10, 2, 28))
        >>> output.shape, h.shape
        (torch.Size([10, 2, 64]), torch.Size([1, 2, 64]))
    """

    CELL = SpikingLSTMCell


class SpikingGRU(SpikingRNNBase):
    """Layers of :class:`SpikingGRUCell`.

    Args:
        input_size, hidden_size, num_layers, bias, dropout_p, invariant_dropout_mask, bidirectional: as for
            :class:`SpikingRNNBase`.
        surrogate_function1, surrogate_function2: as for :class:`SpikingGRUCell`.
    Shape:
        as :class:`SpikingRNNBase`, with one state.
    Example:
        >>> net = SpikingGRU(28, 64, num_layers=2, bidirectional=True)
        >>> output, h = net(torch.rand(10, 2, 28))
        >>> output.shape, h.shape
        (torch.Size([10, 2, 128]), torch.Size([4, 2, 64]))
    """

    CELL = SpikingGRUCell


class SpikingVanillaRNN(SpikingRNNBase):
    """Layers of :class:`SpikingVanillaRNNCell`.

    Args:
        input_size, hidden_size, num_layers, bias, dropout_p, invariant_dropout_mask, bidirectional: as for
            :class:`SpikingRNNBase`.
        surrogate_function: as for :class:`SpikingVanillaRNNCell`.
    Shape:
        as :class:`SpikingRNNBase`, with one state.
    Example:
        >>> SpikingVanillaRNN(28, 64, num_layers=1)(torch.rand(10, 2, 28))[0].shape
        torch.Size([10, 2, 64])
    """

    CELL = SpikingVanillaRNNCell
