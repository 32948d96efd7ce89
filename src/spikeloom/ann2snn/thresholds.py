"""How high the thresholds must be: what the activations of the ANN reach on some samples."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, fx

from spikeloom.ann2snn.samples import fitting
from spikeloom.errors import ConversionError

_BITS = 12  # of a float32 that are left out: a bin is 2^-11 of its value wide


class Activity:
    """The largest value of an activation, and how many values there are of each size, zeros included.

    Example:
        >>> activity = Activity()
        >>> activity.add(torch.arange(1000.0))
        >>> activity.maximum, round(activity.percentile(99.0))
        (999.0, 989)
    """

    def __init__(self) -> None:
        self.maximum = 0.0
        self._counts = torch.zeros(2 ** (31 - _BITS), dtype=torch.int64)

    def add(self, values: Tensor) -> None:
        """Count ``values``; what is below 0 counts as 0."""
        self.maximum = max(self.maximum, values.max().item())  # in float64, if the values are
        values = values.detach().float().clamp(min=0).abs().flatten()  # abs: -0 would be a negative integer
        # The bits of floats that are not negative are in the order of their values.
        bins = values.view(torch.int32) >> _BITS
        self._counts += torch.bincount(bins, minlength=len(self._counts)).cpu()

    def percentile(self, percent: float) -> float:
        """The value that ``percent`` of the values do not exceed, to 0.05 %."""
        total = self._counts.cumsum(0)
        wanted = math.ceil(round(percent / 100 * int(total[-1]), 6))  # 999.0000001 are 999
        index = torch.searchsorted(total, torch.tensor(wanted))
        upper = ((index + 1) << _BITS).to(torch.int32).view(torch.float32).item()
        return min(upper, self.maximum) if index > 0 else 0.0


class _Watch(fx.Interpreter):
    """Runs a graph, and shows what its nodes give."""

    def __init__(self, graph: fx.GraphModule, show: Callable[[str, Tensor], None], names: Iterable[str]):
        super().__init__(graph)
        self._show, self._names = show, set(names)

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self._names:
            self._show(n.name, result)
        return result


def watch(
    ann: fx.GraphModule, names: Iterable[str], batches: Iterable[Tensor], show: Callable[[str, Tensor], None]
) -> None:
    """Run ``ann`` on all batches, and call ``show(name, output)`` for each of the named nodes."""
    runner = _Watch(ann, show, names)
    for x in batches:
        fitting(runner.run, ann, x)


def measure(ann: fx.GraphModule, names: Iterable[str], batches: Iterable[Tensor]) -> dict[str, Activity]:
    """What each of the named activations reaches on the batches.

    Raises:
        ConversionError: an activation is not finite, or more than ``float32`` can hold.
    """
    activities = {name: Activity() for name in names}
    strange: list[str] = []

    def show(name: str, output: Tensor) -> None:
        if bool(output.float().isfinite().all()):  # thresholds are float32
            activities[name].add(output)
        else:  # to raise here would add what torch.fx has to say
            strange.append(name)

    watch(ann, activities, batches, show)
    if strange:
        node = next(node for node in ann.graph.nodes if node.name == strange[0])
        shown = node.target if node.op == "call_module" else node.name
        raise ConversionError(
            f"The output of '{shown}' must be finite on `calibration_data`, got NaN, infinity or more than "
            "float32 can hold. Look for the same in the data and in the weights."
        )
    return activities
