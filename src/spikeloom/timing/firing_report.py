"""Which neurons of layers on spike times cannot learn as they should, and why."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from spikeloom.timing.rel_psp import ReLPSPConv2d, ReLPSPLinear
from spikeloom.timing.spike_response import EventProp, SpikeProp

LAYERS = SpikeProp, EventProp, ReLPSPLinear, ReLPSPConv2d


@dataclass(frozen=True)
class LayerReport:
    """How a layer fires; as a text, with what to do about it.

    Args:
        name: of the layer in its network.
        silent: neurons that fired for no pattern, and so have no gradient.
        missing: the part of all neurons and patterns in which there was no spike.
        near_tangent: the part of all spikes at which the potential rose more slowly than ``min_slope``, so
            that gradients were clipped.
    """

    name: str
    silent: list[int]
    missing: float
    near_tangent: float

    def __str__(self) -> str:
        text = (
            f"Layer '{self.name}': no spike in {self.missing:.1%} of cases; {self.near_tangent:.1%} of the "
            "spikes are near-tangent crossings, whose gradient is clipped."
        )
        if self.silent:
            text += (
                f" Neurons {self.silent} never fire and cannot learn: start from larger weights "
                "(`reset_parameters`), or set `wake`."
            )
        return text


@torch.no_grad()
def firing_report(net: nn.Module, times: Tensor) -> list[LayerReport]:
    """Look for silent neurons and near-tangent crossings in the layers on spike times of a network.

    Args:
        net: a network; it is run once.
        times: its input, the more patterns the better.
    Returns:
        one report for each layer, in the order in which they run
    Example:
        >>> net = nn.Sequential(SpikeProp(2, 3, delays=0))
        >>> _ = nn.init.constant_(net[0].weight, 0.4)
        >>> print(firing_report(net, torch.zeros(1, 2))[0])
        Layer '0': no spike in 100.0% of cases; 0.0% of the spikes are near-tangent crossings, ...
    """
    reports: list[LayerReport] = []
    layers = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, LAYERS)]
    hooks = [layer.register_forward_pre_hook(partial(_look_at, reports, name)) for name, layer in layers]
    try:
        net(times)
    finally:
        for hook in hooks:
            hook.remove()
    return reports


def _look_at(reports: list[LayerReport], name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(layer, LAYERS)
    time, slope = layer.fire(*inputs)
    if isinstance(layer, SpikeProp | EventProp):
        time, slope = (part.view(len(part), layer.out_features, -1)[..., 0] for part in (time, slope))
    neurons = 1 if isinstance(layer, ReLPSPConv2d) else -1
    time, slope = (part.movedim(neurons, 0).flatten(1) for part in (time, slope))  # [out, cases]
    fires = time >= 0
    silent = (~fires.any(1)).nonzero().flatten().tolist()
    near_tangent = (slope < layer.min_slope)[fires].double().sum() / fires.sum().clamp(min=1)
    reports.append(LayerReport(name, silent, 1 - fires.double().mean().item(), near_tangent.item()))
