"""Batch normalisation whose statistics can be over all processes of a training.

Each process tells the others its means, variances and counts, so that nothing is lost to cancellation, as it
would be with sums of squares. PyTorch's own ``SyncBatchNorm`` does not run on CPUs, nor on sequences.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikeloom.memory import HALF


class _OverProcesses:
    """Mixed into a batch normalisation: while training in several processes, one batch is that of all of
    them."""

    synchronised = False
    """Whether the statistics are over all processes; set by :func:`synchronise_batch_norm`."""

    def forward(self: Any, input: Tensor) -> Tensor:
        if not (self.synchronised and self.training and _num_processes() > 1):
            return super().forward(input)  # type: ignore[misc]
        self._check_input_dim(input)
        mean, var, count = _statistics(input)
        if self.track_running_stats:
            self._track(mean, var * (count / (count - 1).clamp(min=1)))
        return _Normalised.apply(input, self.weight, self.bias, mean, var, count, self.eps)

    @torch.no_grad()
    def _track(self: Any, mean: Tensor, unbiased_var: Tensor) -> None:
        """Move the running statistics towards those of a batch."""
        self.num_batches_tracked.add_(1)
        part = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), part)
        self.running_var.lerp_(unbiased_var.to(self.running_var), part)


class BatchNorm1d(_OverProcesses, nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` whose statistics can be over all processes."""


class BatchNorm2d(_OverProcesses, nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d`` whose statistics can be over all processes."""


class BatchNorm3d(_OverProcesses, nn.BatchNorm3d):
    """``torch.nn.BatchNorm3d`` whose statistics can be over all processes."""


_VERSIONS = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d}


def synchronise_batch_norm(net: nn.Module, synchronised: bool = True) -> None:
    """Let every batch normalisation of ``net`` take its statistics over all processes, or over its own.

    Over all processes, time and batch: ``T * N`` values per channel and place, where ``N`` is the sum over
    processes, which may have different numbers of samples. Output, gradients and running statistics are then
    those of one process with the whole batch. Each layer exchanges ``2 C + 1`` numbers in the forward and
    ``2 C`` in the backward pass. Evaluation uses the running statistics, as always.

    Args:
        net: the network; its ``layer.BatchNorm2d``, ``layer.ThresholdDependentBatchNorm2d``,
            ``layer.TemporalEffectiveBatchNorm2d``, ``torch.nn.BatchNorm2d`` and their kin in 1 and 3
            dimensions are set. Subclasses of yours keep their own ways. Every process must call each layer
            equally often.
        synchronised: whether over all processes.
    """
    for module in net.modules():
        if version := _VERSIONS.get(type(module)):
            module.__class__ = version
        if isinstance(module, _OverProcesses):
            module.synchronised = synchronised


def plain_batch_norm(net: nn.Module) -> None:
    """Give the batch normalisations that :func:`synchronise_batch_norm` changed their own classes back."""
    plain = {version: own for own, version in _VERSIONS.items()}
    for module in net.modules():
        if own := plain.get(type(module)):
            module.__class__ = own


class _Normalised(torch.autograd.Function):
    """``x`` ``[N, C, *]`` normalised by statistics that the samples of all processes share."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt(), count)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        others = _all_but_channels(x)
        grad, per_channel = grad.to(mean.dtype), (-1, *[1] * (x.dim() - 2))
        normal = (x.to(mean.dtype) - mean.view(per_channel)) * inverse_std.view(per_channel)  # [N, C, *]
        own = torch.stack([grad.sum(others), (grad * normal).sum(others)])  # [2, C]
        grad_x = None
        if ctx.needs_input_grad[0]:
            total = own.clone()
            dist.all_reduce(total)
            shift, slope = (total / count).view(2, *per_channel)
            scale = inverse_std if weight is None else inverse_std * weight
            grad_x = (scale.view(per_channel) * (grad - shift - normal * slope)).to(x.dtype)
        needs_weight, needs_bias = ctx.needs_input_grad[1:3]  # BatchNormThroughTime has a weight alone
        grad_bias, grad_weight = own if weight is None else own.to(weight.dtype)
        return (
            grad_x,
            grad_weight if needs_weight else None,
            grad_bias if needs_bias else None,
            *(None, None, None, None),
        )


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance ``[C]`` of the samples of all processes, and their number per channel ``[1]``."""
    x = x.float() if x.dtype in HALF else x
    channels, count = x.shape[1], x.numel() // x.shape[1]
    own = x.new_zeros(2 * channels + 1)
    if count:
        var, mean = torch.var_mean(x, _all_but_channels(x), correction=0)
        own = torch.cat([mean, var, mean.new_tensor([count])])
    every = [torch.empty_like(own) for _ in range(_num_processes())]
    dist.all_gather(every, own)
    means, variances, counts = torch.stack(every).split([channels, channels, 1], dim=1)  # [P, C], [P, 1]
    total = counts.sum(0)  # [1]
    mean = (counts * means).sum(0) / total
    var = (counts * (variances + (means - mean) ** 2)).sum(0) / total
    return mean, var, total


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
