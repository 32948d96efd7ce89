"""What learning online saves, and what it costs: memory against the number of time steps, and time.

    .venv/bin/python benchmarks/bench_online.py

Three minutes on 2 cores; ``--quick`` runs every part at toy sizes in seconds, and judges no goal.

The network is 700-500-20, with leaky neurons. A tenth of the inputs spike in a time step, and the loss looks
at every time step. Its sides:

- through time: ``backward()`` after the last step, which keeps all of them;
- SLTT, OTTT: ``backward()`` after each step;
- SLTT, OTTT in parts: the same gradients in compiled loops, with ``backward()`` after each 20 steps.

Memory is the largest resident memory of a process that takes two training steps, less that of one that takes
none. e-prop is timed as a layer of the size of the recipe ``eprop``, 40-100-2: time step by time step with
``learn()``, and whole sequences, compiled and in plain PyTorch.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import measure
from measure import Row, ratios, row_of

SIZES = 700, 500, 20
Step = Callable[[], Any]


@dataclass(frozen=True)
class Settings:
    """Sizes and repetitions."""

    quick: bool = False
    threads: int = 2
    rounds: int = 5
    batch: int = 64
    steps: tuple[int, ...] = (20, 200, 1000)
    eprop_steps: int = 500
    eprop_batch: int = 32


TOY = Settings(True, 2, 2, 4, (5, 10), 10, 4)


def deep(side: str, num_steps: int, settings: Settings) -> Step:
    """A training step of the network of ``SIZES``."""
    import torch
    from torch import nn

    from spikeloom import functional, layer, learning, neuron

    torch.manual_seed(0)
    inputs, hidden, outputs = SIZES
    net: nn.Module = nn.Sequential(
        layer.Linear(inputs, hidden), neuron.LIFNode(detach_reset=True), layer.Linear(hidden, outputs)
    )
    x_seq = torch.empty(num_steps, settings.batch, inputs).bernoulli_(0.1)  # in place: peaks are measured
    label = torch.arange(settings.batch) % outputs
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    part = num_steps if side == "through time" else PART
    functional.set_step_mode(net, "s" if side in BY_STEPS else "m")
    if side != "through time":
        net = (learning.SLTT if side.startswith("SLTT") else learning.OTTT)(net)

    def step() -> None:
        for x in x_seq if side in BY_STEPS else x_seq.split(part):
            y = net(x).flatten(0, -2)
            loss = nn.functional.cross_entropy(y, label.repeat(len(y) // len(label)), reduction="sum")
            (loss / (num_steps * len(label))).backward()
        optimizer.step()
        optimizer.zero_grad()
        functional.reset_net(net)

    return step


def eprop(side: str, settings: Settings) -> Step:
    """A training step of an e-prop layer."""
    import torch

    from spikeloom import learning

    torch.manual_seed(0)
    online = side == "time step by time step"
    backend = "torch" if side == "sequences, plain PyTorch" else "auto"
    net = learning.EProp(
        40,
        100,
        2,
        tau_adaptation=2000.0,
        beta=0.02,
        refractory=5,
        step_mode="s" if online else "m",
        backend=backend,
    )
    x_seq = (torch.rand(settings.eprop_steps, settings.eprop_batch, 40) < 0.02).float()

    def step() -> None:
        if online:
            for x in x_seq:
                net.learn(net(x) - 1)
        else:
            (net(x_seq) - 1).square().sum().backward()
        net.zero_grad()
        net.reset()

    return step


SIDES = ("through time", "SLTT", "OTTT", "SLTT in parts", "OTTT in parts")
BY_STEPS = SIDES[1:3]
PART = 20  # time steps
EPROP = ("sequences, compiled", "sequences, plain PyTorch", "time step by time step")


# Parts of the report.


def memory(settings: Settings) -> Iterator[Row]:
    """Of each side, at several numbers of time steps."""
    section = f"{'-'.join(map(str, SIZES))}, batch {settings.batch}: memory of training"
    found = {(side, steps): used(side, steps, settings) for side in SIDES for steps in settings.steps}
    for (side, steps), value in found.items():
        yield Row(section, f"{side}, T={steps}", value, "MiB")
    last = settings.steps[-1]
    for side in SIDES[1:]:
        share = found[side, last] / max(1.0, found["through time", last])  # toys may take none
        yield Row(section, f"{side} / through time, T={last}", share, "times", goal="<= 0.1")


def used(side: str, num_steps: int, settings: Settings) -> float:
    """MiB that two training steps add to a process."""
    return measure.added_memory(__file__, settings, side, str(num_steps))


def peak(side: str, num_steps: int, busy: bool, settings: Settings) -> float:
    """Largest resident memory in MiB of this process, its input left out."""
    deep(side, 2, replace(TOY, threads=settings.threads))()  # what any step loads
    step = deep(side, num_steps, settings)
    for _ in range(2 * busy):
        step()
    return measure.peak_memory()


def time_of_deep(settings: Settings) -> Iterator[Row]:
    """Of a training step of each side."""
    num_steps = settings.steps[-2]
    section = f"{'-'.join(map(str, SIZES))}, batch {settings.batch}, T={num_steps}: time of a training step"
    yield from timed(section, {side: deep(side, num_steps, settings) for side in SIDES}, settings, {})


def time_of_eprop(settings: Settings) -> Iterator[Row]:
    """Of a training step, by time steps and by sequences."""
    section = (
        f"e-prop, 40-100-2, batch {settings.eprop_batch}, T={settings.eprop_steps}: time of a training step"
    )
    goals = {EPROP[1]: ">= 5", EPROP[2]: ">= 20"}
    yield from timed(section, {side: eprop(side, settings) for side in EPROP}, settings, goals)


def timed(section: str, sides: dict[str, Step], settings: Settings, goals: dict[str, str]) -> Iterator[Row]:
    """The sides in turn, and each but the first against the first."""
    taken = measure.paired(sides, settings.rounds, warmup=1)
    for side, values in taken.items():
        yield row_of(section, side, [1000 * value for value in values], "ms")
    first, *others = taken
    for side in others:
        faster = ratios(taken[side], taken[first])
        yield row_of(section, f"{side} / {first}", faster, "times", goal=goals.get(side, ""))


def main() -> None:
    """Run every part, print the table, write JSON."""
    options = measure.arguments(__doc__, workers=True).parse_args()
    import torch

    if options.part:
        side, num_steps, busy = options.part
        settings = Settings(**json.loads(options.settings))
        torch.set_num_threads(settings.threads)
        print(peak(side, int(num_steps), busy == "1", settings))
        return
    about = measure.start()
    settings = replace(TOY if options.quick else Settings(), threads=options.threads)
    torch.set_num_threads(settings.threads)
    measure.keep_freed_memory()  # as `spikeloom train` does
    parts = (part(settings) for part in (memory, time_of_deep, time_of_eprop))
    out = measure.place(options, "bench_online")
    measure.report(out, settings, parts, ("torch", "numba", "numpy"), about)


if __name__ == "__main__":
    main()
