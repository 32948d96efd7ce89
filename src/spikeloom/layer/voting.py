"""Populations of output neurons that vote for a class."""

import torch
from torch import Tensor, nn

from spikeloom.checks import check_tensor, checked_count
from spikeloom.errors import ShapeError, describe
from spikeloom.steps import StepModule


class VotingLayer(StepModule, nn.Module):
    """Average of each ``voting_size`` neighbouring outputs: one vote for each class.

    Args:
        voting_size: number of neurons for a class.
        step_mode: ``'s'`` or ``'m'``; the layer treats each time step alike.
    Shape:
        input ``[*, C * voting_size]``, output ``[*, C]``, where ``*`` is ``N`` (single-step) or ``T, N``
        (multi-step).
    Raises:
        ShapeError: the last dimension is not a multiple of ``voting_size``.
    Source: Fang et al., Incorporating learnable membrane time constant to enhance learning of spiking neural
        networks, ICCV 2021.
    Example:
        >>> VotingLayer(2)(torch.tensor([[1.0, 1.0, 0.0, 1.0]]))
        tensor([[1.0000, 0.5000]])
    """

    def __init__(self, voting_size: int = 10, step_mode: str = "s"):
        super().__init__()
        self.voting_size = checked_count("voting_size", voting_size)
        self.step_mode = step_mode

    def forward(self, x: Tensor) -> Tensor:
        check_tensor("x", x)
        if x.dim() == 0 or x.shape[-1] % self.voting_size:
            raise ShapeError(
                f"{describe(self)}: the last dimension must be a multiple of voting_size={self.voting_size}, "
                f"got {list(x.shape)}. Give the layer before it voting_size * num_classes outputs."
            )
        votes = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        return votes.unflatten(-1, (x.shape[-1] // self.voting_size, self.voting_size)).mean(-1)

    def extra_repr(self) -> str:
        return f"voting_size={self.voting_size}, step_mode={self.step_mode}"
