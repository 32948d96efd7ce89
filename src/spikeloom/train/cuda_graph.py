"""A training step as a CUDA graph: all kernels of its forward and backward pass, launched at once.

Eagerly, Python launches each of them, which takes it some ten microseconds; where the work of a kernel takes
less, the device waits. A graph is recorded once, and replayed in one call.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


class CudaGraph:
    """A function of tensors on a CUDA device that makes gradients: recorded at its first call, then replayed.

    Args:
        function: of tensors that always have the same types and shapes, to tensors. It must not wait for the
            device, and what it does otherwise than by kernels is done when it is recorded, and not again.
        net: whose parameters' gradients it adds to; they are taken to be empty before each call.
    Example:
        A step is given other numbers, and leaves gradients and its results::

            step = CudaGraph(lambda x, y: backward(loss(net(x), y)), net)
            value = step(x, y)
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], net: nn.Module):
        self.function, self.net = function, net
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The function's results; the next call overwrites them, and the gradients."""
        if self.graph is None:
            self._record(tensors)
        assert self.graph is not None
        for kept, tensor in zip(self.inputs, tensors, strict=True):
            kept.copy_(tensor)
        self.graph.replay()
        for parameter, gradient in zip(self.net.parameters(), self.gradients, strict=True):
            parameter.grad = gradient
        return self.results

    def _record(self, tensors: Iterable[Tensor]) -> None:
        self.inputs = [tensor.clone() for tensor in tensors]
        self._run_once()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.results = self.function(*self.inputs)
        self.gradients = [parameter.grad for parameter in self.net.parameters()]
        self.graph = graph

    def _run_once(self) -> None:
        """Run the function for nothing, on a stream of its own: libraries choose and make what they need,
        which must not happen while a graph is recorded."""
        buffers = [(buffer, buffer.clone()) for buffer in self.net.buffers()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.function(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        for buffer, before in buffers:
            buffer.copy_(before)
        for parameter in self.net.parameters():
            parameter.grad = None  # so that the graph writes the gradients, and does not add to them
