"""How fast layers on spike times learn on CPU: tempotron, ReL-PSP, EventProp and SpikeProp.

Run it on a quiet machine:

    .venv/bin/python benchmarks/bench_timing.py --data-dir ~/data

Four minutes on 2 cores; ``--quick`` runs every part at toy sizes in seconds, and judges no goal.

The images are random, 28 x 28, a fifth of the pixels bright, as in MNIST. One step is forward, loss, backward
and optimiser, on spike times that are there already. The sides of the tempotron, in turn in one process:

- ours: ``timing.Tempotron``, as the recipe does it;
- written out: the structure of the published code, which evaluates the postsynaptic potential of every input
  at every time step, ``[N, inputs, T]``, and then multiplies by the weights.

Memory is the largest resident memory of a process that takes two steps, less that of one that takes none.

EventProp and SpikeProp are compared with their own plain PyTorch form, on layers small enough for that one's
memory; SpikeProp has the network of the recipe ``spikeprop`` on iris, with 16 terminals for each connection.

An epoch of ReL-PSP is the median step of the recipe ``relpsp`` on MNIST, augmentation and encoding included,
after some steps of training, times the steps of an epoch. Without MNIST in the data folder it is left out.
"""

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import measure
from measure import Row, ratios, row_of

SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the inputs, that spike
MNIST = 60_000  # training images
Step = Callable[[], Any]


@dataclass(frozen=True)
class Settings:
    """Sizes and repetitions."""

    quick: bool = False
    threads: int = 2
    rounds: int = 15
    batch: int = 64
    pixels: int = 784
    m: int = 16
    T: int = 100
    hidden: int = 800
    warmup: int = 20


TOY = Settings(True, 2, 3, 4, 36, 4, 20, 16, 1)


def images(settings: Settings, batch: int) -> Any:
    """``[batch, pixels]``"""
    import torch

    torch.manual_seed(0)
    bright = torch.rand(batch, settings.pixels) < 0.2
    return torch.rand(batch, settings.pixels) * bright


def tuned_times(settings: Settings) -> Any:
    """A batch of images in the code of the recipe ``tempotron``."""
    from spikeloom import timing

    tuning = timing.GaussianTuning(1, settings.m, 0.0, 1.0)
    x = images(settings, settings.batch)
    return tuning.encode(x.reshape(-1, 1), settings.T).view(settings.batch, -1)


def random_times(num_inputs: int, share: float, settings: Settings, end: float) -> Any:
    """Spike times from 0 to ``end`` of a ``share`` of the inputs."""
    import torch

    torch.manual_seed(0)
    times = torch.rand(settings.batch, num_inputs) * end
    return times.where(torch.rand(times.shape) < share, -1.0)


# Sides: each maker returns one training step.


