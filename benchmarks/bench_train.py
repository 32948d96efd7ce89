"""How fast a convolutional spiking network trains on CPU: against other libraries, and against the machine.

Run it on a quiet machine, with the environment that ../shared/tools/peers_env.sh makes:

    PYTHONPATH=/work/shared/tools /opt/peers/bin/python benchmarks/bench_train.py

Without the other libraries it measures the rest. About ten minutes on 2 cores; ``--quick`` runs every part at
toy sizes in about a minute, and judges no goal. ``--parts half`` runs one part, and writes
bench_train_half.json.

One step is: spikes from images, forward, mean squared error of firing rates, backward, Adam. The network is
STBP's, 32C3-AP2-32C3-AP2-128-10 with threshold 0.5, decay 0.2 and a rectangular surrogate, on random images
of 28 x 28, T = 20, batches of 100. The sides:

- published: the structure of the published code, every layer one step after the other, in plain PyTorch;
- SpikingJelly, snnTorch: as their tutorials write it, SpikingJelly in multi-step mode;
- ours: as the recipe stbp-scnn does it;
- ours, bfloat16: with ``--precision bf16-mixed``. It is compared with ours alone, since it rounds.

Each side is a process of its own, which waits while the others work; once a round each takes one step, in a
new order each round. "Own settings" leaves the allocator as the side's training leaves it: PyTorch's users
have glibc's default, our ``train`` keeps freed pages.

The floor is the time for the convolutions' and matrices' products at the speed of a large matrix product, and
for moving every tensor that must be moved at the speed of a large copy: a step that overlaps neither.
"""

import contextlib
import importlib
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import measure
from measure import Row, ratios, row_of, seconds

THRESHOLD, DECAY = 0.5, 0.2
PEERS = ("SpikingJelly", "snnTorch")
PARTS = ("own", "kept", "floor", "memory", "half", "growth")


@dataclass(frozen=True)
class Settings:
    """Sizes and repetitions."""

    quick: bool = False
    threads: int = 2
    rounds: int = 15
    batch: int = 100
    T: int = 20
    channels: int = 32
    times: tuple[int, ...] = (5, 10, 20, 40, 80)
    batches: tuple[int, ...] = (25, 50, 100, 200)


TOY = Settings(True, 2, 3, 4, 3, 4, (2, 4), (2, 4))

# Sides: each maker returns one training step, a function of images and one-hot labels.

Step = Callable[[Any, Any], Any]


