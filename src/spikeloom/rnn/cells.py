"""One time step of recurrent layers whose gates and states are spikes."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeloom import surrogate
from spikeloom.checks import check_tensor, checked_count
from spikeloom.errors import ShapeError, describe
from spikeloom.neuron.base import checked_surrogate

Surrogate = Callable[[Tensor], Tensor]
States = tuple[Tensor, ...]


class SpikingRNNCellBase(nn.Module):
    r"""One time step of a recurrent layer.

    Weights and biases are drawn from :math:`U(-k, k)` with :math:`k = 1 / \sqrt{hidden\_size}`.

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden state.
        bias: whether both linear layers, ``linear_ih`` and ``linear_hh``, have biases.
    """

    NUM_GATES: ClassVar[int]
    NUM_STATES: ClassVar[int] = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True):
        super().__init__()
        self.input_size = checked_count("input_size", input_size)
        self.hidden_size = checked_count("hidden_size", hidden_size)
        self.bias = bias
        self.linear_ih = nn.Linear(input_size, self.NUM_GATES * hidden_size, bias)
        self.linear_hh = nn.Linear(hidden_size, self.NUM_GATES * hidden_size, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases anew."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def weight_ih(self) -> Tensor:
        """Weights of the input, ``[gates * hidden_size, input_size]``."""
        return self.linear_ih.weight

    def weight_hh(self) -> Tensor:
        """Weights of the hidden state, ``[gates * hidden_size, hidden_size]``."""
        return self.linear_hh.weight

    def bias_ih(self) -> Tensor | None:
        """Biases beside the weights of the input, ``[gates * hidden_size]``."""
        return self.linear_ih.bias

    def bias_hh(self) -> Tensor | None:
        """Biases beside the weights of the hidden state, ``[gates * hidden_size]``."""
        return self.linear_hh.bias

    def advance(self, given: Tensor, fed: Tensor, states: States) -> States:
        """The states after a time step, the hidden one first; element by element.

        Args:
            given: what the input gives to the gates, ``linear_ih(x)``, ``[N, gates * hidden_size]``.
            fed: what the hidden state gives to them, ``linear_hh(h)``, of the same shape.
            states: each ``[N, hidden_size]``.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, states: Any = None) -> Any:
        """One time step: the new hidden state, or a tuple of states, from ``x`` ``[N, input_size]``; without
        ``states`` they are 0."""
        check_tensor("x", x, self)
        if x.dim() != 2 or x.shape[-1] != self.input_size:
            raise ShapeError(f"`x` of {describe(self)} must be [N, {self.input_size}], got {list(x.shape)}.")
        states = states_at_start(self, x, states, self.NUM_STATES, (len(x), self.hidden_size))
        after = self.advance(self.linear_ih(x), self.linear_hh(states[0]), states)
        return after if self.NUM_STATES > 1 else after[0]

    def over_time(self, x: Tensor, states: States, reverse: bool) -> tuple[Tensor, States]:
        """The hidden states of all time steps, ``[T, N, hidden_size]``, and the last states.

        What the input gives to the gates is one matrix product for all time steps.

        Args:
            x: ``[T, N, input_size]``, T >= 1.
            states: before the first step, each ``[N, hidden_size]``.
            reverse: whether time runs backwards.
        """
        given = self.linear_ih(x).unbind()  # an index would make a gradient of its size at each step
        outputs = []
        for step in reversed(given) if reverse else given:
            states = self.advance(step, self.linear_hh(states[0]), states)
            outputs.append(states[0])
        return torch.stack(outputs[::-1] if reverse else outputs), states


def states_at_start(owner: nn.Module, x: Tensor, states: Any, number: int, shape: tuple[int, ...]) -> States:
    """The ``number`` states that ``owner`` was given, each of this shape; zeros if it was given none.

    Raises:
        ShapeError: they are something else.
    """
    if states is None:
        return (x.new_zeros(shape),) * number
    one = isinstance(states, Tensor) and states.dim() == len(shape)
    given = (states,) if one else tuple(states) if isinstance(states, Tensor | tuple | list) else (states,)
    if [getattr(state, "shape", None) for state in given] != [shape] * number:
        shown = [list(state.shape) if isinstance(state, Tensor) else state for state in given]
        raise ShapeError(
            f"`states` of {describe(owner)} must be {number} of shape {list(shape)}, got {shown}."
        )
    return given


