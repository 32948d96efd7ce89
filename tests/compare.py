"""The one way in which tests compare numbers."""

import torch
from torch import Tensor

# By type: relative and absolute error. Values that must agree bit by bit are compared with `assert_same`.
TOLERANCES = {
    torch.float64: (1e-12, 1e-14),
    torch.float32: (2e-6, 1e-6),
    torch.bfloat16: (1.6e-2, 1e-3),
    torch.float16: (2e-3, 1e-4),
}


def assert_close(name: str, reference: Tensor, got: Tensor) -> None:
    """``got`` equals ``reference`` in type, shape, place, and in value up to the tolerance of its type."""
    relative, absolute = TOLERANCES[reference.dtype]
    torch.testing.assert_close(
        got, reference, rtol=relative, atol=absolute, equal_nan=True, msg=lambda text: f"{name}: {text}"
    )


def assert_same(name: str, reference: Tensor, got: Tensor) -> None:
    """``got`` equals ``reference`` in type, shape, and bit by bit; NaN equals NaN."""
    torch.testing.assert_close(
        got, reference, rtol=0, atol=0, equal_nan=True, msg=lambda text: f"{name}: {text}"
    )


GRADIENT_TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-6}


def assert_gradient(name: str, reference: Tensor, got: Tensor) -> None:
    """The largest error of a gradient is small against its largest value."""
    assert got.shape == reference.shape, f"{name}: shape {list(got.shape)} instead of {list(reference.shape)}"
    assert got.dtype == reference.dtype, f"{name}: type {got.dtype} instead of {reference.dtype}"
    largest, error = reference.abs().max().item(), (got - reference).abs().max().item()
    assert error <= GRADIENT_TOLERANCES[reference.dtype] * largest, f"{name}: error {error} of {largest}"
