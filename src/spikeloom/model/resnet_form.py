"""What residual networks of all kinds share: stem, stages, classifier; and the depths that have names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from spikeloom import layer
from spikeloom.checks import checked_count
from spikeloom.model.blocks import ResidualBlock
from spikeloom.model.network import Network, Neuron, Norm

NAMED_FORMS = {
    "18": {"depths": (2, 2, 2, 2), "bottleneck": False},
    "34": {"depths": (3, 4, 6, 3), "bottleneck": False},
    "50": {"depths": (3, 4, 6, 3), "bottleneck": True},
    "101": {"depths": (3, 4, 23, 3), "bottleneck": True},
    "152": {"depths": (3, 8, 36, 3), "bottleneck": True},
    "104": {"depths": (3, 8, 32, 8), "bottleneck": False},
}
"""By the number of layers: the blocks of each stage, and their kind."""
CPU_FORMS = {
    "mini": {"depths": (1, 1, 1), "width": 64, "small_input": True, "pool_stem": True},
    "small": {"depths": (1, 2), "width": 128, "small_input": True, "pool_stem": True},
}
"""For training on a CPU: in minutes, and on CIFAR-10 in two hours of two cores with matrix units, whose
products are slow on images of 4 x 4."""

_conv = partial(layer.Conv2d, bias=False)


@dataclass(frozen=True)
class ResNetForm:
    """The form of a residual network.

    Args:
        depths: blocks in each stage; a stage has twice the channels and half the height of that before it.
        bottleneck: whether blocks have three convolutions, 1 x 1, 3 x 3 and 1 x 1, instead of two of 3 x 3.
        width: channels of the first stage.
        small_input: whether the stem is a convolution of 3 x 3, instead of one of 7 x 7 with stride 2, and
            maximum pooling of the spikes.
        pool_stem: whether a stem for small input ends with maximum pooling by 2, before its neurons, which
            takes a quarter of the time.
    Raises:
        TypeError, ValueError: a depth or the width is no integer of at least 1.
    """

    depths: Sequence[int]
    bottleneck: bool
    width: int
    small_input: bool
    pool_stem: bool = False

    def __post_init__(self) -> None:
        checked_count("width", self.width)
        if not isinstance(self.depths, Sequence) or not self.depths:
            raise TypeError(
                f"`depths` must be the blocks of each stage, as (2, 2, 2, 2), got {self.depths!r}."
            )
        for depth in self.depths:
            checked_count("depths", depth)

    def stem(self, in_channels: int, norm: Norm, neuron: Neuron | None) -> dict[str, nn.Module]:
        """What turns an image into spikes or, without ``neuron`` and its pooling, into potentials."""
        kernel, stride = (3, 1) if self.small_input else (7, 2)
        layers: dict[str, nn.Module] = {
            "conv1": _conv(in_channels, self.width, kernel, stride, padding=kernel // 2),
            "bn1": norm(self.width),
        }
        if self.small_input and self.pool_stem:
            layers["maxpool"] = layer.MaxPool2d(2)
        if neuron is not None:
            layers["sn1"] = neuron()
            if not self.small_input:
                layers["maxpool"] = layer.MaxPool2d(3, 2, padding=1)
        return layers

    def stages(
        self, make: Callable[..., ResidualBlock], identity: bool, first_stride: int = 1
    ) -> dict[str, nn.Module]:
        """The residual blocks.

        Args:
            make: makes a block of its convolutions and of that of its shortcut, ``downsample``.
            identity: whether they start as the identity.
            first_stride: of the first stage; that of the others is 2.
        """
        stages, channels = {}, self.width
        for number, depth in enumerate(self.depths):
            width, blocks = self.width * 2**number, []
            for place in range(depth):
                stride = (2 if number else first_stride) if place == 0 else 1
                path = self._path(channels, width, stride)
                out_channels = path[-1].out_channels
                same = stride == 1 and channels == out_channels
                blocks.append(
                    make(path, downsample=None if same else _conv(channels, out_channels, 1, stride))
                )
                channels = out_channels
            stages[f"layer{number + 1}"] = nn.Sequential(*blocks)
            for block in blocks if identity else ():
                block.start_as_identity()
        return stages

    def _path(self, in_channels: int, width: int, stride: int) -> list[nn.Conv2d]:
        """The convolutions of a block."""
        if self.bottleneck:
            return [
                _conv(in_channels, width, 1),
                _conv(width, width, 3, stride, padding=1),
                _conv(width, 4 * width, 1),
            ]
        return [_conv(in_channels, width, 3, stride, padding=1), _conv(width, width, 3, padding=1)]

    def network(self, layers: dict[str, nn.Module], num_classes: int, T: int | None) -> Network:
        """The layers with a classifier behind them, and the convolutions' weights drawn for their depth."""
        channels = self.width * 2 ** (len(self.depths) - 1) * (4 if self.bottleneck else 1)
        head = {
            "avgpool": layer.AdaptiveAvgPool2d(1),
            "flatten": layer.Flatten(),
            "fc": layer.Linear(channels, num_classes),
        }
        net = Network(layers | head, T)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return net
