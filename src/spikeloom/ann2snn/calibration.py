"""Making up for what a spiking layer gets wrong on average, one layer after the other."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, fx

from spikeloom.ann2snn.network import ConvertedNet
from spikeloom.ann2snn.simulate import outputs_over_time
from spikeloom.ann2snn.spiking import SpikingActivation
from spikeloom.ann2snn.thresholds import watch


class _Mean:
    """The mean over all rows that it was given."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.count = 0

    def add(self, rows: Tensor) -> None:
        self.total, self.count = self.total + rows.sum(0, dtype=torch.float64), self.count + len(rows)

    @property
    def value(self) -> Tensor:
        return torch.as_tensor(self.total / self.count)


@torch.no_grad()
def calibrate(
    snn: ConvertedNet,
    ann: fx.GraphModule,
    layers: Mapping[str, SpikingActivation],
    batches: Sequence[Tensor],
    what: str,
    T: int,
) -> None:
    r"""Let the mean output of each layer over samples and ``T`` steps be that of the ANN.

    .. math:: e = \bar a_{ANN} - \bar a_{SNN},\quad b \leftarrow b + \mathrm{mean}_{channel}(e)
              \quad\text{or}\quad v_0 \leftarrow v_0 + T e

    Args:
        snn: the converted network, which is changed.
        ann: the graph that it was made of.
        layers: its activations by the names of the graph's nodes, in order. A layer is corrected with those
            before it corrected already.
        batches: samples ``[N, *]`` each.
        what: ``'bias'`` (one number for each channel, added at every step) or ``'potential'`` (one for each
            neuron, at the start).
        T: time steps.
    Source: Li et al., A free lunch from ANN: towards efficient, accurate spiking neural networks calibration,
        ICML 2021.
    """
    wanted = {name: _Mean() for name in layers}
    watch(ann, layers, batches, lambda name, output: wanted[name].add(output))
    for name, layer in layers.items():
        with _mean_output(layer) as reached:
            for x in batches:
                outputs_over_time(snn, x, T)
        error = wanted[name].value - reached.value  # [C, *]
        if what == "potential":
            layer.initial = layer.initial + (T * error).to(layer.initial)
        else:
            # [C, 1, ...]
            per_channel = error.reshape(len(error), -1).mean(1).view(-1, *[1] * (error.dim() - 1))
            layer.shift = per_channel.to(layer.initial)


@contextmanager
def _mean_output(layer: SpikingActivation) -> Iterator[_Mean]:
    """The mean output of a layer in the block."""
    mean = _Mean()
    handle = layer.register_forward_hook(lambda *call: mean.add(call[-1]))
    try:
        yield mean
    finally:
        handle.remove()
