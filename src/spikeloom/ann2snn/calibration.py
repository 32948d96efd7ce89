"""Making up for what a spiking layer gets wrong on average, one layer after the other."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx

from spikeloom.ann2snn.network import ConvertedNet
from spikeloom.ann2snn.simulate import outputs_over_time
from spikeloom.ann2snn.spiking import SpikingActivation
from spikeloom.ann2snn.thresholds import watch
from spikeloom.errors import ShapeError


class _Mean:
    """The mean over rows ``[N, C, *]``: ``[C, *]``, or ``per_channel`` over places too, ``[C, 1, ...]``."""

    def __init__(self, per_channel: bool) -> None:
        self.per_channel = per_channel
        self.total: Tensor | float = 0.0
        self.count = 0

    def add(self, rows: Tensor) -> None:
        if self.per_channel and rows.dim() > 2:
            rows = rows.mean(tuple(range(2, rows.dim())), keepdim=True, dtype=torch.float64)
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
    Raises:
        ShapeError: the potentials are wanted of neurons that differ in their number from batch to batch.
    Source: Li et al., A free lunch from ANN: towards efficient, accurate spiking neural networks calibration,
        ICML 2021.
    """
    if what == "potential" and len(shapes := {tuple(x.shape[1:]) for x in batches}) > 1:
        raise ShapeError(
            f"`calibration_data` must hold samples of one shape for calibrate='potential', got {shapes}. "
            "Take calibrate='bias', which has one number for each channel."
        )
    wanted = {name: _Mean(what == "bias") for name in layers}
    watch(ann, layers, batches, lambda name, output: wanted[name].add(output))
    for name, layer in layers.items():
        reached = _Mean(what == "bias")
        with layer.register_forward_hook(lambda *call, reached=reached: reached.add(call[-1])):
            for x in batches:
                outputs_over_time(snn, x, T)
        error = (wanted[name].value - reached.value).to(layer.initial)
        if what == "potential":
            layer.initial = layer.initial + T * error
        else:
            layer.shift = error
