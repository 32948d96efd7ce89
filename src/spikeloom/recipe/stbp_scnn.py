"""stbp-scnn: a convolutional spiking network, trained by spatio-temporal backpropagation (STBP).

Every pixel fires with its intensity as probability for T = 20 steps; every layer spikes, the output too. The
loss is the mean squared error between the output's firing rates and the one-hot label. Network and settings
are those of the published code: 32C3-AP2-32C3-AP2-128-10, v = v * 0.2 * (1 - spike) + W x + b, threshold
0.5, a rectangular curve of half-width 0.5, Adam with 1e-3 divided by 10 every 40 epochs, batches of 100, 100
epochs. It fires on v > 0.5, and we on v >= 0.5.

``--net paper`` is the network of the paper, 15C5-P2-40C5-P2-300-10; the paper does not say which pooling, and
we take the average. Everything else remains as in the code; the paper's own T and thresholds differ.

Command   spikeloom train stbp-scnn                                        on the built-in digits
          spikeloom train stbp-scnn --dataset mnist --config tuned         MNIST in few epochs
          spikeloom train stbp-scnn --dataset mnist --config plain         MNIST as published
Source    Wu, Deng, Li, Zhu, Shi, Spatio-temporal backpropagation for training high-performance spiking neural
          networks, Front. Neurosci. 12:331, 2018; github.com/yjwu17/STBP-for-training-SpikingNN
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from spikeloom.recipe.base import RECIPES, BatchSize
from spikeloom.recipe.stbp_base import Stbp


@RECIPES.register("stbp-scnn")
@dataclass(frozen=True, kw_only=True)
class StbpScnn(Stbp):
    """A convolutional spiking network with Poisson coding, trained by spatio-temporal backpropagation."""

    claim: ClassVar[str] = "96.6 % on digits; MNIST: 99.4 % (plain, in bfloat16), 99.5 % (tuned) (last epoch)"
    cost: ClassVar[str] = (
        "digits: a bit over a minute (one core); MNIST: 95 minutes tuned, 3 hours plain (2 cores)"
    )
    PLAIN_LR: ClassVar[float] = 1e-3
    TUNED_LR: ClassVar[float] = 2e-3
    TUNED_EPOCHS: ClassVar[int] = 15

    batch_size: BatchSize = 100
    """Samples in a batch, over all processes together."""
    net: Literal["code", "paper"] = "code"
    """code: 32C3-AP2-32C3-AP2-128, padded, of the published code. paper: 15C5-P2-40C5-P2-300 of the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.net == "paper" and self.dataset == "digits":
            raise ValueError("`net` must be 'code' on digits: images of 8 x 8 are too small for the paper's.")

    def network(self, shape, num_classes):
        from torch import nn

        from spikeloom import layer

        channels, height, width = shape
        first, second, kernel, padding, hidden = {
            "code": (32, 32, 3, 1, 128),
            "paper": (15, 40, 5, 0, 300),
        }[self.net]
        for _ in range(2):  # a convolution, and pooling by 2
            height, width = ((size + 2 * padding - kernel + 1) // 2 for size in (height, width))
        return nn.Sequential(
            layer.Conv2d(channels, first, kernel, padding=padding),
            layer.PooledNode(self.lif(), 2),
            layer.Conv2d(first, second, kernel, padding=padding),
            layer.PooledNode(self.lif(), 2),
            layer.Flatten(),
            layer.Linear(second * height * width, hidden),
            self.lif(),
            layer.Linear(hidden, num_classes),
            self.lif(),
        )
