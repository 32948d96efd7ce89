"""Three failures of gradients on spike times, in SpikeProp neurons and in ReL-PSP neurons beside them.

    .venv/bin/python benchmarks/spike_time_failures.py

1. The time of a spike jumps as weights change a little: no derivative describes that.
2. Where the potential just touches the threshold, the derivative explodes.
3. A neuron that does not fire has no derivative, and stays dead.

Twenty inputs spike once each, at random within 10 ms; windows of 40 ms; 20,000 neurons with normal weights.
Their standard deviation is a quarter of their mean (nearly all are positive), or twice the mean (a third is
negative). They are scaled so that the median neuron fires at 8 ms: the two kinds differ in the shape of the
potential only. Writes results/spike_time_failures.json and .png; two minutes on one core.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import torch
from measure import Row
from torch import Tensor

from spikeloom import timing
from spikeloom.plot.axes import BLUE, VERMILLION

INPUTS, NEURONS, LEARNERS, LATEST, T = 20, 20_000, 2_000, 10.0, 40.0
SPREADS = {"positive weights": 0.25, "weights of both signs": 2.0}
MEDIAN = 8.0  # ms
CHANGE = 1e-3  # of the weights
JUMP = 0.5  # ms, more than the gradient says
FAINT = 0.75  # of the weights, with which an alpha potential just reaches the threshold
SCALES = [2 ** (-k / 4) for k in range(13)]
NO_CLIP = 1e-9


def spike_prop(neurons: int) -> timing.SpikeProp:
    return timing.SpikeProp(INPUTS, neurons, delays=0, tau=7.0, T=T, min_slope=NO_CLIP).double()


def rel_psp(neurons: int) -> timing.ReLPSPLinear:
    return timing.ReLPSPLinear(INPUTS, neurons, T=T, min_slope=NO_CLIP).double()


KINDS: dict[str, Callable[[int], Any]] = {"SpikeProp": spike_prop, "ReL-PSP": rel_psp}


@dataclass
class Population:
    """Neurons of a kind that all see one pattern; ``weight`` is ``[neurons, inputs]``."""

    make: Callable[[int], Any]
    pattern: Tensor
    weight: Tensor

    def fire(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Times ``[neurons]``, and the gradient of each with respect to its weights."""
        layer = self.layer(weight)
        times = layer(self.pattern[None])[0]
        times.sum().backward()
        return times.detach(), layer.weight.grad.view_as(weight)

    def layer(self, weight: Tensor) -> Any:
        layer = self.make(len(weight))
        layer.weight.data = weight.reshape(layer.weight.shape).clone()
        return layer

    def scaled(self) -> "Population":
        """The same, with weights with which the median neuron fires at ``MEDIAN``."""
        low, high = 1e-3, 1e3
        for _ in range(40):
            middle = (low * high) ** 0.5
            times, _ = self.fire(middle * self.weight)
            late = times.where(times >= 0, torch.inf).median() > MEDIAN
            low, high = (middle, high) if late else (low, middle)
        return Population(self.make, self.pattern, high * self.weight)

    def jumps(self) -> float:
        """How many of a thousand spikes come elsewhere than the gradient says, or appear, or vanish."""
        change = CHANGE * self.weight.abs().mean() * torch.randn_like(self.weight)
        before, gradient = self.fire(self.weight)
        after, _ = self.fire(self.weight + change)
        off = (after - before - (gradient * change).sum(1)).abs() > JUMP
        return 1000 * float(off.sum() / ((before >= 0) | (after >= 0)).sum())

    def sensitivities(self, scale: float) -> Tensor:
        """How far a relative change of the weights, that are so much smaller, moves each spike at most: in ms
        per 1 %, in order."""
        times, gradient = self.fire(scale * self.weight)
        return (gradient.norm(dim=1) * scale * self.weight.norm(dim=1))[times >= 0].sort().values / 100

    def silent(self, scale: float) -> float:
        """The part of the neurons that do not fire with weights that are so much smaller."""
        times, _ = self.fire(scale * self.weight)
        return float((times < 0).double().mean())

    def learned(self, scale: float, steps: int = 400) -> tuple[float, float]:
        """Teach each neuron a time of its own, from 4 to 14 ms: the parts that fire within 0.1 ms of it in
        the end, and that are silent then."""
        layer = self.layer(scale * self.weight[:LEARNERS])
        target = torch.linspace(4, 14, LEARNERS, dtype=torch.float64)
        optimizer = torch.optim.Adam(layer.parameters(), 0.01 * float(layer.weight.detach().abs().mean()))
        for _ in range(steps):
            times = layer(self.pattern[None])[0]
            (times - target).where(times >= 0, 0.0).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        times = layer(self.pattern[None])[0]
        return float(((times - target).abs() < 0.1).double().mean()), float((times < 0).double().mean())


