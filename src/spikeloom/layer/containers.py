"""Stacks of single-step modules applied to sequences."""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from spikeloom.functional.networks import check_time, require_single_step, require_stateless
from spikeloom.layer.shapes import Shapes
from spikeloom.layer.time_wise import fold, unfold
from spikeloom.steps import StepModule, loop_over_time


class StepModeContainer(StepModule, nn.Sequential):
    """A stack of single-step modules with one step mode for all.

    In multi-step mode, stateful modules are applied to each time step, stateless ones once to a batch of
    ``T * N``. In single-step mode it is an ``nn.Sequential``. ``functional.set_step_mode`` sets the container
    and leaves its modules single-step.

    Args:
        stateful: whether the modules have memories.
        modules: as for ``torch.nn.Sequential``; ``step_mode`` may stand before them, as in
            ``(True, 'm', LIFNode())``.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input and output ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step), ``T >= 1``.
    Raises:
        TypeError: ``stateful`` is not a boolean.
        ValueError: a module is in multi-step mode, or has memories although ``stateful`` is false.
    Example:
        >>> import torch
        >>> from spikeloom import neuron
        >>> net = StepModeContainer(True, nn.Linear(3, 2), neuron.IFNode(), step_mode="m")
        >>> net(torch.rand(5, 4, 3)).shape
        torch.Size([5, 4, 2])
    """

    step_mode_boundary = True
    _shapes = Shapes("N *")

    def __init__(self, stateful: bool, *modules: Any, step_mode: str = "s"):
        if not isinstance(stateful, bool):
            raise TypeError(f"`stateful` must be True or False, got {type(stateful).__name__}. Put it first.")
        if modules and isinstance(modules[0], str):
            step_mode, modules = modules[0], modules[1:]
        super().__init__(*modules)
        self.stateful = stateful
        self.step_mode = step_mode
        self._check_modules()

    def forward(self, input: Tensor) -> Any:
        self._check_modules()  # again: they may have changed since
        if self.step_mode == "s":
            return super().forward(input)
        if self.stateful:
            check_time(input, "input")
            return loop_over_time(super().forward, input)
        self._shapes.check(self, input)
        return unfold(super().forward(fold(input)), input.shape[:2])

    def __getitem__(self, index: int | slice) -> Any:  # type: ignore[override]
        if not isinstance(index, slice):
            return super().__getitem__(index)
        part = type(self).__new__(type(self))  # each class has arguments of its own
        nn.Sequential.__init__(part, OrderedDict(list(self._modules.items())[index]))
        own = vars(self).keys() - vars(nn.Module()).keys() | {"training"}  # and no hooks
        vars(part).update({name: vars(self)[name] for name in own})
        return part

    def _check_modules(self) -> None:
        if not self.stateful:
            require_stateless(self, self)
        require_single_step(self, self)

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode}"


class MultiStepContainer(StepModeContainer):
    """A stack of single-step modules, applied to each time step of a sequence.

    Args:
        modules: single-step modules, as for ``torch.nn.Sequential``.
        step_mode: ``'m'`` for sequences; ``'s'`` makes it an ``nn.Sequential``.
    Shape:
        input and output ``[T, N, *]``, ``T >= 1`` (``[N, *]`` in single-step mode).
    Raises:
        ValueError: a module is in multi-step mode.
    Example:
        >>> import torch
        >>> from spikeloom import neuron
        >>> MultiStepContainer(nn.Linear(3, 2), neuron.IFNode())(torch.rand(5, 4, 3)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(self, *modules: Any, step_mode: str = "m"):
        super().__init__(True, *modules, step_mode=step_mode)


class SeqToANNContainer(StepModeContainer):
    """A stack of stateless modules, applied once to all time steps of a sequence, as a batch of ``T * N``.

    Args:
        modules: modules without memories, as for ``torch.nn.Sequential``.
        step_mode: ``'m'`` for sequences; ``'s'`` makes it an ``nn.Sequential``.
    Shape:
        input and output ``[T, N, *]``, ``T >= 1`` (``[N, *]`` in single-step mode).
    Raises:
        ValueError: a module has memories, or is in multi-step mode.
    Example:
        >>> import torch
        >>> SeqToANNContainer(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))(torch.rand(5, 4, 1, 8, 8)).shape
        torch.Size([5, 4, 2, 6, 6])
    """

    def __init__(self, *modules: Any, step_mode: str = "m"):
        super().__init__(False, *modules, step_mode=step_mode)
