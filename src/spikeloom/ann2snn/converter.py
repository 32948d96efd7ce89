"""Conversion under the names that older scripts use."""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from spikeloom.ann2snn.convert import convert
from spikeloom.ann2snn.network import ConvertedNet


@dataclass(frozen=True)
class RateCodingRecipe:
    """What :class:`Converter` is told, as scripts for SpikingJelly 2.0 do it.

    Args:
        dataloader: inputs to measure activations on; see :func:`convert`.
        mode: ``'max'``, the largest activation; ``'99.9%'`` or another percentile; or a number above 0 and
            up to 1, a part of the largest activation.
        momentum: accepted and not used: the measure is over all samples.
        fuse_flag: accepted and not used: batch norm is folded into the weights, which gives the same.
    Raises:
        ValueError: ``mode`` is none of these.
    """

    dataloader: Any
    mode: str | float = "Max"
    momentum: float = 0.1
    fuse_flag: bool = True

    def __post_init__(self) -> None:
        _options(self.mode)


class Converter:
    """:func:`convert` as the tutorials call it: ``Converter(loader, mode='99.9%')(model)``.

    Neurons start at 0, as there; ``convert`` starts them half-way to the threshold, which is more accurate.

    Args:
        dataloader, mode, momentum, fuse_flag: as for :class:`RateCodingRecipe`.
        device: to which model and data are moved; default: where the model is.
        recipe: in place of the others but ``device``; may be the first by position.
        strict: as for :func:`convert`.
    Raises:
        TypeError: there is neither ``dataloader`` nor ``recipe``.
        ValueError: ``mode`` is none of those.
        RuntimeError: there is no such device.
    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> loader = [(torch.rand(8, 2), torch.zeros(8))]
        >>> snn = Converter(mode="max", dataloader=loader)(model)
        >>> sum(snn(torch.rand(4, 2)) for _ in range(5)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        dataloader: Any = None,
        device: torch.device | str | None = None,
        mode: str | float = "Max",
        momentum: float = 0.1,
        fuse_flag: bool = True,
        recipe: RateCodingRecipe | None = None,
        strict: bool = True,
    ):
        if recipe is None and dataloader is None:
            raise TypeError("`dataloader` must be given: inputs to measure activations on.")
        given = dataloader if isinstance(dataloader, RateCodingRecipe) else recipe
        self.recipe = given or RateCodingRecipe(dataloader, mode, momentum, fuse_flag)
        self.strict = strict
        self.device = None if device is None else torch.device(device)

    def __call__(self, ann: nn.Module) -> ConvertedNet:
        if self.device is not None:
            ann = ann.to(self.device)
        recipe = self.recipe
        options = _options(recipe.mode)
        return convert(ann, recipe.dataloader, initial_potential=0.0, strict=self.strict, **options)

    convert = __call__


def _options(mode: Any) -> dict[str, Any]:
    """The options of :func:`convert` that ``mode`` stands for."""
    if isinstance(mode, str) and mode.lower() == "max":
        return {}
    if isinstance(mode, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)%", mode)):
        if 0 < float(match[1]) <= 100:
            return {"method": "percentile", "percentile": float(match[1])}
    elif isinstance(mode, float | int) and 0 < mode <= 1:
        return {"scale": float(mode)}
    raise ValueError(
        f"`mode` must be 'max', a percentile such as '99.9%', or a number above 0 and up to 1, got {mode!r}."
    )
