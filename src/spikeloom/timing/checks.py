"""What is asked of spike times and sizes in more than one place."""

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from spikeloom.errors import BackendError, ShapeError
from spikeloom.loom.available import unavailable
from spikeloom.loom.backends import checked_backend, effective_backend


def check_finite(times: Tensor) -> None:
    """Raise if one of the spike times is NaN or infinite; minus infinity is no spike."""
    if torch.compiler.is_compiling() or not times.numel():
        return
    if not times.detach().max() < float("inf"):  # NaN is not less
        raise ValueError("`times` must have no NaN or infinity. No spike is written as -1.")


def check_window(times: Tensor, T: float) -> None:
    """Raise if one of the spike times is NaN, or later than ``T``."""
    if torch.compiler.is_compiling() or not times.numel():
        return
    latest = times.detach().max()
    if latest.isnan():
        raise ValueError(
            f"`times` must have no NaN, got {int(times.isnan().sum())}. No spike is written as -1."
        )
    if latest > T:  # in the type of the times: a neuron may fire at T, which is rounded there
        raise ValueError(
            f"`times` must be at most T = {T:g}, got a spike at {latest:g}. No spike is written as -1; else "
            "make T larger, or do not set `extrapolate` in the layer before."
        )


def check_times(times: Tensor, in_features: int, T: float) -> None:
    """Raise unless these are spike times of so many inputs, with one or several each, within the window."""
    if times.dim() not in (2, 3) or times.shape[1] != in_features:
        raise ShapeError(
            f"`times` must be spike times [N, {in_features}], or [N, {in_features}, S] of neurons with "
            f"several spikes, got {list(times.shape)}. Flatten what an encoder returns."
        )
    check_window(times, T)


def pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width, each at least 1; one number stands for both."""
    both = value if isinstance(value, tuple) else (value, value)
    if len(both) != 2 or any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in both):
        raise ValueError(f"`{name}` must be an integer of at least 1, or two of them, got {value!r}.")
    return both


def check_gradient(layer: str, gradient: Tensor) -> None:
    """Refuse, in a backward pass that is not written in PyTorch operations, what needs such.

    Raises:
        BackendError: the gradient is to be differentiated again, or is a batch of gradients.
    """
    if torch.is_grad_enabled():
        raise BackendError(
            f"The gradients of a {layer} layer cannot be differentiated again (create_graph=True). Leave "
            "terms out of the loss that hold gradients."
        )
    if is_legacy_batchedtensor(gradient):
        raise BackendError(
            f"A {layer} layer takes one gradient at a time, not a batch of them (is_grads_batched=True). "
            "Call torch.autograd.grad once for each."
        )


def runs_compiled(layer: str, backend: str, times: Tensor, weight: Tensor) -> bool:
    """Whether compiled loops take these, and not the reference.

    Args:
        layer: what runs, for the message.
        backend: the layer's own.
        times, weight: that it runs on.
    Raises:
        BackendError: the backend of the layer, or of a block, was asked for by name, and cannot.
        ValueError: there is no such backend.
    """
    wanted = effective_backend(checked_backend(backend))
    if wanted == "torch":
        return False
    reason = _unsuited(times) or _unsuited(weight) or unavailable("numba")
    if wanted == "triton":
        reason = "it has no Triton kernels"
    if reason and wanted != "auto":
        raise BackendError(f"A {layer} layer cannot run with backend {wanted!r}: {reason}. Take 'auto'.")
    return reason is None


def _unsuited(x: Tensor) -> str | None:
    """Why compiled loops cannot run on these times or weights."""
    if type(x) not in (Tensor, torch.nn.Parameter):
        return f"it got a {type(x).__name__}, not a plain tensor"
    if x.device.type != "cpu":
        return f"it got a tensor on {x.device}"
    if x.dtype not in (torch.float32, torch.float64):
        return f"its weights have the type {x.dtype}"
    return None
