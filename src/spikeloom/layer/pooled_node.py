"""A neuron and average pooling behind it, in one loop."""

from typing import cast

from torch import Tensor, nn

from spikeloom.layer.one_loop import can_share_a_loop
from spikeloom.layer.pooling import AvgPool2d
from spikeloom.neuron import BaseNode


class PooledNode(nn.Sequential):
    """A neuron, then average pooling over windows side by side: what ``nn.Sequential(neuron, AvgPool2d(k))``
    gives.

    In multi-step mode a woven neuron pools its spikes while they are in the cache, so that they are neither
    written nor read again, and neither are their gradients. Where that cannot be, one runs after the other:
    single-step mode, the reference loop, a window that does not divide height and width, a neuron that is
    being watched (its hooks and monitors see spikes).

    Args:
        neuron: any neuron.
        kernel_size: of the windows, and the distance between them.
    Shape:
        input ``[N, C, H, W]`` (single-step) or ``[T, N, C, H, W]`` (multi-step); output the same with
        ``H // kernel_size`` and ``W // kernel_size``, values in [0, 1].
    Raises:
        TypeError: ``neuron`` is not a neuron.
    Example:
        >>> import torch
        >>> from spikeloom import functional, neuron
        >>> net = PooledNode(neuron.IFNode(), 2)
        >>> functional.set_step_mode(net, "m")
        >>> net(torch.ones(1, 1, 1, 2, 4))
        tensor([[[[[1., 1.]]]]])
    """

    def __init__(self, neuron: BaseNode, kernel_size: int):
        if not isinstance(neuron, BaseNode):
            raise TypeError(f"`neuron` must be a neuron (BaseNode), got a {type(neuron).__name__}.")
        super().__init__(neuron, AvgPool2d(kernel_size, step_mode=neuron.step_mode))

    def forward(self, input: Tensor) -> Tensor:
        node, pool = self
        if not self._in_one_loop(node, pool):
            return pool(node(input))
        node.__dict__["_window"] = pool.kernel_size
        try:
            output = node(input)
        finally:
            node.__dict__["_window"] = None
        return output if output.shape != input.shape else pool(output)

    def __getitem__(self, index: int | slice) -> nn.Module:  # type: ignore[override]
        found = list(self)[index]
        return nn.Sequential(*found) if isinstance(found, list) else found

    @staticmethod
    def _in_one_loop(node: nn.Module, pool: nn.Module) -> bool:
        """Whether both are what they were made as, in multi-step mode, and nobody looks in between."""
        return (
            can_share_a_loop(node, pool)
            and type(pool) is AvgPool2d
            and cast(BaseNode, node).step_mode == pool.step_mode == "m"
            and isinstance(pool.kernel_size, int)
            and pool.kernel_size > 1
            and (pool.stride, pool.padding, pool.divisor_override) == (pool.kernel_size, 0, None)
        )
