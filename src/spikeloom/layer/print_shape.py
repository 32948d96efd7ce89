"""A look at the shapes inside a network."""

from torch import Tensor, nn


class PrintShapeModule(nn.Module):
    """Prints the shape of what passes through it, and changes nothing.

    Args:
        ext_str: what is printed before the shape.
    Shape:
        any, in any step mode.
    Example:
        >>> import torch
        >>> _ = PrintShapeModule("after pooling")(torch.ones(2, 3))
        after pooling torch.Size([2, 3])
    """

    def __init__(self, ext_str: str = "PrintShapeModule"):
        super().__init__()
        self.ext_str = ext_str

    def forward(self, x: Tensor) -> Tensor:
        print(self.ext_str, x.shape)
        return x
