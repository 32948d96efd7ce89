"""Networks that are trained together on the same samples."""

import torch
from torch import Tensor, nn


class SideBySide(nn.ModuleDict):
    """Gives the outputs of several networks for one input. They share nothing, so that each learns as if it
    were alone if the loss is a sum over the networks.

    Args:
        modules: networks by name, with outputs of one shape.
    Shape:
        input ``[N, *]``; output ``[networks, N, *]``.
    Example:
        >>> nets = SideBySide({"relu": nn.ReLU(), "tanh": nn.Tanh()})
        >>> nets(torch.tensor([[-1.0]])).flatten().tolist()
        [0.0, -0.76...]
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([net(x) for net in self.values()])
