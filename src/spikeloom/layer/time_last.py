"""Containers for sequences whose last dimension is time, as that of images over time from a camera."""

from typing import Any

from torch import Tensor

from spikeloom.layer.containers import MultiStepContainer, SeqToANNContainer, StepModeContainer


class _TimeLast(StepModeContainer):
    def forward(self, input: Tensor) -> Any:
        if self.step_mode == "s":
            return super().forward(input)
        return super().forward(input.movedim(-1, 0)).movedim(0, -1)


class TLastMultiStepContainer(_TimeLast, MultiStepContainer):
    """:class:`MultiStepContainer` for sequences ``[N, *, T]``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from spikeloom import neuron
        >>> TLastMultiStepContainer(nn.Linear(3, 2), neuron.IFNode())(torch.rand(4, 3, 5)).shape
        torch.Size([4, 2, 5])
    """


class TLastSeqToANNContainer(_TimeLast, SeqToANNContainer):
    """:class:`SeqToANNContainer` for sequences ``[N, *, T]``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> TLastSeqToANNContainer(nn.Conv2d(1, 2, 3))(torch.rand(4, 1, 8, 8, 5)).shape
        torch.Size([4, 2, 6, 6, 5])
    """