def tempotron(times: Any, settings: Settings) -> Step:
    import torch

    from spikeloom import timing

    torch.manual_seed(0)
    neuron = timing.Tempotron(times.shape[1], 10, settings.T)
    label, optimizer = torch.arange(len(times)) % 10, torch.optim.AdamW(neuron.parameters(), 1e-3)

    def step() -> None:
        timing.margin_loss(neuron(times), label).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def written_out(times: Any, settings: Settings) -> Step:
    import torch
    from torch import nn

    from spikeloom import timing

    torch.manual_seed(0)
    weights = nn.Linear(times.shape[1], 10, bias=False)
    kernel = timing.DoubleExponential()
    label, optimizer = torch.arange(len(times)) % 10, torch.optim.AdamW(weights.parameters(), 1e-3)
    steps = torch.arange(settings.T)

    def step() -> None:
        since = steps - times[..., None]  # [N, inputs, T]
        there = (since >= 0) & (times[..., None] >= 0)
        psp = kernel.scale * ((-since / kernel.tau).exp() - (-since / kernel.tau_s).exp()) * there
        v = weights(psp.transpose(1, 2))  # [N, T, 10]
        timing.margin_loss(v.amax(1), label).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def rel_psp(times: Any, settings: Settings) -> Step:
    import torch
    from torch import nn

    from spikeloom import timing

    torch.manual_seed(0)
    net = nn.Sequential(
        timing.ReLPSPLinear(times.shape[1], settings.hidden, T=4.0),
        timing.ReLPSPLinear(settings.hidden, 10, T=4.0, extrapolate=True),
    )
    label, optimizer = torch.arange(len(times)) % 10, torch.optim.Adam(net.parameters(), 1e-3)

    def step() -> None:
        timing.first_spike_cross_entropy(net(times), label, 4.0).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def event_prop(times: Any, hidden: int, backend: str) -> Step:
    import torch
    from torch import nn

    from spikeloom import timing

    torch.manual_seed(0)
    net = nn.Sequential(
        timing.EventProp(times.shape[1], hidden, T=40.0, num_spikes=4, backend=backend),
        timing.PeakPotential(hidden, 10, T=40.0, backend=backend),
    )
    net[0].reset_parameters(active=0.2)
    label, optimizer = torch.arange(len(times)) % 10, torch.optim.Adam(net.parameters(), 1e-3)

    def step() -> None:
        nn.functional.cross_entropy(net(times), label).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def spike_prop(times: Any, hidden: int, backend: str) -> Step:
    import torch
    from torch import nn

    from spikeloom import timing

    torch.manual_seed(0)
    net = nn.Sequential(
        timing.SpikeProp(times.shape[1], hidden, backend=backend),
        timing.SpikeProp(hidden, 3, backend=backend),
    )
    net[0].reset_parameters(active=0.4)
    late = torch.arange(len(times))[:, None] % 3 != torch.arange(3)
    target, optimizer = 12.0 + 4.0 * late, torch.optim.Adam(net.parameters(), 1e-3)

    def step() -> None:
        timing.spike_time_mse(net(times), target, 40.0).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


SIDES = {"ours": tempotron, "written out": written_out}


# Parts of the report.


def against_written_out(settings: Settings) -> Iterator[Row]:
    """The tempotron's step: time in turn, and memory in fresh processes."""
    times = tuned_times(settings)
    section = f"Tempotron, a training step, batch {settings.batch}, {times.shape[1]} inputs, T={settings.T}"
    taken = measure.paired({side: make(times, settings) for side, make in SIDES.items()}, settings.rounds)
    for side, values in taken.items():
        yield row_of(section, f"time, {side}", [1000 * value for value in values], "ms")
    faster = ratios(taken["written out"], taken["ours"])
    yield row_of(section, "time, written out / ours", faster, "times", goal=">= 20")
    found = {side: used(side, settings) for side in SIDES}
    for side, value in found.items():
        yield Row(section, f"memory, {side}", value, "MiB")
    share = found["ours"] / max(1.0, found["written out"])  # toys may take none
    yield Row(section, "memory, ours / written out", share, "times", goal="<= 0.1")


def compiled_or_plain(settings: Settings) -> Iterator[Row]:
    """The step of EventProp and of SpikeProp: the compiled loops against plain PyTorch."""
    batch, hidden, inputs = settings.batch // 4, settings.hidden // 16, 49
    pixels = random_times(settings.pixels, 0.2, settings, 20.0)[:batch]
    tuned = random_times(inputs, 0.4, settings, 9.0)
    sides = {
        f"EventProp, a training step, {settings.pixels}-{hidden}-10, batch {batch}": (
            event_prop,
            pixels,
            hidden,
        ),
        f"SpikeProp, a training step, {inputs}-10-3, batch {settings.batch}": (spike_prop, tuned, 10),
    }
    for section, (make, times, width) in sides.items():
        steps = {backend: make(times, width, backend) for backend in ("numba", "torch")}
        taken = measure.paired(steps, settings.rounds)
        for side, values in taken.items():
            yield row_of(section, f"time, {side}", [1000 * value for value in values], "ms")
        faster = ratios(taken["torch"], taken["numba"])
        yield row_of(section, "time, torch / numba", faster, "times", goal=">= 20")


def used(side: str, settings: Settings) -> float:
    """MiB that two steps add to a process."""

    return measure.added_memory(__file__, settings, side)


def peak(side: str, settings: Settings, busy: bool) -> float:
    """Largest resident memory in MiB of this process."""
    SIDES[side](tuned_times(replace(TOY, threads=settings.threads)), TOY)()  # what any step loads
    step = SIDES[side](tuned_times(settings), settings)
    for _ in range(2 * busy):
        step()
    return measure.peak_memory()