def ours(settings: Settings, half: bool = False) -> Step:
    import torch
    from torch import nn

    from spikeloom import encoding, functional, layer, neuron, surrogate

    def lif() -> neuron.LIFNode:
        return neuron.LIFNode(1 / (1 - DECAY), False, THRESHOLD, surrogate_function=surrogate.Rectangular())

    c = settings.channels
    net = nn.Sequential(
        layer.Conv2d(1, c, 3, padding=1),
        layer.PooledNode(lif(), 2),
        layer.Conv2d(c, c, 3, padding=1),
        layer.PooledNode(lif(), 2),
        layer.Flatten(),
        layer.Linear(c * 49, 128),
        lif(),
        layer.Linear(128, 10),
        lif(),
    ).to(memory_format=torch.channels_last)
    functional.set_step_mode(net, "m")
    encode, optimizer = encoding.PoissonEncoder(), torch.optim.Adam(net.parameters(), 1e-3)

    def step(images: Any, labels: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = net(encode.encode(images, settings.T))
        functional.firing_rate_mse(output.float(), labels.argmax(1)).backward()
        optimizer.step()
        optimizer.zero_grad()
        functional.reset_net(net)

    return step


def published(settings: Settings) -> Step:
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Fire(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, potential: Any) -> Any:
            ctx.save_for_backward(potential)
            return potential.gt(THRESHOLD).float()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (potential,) = ctx.saved_tensors
            return gradient.clone() * (abs(potential - THRESHOLD) < 0.5).float()

    c = settings.channels
    first, second = nn.Conv2d(1, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
    third, fourth = nn.Linear(c * 49, 128), nn.Linear(128, 10)
    optimizer = torch.optim.Adam(nn.ModuleList([first, second, third, fourth]).parameters(), 1e-3)

    def update(layer: Any, x: Any, potential: Any, spike: Any) -> tuple[Any, Any]:
        potential = potential * DECAY * (1 - spike) + layer(x)
        return potential, Fire.apply(potential)

    def step(images: Any, labels: Any) -> None:
        n = len(images)
        shapes = (n, c, 28, 28), (n, c, 14, 14), (n, 128), (n, 10)
        (v1, s1), (v2, s2), (v3, s3), (v4, s4) = ((torch.zeros(s), torch.zeros(s)) for s in shapes)
        rate = torch.zeros(n, 10)
        for _ in range(settings.T):
            x = (images > torch.rand(images.shape)).float()
            v1, s1 = update(first, x, v1, s1)
            v2, s2 = update(second, F.avg_pool2d(s1, 2), v2, s2)
            v3, s3 = update(third, F.avg_pool2d(s2, 2).view(n, -1), v3, s3)
            v4, s4 = update(fourth, s3, v4, s4)
            rate = rate + s4
        F.mse_loss(rate / settings.T, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def spikingjelly(settings: Settings) -> Step:
    import torch
    import torch.nn.functional as F
    from spikingjelly.activation_based import encoding, functional, layer, neuron, surrogate
    from torch import nn

    def lif() -> Any:
        settings = {"decay_input": False, "v_threshold": THRESHOLD, "surrogate_function": surrogate.Rect()}
        return neuron.LIFNode(tau=1 / (1 - DECAY), **settings)

    c = settings.channels
    net = nn.Sequential(
        layer.Conv2d(1, c, 3, padding=1),
        lif(),
        layer.AvgPool2d(2),
        layer.Conv2d(c, c, 3, padding=1),
        lif(),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(c * 49, 128),
        lif(),
        layer.Linear(128, 10),
        lif(),
    )
    functional.set_step_mode(net, "m")
    encode, optimizer = encoding.PoissonEncoder(), torch.optim.Adam(net.parameters(), 1e-3)

    def step(images: Any, labels: Any) -> None:
        x = torch.stack([encode(images) for _ in range(settings.T)])
        F.mse_loss(net(x).mean(0), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        functional.reset_net(net)

    return step


def snntorch(settings: Settings) -> Step:
    import snntorch
    import torch
    import torch.nn.functional as F
    from snntorch import spikegen, surrogate
    from torch import nn

    def window(potential: Any, gradient: Any, spike: Any) -> Any:
        return gradient * (potential.abs() < 0.5).to(gradient.dtype)

    def leaky() -> Any:
        fire = surrogate.custom_surrogate(window)
        return snntorch.Leaky(beta=DECAY, threshold=THRESHOLD, spike_grad=fire, reset_mechanism="zero")

    c = settings.channels
    layers = nn.ModuleList(
        [
            nn.Conv2d(1, c, 3, padding=1),
            nn.Conv2d(c, c, 3, padding=1),
            nn.Linear(c * 49, 128),
            nn.Linear(128, 10),
        ]
    )
    neurons = [leaky() for _ in layers]
    optimizer = torch.optim.Adam(layers.parameters(), 1e-3)

    def step(images: Any, labels: Any) -> None:
        potentials, spikes = [one.reset_mem() for one in neurons], []
        for x in spikegen.rate(images, num_steps=settings.T):
            for place, (weights, fire) in enumerate(zip(layers, neurons, strict=True)):
                x, potentials[place] = fire(weights(x.flatten(1) if place == 2 else x), potentials[place])
                x = F.avg_pool2d(x, 2) if place < 2 else x
            spikes.append(x)
        F.mse_loss(torch.stack(spikes).mean(0), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


HALF = "ours, bfloat16"
SIDES = {
    "ours": ours,
    HALF: lambda settings: ours(settings, half=True),
    "published": published,
    "SpikingJelly": spikingjelly,
    "snnTorch": snntorch,
}


def samples(batch: int) -> tuple[Any, Any]:
    """Images of which a fifth of the pixels is bright, as MNIST's are, and one-hot labels."""
    import torch

    torch.manual_seed(0)
    images = torch.rand(batch, 1, 28, 28) * (torch.rand(batch, 1, 28, 28) < 0.2)
    return images, torch.eye(10)[torch.arange(batch) % 10]


# Processes: a worker takes a step for each line that it reads.


def work(side: str, settings: Settings, keep: bool) -> None:
    """Be a worker: one line with the seconds of each step."""
    if keep:
        measure.keep_freed_memory()
    step, (images, labels) = SIDES[side](settings), samples(settings.batch)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(seconds(lambda: step(images, labels)), flush=True)


class Worker:
    """A process that takes steps when it is told to."""

    def __init__(self, side: str, settings: Settings, keep: bool):
        words = ("--part", "work", side, str(int(keep)), *measure.words(settings))
        self.process = subprocess.Popen(
            [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer("ready")

    def step(self) -> float:
        """Seconds of one step."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.answer())

    def answer(self, expected: str = "") -> str:
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        if not line or (expected and line != expected):
            raise RuntimeError(f"A worker ended with status {self.process.wait()}; its error stands above.")
        return line

    def close(self) -> None:
        self.process.communicate()


def in_turn(
    sides: list[str], settings: Settings, keep: dict[str, bool], warmup: int = 3
) -> dict[str, list[float]]:
    """Seconds of each side's steps, one a round, in a new order each round."""
    workers = {side: Worker(side, settings, keep[side]) for side in sides}
    try:
        for worker in workers.values():
            for _ in range(warmup):
                worker.step()
        taken: dict[str, list[float]] = {side: [] for side in sides}
        order, chance = list(sides), random.Random(0)
        for _ in range(settings.rounds):
            chance.shuffle(order)
            for side in order:
                taken[side].append(workers[side].step())
    finally:
        for worker in workers.values():
            worker.close()
    return taken


def peak(side: str, settings: Settings, keep: bool, busy: bool) -> float:
    """Largest resident memory in MiB of a process that imports, compiles, makes the batch, and then works."""
    if keep:
        measure.keep_freed_memory()
    small = replace(settings, T=2)
    SIDES[side](small)(*samples(2))
    step, batch = SIDES[side](settings), samples(settings.batch)
    if busy:
        for _ in range(2):
            step(*batch)
    return measure.peak_memory()


def used(side: str, settings: Settings, keep: bool) -> float:
    """MiB that a step adds to a process."""
    return measure.added_memory(__file__, settings, "peak", side, str(int(keep)))


# Parts of the report.


def against_others(settings: Settings, sides: list[str], own: bool) -> Iterator[Row]:
    """Whole steps of every side in turn."""
    keep = {side: side == "ours" or not own for side in sides}
    taken = in_turn(sides, settings, keep)
    what = "own settings" if own else "freed pages kept by all"
    section = f"A training step, batch {settings.batch}, T={settings.T}, {what}"
    for side, values in taken.items():
        yield row_of(section, side, [1000 * value for value in values], "ms")
    goals = {"published": ">= 3", "SpikingJelly": ">= 4"} if own else {}
    for side in sides[1:]:
        yield row_of(
            section, f"{side} / ours", ratios(taken[side], taken["ours"]), "times", goal=goals.get(side, "")
        )


def against_the_machine(settings: Settings) -> Iterator[Row]:
    """Our step beside the time that its products and its tensors cost at best."""
    gemm, copy = measure.fresh(__file__, "--part", "machine", *measure.words(settings))
    frames, c = settings.T * settings.batch, settings.channels
    pixels, quarter, rest = 784 * frames, 196 * frames, 49 * frames
    products = {  # multiply-adds forwards, and how often the same number is needed in all
        "first convolution": (9 * c * pixels, 2),  # nothing needs the gradient of the images
        "second convolution": (9 * c * c * quarter, 3),
        "matrices": ((49 * c * 128 + 128 * 10) * frames, 3),
    }
    flops = sum(2 * number * times for number, times in products.values())
    moved = {  # numbers, and how often they are read or written
        "spikes of the images": (pixels, 3),  # written, read forwards and for the gradient of the weights
        "first currents": (c * pixels, 3),  # written, read by the neurons forwards and backwards
        "their gradients": (c * pixels, 2),
        "first spikes, pooled": (c * quarter, 3),
        "their gradients, pooled": (c * quarter, 2),
        "second currents": (c * quarter, 3),
        "their gradients ": (c * quarter, 3),  # read for the weights and for the input
        "second spikes, pooled": (c * rest, 3),
        "their gradients, pooled ": (c * rest, 2),
    }
    moves = sum(number * times for number, times in moved.values())
    floor = flops / gemm + moves / copy
    (times,) = in_turn(["ours"], settings, {"ours": True}).values()
    section = f"The floor, batch {settings.batch}, T={settings.T}"
    yield Row(section, "matrix product", gemm / 1e9, "GFLOP/s")
    yield Row(section, "copy, each number read and written", copy / 2e9, "G/s")
    yield Row(section, f"{flops / 1e9:.1f} GFLOP", 1000 * flops / gemm, "ms")
    yield Row(section, f"{moves / 1e9:.2f} G numbers moved", 1000 * moves / copy, "ms")
    yield Row(section, "floor", 1000 * floor, "ms")
    yield row_of(section, "ours / floor", [value / floor for value in times], "times", goal="<= 2")


def machine_speed(settings: Settings) -> list[float]:
    """Floating-point operations of a matrix product, and numbers read or written by a copy, per second."""
    import torch

    measure.keep_freed_memory()
    size = 256 if settings.quick else 2048
    a, b = torch.randn(size, size), torch.randn(size, size)
    x = torch.randn(1 << (16 if settings.quick else 25))
    y = torch.empty_like(x)
    product = min(seconds(lambda: torch.mm(a, b)) for _ in range(20))
    copied = min(seconds(lambda: y.copy_(x)) for _ in range(20))
    return [2 * size**3 / product, 2 * x.numel() / copied]


def memory(settings: Settings, sides: list[str]) -> Iterator[Row]:
    """Peak resident memory of a step, each side with its own settings."""
    section = f"Peak resident memory of a step, batch {settings.batch}, T={settings.T}, fresh processes"
    found = {side: used(side, settings, side == "ours") for side in sides}
    for side, value in found.items():
        yield Row(section, side, value, "MiB")
    for side in sides[1:]:
        goal = "<= 0.6" if side == "SpikingJelly" else ""
        yield Row(section, f"ours / {side}", found["ours"] / found[side], "times", goal=goal)


def in_half(settings: Settings) -> Iterator[Row]:
    """Our step with products, spikes and their gradients in bfloat16 beside that in float32."""
    section = f"In bfloat16, batch {settings.batch}, T={settings.T}"
    taken = in_turn(["ours", HALF], settings, {"ours": True, HALF: True})
    for side, values in taken.items():
        yield row_of(section, side, [1000 * value for value in values], "ms")
    yield row_of(section, f"ours / {HALF}", ratios(taken["ours"], taken[HALF]), "times")
    for side in taken:
        yield Row(section, f"memory, {side}", used(side, settings, True), "MiB")


def growth(settings: Settings) -> Iterator[Row]:
    """Time and memory of our step over T and over the batch."""
    for name, values in (("T", settings.times), ("batch", settings.batches)):
        section = f"How our step grows with {name}"
        times, sizes = [], []
        for value in values:
            changed = replace(settings, **{name: value}, rounds=max(3, settings.rounds // 2))
            (taken,) = in_turn(["ours"], changed, {"ours": True}).values()
            times.append(1000 * statistics.median(taken))
            sizes.append(used("ours", changed, True))
            yield row_of(section, f"time, {name}={value}", [1000 * one for one in taken], "ms")
            yield Row(section, f"memory, {name}={value}", sizes[-1], "MiB")
        yield Row(section, "time, furthest from a line", measure.off_line(values, times), "%", goal="<= 20")
        yield Row(section, "memory, furthest from a line", measure.off_line(values, sizes), "%", goal="<= 20")


def draw(rows: list[Row], path: Path) -> None:
    """The growth as a figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(8, 6), layout="constrained")
    for column, (name, label) in enumerate({"T": "time steps T", "batch": "samples in a batch"}.items()):
        for row, what in enumerate(("time", "memory")):
            start = f"{what}, {name}="
            points = [(int(one.name.removeprefix(start)), one) for one in rows if one.name.startswith(start)]
            x, y = [point[0] for point in points], [point[1].value for point in points]
            axes[row, column].plot(x, y, "o-")
            axes[row, column].set(
                xlim=0, ylim=0, xlabel=label, ylabel=f"{what} of a step in {points[0][1].unit}"
            )
            axes[row, column].grid(alpha=0.3)
    figure.suptitle("A training step of stbp-scnn")
    figure.savefig(path, dpi=120)


def importable(sides: list[str], settings: Settings) -> dict[str, str]:
    """Why a side is not there; empty for those that are."""
    found = {}
    for side in sides:
        try:
            SIDES[side](settings)
            found[side] = ""
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            found[side] = f"{type(error).__name__}: {error}"
    return found


def run_part(name: str, arguments: list[str], settings: Settings) -> None:
    """Be a process of the benchmark's."""
    importlib.import_module("torch").set_num_threads(settings.threads)
    with contextlib.suppress(ImportError):  # lets some builds of torchvision load, see ../shared/tools
        importlib.import_module("tvshim")
    if name == "work":
        work(arguments[0], settings, arguments[1] == "1")
    elif name == "peak":
        print(peak(arguments[0], settings, arguments[1] == "1", arguments[2] == "1"))
    elif name == "machine":
        print(json.dumps(machine_speed(settings)))
    else:
        print(json.dumps(importable(arguments, settings)))


def main() -> None:
    """Run every part, print the table, write JSON and figure."""
    parser = measure.arguments(__doc__, workers=True)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="of the report; default: all"
    )
    options = parser.parse_args()
    if options.part:
        run_part(options.part[0], options.part[1:], Settings(**json.loads(options.settings)))
        return
    about = measure.start()
    settings = replace(TOY if options.quick else Settings(), threads=options.threads)
    found = measure.fresh(__file__, "--part", "importable", *PEERS, *measure.words(settings))
    left_out = {side: reason for side, reason in found.items() if reason}
    sides = ["ours", "published", *(side for side in PEERS if side not in left_out)]
    print(*(f"left out: {side} ({reason})" for side, reason in left_out.items()), sep="\n")
    parts: dict[str, Callable[[], Iterable[Row]]] = {
        "own": lambda: against_others(settings, sides, own=True),
        "kept": lambda: against_others(settings, sides, own=False),
        "floor": lambda: against_the_machine(settings),
        "memory": lambda: memory(settings, sides),
        "half": lambda: in_half(settings),
        "growth": lambda: growth(settings),
    }
    out = measure.place(options, "bench_train", options.parts if set(options.parts) < set(PARTS) else ())
    packages = ("torch", "numpy", "numba", "spikingjelly", "snntorch")
    chosen = (parts[name]() for name in options.parts)
    rows = measure.report(out, settings, chosen, packages, about | {"left_out": left_out})
    if out and "growth" in options.parts:
        draw(rows, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
