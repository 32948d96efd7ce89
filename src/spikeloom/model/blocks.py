"""Residual blocks: where a shortcut joins, before the last neuron, behind it, or without any neuron on it."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom import functional
from spikeloom.model.network import Neuron, Norm

CONNECT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ADD": lambda a, s: a + s,
    "AND": lambda a, s: a * s,
    "IAND": lambda a, s: (1.0 - a) * s,
}
"""How a spike-element-wise block joins the spikes ``a`` of its layers and those, ``s``, of its shortcut."""


class ResidualBlock(nn.Module):
    """Convolutions, each with normalisation and a neuron, and a shortcut past them.

    Subclasses say in what order, and where the shortcut joins.

    Args:
        convolutions: of the residual path, in order.
        neuron: makes a neuron.
        norm: makes the normalisation of a number of channels.
        downsample: the convolution that the shortcut passes if it changes its size; ``None`` is the identity.
        branch_norm: makes those normalisations whose outputs are added up; default ``norm``.
    Shape:
        input and output ``[N, C, H, W]`` (single-step) or ``[T, N, C, H, W]`` (multi-step).
    """

    spiking_shortcut = False
    """Whether a neuron stands on a shortcut that has a convolution."""

    def __init__(
        self,
        convolutions: Sequence[nn.Conv2d],
        neuron: Neuron,
        norm: Norm,
        downsample: nn.Conv2d | None = None,
        branch_norm: Norm | None = None,
    ):
        super().__init__()
        self.num_convolutions, branch_norm = len(convolutions), branch_norm or norm
        for number, convolution in enumerate(convolutions, 1):
            make = branch_norm if number == self.num_convolutions else norm
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", make(convolution.out_channels))
            self.add_module(f"sn{number}", neuron())
        self.downsample = nn.Sequential()  # the identity
        if downsample is not None:
            self.downsample.extend([downsample, branch_norm(downsample.out_channels)])
            self.downsample.extend([neuron()] if self.spiking_shortcut else [])

    def start_as_identity(self) -> None:
        """Set scale and shift of the last normalisation to 0, so that only the shortcut is left at first.

        Raises:
            TypeError: the normalisation has no ``weight`` or ``bias``.
        """
        self._set_last_norm(0.0)

    def _set_last_norm(self, bias: float) -> None:
        last: Any = getattr(self, f"bn{self.num_convolutions}")
        for name, value in (("weight", 0.0), ("bias", bias)):
            if not isinstance(getattr(last, name, None), Tensor):
                raise TypeError(
                    f"`norm` must have a {name}, which zero_init_residual=True sets, got "
                    f"{type(last).__name__}. Choose another, or zero_init_residual=False."
                )
            nn.init.constant_(getattr(last, name), value)

    def _layers(self) -> Iterator[tuple[nn.Module, nn.Module, nn.Module]]:
        """Convolution, normalisation and neuron, in order."""
        for n in range(1, self.num_convolutions + 1):
            yield getattr(self, f"conv{n}"), getattr(self, f"bn{n}"), getattr(self, f"sn{n}")


class SpikingBlock(ResidualBlock):
    r"""The block of a spiking ResNet: the shortcut joins before the last neuron.

    .. math:: O = SN(BN(conv(SN(BN(conv(S))))) + S)

    Even when its layers give 0, the gradient of :math:`S` is multiplied by the surrogate's slope.
    """

    def forward(self, x: Tensor) -> Tensor:
        *first, (last_conv, last_norm, last_neuron) = self._layers()
        shortcut = self.downsample(x)
        for conv, norm, neuron in first:
            x = neuron(norm(conv(x)))
        return last_neuron(last_norm(last_conv(x)) + shortcut)


class SEWBlock(ResidualBlock):
    r"""Spike-element-wise block: the shortcut joins behind the last neuron, spikes with spikes.

    .. math:: O = g(A, S),\quad A = SN(BN(conv(SN(BN(conv(S))))))

    with :math:`g = A + S` (``'ADD'``), :math:`A S` (``'AND'``) or :math:`(1 - A) S` (``'IAND'``). With
    ``'ADD'`` the output grows by at most 1 with each block, and is not binary.

    Args:
        convolutions, neuron, norm, downsample: as for :class:`ResidualBlock`.
        connect: ``'ADD'``, ``'AND'`` or ``'IAND'``.
    Source: Fang et al., Deep residual learning in spiking neural networks, NeurIPS 2021.
    Example:
        >>> from spikeloom import layer, neuron
        >>> block = SEWBlock([layer.Conv2d(2, 2, 1)], neuron.IFNode, layer.BatchNorm2d, connect="IAND")
        >>> block.start_as_identity()
        >>> block(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(2, 2, 1, 1))[0].flatten()
        tensor([1., 0.], grad_fn=...)
    """

    spiking_shortcut = True

    def __init__(
        self,
        convolutions: Sequence[nn.Conv2d],
        neuron: Neuron,
        norm: Norm,
        downsample: nn.Conv2d | None = None,
        connect: str = "ADD",
    ):
        super().__init__(convolutions, neuron, norm, downsample)
        if connect not in CONNECT:
            raise ValueError(f"`connect` must be one of {list(CONNECT)}, got {connect!r}.")
        self.connect = connect

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x)
        for conv, norm, neuron in self._layers():
            x = neuron(norm(conv(x)))
        return CONNECT[self.connect](x, shortcut)

    def start_as_identity(self) -> None:
        """Make the last neuron silent at first or, for ``'AND'``, fire at every step.

        Raises:
            TypeError: the normalisation has no ``weight`` or ``bias``.
            ValueError: ``'AND'``, with a neuron that no constant input makes fire at every step.
        """
        last = getattr(self, f"sn{self.num_convolutions}")
        self._set_last_norm(_input_that_always_fires(last) if self.connect == "AND" else 0.0)

    def extra_repr(self) -> str:
        return f"connect={self.connect}"


class MembraneBlock(ResidualBlock):
    r"""The block of an MS-ResNet: membrane potentials pass the shortcut, and no neuron stands on it.

    .. math:: O = U + BN(conv(SN(BN(conv(SN(U))))))

    Source: Hu et al., Advancing spiking neural networks towards deep residual learning, IEEE TNNLS 2024.
    """

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x)
        for conv, norm, neuron in self._layers():
            x = norm(conv(neuron(x)))
        return x + shortcut


def _input_that_always_fires(neuron: nn.Module) -> float:
    """A constant input, a power of 2 from 1 on, at which the neuron fires at each of 16 time steps."""
    neuron = copy.deepcopy(neuron)
    functional.set_step_mode(neuron, "m")
    functional.set_backend(neuron, "torch")  # nothing is compiled for so little
    for power in range(8):
        functional.reset_net(neuron)
        with torch.no_grad():
            if bool((neuron(torch.full([16, 1, 1, 1, 1], 2.0**power, device="cpu")) == 1).all()):
                return 2.0**power
    raise ValueError(
        f"`connect` must be 'ADD' or 'IAND' with {type(neuron).__name__}, got 'AND': no constant input makes "
        "it fire at every step, so that the block cannot start as the identity."
    )
