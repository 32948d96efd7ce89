"""Samples to calibrate on, however they come."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.errors import ConversionError, named

_BATCH = 100


class Samples:
    """Batches of inputs, which can be gone through several times.

    Args:
        source: a tensor ``[N, *]``, or an iterable of batches: tensors, or tuples and lists that begin with
            one, such as a ``DataLoader`` of samples and labels.
        device: to which they are moved.
    Raises:
        TypeError: the source is neither, or a batch is no tensor.
        ValueError: there are no samples.
    """

    def __init__(self, source: Any, device: torch.device):
        if isinstance(source, Tensor):
            source = source.split(_BATCH) if source.dim() else ()
        if not isinstance(source, Iterable):
            raise TypeError(
                "`calibration_data` must be a tensor [N, *] or an iterable of batches, such as a DataLoader, "
                f"got a {type(source).__name__}."
            )
        # What an iterator has given is gone; all else can be gone through again.
        self._source = list(source) if isinstance(source, Iterator) else source
        self._device = device
        if next(iter(self), None) is None:
            raise ValueError("`calibration_data` must hold at least one sample, got none.")

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self._source:
            x = batch[0] if isinstance(batch, tuple | list) and batch else batch
            if not isinstance(x, Tensor) or x.dim() == 0:
                kind = "tensor without a dimension" if isinstance(x, Tensor) else type(x).__name__
                raise TypeError(
                    f"A batch of `calibration_data` must be a tensor [N, *], or begin with one, got a {kind}."
                )
            if len(x):
                yield x.to(self._device)


def fitting(run: Callable[[Tensor], Any], model: nn.Module, x: Tensor) -> Any:
    """``run(x)``, which runs the layers of ``model``.

    Raises:
        ConversionError: a layer refuses what it gets; with its name, and the shape.
    """
    try:
        return run(x)
    except (RuntimeError, ValueError) as error:
        if type(error) not in (RuntimeError, ValueError):  # it has more to say, or is about something else
            raise
        entered = _last_entered(run, model, x)
        if entered is None:
            raise
        layer, shape = entered
        raise ConversionError(
            f"`calibration_data` must fit `model`, got {x.dtype} {_shown(x.shape)}, of which {layer} got "
            f"{_shown(shape)}. PyTorch says: {str(error).splitlines()[0]}"
        ) from error


def _shown(shape: torch.Size) -> str:
    return f"[{', '.join(['N', *map(str, shape[1:])])}]"


def _last_entered(run: Callable[[Tensor], Any], model: nn.Module, x: Tensor) -> tuple[str, torch.Size] | None:
    """The layer without layers within it that ``run(x)`` does not come out of, and the shape of its input."""
    inside: list[tuple[str, torch.Size]] = []

    def enter(layer: str, inputs: tuple[Any, ...]) -> None:
        inside[:] = [(layer, one.shape) for one in inputs[:1] if isinstance(one, Tensor)]

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if next(module.children(), None) is None:
                shown = named(module, name)
                stack.callback(
                    module.register_forward_pre_hook(
                        lambda _, inputs, shown=shown: enter(shown, inputs)
                    ).remove
                )
                stack.callback(module.register_forward_hook(lambda *_: inside.clear()).remove)
        try:
            run(x)
        except (RuntimeError, ValueError):
            return inside[-1] if inside else None
    return None
