"""Spikformer: a transformer whose queries, keys and values are spikes, so that attention needs no softmax."""

from functools import partial

from torch import Tensor, nn

from spikeloom import layer
from spikeloom.checks import checked_count
from spikeloom.model.network import Network, Neuron, Norm
from spikeloom.model.registered import MODELS
from spikeloom.neuron import LIFNode


def leaky(v_threshold: float = 1.0) -> LIFNode:
    """The neuron of Spikformer; behind attention its threshold is 0.5."""
    return LIFNode(tau=2.0, v_threshold=v_threshold, detach_reset=True)


def _unit(in_channels: int, out_channels: int, kernel: int, neuron: Neuron, norm: Norm) -> nn.Sequential:
    """Convolution, normalisation, neuron; one of 1 x 1 is a linear map of each token, and has a bias."""
    convolution = layer.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=kernel == 1)
    if kernel == 1:
        nn.init.trunc_normal_(convolution.weight, std=0.02)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return nn.Sequential(convolution, norm(out_channels), neuron())


class SpikingSelfAttention(nn.Module):
    r"""Self-attention of spikes, without a softmax.

    .. math:: A = \mathrm{SN}(s\,Q K^\top V),\quad O = SN(BN(W A))

    with :math:`Q`, :math:`K`, :math:`V` the spikes of three linear maps. Their products are whole numbers, so
    that :math:`Q (K^\top V)`, which is cheaper where there are more tokens than channels in a head, is the
    same to the bit.

    Args:
        channels: of a token.
        num_heads: parts that the channels are divided into.
        scale: :math:`s`.
        neuron, norm: as for :func:`spikeloom.model.create`.
        attention_neuron: makes the neuron behind the products.
    Shape:
        input and output ``[*, C, H, W]``, where each of the ``H * W`` places is a token.
    Raises:
        ValueError: ``channels`` is no multiple of ``num_heads``.
    Source: Zhou et al., Spikformer: when spiking neural network meets transformer, ICLR 2023.
    Example:
        >>> import torch
        >>> from spikeloom import neuron
        >>> attention = SpikingSelfAttention(8, 2, 0.125, neuron.LIFNode, layer.BatchNorm2d, neuron.IFNode)
        >>> attention(torch.ones(3, 8, 4, 4)).shape
        torch.Size([3, 8, 4, 4])
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        scale: float,
        neuron: Neuron,
        norm: Norm,
        attention_neuron: Neuron,
    ):
        super().__init__()
        if channels % checked_count("num_heads", num_heads):
            raise ValueError(f"`channels` must be a multiple of num_heads={num_heads}, got {channels}.")
        self.num_heads = num_heads
        self.scale = scale
        self.query, self.key, self.value = (_unit(channels, channels, 1, neuron, norm) for _ in range(3))
        self.attention_neuron = attention_neuron()
        self.project = _unit(channels, channels, 1, neuron, norm)

    def forward(self, x: Tensor) -> Tensor:
        # [*, heads, channels of a head, tokens]
        query, key, value = (self._heads(unit(x)) for unit in (self.query, self.key, self.value))
        mixed = (value @ key.mT) @ query * self.scale
        return self.project(self.attention_neuron(mixed.flatten(-3, -2).unflatten(-1, x.shape[-2:])))

    def _heads(self, spikes: Tensor) -> Tensor:
        return spikes.flatten(-2).unflatten(-2, (self.num_heads, -1))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, scale={self.scale}"


class SpikformerBlock(nn.Module):
    """Spiking self-attention, then two linear maps of each token; both are added to what they get.

    Args:
        attention: the first.
        mlp: the second.
    Shape:
        input and output ``[*, C, H, W]``.
    """

    def __init__(self, attention: nn.Module, mlp: nn.Module):
        super().__init__()
        self.attention = attention
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class _Added(nn.Module):
    """``x + unit(x)``: the positions of the tokens."""

    def __init__(self, unit: nn.Module):
        super().__init__()
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        return x + self.unit(x)


def spikformer(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    T: int | None = 4,
    neuron: Neuron = leaky,
    norm: Norm = layer.BatchNorm2d,
    depth: int = 4,
    width: int = 384,
    num_heads: int = 12,
    mlp_ratio: int = 4,
    scale: float = 0.125,
    attention_neuron: Neuron | None = None,
) -> Network:
    """Spikformer in its form for CIFAR: a token for each 4 x 4 pixels.

    Args:
        num_classes, in_channels, T, neuron, norm: as for :func:`spikeloom.model.create`.
        depth: blocks.
        width: channels of a token, a multiple of 8 and of ``num_heads``.
        num_heads, scale: as for :class:`SpikingSelfAttention`.
        mlp_ratio: hidden channels of a block, in multiples of ``width``.
        attention_neuron: makes the neuron behind the products of attention; default: with the default
            ``neuron`` the same with a threshold of 0.5, as published, else ``neuron``.
    Raises:
        TypeError, ValueError: an option has no such value.
    Source: Zhou et al., Spikformer: when spiking neural network meets transformer, ICLR 2023.
    """
    if checked_count("width", width) % 8:
        raise ValueError(f"`width` must be a multiple of 8, got {width}.")
    if width % checked_count("num_heads", num_heads):
        raise ValueError(f"`width` must be a multiple of num_heads={num_heads}, got {width}.")
    if attention_neuron is None:
        attention_neuron = partial(leaky, v_threshold=0.5) if neuron is leaky else neuron
    unit = partial(_unit, neuron=neuron, norm=norm)
    blocks = []
    for _ in range(checked_count("depth", depth)):
        attention = SpikingSelfAttention(width, num_heads, scale, neuron, norm, attention_neuron)
        hidden = width * checked_count("mlp_ratio", mlp_ratio)
        mlp = nn.Sequential(unit(width, hidden, 1), unit(hidden, width, 1))
        blocks.append(SpikformerBlock(attention, mlp))
    layers = _patches(in_channels, width, neuron, norm) | {
        "position": _Added(unit(width, width, 3)),
        "blocks": nn.Sequential(*blocks),
        "avgpool": layer.AdaptiveAvgPool2d(1),
        "flatten": layer.Flatten(),
        "fc": layer.Linear(width, num_classes),
    }
    return Network(layers, T)


def _patches(in_channels: int, width: int, neuron: Neuron, norm: Norm) -> dict[str, nn.Module]:
    """Four convolutions of 3 x 3; the last two are pooled."""
    layers: dict[str, nn.Module] = {}
    for number, channels in enumerate((width // 8, width // 4, width // 2, width), 1):
        layers[f"conv{number}"] = layer.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        layers[f"bn{number}"] = norm(channels)
        layers[f"sn{number}"] = neuron()
        if number > 2:
            layers[f"pool{number}"] = layer.MaxPool2d(3, 2, padding=1)
        in_channels = channels
    return layers


MODELS.register("spikformer-4-384")(spikformer)
