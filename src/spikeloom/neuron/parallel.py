"""Parallel spiking neurons: no reset, so all time steps are one matrix product."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeloom import surrogate
from spikeloom.checks import checked_count, checked_range
from spikeloom.errors import ShapeError, describe
from spikeloom.loom import checked_backend
from spikeloom.memory import MemoryModule
from spikeloom.neuron.base import checked_surrogate

SLIDING_BACKENDS = ("gemm", "conv")


class PSN(MemoryModule):
    r"""Parallel spiking neuron: each step's potential is a learned mixture of all steps' inputs.

    .. math:: H = W X,\quad S = \Theta(H + B),\qquad W \in \mathbb{R}^{T \times T},\; B \in \mathbb{R}^T

    The bias is minus the threshold of each time step, and starts at -1.

    Args:
        T: number of time steps of every sequence.
        surrogate_function: as for :class:`~spikeloom.neuron.BaseNode`; default ``surrogate.ATan()``.
    Shape:
        input ``[T, N, *]`` (multi-step only); output the same, values in {0, 1}. Parameters ``weight``: ``[T,
        T]``, ``bias``: ``[T, 1]``.
    Raises:
        ShapeError: a sequence does not have ``T`` steps.
    Source: Fang et al., Parallel spiking neurons with high efficiency and ability to learn long-term
        dependencies, NeurIPS 2023.
    Example:
        >>> neuron = PSN(T=3)
        >>> _ = neuron.weight.data.copy_(torch.ones(3, 3).tril())
        >>> neuron(torch.tensor([[0.4], [0.4], [0.4]])).flatten()
        tensor([0., 0., 1.], ...)
    """

    _step_modes = ("m",)

    def __init__(self, T: int, surrogate_function: Callable[[Tensor], Tensor] | None = None):
        super().__init__("m")
        self.T = checked_count("T", T)
        self.weight = nn.Parameter(_linear_start(T, T))
        self.bias = nn.Parameter(torch.full([T, 1], -1.0))
        self.surrogate_function = checked_surrogate(surrogate_function, surrogate.ATan)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        _check_length(self, x_seq)
        return self.surrogate_function(_mixed(self.weight, x_seq, self.bias))

    def extra_repr(self) -> str:
        return f"T={self.T}"


class MaskedPSN(MemoryModule):
    r"""Parallel spiking neuron that learns to look only at the last ``k`` inputs.

    .. math:: H = (W \cdot M_k(\lambda)) X,\quad S = \Theta(H + B),\quad
              M_k(\lambda)_{ij} = \begin{cases} 1 & j \le i < j + k \\ 1 - \lambda & \text{else} \end{cases}

    A training run moves :math:`\lambda` from 0 (all steps) to 1 (the last ``k``), by setting ``lambda_``. At
    1 the neuron is causal, and may be run step by step.

    Args:
        k: how many steps it looks back in the end, the present one included.
        T: number of time steps of every sequence.
        lambda_init: where ``lambda_`` starts, in [0, 1].
        surrogate_function: as for :class:`~spikeloom.neuron.BaseNode`; default ``surrogate.ATan()``.
        step_mode: ``'m'``, or, with ``lambda_`` = 1, ``'s'``.
    Shape:
        input ``[T, N, *]`` (multi-step) or ``[N, *]`` (single-step); output the same, values in {0, 1}.
        Parameters ``weight``: ``[T, T]``, ``bias``: ``[T, 1]``. Buffer ``lambda_value``: ``[]``. Memories, in
        single-step mode: ``queue`` ``[k, N, *]``, the last inputs, and ``time_step``. The two modes agree up
        to rounding, because a matrix product adds in an order of its own.
    Raises:
        ValueError: ``lambda_`` is outside [0, 1], or less than 1 in single-step mode.
        ShapeError: a sequence does not have ``T`` steps, or a step is beyond ``T``.
    Source: Fang et al., Parallel spiking neurons with high efficiency and ability to learn long-term
        dependencies, NeurIPS 2023.
    Example:
        >>> neuron = MaskedPSN(k=1, T=3, lambda_init=1.0, step_mode="m")
        >>> _ = neuron.weight.data.fill_(1.0)
        >>> neuron(torch.tensor([[0.4], [1.4], [0.4]])).flatten()
        tensor([0., 1., 0.], ...)
    """

    lambda_value: Tensor
    mask: Tensor

    def __init__(
        self,
        k: int,
        T: int,
        lambda_init: float = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        self.k = checked_count("k", k)
        self.T = checked_count("T", T)
        self.weight = nn.Parameter(_linear_start(T, T))
        self.bias = nn.Parameter(torch.full([T, 1], -1.0))
        self.surrogate_function = checked_surrogate(surrogate_function, surrogate.ATan)
        seen = torch.ones(T, T).tril().triu(1 - k)  # [T, T]: 1 where step j is among the last k of step i
        self.register_buffer("mask", seen, persistent=False)
        self.register_buffer("lambda_value", torch.zeros(()))
        self.lambda_ = lambda_init
        self.register_memory("queue", None)
        self.register_memory("time_step", 0)
        self.register_load_state_dict_pre_hook(_take_old_names)

    @property
    def lambda_(self) -> float:
        """How far the steps that the mask leaves out are suppressed: 0 not at all, 1 wholly."""
        return self.lambda_value.item()

    @lambda_.setter
    def lambda_(self, value: float) -> None:
        self.lambda_value.fill_(checked_range("lambda_", value, 0.0, 1.0))

    def masked_weight(self) -> Tensor:
        """The weight as it acts: ``[T, T]``."""
        mask = self.mask.to(self.weight.dtype)
        return self.weight * (mask + (1.0 - mask) * (1.0 - self.lambda_value.to(self.weight.dtype)))

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        _check_length(self, x_seq)
        return self.surrogate_function(_mixed(self.masked_weight(), x_seq, self.bias))

    def single_step_forward(self, x: Tensor) -> Tensor:
        if self.lambda_ < 1.0:
            raise ValueError(
                f"`lambda_` of {describe(self)} must be 1 in single-step mode, got {self.lambda_:g}: before, "
                "every step depends on later ones. Use step_mode='m'."
            )
        t = self.time_step
        if t >= self.T:
            raise ShapeError(
                f"{describe(self)} has a weight for {self.T} time steps, but this is step {t + 1}. Call "
                "functional.reset_net(net) after each sequence."
            )
        self.queue = _pushed(self.queue, x, self.k)
        self.time_step = t + 1
        row = self.weight[t : t + 1, t + 1 - len(self.queue) : t + 1]  # [1, steps in the queue]
        return self.surrogate_function(_mixed(row, self.queue, self.bias[t : t + 1])[0])

    def extra_repr(self) -> str:
        return f"k={self.k}, T={self.T}, lambda_={self.lambda_:.4g}, step_mode={self.step_mode}"


class SlidingPSN(MemoryModule):
    r"""Parallel spiking neuron with the same weights at every step: a causal filter of length ``k``.

    .. math:: h_t = \sum_{i=0}^{k-1} w_i\, x_{t-k+1+i},\quad s_t = \Theta(h_t + B)

    Inputs before the first step are 0. Sequences may have any length; one that is cut into several calls is
    the same as the whole.

    Args:
        k: how many steps it looks back, the present one included.
        exp_init: start from the decaying weights ..., 1/4, 1/2, 1; otherwise at random, as a linear layer.
        surrogate_function: as for :class:`~spikeloom.neuron.BaseNode`; default ``surrogate.ATan()``.
        step_mode: ``'s'`` or ``'m'``.
        backend: how sequences are computed: ``'gemm'``, a matrix product with a banded matrix ``[T, T + k -
            1]``, or ``'conv'``, a convolution, which needs less for ``T`` far above ``k``.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Parameters ``weight``: ``[k]``, ``bias``: ``[]``. Memory ``queue``: the last inputs, at most ``k``.
        The two modes agree up to rounding, because a matrix product adds in an order of its own; and for
        finite input: one NaN or infinity spreads over all steps of a product, but not of a convolution.
    Raises:
        TypeError, ValueError: ``k`` is not a positive integer, or ``backend`` is unknown.
    Differs from: SpikingJelly, which forgets the inputs of the sequence before also without a reset.
    Source: Fang et al., Parallel spiking neurons with high efficiency and ability to learn long-term
        dependencies, NeurIPS 2023.
    Example:
        >>> neuron = SlidingPSN(k=2, step_mode="m")
        >>> neuron(torch.tensor([[0.8], [0.6], [0.6]])).flatten()
        tensor([0., 1., 0.], ...)
    """

    own_backends = SLIDING_BACKENDS

    def __init__(
        self,
        k: int,
        exp_init: bool = True,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        step_mode: str = "s",
        backend: str = "gemm",
    ):
        super().__init__(step_mode)
        self.k = checked_count("k", k)
        self.backend = backend
        halves = torch.tensor([2.0 ** (i - k + 1) for i in range(k)])
        self.weight = nn.Parameter(halves if exp_init else _linear_start(k))
        self.bias = nn.Parameter(torch.tensor(-1.0))
        self.surrogate_function = checked_surrogate(surrogate_function, surrogate.ATan)
        self.register_memory("queue", None)

    @property
    def backend(self) -> str:
        """What computes sequences: ``'gemm'`` or ``'conv'``."""
        return self._backend

    @backend.setter
    def backend(self, value: str) -> None:
        self._backend = checked_backend(value, SLIDING_BACKENDS)

    def single_step_forward(self, x: Tensor) -> Tensor:
        self.queue = _pushed(self.queue, x, self.k)
        weight = self.weight[self.k - len(self.queue) :].unsqueeze(0)  # [1, steps in the queue]
        return self.surrogate_function(_mixed(weight, self.queue, self.bias.view(1, 1))[0])

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        seen = x_seq if self.queue is None else torch.cat([self.queue[-self.k + 1 or self.k :], x_seq])
        self.queue = seen[-self.k :].clone()  # not a view, which would keep it all
        filtered = self._product if self.backend == "gemm" else self._convolution
        return self.surrogate_function(filtered(seen, len(x_seq)))

    def _product(self, seen: Tensor, T: int) -> Tensor:
        # The rows of the banded matrix are the weights, one step further right each: laid end to end, they
        # are the weights and T zeros, over and over.
        band = F.pad(self.weight, (0, T)).repeat(T)[: T * (T + self.k - 1)].view(T, T + self.k - 1)
        return _mixed(band[:, -len(seen) :], seen, self.bias.view(1, 1))

    def _convolution(self, seen: Tensor, T: int) -> Tensor:
        rows = F.pad(seen.reshape(len(seen), -1).t().unsqueeze(1), (self.k - 1 + T - len(seen), 0))
        filtered = F.conv1d(rows, self.weight.to(seen.dtype).view(1, 1, -1))  # [N * ..., 1, T]
        return filtered.squeeze(1).t().reshape(T, *seen.shape[1:]) + self.bias.to(seen.dtype)

    def extra_repr(self) -> str:
        return f"k={self.k}, step_mode={self.step_mode}, backend={self.backend}"


def _linear_start(*shape: int) -> Tensor:
    """Random weights as those of ``nn.Linear``, whose inputs are time steps."""
    bound = 1.0 / math.sqrt(shape[-1])
    return torch.empty(shape).uniform_(-bound, bound)


def _mixed(weight: Tensor, x_seq: Tensor, bias: Tensor) -> Tensor:
    """``weight`` ``[T, S]`` times ``x_seq`` ``[S, N, *]``, plus ``bias`` ``[T, 1]`` or ``[1, 1]``: ``[T, N,
    *]``."""
    rows = x_seq.reshape(len(x_seq), x_seq[0].numel())
    mixed = torch.addmm(bias.to(x_seq.dtype), weight.to(x_seq.dtype), rows)
    return mixed.view(len(weight), *x_seq.shape[1:]).to(x_seq.dtype)  # autocast gives halves


def _pushed(queue: Tensor | None, x: Tensor, size: int) -> Tensor:
    """The last ``size`` steps of ``queue`` ``[<= size, N, *]`` and ``x`` ``[N, *]``."""
    if queue is None:
        return x.unsqueeze(0).clone()
    return torch.cat([queue, x.unsqueeze(0)])[-size:]


def _check_length(module: PSN | MaskedPSN, x_seq: Tensor) -> None:
    if x_seq.shape[0] != module.T:
        raise ShapeError(
            f"{describe(module)} has weights for T={module.T} time steps, but got a sequence of "
            f"{x_seq.shape[0]}, {list(x_seq.shape)}. Build it with T={x_seq.shape[0]}, or use SlidingPSN."
        )


def _take_old_names(_psn: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """SpikingJelly's checkpoints of a masked PSN have the buffer under another name, and the masks too."""
    if f"{prefix}_lambda_" in state:
        state[f"{prefix}lambda_value"] = state.pop(f"{prefix}_lambda_").reshape(())
        for name in ("mask0", "mask1"):
            state.pop(f"{prefix}{name}", None)