def epochs(settings: Settings, data_dir: Path | None) -> Iterator[Row]:
    """How long the recipe ``relpsp`` needs for an epoch of MNIST."""
    from spikeloom.recipe import RECIPES

    section = "ReL-PSP, an epoch of MNIST (the recipe relpsp)"
    for net, name, goal in (("fc", "784-800-10", "<= 60"), ("cnn", "16C5-P2-32C5-P2-800-128-10", "<= 600")):
        recipe: Any = RECIPES["relpsp"](dataset="mnist", net=net, data_dir=data_dir)
        step = training_step(recipe.build(), recipe.batch_size)
        for _ in range(settings.warmup):
            step()
        steps = MNIST // recipe.batch_size
        taken = [steps * measure.seconds(step) for _ in range(settings.rounds)]
        yield row_of(section, f"{name}, batch {recipe.batch_size}", taken, "s", goal=goal)


def training_step(experiment: Any, batch: int) -> Step:
    """What ``train`` does in a step, on the next ``batch`` samples each time."""
    import torch

    from spikeloom.data import as_float
    from spikeloom.encoding import SampleGenerator

    place = 0

    def step() -> None:
        nonlocal place
        indices = torch.arange(place, place + batch)
        place += batch
        x, random = as_float(experiment.data.train_x[indices]), SampleGenerator(0, indices, "bench")
        if experiment.augment:
            x = experiment.augment(x, random)
        output = experiment.net(experiment.encode(x, random))
        experiment.loss(output, experiment.data.train_y[indices]).backward()
        experiment.optimizer.step()
        experiment.optimizer.zero_grad()
        experiment.scheduler.step()

    return step


def growth(settings: Settings) -> Iterator[Row]:
    """How a step's time grows with the number of spikes."""
    inputs = settings.pixels * settings.m
    sides = {
        f"Tempotron, {inputs}-10, T={settings.T}": (tempotron, inputs, settings.T - 1.0),
        f"ReL-PSP, {settings.pixels}-{settings.hidden}-10": (rel_psp, settings.pixels, 1.0),
    }
    for name, (make, num_inputs, end) in sides.items():
        section = f"{name}: a training step by the part of the inputs that spike"
        steps = {
            f"{share:.0%}": make(random_times(num_inputs, share, settings, end), settings) for share in SHARES
        }
        taken = measure.paired(steps, settings.rounds)
        for share, values in taken.items():
            yield row_of(section, f"time, {share}", [1000 * value for value in values], "ms")
        medians = [statistics.median(values) for values in taken.values()]
        yield Row(section, "time, furthest from a line", measure.off_line(SHARES, medians), "%", goal="<= 20")


def draw(rows: list[Row], path: Path) -> None:
    """The growth as a figure."""
    from matplotlib.figure import Figure

    sections = list(dict.fromkeys(row.section for row in rows if "by the part" in row.section))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, section in zip(figure.subplots(1, len(sections)), sections, strict=True):
        found = [row for row in rows if row.section == section and row.unit == "ms"]
        shares = [100 * share for share in SHARES]
        axes.plot(shares, [row.value for row in found], "o-")
        axes.set(xlim=0, ylim=0, xlabel="inputs that spike, in %", ylabel="time of a step in ms")
        axes.set_title(section.split(":")[0])
        axes.grid(alpha=0.3)
    figure.suptitle("A training step by the part of the inputs that spike")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run every part, print the table, write JSON and figure."""
    parser = measure.arguments(__doc__, workers=True)
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST")
    options = parser.parse_args()
    import torch

    if options.part:
        settings = Settings(**json.loads(options.settings))
        torch.set_num_threads(settings.threads)
        print(peak(options.part[0], settings, options.part[1] == "1"))
        return
    about = measure.start()
    settings = replace(TOY if options.quick else Settings(), threads=options.threads)
    torch.set_num_threads(settings.threads)
    measure.keep_freed_memory()  # as `spikeloom train` does
    parts = [against_written_out(settings), compiled_or_plain(settings), growth(settings)]
    if options.data_dir:
        parts.append(epochs(settings, options.data_dir))
    out = measure.place(options, "bench_timing")
    rows = measure.report(out, settings, parts, ("torch", "numba", "numpy"), about)
    if out:
        draw(rows, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
