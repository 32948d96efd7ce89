"""A layer of ``torch.nn`` that takes sequences too: time is folded into the batch, and unfolded again."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeloom.errors import describe
from spikeloom.layer.shapes import Shapes
from spikeloom.steps import STEP_MODES, StepModule


class TimeWise(StepModule, nn.Module):
    """Mixed into a stateless layer of ``torch.nn``, gives it a step mode.

    In multi-step mode ``[T, N, *]`` is folded into ``[T * N, *]``, the layer is applied once, and its output
    is unfolded.

    Args:
        args, kwargs: as for the layer.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence; may be the last one by position.
    Example:
        >>> class LocalResponseNorm(TimeWise, nn.LocalResponseNorm, shapes=("N C *",)):
        ...     "Normalisation over neighbouring channels."
        >>> LocalResponseNorm(2, step_mode="m")(torch.ones(5, 3, 4, 8)).shape
        torch.Size([5, 3, 4, 8])
    """

    _shapes: ClassVar[Shapes]

    def __init_subclass__(cls, shapes: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if shapes:
            cls._shapes = Shapes(*shapes)
            cls.__doc__ = f"{cls.__doc__}\n\n{_documentation(cls.__bases__[1], cls._shapes)}"
        if "__init__" in cls.__dict__:
            signature = None  # inspect then looks at __init__
        elif shapes:
            signature = _signature(cls.__bases__[1])
        else:
            return
        cls.__signature__ = signature  # type: ignore[attr-defined]

    def __init__(self, *args: Any, step_mode: str = "s", **kwargs: Any):
        if args and isinstance(args[-1], str) and args[-1] in STEP_MODES:  # by position, as in SpikingJelly
            *args, step_mode = args  # type: ignore[assignment]
        super().__init__(*args, **kwargs)
        self.step_mode = step_mode

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        """One time step or a whole sequence, as ``step_mode`` says."""
        self._check(input)
        input = self._readable(input)
        if self.step_mode == "s":
            return super().forward(input, *args, **kwargs)
        folded = [_folded(arg, input.dim()) for arg in (input, *args)]
        kwargs = {name: _folded(arg, input.dim()) for name, arg in kwargs.items()}
        return unfold(super().forward(*folded, **kwargs), input.shape[:2])

    def extra_repr(self) -> str:
        return ", ".join(filter(None, [super().extra_repr(), f"step_mode={self.step_mode}"]))

    def _readable(self, x: Tensor) -> Tensor:
        """The input as the weights can take it: spikes may be truth values."""
        if x.is_floating_point() or x.is_complex():
            return x
        weight = getattr(self, "weight", None)
        if x.dtype == torch.bool:
            return x.to(weight.dtype if isinstance(weight, Tensor) else torch.get_default_dtype())
        if not isinstance(weight, Tensor):
            return x
        raise TypeError(
            f"`input` of {describe(self)} must be floating point, got {x.dtype}. Use data.as_float(x) for an "
            "image of bytes, x.float() for spikes."
        )

    def _check(self, x: Tensor) -> None:
        self._shapes.check(self, x)


def fold(x_seq: Tensor) -> Tensor:
    """``[T, N, *]`` as ``[T * N, *]``: a view if possible, else a copy that keeps channels last."""
    num_steps, batch = x_seq.shape[:2]
    is_view = num_steps == 1 or batch == 1 or x_seq.stride(0) == batch * x_seq.stride(1)
    if not is_view and x_seq.dim() > 4 and x_seq.stride(2) == 1 and x_seq.stride(-1) != 1:  # channels last
        return x_seq.movedim(2, -1).flatten(0, 1).movedim(-1, 1)
    return x_seq.flatten(0, 1)


def _folded(arg: Any, dims: int) -> Any:
    """An argument beside an input of ``dims`` dimensions: a tensor, or the size of one, is folded too."""
    if isinstance(arg, Tensor):
        return fold(arg)
    if isinstance(arg, Sequence) and not isinstance(arg, str) and len(arg) == dims:
        return (arg[0] * arg[1], *arg[2:])
    return arg


def unfold(output: Any, sizes: torch.Size) -> Any:
    """``[T * N, *]`` as ``[T, N, *]``, where ``sizes`` is ``[T, N]``; tuples part by part."""
    if isinstance(output, tuple):
        return tuple(unfold(part, sizes) for part in output)
    return output.unflatten(0, sizes)


def _signature(layer: type) -> inspect.Signature:
    """That of ``layer``, with ``step_mode``."""
    signature = inspect.signature(layer)
    step_mode = inspect.Parameter("step_mode", inspect.Parameter.KEYWORD_ONLY, default="s", annotation=str)
    parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return signature.replace(parameters=[*parameters, step_mode])


def _documentation(layer: type, shapes: Shapes) -> str:
    return f"""    Args:
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence. All else is as in
            ``torch.nn.{layer.__name__}``, of which this is a subclass.
    Shape:
        input ``{shapes.shown("s")}`` (single-step), ``{shapes.shown("m")}`` (multi-step).
    Raises:
        ShapeError: the input does not have these dimensions.
    """
