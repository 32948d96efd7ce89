"""The shape of what a network takes in one time step."""

from collections.abc import Sequence

from torch import Tensor

from spikeloom.errors import ConversionError


def shape_of_step(example: Tensor | Sequence[int]) -> tuple[int, ...]:
    """The shape of one sample in one time step: a sequence has one dimension more than a step."""
    if not isinstance(example, Tensor):
        return tuple(int(size) for size in example)
    if not 2 <= example.dim() <= 5:
        raise ConversionError(
            "`example_input` must be [N, F] or [N, C, H, W], or a sequence of them with time first, got "
            f"{list(example.shape)}."
        )
    return tuple(example.shape[2 if example.dim() in (3, 5) else 1 :])
