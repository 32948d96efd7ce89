"""Containers that feed a module's output back to its input one time step later."""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeloom.errors import ShapeError, describe
from spikeloom.functional.networks import require_single_step
from spikeloom.layer.one_loop import FORWARDS, can_share_a_loop
from spikeloom.loom.backends import effective_backend
from spikeloom.loom.select import transformed
from spikeloom.memory import MemoryModule


class StepByStep(MemoryModule):
    """A container with memories of its own, whose modules get single steps whatever its step mode is."""

    step_mode_boundary = True
    computes_in_float32 = False

    def forward(self, x: Tensor) -> Tensor:
        require_single_step(self, self.children())  # again: they may have changed since
        return super().forward(x)

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode}"


class _RecurrentContainer(StepByStep):
    """What the containers below share: a single-step module and its last output ``y``."""

    y: Tensor | None

    def __init__(self, sub_module: nn.Module, step_mode: str):
        super().__init__(step_mode)
        self.sub_module = sub_module
        require_single_step(self, [sub_module])
        self.register_memory("y", None)


class ElementWiseRecurrentContainer(_RecurrentContainer):
    r"""Recurrence by an element-wise function.

    .. math:: y_t = F\big(f(y_{t-1}, x_t)\big), \quad y_0 = 0

    Args:
        sub_module: :math:`F`, a single-step module whose output has the shape of its input.
        element_wise_function: :math:`f`, called with the last output and the input, in this order.
        step_mode: of the container, ``'s'`` or ``'m'``; the module inside is always single-step.
    Shape:
        input and output ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step).
    Raises:
        ValueError: ``sub_module`` is in multi-step mode.
    Example:
        >>> from spikeloom import neuron
        >>> inhibited = neuron.IFNode(v_reset=None)
        >>> net = ElementWiseRecurrentContainer(inhibited, lambda y, x: x - y, step_mode="m")
        >>> net(torch.full([4, 1], 1.5)).flatten()
        tensor([1., 1., 0., 1.])
    """

    def __init__(
        self,
        sub_module: nn.Module,
        element_wise_function: Callable[[Tensor, Tensor], Tensor],
        step_mode: str = "s",
    ):
        super().__init__(sub_module, step_mode)
        self.element_wise_function = element_wise_function

    def single_step_forward(self, x: Tensor) -> Tensor:
        last = torch.zeros_like(x) if self.y is None else self.y
        self.y = y = self.sub_module(self.element_wise_function(last, x))
        return y

    def extra_repr(self) -> str:
        name = getattr(self.element_wise_function, "__name__", type(self.element_wise_function).__name__)
        return f"element_wise_function={name}, {super().extra_repr()}"


class LinearRecurrentContainer(_RecurrentContainer):
    r"""Recurrence by a linear layer over the input and the last output.

    .. math:: y_t = F\big(W\,[x_t; y_{t-1}] + b\big), \quad y_0 = 0

    A sequence on a CPU runs as one compiled loop where :math:`F` is a neuron that the loom can weave, and
    nobody looks at single steps, as a hook does. The product with the input is then computed for all steps at
    once, so that sums are rounded otherwise; ``backend='torch'`` of the neuron goes step by step.

    Args:
        sub_module: :math:`F`, a single-step module from ``in_features`` to ``out_features``.
        in_features: size of the input.
        out_features: size of the output of ``sub_module``.
        bias: whether the linear layer ``rc`` (``in_features + out_features`` to ``in_features``) has a bias.
        step_mode: of the container, ``'s'`` or ``'m'``; the module inside is always single-step.
    Shape:
        input ``[N, *, in_features]`` (single-step) or ``[T, N, *, in_features]`` (multi-step); output the
        same with ``out_features``.
    Raises:
        ShapeError: the input's last dimension is not ``in_features``.
        ValueError: ``sub_module`` is in multi-step mode.
    Example:
        >>> from spikeloom import neuron
        >>> net = LinearRecurrentContainer(neuron.LIFNode(), 6, 6, step_mode="m")
        >>> net(torch.rand(5, 4, 6)).shape
        torch.Size([5, 4, 6])
    """

    def __init__(
        self,
        sub_module: nn.Module,
        in_features: int,
        out_features: int,
        bias: bool = True,
        step_mode: str = "s",
    ):
        super().__init__(sub_module, step_mode)
        self.in_features, self.out_features = in_features, out_features
        self.rc = nn.Linear(in_features + out_features, in_features, bias)
        self._modules["sub_module"] = self._modules.pop("sub_module")  # the order of states of optimisers

    def _runs_as_made(self) -> bool:
        """Whether neuron and weights are what they were made as, and nobody looks at single steps."""
        node, linear = cast(Any, self.sub_module), self.rc
        return (
            can_share_a_loop(node, linear)
            and type(linear) is nn.Linear
            and type(self).single_step_forward is LinearRecurrentContainer.single_step_forward
            and type(self).multi_step_forward is MemoryModule.multi_step_forward
            and not self.has_sequence_function()
            and FORWARDS.isdisjoint(vars(self))
            and effective_backend(node.backend) in ("auto", "numba")
            and not (node.store_v_seq or node.cuts_memories or self.cuts_memories)
        )

    def _has_a_loop_for(self, x_seq: Tensor) -> bool:
        """Whether a compiled loop computes what steps do, from this input, these weights and this memory."""
        weight, y, features = self.rc.weight, self.y, self.in_features
        return (
            x_seq.device.type == weight.device.type == "cpu"
            and x_seq.dtype == weight.dtype
            and x_seq.dtype in (torch.float32, torch.float64)
            and x_seq.dim() > 1
            and x_seq.shape[-1] == self.out_features == features
            and weight.shape == (features, 2 * features)
            and (
                y is None or (isinstance(y, Tensor) and (y.shape, y.dtype) == (x_seq.shape[1:], x_seq.dtype))
            )
            and not torch.is_autocast_enabled("cpu")
            and not (transformed(x_seq) or transformed(weight))
            # The loop leaves out neurons that are silent: 0 times infinity is no number.
            and bool(weight.isfinite().all())
        )

    def _woven(self, x: Tensor) -> Tensor | None:
        if self.step_mode != "m" or torch.compiler.is_compiling():
            return None
        if not (self._runs_as_made() and self._has_a_loop_for(x)):
            return None
        node, weight = self.sub_module, self.rc.weight
        outside, inside = weight[:, : self.in_features], weight[:, self.in_features :]
        mine = x.clone() if outside.requires_grad else x  # the caller may write into the input
        drive = F.linear(mine, outside, self.rc.bias)
        if self.y is not None:
            drive = torch.cat([drive[:1] + F.linear(self.y, inside), drive[1:]])
        try:
            node.__dict__.update(_feedback=inside, _step_mode="m")
            output = node(drive.contiguous())
        finally:
            node.__dict__.update(_feedback=None, _step_mode="s")
        if output is not None:
            self.y = output[-1].clone()
        return output

    def single_step_forward(self, x: Tensor) -> Tensor:
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(
                f"{describe(self)} expects {self.in_features} features in the last dimension of a time step, "
                f"got {list(x.shape)}. Build it with the size of its input."
            )
        last = x.new_zeros(*x.shape[:-1], self.out_features) if self.y is None else self.y
        y = self.sub_module(self.rc(torch.cat([x, last], -1)))
        if y.shape != last.shape:
            raise ShapeError(
                f"{describe(self)} expects out_features={self.out_features} of its `sub_module`, got "
                f"{list(y.shape)}."
            )
        self.y = y
        return y
