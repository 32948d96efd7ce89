"""How fast a neuron runs over a sequence, against the reference loop."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeloom import loom
from spikeloom.checks import checked_count
from spikeloom.neuron import BaseNode
from spikeloom.profile.table import aligned

WOVEN, REFERENCE, COPY = "compiled loop", "reference loop", "copy of the input"


@dataclass(frozen=True)
class Speed:
    """What a neuron took.

    Args:
        what: neuron, sizes and machine, in words.
        forward: seconds of a sequence, by what ran it, and of a copy of its input, which nothing can beat.
        both: seconds with the backward pass.
        why_not: why there is no compiled loop; empty if there is one.
    """

    what: str
    forward: dict[str, float]
    both: dict[str, float]
    why_not: str

    def __str__(self) -> str:
        def shown(seconds: float | None) -> str:
            return "" if seconds is None else f"{1e3 * seconds:.3g} ms"

        rows = [(name, shown(one), shown(self.both.get(name))) for name, one in self.forward.items()]
        lines = [self.what, "", *aligned([("", "forward", "forward + backward"), *rows], left=1), ""]
        if self.why_not:
            return "\n".join([*lines, self.why_not])
        times = [one[REFERENCE] / one[WOVEN] for one in (self.forward, self.both)]
        return "\n".join([*lines, f"{times[0]:.3g} times as fast, {times[1]:.3g} with the backward pass."])


def speed(
    node: BaseNode,
    shape: Sequence[int] = (131_072,),
    num_steps: int = 16,
    device: str | torch.device = "cpu",
    repeats: int = 15,
) -> Speed:
    """Measure how long a neuron takes for a sequence: compiled, on the reference loop, in turn.

    The times are medians, after a first run that compiles. Measure on a quiet machine: the reference loop
    suffers more from other work.

    Args:
        node: the neuron; it is not changed.
        shape: of one time step's input.
        num_steps: time steps.
        device: where to run.
        repeats: how often each is measured.
    Raises:
        TypeError: ``node`` is no neuron.
        ValueError: a size is less than 1.
    Example:
        >>> from spikeloom import neuron
        >>> print(speed(neuron.LIFNode(), (1000,), repeats=3))
        LIFNode, 16 time steps, 1,000 neurons, float32, cpu...
    """
    if not isinstance(node, BaseNode):
        raise TypeError(f"`node` must be a neuron (BaseNode), got a {type(node).__name__}.")
    for size in (*shape, checked_count("num_steps", num_steps), checked_count("repeats", repeats)):
        checked_count("shape", size)
    x = 2.0 * torch.rand(num_steps, *shape, device=device)
    why_not = loom.explain(node, len(shape)).partition("\n")[0]
    is_woven = " is woven " in why_not
    runs: dict[str, Callable[[Tensor], Tensor]] = {}
    for name, backend in ((WOVEN, "auto"), (REFERENCE, "torch")) if is_woven else ((REFERENCE, "torch"),):
        one = runs[name] = copy.deepcopy(node).to(device)
        one.backend, one.step_mode = backend, "m"
    forward, both = _times(runs | {COPY: torch.clone}, x, repeats), _times(runs, x.requires_grad_(), repeats)
    place = f"cpu ({torch.get_num_threads()} threads)" if x.device.type == "cpu" else _name(x.device)
    sizes = f"{num_steps} time steps, {torch.Size(shape).numel():,} neurons, float32"
    return Speed(f"{type(node).__name__}, {sizes}, {place}", forward, both, "" if is_woven else why_not)


def _times(runs: dict[str, Callable[[Tensor], Tensor]], x: Tensor, repeats: int) -> dict[str, float]:
    """The median time of each, taken in turn; with the backward pass where ``x`` has a gradient."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + 1):
        for name, run in runs.items():
            if isinstance(run, BaseNode):
                run.reset()
            _wait(x)
            start = time.perf_counter()
            with torch.set_grad_enabled(x.requires_grad):
                output = run(x)
            if x.requires_grad:
                torch.autograd.grad(output, x, torch.ones_like(output))
            _wait(x)
            if number > 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(one) for name, one in times.items()}


def _wait(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
