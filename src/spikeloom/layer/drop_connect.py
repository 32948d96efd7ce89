"""A linear layer that drops connections instead of neurons."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_range
from spikeloom.errors import ShapeError, describe
from spikeloom.layer.shapes import Shapes
from spikeloom.memory import MemoryModule


class DropConnectLinear(MemoryModule):
    r"""Linear layer that drops each connection of each sample with probability ``p`` during training.

    .. math:: y = a\big((M \odot W) x + m \odot b\big), \quad M, m \sim \mathrm{Bernoulli}(1 - p)

    In evaluation the sum over connections is taken as Gaussian with the same mean and variance, and the
    activation is averaged over samples of it. Nothing is scaled by ``1 / (1 - p)``.

    Args:
        in_features, out_features, bias: as for ``torch.nn.Linear``.
        p: probability that a connection is dropped.
        samples_num: number of Gaussian samples in evaluation.
        invariant: whether the masks are kept for all time steps until :meth:`reset`, or drawn at each.
        activation: :math:`a`, applied before the average over samples; ``None`` for none, and then evaluation
            returns the mean itself.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input ``[N, in_features]`` (single-step) or ``[T, N, in_features]`` (multi-step); output the same with
        ``out_features``.
    Raises:
        ValueError: ``p`` is not between 0 and 1, or ``samples_num`` is less than 1.
        ShapeError: the input has another shape.
    Source: Wan et al., Regularization of neural networks using DropConnect, ICML 2013.
    Example:
        >>> fc = DropConnectLinear(4, 2, invariant=True)
        >>> bool((fc(torch.ones(3, 4)) == fc(torch.ones(3, 4))).all())
        True
    """

    computes_in_float32 = False
    _shapes = Shapes("N C")
    weight_mask: Tensor | None
    bias_mask: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        p: float = 0.5,
        samples_num: int = 1024,
        invariant: bool = False,
        activation: nn.Module | None = nn.ReLU(),  # noqa: B008  stateless, and what scripts expect as the default
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        self.in_features, self.out_features = in_features, out_features
        self.p, self.invariant = checked_range("p", p, 0, 1), invariant
        self.samples_num = checked_count("samples_num", samples_num)
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()
        self.register_memory("weight_mask", None)
        self.register_memory("bias_mask", None)

    def reset_parameters(self) -> None:
        """Draw weight and bias as ``torch.nn.Linear`` does."""
        bound = 1 / math.sqrt(max(self.in_features, 1))
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        self._shapes.check(self, x)
        if x.shape[-1] != self.in_features:
            raise ShapeError(f"{describe(self)} expects {self.in_features} features, got {list(x.shape)}.")
        return super().forward(x)

    def single_step_forward(self, x: Tensor) -> Tensor:
        return self._training_step(x) if self.training else self._evaluation_step(x)

    def _training_step(self, x: Tensor) -> Tensor:
        weight_mask, bias_mask = self._masks_for(x)
        y = torch.einsum("noi,ni->no", self.weight * weight_mask, x)
        if self.bias is not None:
            y = y + self.bias * bias_mask
        return y if self.activation is None else self.activation(y)

    def _masks_for(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.weight_mask is not None and self.bias_mask is not None:
            return self.weight_mask.to(x.dtype), self.bias_mask.to(x.dtype)
        bias_mask = x.new_full((x.shape[0], self.out_features), 1 - self.p).bernoulli()
        weight_mask = x.new_full((*bias_mask.shape, self.in_features), 1 - self.p).bernoulli()  # [N, out, in]
        if self.invariant:
            self.weight_mask, self.bias_mask = weight_mask, bias_mask
        return weight_mask, bias_mask

    def _evaluation_step(self, x: Tensor) -> Tensor:
        mean = (1 - self.p) * F.linear(x, self.weight, self.bias)
        if self.activation is None:
            return mean
        squares = None if self.bias is None else self.bias.square()
        variance = self.p * (1 - self.p) * F.linear(x.square(), self.weight.square(), squares)
        smallest = torch.finfo(x.dtype).tiny  # the root of 0 has no finite gradient
        deviation = variance.clamp_min(smallest).sqrt()
        noise = torch.randn(self.samples_num, *mean.shape, dtype=mean.dtype, device=mean.device)
        return self.activation(mean + deviation * noise).mean(0)  # of [samples, N, out]

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
            f", p={self.p}, invariant={self.invariant}, step_mode={self.step_mode}"
        )
