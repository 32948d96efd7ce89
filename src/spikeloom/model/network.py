"""Layers in a row that see a static image or frames; what is the same at every time step is computed once."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from spikeloom import functional
from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError
from spikeloom.memory import MemoryModule
from spikeloom.steps import StepModule, takes_single_steps

Layers = Mapping[str, nn.Module]
"""Layers by name, in order."""
Neuron = Callable[[], nn.Module]
"""Makes a neuron."""
Norm = Callable[[int], nn.Module]
"""Makes the normalisation of a number of channels."""

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
_CURES = {  # by the dimensions of an input that is refused
    3: "Add the batch dimension: x.unsqueeze(0).",
    4: "Repeat an image over time, or call functional.set_step_mode(net, 's') for single steps.",
    5: "To give it frames, call functional.set_step_mode(net, 'm').",
}


class Network(StepModule, nn.Module):
    """Layers in a row, for static images and for frames.

    Of a static image, all that stands before the first neuron (a convolution, its normalisation) is computed
    once, and its result is shown to the neuron at each time step.

    Args:
        layers: name and layer, in order; the first one is a convolution and called ``conv1``.
        T: time steps for which a static image is shown; ``None`` takes frames only.
        size: height and width of the images, for networks that need it.
    Shape:
        input ``[N, C, H, W]``, a static image, or ``[T', N, C, H, W]``, frames (multi-step, the mode that it
        is made in); ``[N, C, H, W]``, one time step (single-step). Output ``[T, N, num_classes]``,
        ``[T', N, num_classes]`` or ``[N, num_classes]``.
    Raises:
        ShapeError: the input has other dimensions, channels, height or width.
        TypeError: the input is no tensor of floating-point numbers; a normalisation is one of ``torch.nn``,
            which would take time for the batch.
        ValueError: a layer stands in two places; there is no ``conv1``.
    Example:
        >>> from spikeloom import layer, neuron
        >>> net = Network({"conv1": layer.Conv2d(1, 2, 3), "sn1": neuron.IFNode()}, T=4)
        >>> net(torch.rand(5, 1, 8, 8)).shape, net(torch.rand(7, 5, 1, 8, 8)).shape
        (torch.Size([4, 5, 2, 6, 6]), torch.Size([7, 5, 2, 6, 6]))
    """

    conv1: nn.Conv2d

    def __init__(self, layers: Layers, T: int | None, size: int | None = None):
        super().__init__()
        if not isinstance(layers.get("conv1"), nn.Conv2d):
            raise ValueError(f"`layers` must have a convolution 'conv1', for the input, got {[*layers]}.")
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.T = T if T is None else checked_count("T", T)
        self.size = size
        self._check_modules()
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        layers = list(self.children())
        if self.step_mode == "m" and x.dim() == 4:
            x = x.unsqueeze(0)  # one time step, [1, N, C, H, W]
            while layers and _is_the_same_at_every_step(layers[0]):
                x = layers.pop(0)(x)
            assert self.T is not None, "a static image was refused"
            x = _repeated(x.squeeze(0), self.T)  # the gradient of x[0] would have its channels first
        for layer in layers:
            x = layer(x)
        return x

    def _check_modules(self) -> None:
        seen: set[nn.Module] = set()
        for name, module in self.named_modules(remove_duplicate=False):
            if module in seen:
                raise ValueError(
                    f"`neuron` and `norm` must make a new module for each layer, but {type(module).__name__} "
                    f"'{name}' is in two places. Give functions that make one at each call."
                )
            seen.add(module)
            if isinstance(module, _NORMS) and not isinstance(module, StepModule):
                raise TypeError(
                    f"`norm` must make layers that take sequences, got torch.nn's {type(module).__name__}. "
                    f"Give layer.{type(module).__name__}."
                )

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(
                f"`x` must be a tensor of floating-point numbers, got {kind}. Convert images of 0 to 255 "
                "with data.as_float(x)."
            )
        channels, size = self.conv1.in_channels, self.size or "any"
        shapes = {"s": [4], "m": [5] if self.T is None else [4, 5]}[self.step_mode]
        if x.dim() not in shapes:
            cure = _CURES.get(x.dim(), "Reshape it.")
        elif x.shape[-3] != channels:
            cure = f"Build the network with in_channels={x.shape[-3]}."
        elif self.size and x.shape[-2:] != (self.size, self.size):
            cure = "Resize the images, or build the network with their size."
        elif x.dim() == 5 and x.shape[0] == 0:
            cure = "Give it at least one time step."
        else:
            return
        shown = {4: f"[N, {channels}, {size}, {size}]", 5: f"[T, N, {channels}, {size}, {size}]"}
        raise ShapeError(
            f"`x` must be {' or '.join(shown[dims] for dims in shapes)}, got {list(x.shape)}. {cure}"
        )

    def extra_repr(self) -> str:
        return f"T={self.T}, step_mode={self.step_mode}"


def _is_the_same_at_every_step(layer: nn.Module) -> bool:
    """Whether a constant input has a constant output, which one time step shows.

    A layer with memories has not, and neither has one that takes whole sequences only, as temporal effective
    batch normalisation does.
    """
    return not any(
        isinstance(module, MemoryModule) or not takes_single_steps(module) for module in layer.modules()
    )


def _repeated(x: Tensor, num_steps: int) -> Tensor:
    """``x`` at each of ``num_steps`` time steps; channels that are last remain so, in its gradient too.

    A view, but on CPU, where a compiled loop makes a dense copy of a view over time, which has its channels
    first.
    """
    if x.dim() != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        return x.expand(num_steps, *x.shape)
    x = x.movedim(1, -1)  # [N, H, W, C]
    repeated = x.expand(num_steps, *x.shape)
    return (repeated.contiguous() if x.device.type == "cpu" else repeated).movedim(-1, 2)