def populations() -> dict[tuple[str, str], Population]:
    """Both kinds of neurons with both kinds of weights."""
    torch.manual_seed(0)
    pattern = torch.rand(INPUTS, dtype=torch.float64) * LATEST
    normal = torch.randn(NEURONS, INPUTS, dtype=torch.float64)
    return {
        (signs, kind): Population(make, pattern, 1 + spread * normal).scaled()
        for signs, spread in SPREADS.items()
        for kind, make in KINDS.items()
    }


def measured(signs: str, kind: str, neurons: Population) -> Iterator[Row]:
    """Every number of a population."""
    section = f"{kind}, {signs}"
    torch.manual_seed(1)
    yield Row(section, "spikes that jump", neurons.jumps(), "per 1000")
    for scale in (1.0, FAINT):
        moves = neurons.sensitivities(scale)
        for share in (0.5, 0.99, 0.999, 1.0):
            name = f"moved by 1 % of the weights x {scale:g}, {share:.1%} of the spikes by at most"
            yield Row(section, name, float(moves[int(share * (len(moves) - 1))]), "ms")
    for scale in SCALES:
        yield Row(section, f"silent with weights x {scale:.3f}", 100 * neurons.silent(scale), "%")
    for scale in (1.0, 0.5):
        reached, dead = neurons.learned(scale)
        yield Row(section, f"learned their time, from weights x {scale:g}", 100 * reached, "%")
        yield Row(section, f"silent after it, from weights x {scale:g}", 100 * dead, "%")


def draw(found: dict[tuple[str, str], Population], rows: list[Row], path: Path) -> None:
    """One panel for each failure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), layout="constrained")
    times, moved, silent = figure.subplots(1, 3)
    for (signs, kind), neurons in found.items():
        style = {
            "color": (BLUE, VERMILLION)[list(KINDS).index(kind)],
            "ls": "-" if signs == "weights of both signs" else "--",
        }
        label = f"{kind}, {signs}"
        if signs == "weights of both signs":
            scales = torch.linspace(0.5, 1.5, 400, dtype=torch.float64)[:, None]
            fired, _ = neurons.fire(scales * neurons.weight[_two_humps(found)])
            times.plot(scales, fired.where(fired >= 0, torch.nan), label=kind, **style)
        for scale in (1.0, FAINT) if signs == "positive weights" else (1.0,):
            moves = neurons.sensitivities(scale)
            faint = {"ls": ":"} if scale == FAINT else {}
            name = f"{label}, x {scale:g}"
            moved.loglog(moves, 1 - torch.arange(len(moves)) / len(moves), label=name, **style | faint)
        shares = [row.value for row in rows if row.section == label and row.name.startswith("silent with")]
        silent.plot(SCALES, shares, label=label, **style)
    times.set(xlabel="scale of the weights", ylabel="spike time in ms", title="1. The time jumps", ylim=0)
    moved.set(
        xlabel="how far 1 % of the weights moves a spike, in ms",
        ylabel="part of the spikes that move further",
        title="2. It explodes",
    )
    silent.set(xlabel="scale of the weights", ylabel="silent neurons in %", title="3. Silence")
    for axes in (times, moved, silent):
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    figure.savefig(path, dpi=120)


def _two_humps(found: dict[tuple[str, str], Population]) -> int:
    """A neuron whose spike, in SpikeProp, jumps furthest as its weights are scaled."""
    neurons = found["weights of both signs", "SpikeProp"]
    before, _ = neurons.fire(neurons.weight)
    after, _ = neurons.fire(0.98 * neurons.weight)
    return int((after - before).where((before >= 0) & (after >= 0), 0.0).argmax())


def main() -> None:
    """Measure, print, write, draw."""
    torch.set_num_threads(1)
    found, rows = populations(), []
    for (signs, kind), neurons in found.items():
        part = list(measured(signs, kind, neurons))
        print(measure.table(part), flush=True)
        rows += part
    about = {"machine": measure.machine(), "versions": measure.versions("torch", "numba")}
    measure.write(measure.RESULTS / "spike_time_failures.json", rows, about)
    draw(found, rows, measure.RESULTS / "spike_time_failures.png")


if __name__ == "__main__":
    main()
