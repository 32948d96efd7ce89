"""Time steps: one at a time or a sequence, and the loop over it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

STEP_MODES = ("s", "m")


class StepModule:
    """Something with a ``step_mode``: ``'s'`` takes one time step ``[N, ...]``, ``'m'`` a sequence ``[T, N,
    ...]``."""

    _step_mode = "s"
    _step_modes: tuple[str, ...] = STEP_MODES

    def supported_step_mode(self) -> tuple[str, ...]:
        """The step modes that this module can be set to."""
        return self._step_modes

    @property
    def step_mode(self) -> str:
        """``'s'`` for one time step at a time, ``'m'`` for whole sequences."""
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        if value not in self.supported_step_mode():
            raise ValueError(
                f"`step_mode` of {type(self).__name__} must be one of {self.supported_step_mode()}, got "
                f"{value!r}."
            )
        self._step_mode = value


def takes_single_steps(module: Any) -> bool:
    """Whether a module can be given single steps: all but those with a step mode that is never ``'s'``."""
    return not isinstance(module, StepModule) or "s" in module.supported_step_mode()


class StepFunctions:
    """A step and a sequence as functions, from inputs and states to outputs and states, which set nothing. A
    module with memories may define the first, or both, in place of ``single_step_forward``."""

    step_mode: Any

    def single_step_functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """One time step: inputs ``[N, *]``, and a state for each memory."""
        raise NotImplementedError(
            f"{type(self).__name__} must define single_step_forward(x), or its step as a function. A module "
            "that has the first is made a function by base.to_functional_forward(module)."
        )

    def multi_step_functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """A sequence: inputs ``[T, N, *]``; the loop over :meth:`single_step_functional_forward`. What is
        defined in its place is what a sequence runs."""
        steps = []
        for x in zip(*inputs, strict=True):
            outputs, states = self.single_step_functional_forward(x, states, **kwargs)
            steps.append(outputs)
        return tuple(torch.stack(parts) for parts in zip(*steps, strict=True)), states

    def materialize_states(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], step_mode: str
    ) -> tuple[Any, ...]:
        """The states that the functions get: those given, unless a class makes tensors of them that fit
        ``inputs``, which are a step's (``'s'``) or a sequence's (``'m'``)."""
        return states

    def functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """One step or a sequence, as ``step_mode`` says."""
        states = self.materialize_states(inputs, states, self.step_mode)
        of_sequence = self.step_mode == "m"
        run = self.multi_step_functional_forward if of_sequence else self.single_step_functional_forward
        return run(inputs, states, **kwargs)


def loop_over_time(step: Callable[[Tensor], Any], x_seq: Tensor) -> Any:
    """Apply ``step`` to each step of ``x_seq`` ``[T, ...]`` and stack the results, tuples part by part."""
    outputs = [step(x) for x in x_seq]
    if isinstance(outputs[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*outputs, strict=True))
    return torch.stack(outputs)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """``function`` of each tensor in ``value``, also in what PyTorch can take apart, such as tuples, lists
    and dictionaries; the rest as it is."""
    return function(value) if isinstance(value, Tensor) else tree_map_only(Tensor, function, value)
