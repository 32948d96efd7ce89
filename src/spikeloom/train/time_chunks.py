"""A network that is trained in chunks of time."""

from torch import Tensor, nn

from spikeloom import functional


class InTimeChunks(nn.Module):
    """``net``, of which only one chunk of time steps at a time keeps what its backward pass needs.

    Args:
        net: takes sequences and returns as many time steps.
        chunk: time steps, at least 1.
    """

    def __init__(self, net: nn.Module, chunk: int):
        super().__init__()
        self.net, self.chunk = net, chunk

    def forward(self, x_seq: Tensor) -> Tensor:
        return functional.checkpoint_time(self.net, x_seq, self.chunk)
