"""What all encoders ask of the values that they code."""

import torch
from torch import Tensor

from spikeloom.errors import ShapeError

_NAN = "`x` must have no NaN. Look for missing data, or for a division by 0 in its scaling."


def in_floating_point(x: Tensor) -> Tensor:
    """``x`` in a type to compute in: float64 stays, integers take the default type, halves float32."""
    if not x.is_floating_point():
        return x.to(torch.get_default_dtype())
    return x if x.dtype == torch.float64 else x.float()


def output_type(x: Tensor) -> torch.dtype:
    """The type of the spikes that code ``x``: its own, or the default type for integers."""
    return x.dtype if x.is_floating_point() else torch.get_default_dtype()


def check_range(x: Tensor, high: float, cure: str) -> None:
    """Raise unless every value is in [0, ``high``]: one pass over ``x``, and a synchronisation on a GPU."""
    if x.numel() == 0 or _hides_values(x):
        return
    low, top = (value.item() for value in x.aminmax())
    if low >= 0 and top <= high:
        return
    if low != low:
        raise ValueError(_NAN)
    if high <= 1 < top:
        cure = "Divide an image of bytes by 255, or scale the features by their training minimum and maximum."
    raise ValueError(f"`x` must be in [0, {high:.10g}], got values from {low:.9g} to {top:.9g}. {cure}")


def check_finite(x: Tensor) -> None:
    """Raise if a value is NaN or infinite."""
    if not _hides_values(x) and not x.isfinite().all():
        raise ValueError(_NAN if x.isnan().any() else "`x` must be finite, got an infinite value.")


def check_static(x_seq: Tensor, encoder: str) -> None:
    """Raise unless all time steps of ``x_seq`` ``[T, N, *]`` are the same."""
    if not _hides_values(x_seq) and not torch.equal(x_seq, x_seq[:1].expand_as(x_seq)):
        if x_seq.isnan().any():  # which equals nothing
            raise ValueError(_NAN)
        raise ShapeError(
            f"`x_seq` must be one input repeated over time, [T, N, *], got time steps that differ: {encoder} "
            "codes only the first. Call encode(x) for an input [N, *]."
        )


def _hides_values(x: Tensor) -> bool:
    """Whether ``x`` has none to look at: on the device ``meta``, and in a graph that is being made."""
    return x.is_meta or torch.compiler.is_compiling()