class _Gated(SpikingRNNCellBase):
    """A cell whose gates may fire by two surrogate functions."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        surrogate_function1: Surrogate | None = None,
        surrogate_function2: Surrogate | None = None,
    ):
        super().__init__(input_size, hidden_size, bias)
        self.surrogate_function1 = checked_surrogate(surrogate_function1, surrogate.Erf)
        self.surrogate_function2 = surrogate_function2
        if surrogate_function2 is not None:
            both = (self.surrogate_function1, checked_surrogate(surrogate_function2, surrogate.Erf))
            if len({getattr(one, "spiking", True) for one in both}) > 1:
                raise ValueError("`surrogate_function2` must have the `spiking` of `surrogate_function1`.")

    def candidate(self, x: Tensor) -> Tensor:
        """Spikes of what may become the state."""
        return (self.surrogate_function2 or self.surrogate_function1)(x)


class SpikingLSTMCell(_Gated):
    r"""One time step of a long short-term memory of spikes.

    .. math:: i, f, o = \Theta(W_{ih} x + b_{ih} + W_{hh} h + b_{hh}),\quad g = \Theta(\ldots),\quad
              c' = \min(f c + i g,\, 1),\quad h' = o\, c'

    The gradient passes the minimum as if it were not there.

    Args:
        input_size, hidden_size, bias: as for :class:`SpikingRNNCellBase`; the gates' order is i, f, g, o.
        surrogate_function1: what stands in for the derivative of the step, for i, f and o; default
            ``surrogate.Erf()``.
        surrogate_function2: the same for g; default: the first.
    Shape:
        input ``[N, input_size]`` and states ``(h, c)``, each ``[N, hidden_size]``, 0 if not given; output
        ``(h', c')``, values in {0, 1}.
    Raises:
        ShapeError: the input has another shape.
        ValueError: one surrogate function is in spiking mode, the other is not.
    Source: Lotfi Rezaabad & Vishwanath, Long short-term memory spiking networks and their applications, ICONS
        2020.
    Example:
        >>> cell = SpikingLSTMCell(3, 4)
        >>> h, c = cell(torch.rand(2, 3))
        >>> h, c = cell(torch.rand(2, 3), (h, c))
        >>> h.shape
        torch.Size([2, 4])
    """

    NUM_GATES = 4
    NUM_STATES = 2

    def advance(self, given: Tensor, fed: Tensor, states: States) -> States:
        c, gates = states[1], given + fed
        if self.surrogate_function2 is None:
            i, f, g, o = self.surrogate_function1(gates).chunk(4, -1)
        else:
            size = self.hidden_size
            i, f = self.surrogate_function1(gates[..., : 2 * size]).chunk(2, -1)
            g = self.candidate(gates[..., 2 * size : 3 * size])
            o = self.surrogate_function1(gates[..., 3 * size :])
        c = c * f + i * g
        c = c - (c.detach() - 1.0).clamp_min(0.0)
        return c * o, c


class SpikingGRUCell(_Gated):
    r"""One time step of a gated recurrent unit of spikes.

    .. math:: r, z = \Theta(W_{ih} x + b_{ih} + W_{hh} h + b_{hh}),\quad
              n = \Theta\big(W_{in} x + b_{in} + r (W_{hn} h + b_{hn})\big),\quad h' = (1 - z) n + z h

    Args:
        input_size, hidden_size, bias: as for :class:`SpikingRNNCellBase`; the gates are in the order r, z, n.
        surrogate_function1: what stands in for the derivative of the step, for r and z; default
            ``surrogate.Erf()``.
        surrogate_function2: the same for n; default: the first.
    Shape:
        input ``[N, input_size]`` and state ``h`` ``[N, hidden_size]``, 0 if not given; output ``h'``, values
        in {0, 1}.
    Raises:
        ShapeError, ValueError: as for :class:`SpikingLSTMCell`.
    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014, with steps for
        its nonlinearities.
    Example:
        >>> cell = SpikingGRUCell(3, 4)
        >>> cell(torch.rand(2, 3), torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    NUM_GATES = 3

    def advance(self, given: Tensor, fed: Tensor, states: States) -> States:
        (h,), size = states, self.hidden_size
        r, z = self.surrogate_function1(given[..., : 2 * size] + fed[..., : 2 * size]).chunk(2, -1)
        n = self.candidate(given[..., 2 * size :] + r * fed[..., 2 * size :])
        return ((1.0 - z) * n + z * h,)


class SpikingVanillaRNNCell(SpikingRNNCellBase):
    r"""One time step of a plain recurrent layer of spikes: :math:`h' = \Theta(W_{ih} x + b_{ih} + W_{hh} h +
    b_{hh})`.

    Args:
        input_size, hidden_size, bias: as for :class:`SpikingRNNCellBase`.
        surrogate_function: what stands in for the derivative of the step; default ``surrogate.Erf()``.
    Shape:
        input ``[N, input_size]`` and state ``h`` ``[N, hidden_size]``, 0 if not given; output ``h'``, values
        in {0, 1}.
    Raises:
        ShapeError: the input has another shape.
    Source: Elman, Finding structure in time, Cognitive Science 14, 1990, with a step for its nonlinearity.
    Example:
        >>> SpikingVanillaRNNCell(3, 4)(torch.rand(2, 3)).shape
        torch.Size([2, 4])
    """

    NUM_GATES = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        surrogate_function: Surrogate | None = None,
    ):
        super().__init__(input_size, hidden_size, bias)
        self.surrogate_function = checked_surrogate(surrogate_function, surrogate.Erf)

    def advance(self, given: Tensor, fed: Tensor, states: States) -> States:
        return (self.surrogate_function(given + fed),)
