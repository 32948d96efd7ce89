"""Layers whose loops are written by hand and compiled: whether they run, and what their gradients refuse."""

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from spikeloom.errors import BackendError
from spikeloom.loom.backends import checked_backend, effective_backend, unavailable


def check_gradient(layer: str, gradient: Tensor) -> None:
    """Refuse, in a backward pass that is not written in PyTorch operations, what needs such.

    Raises:
        BackendError: the gradient is to be differentiated again, or is a batch of gradients.
    """
    if torch.is_grad_enabled():
        raise BackendError(
            f"The gradients of {layer} cannot be differentiated again (create_graph=True). Leave terms out "
            "of the loss that hold gradients."
        )
    if is_legacy_batchedtensor(gradient):
        raise BackendError(
            f"{layer} takes one gradient at a time, not a batch of them (is_grads_batched=True). Call "
            "torch.autograd.grad once for each."
        )


def runs_compiled(layer: str, backend: str, x: Tensor, weight: Tensor) -> bool:
    """Whether compiled loops take these, and not the reference.

    Args:
        layer: what runs, for the message.
        backend: the layer's own.
        x, weight: that it runs on.
    Raises:
        BackendError: the backend of the layer, or of a block, was asked for by name, and cannot.
        ValueError: there is no such backend.
    """
    wanted = effective_backend(checked_backend(backend))
    if wanted == "torch":
        return False
    reason = _unsuited(weight, "its weights have") or _unsuited(x, "its input has") or unavailable("numba")
    if wanted == "triton":
        reason = "it has no Triton kernels"
    if reason and wanted != "auto":
        raise BackendError(f"{layer} cannot run with backend {wanted!r}: {reason}. Take 'auto'.")
    return reason is None


def _unsuited(x: Tensor, name: str) -> str | None:
    """Why compiled loops cannot run on this input or these weights."""
    if type(x) not in (Tensor, torch.nn.Parameter):
        return f"it got a {type(x).__name__}, not a plain tensor"
    if x.device.type != "cpu":
        return f"it got a tensor on {x.device}"
    if x.dtype not in (torch.float32, torch.float64):
        return f"{name} the type {x.dtype}"
    return None
