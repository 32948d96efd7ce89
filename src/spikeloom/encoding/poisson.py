"""Poisson coding: a value is the probability of a spike in each time step."""

from typing import Any

import torch
from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.encoding.random import UniformSource, uniform, uniform_sequence
from spikeloom.encoding.values import check_range, in_floating_point, output_type
from spikeloom.memory import MemoryModule


class PoissonEncoder(MemoryModule):
    r"""Each value spikes with its own probability in each time step, independently: a Bernoulli process.

    .. math:: s_t = [u_t < x],\quad u_t \sim U[0, 1)

    A value of 0 never spikes, a value of 1 always. Spikes carry no gradient.

    Args:
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
        generator: where the random numbers come from: a ``torch.Generator`` on the input's device; a
            :class:`SampleGenerator`, or anything with its ``rand``; ``None`` is PyTorch's own. It may be
            replaced at any time.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step), values in [0, 1]; output the same,
        values in {0, 1}, in the input's type (integers: the default type).
    Raises:
        ValueError: a value is outside [0, 1] or NaN; the generator is on another device.
    Differs from: SpikingJelly, where a 0 spikes once in 2^24 times, and values outside [0, 1] pass unnoticed.
    Example:
        >>> encoder = PoissonEncoder(generator=torch.Generator().manual_seed(0))
        >>> encoder.encode(torch.tensor([0.0, 0.5, 1.0]), T=1000).mean(0)
        tensor([0.0000, 0.5040, 1.0000])
    """

    def __init__(self, step_mode: str = "s", generator: torch.Generator | UniformSource | None = None):
        super().__init__(step_mode)
        self.generator = generator

    @property
    def generator(self) -> torch.Generator | UniformSource | None:
        """Where the random numbers come from."""
        return self._generator

    @generator.setter
    def generator(self, value: torch.Generator | UniformSource | None) -> None:
        if not isinstance(value, torch.Generator | UniformSource | None):
            raise TypeError(
                "`generator` must be a torch.Generator, an object with rand(shape, device, dtype), or None, "
                f"got {value!r}."
            )
        self._generator = value

    def probability(self, x: Tensor) -> Tensor:
        """The probability of a spike, for input ``x`` in floating point: here ``x`` itself, checked."""
        check_range(x, 1.0, "Poisson coding takes probabilities: scale the values first.")
        return x

    @torch.no_grad()
    def encode(self, x: Tensor, T: int) -> Tensor:
        """Code one input ``[N, *]`` over ``T`` time steps at once, whatever the step mode: ``[T, N, *]``."""
        probability = self.probability(in_floating_point(x))
        numbers = uniform_sequence(self.generator, checked_count("T", T), probability)
        return numbers.lt_(probability).to(output_type(x))

    @torch.no_grad()
    def single_step_forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """One time step: ``[N, *]``."""
        probability = self.probability(x)
        numbers = uniform(self.generator, probability)
        return torch.lt(numbers, probability, out=torch.empty_like(probability))  # as numbers, at once

    @torch.no_grad()
    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """One draw for each time step: ``[T, N, *]``."""
        probability = self.probability(x_seq)
        numbers = uniform_sequence(self.generator, len(x_seq), probability[0])
        return numbers.lt_(probability).to(probability.dtype)

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode!r}"
