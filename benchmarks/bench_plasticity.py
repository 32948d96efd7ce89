"""How fast Diehl & Cook's network learns on CPU: against BindsNET, and over neurons and firing rates.

Run it on a quiet machine, with the environment that ../shared/tools/peers_env.sh makes:

    PYTHONPATH=/work/shared/tools /opt/peers/bin/python benchmarks/bench_plasticity.py

Without BindsNET it measures the rest. About five minutes on 2 cores; ``--quick`` runs every part at toy sizes
in about a minute, and judges no goal.

Against BindsNET's ``DiehlAndCook2015`` both sides learn the same images, at the same rates of the inputs, 350
steps of 1 ms each, no pause, one presentation. Its input spikes are drawn beforehand; ours are drawn while
the clock runs. It may use ``--threads`` threads; ours learns in one. Each round times every side, in a new
order.

"As in the paper" is what the recipe does: 1000 steps of 0.5 ms, the pause included, presented again until
five spikes. The images are the built-in digits, enlarged, as bright as MNIST's are on average; the network
has learned some hundred before the clock runs.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import measure
from measure import Row, paired, ratios, row_of

MNIST_MEAN = 33.3  # mean pixel of the training images, of 255
LARGEST = 63.75  # Hz, of a white pixel


@dataclass(frozen=True)
class Settings:
    """Sizes and repetitions."""

    quick: bool = False
    threads: int = 2
    rounds: int = 7
    images: int = 50
    learned: int = 300
    compared: tuple[int, ...] = (400, 1600)
    neurons: tuple[int, ...] = (100, 400, 1600, 6400)
    rates: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)


TOY = Settings(True, 2, 3, 4, 8, (100,), (50, 100), (1.0, 2.0))


def images(count: int) -> Any:
    """Rates of the inputs, in Hz, as first shown: ``[count, 784]``."""
    from torch.nn.functional import pad

    from spikeloom import data

    x = data.digits().train_x[:count].repeat_interleave(3, -1).repeat_interleave(3, -2)
    x = pad(x, (2, 2, 2, 2)).flatten(1).float()
    return x * (MNIST_MEAN / x.mean()) * (LARGEST / 255)


def learner(neurons: int, settings: Settings, **constants: Any) -> Callable[[Any], None]:
    """Ours: a function that learns images, by their rates, and has learned some."""
    import torch

    from spikeloom.learning import DiehlCook, DiehlCookConstants

    numbers = DiehlCookConstants(**{"intensity": 1, **constants})
    network = DiehlCook(784, neurons, numbers, torch.Generator().manual_seed(0))
    network.learn(images(settings.learned) / numbers.intensity, range(settings.learned))
    return lambda rates: network.learn(rates, range(len(rates)))


def bindsnet(neurons: int) -> Callable[[Any], None]:
    """BindsNET's network, as its example for MNIST sets it up: a function of input spikes, one image each."""
    import torch
    from bindsnet.models import DiehlAndCook2015

    torch.manual_seed(0)
    network = DiehlAndCook2015(
        n_inpt=784, n_neurons=neurons, exc=22.5, inh=120, dt=1.0, norm=78.4, nu=(1e-4, 1e-2),
        theta_plus=0.05, inpt_shape=(1, 28, 28),
    )  # fmt: skip

    def learn(trains: list[Any]) -> None:
        for spikes in trains:
            network.run(inputs={"X": spikes}, time=len(spikes))
            network.reset_state_variables()

    return learn


def against_bindsnet(settings: Settings) -> Iterator[Row]:
    """Images per second of both sides, learning."""
    import torch

    rates = images(settings.images)
    few = max(1, settings.images // 25)  # an image takes BindsNET as long as some hundred take ours
    generator = torch.Generator().manual_seed(0)
    trains = [
        (torch.rand(350, 1, 1, 28, 28, generator=generator) < rate.view(1, 1, 1, 28, 28) / 1000).byte()
        for rate in rates[:few]
    ]
    for neurons in settings.compared:
        section = f"Learning, {neurons} neurons, 350 steps an image"
        ours = learner(neurons, settings, dt=1.0, pause=0.0, presentations=1)
        theirs = bindsnet(neurons)
        sides: dict[str, Callable[[], None]] = {
            "ours": lambda ours=ours: ours(rates),
            "BindsNET": lambda theirs=theirs: theirs(trains),
        }
        taken = paired(sides, settings.rounds, warmup=1)
        each = {"ours": len(rates), "BindsNET": len(trains)}
        per_image = {side: [one / each[side] for one in values] for side, values in taken.items()}
        for side, values in per_image.items():
            yield row_of(section, side, [1 / one for one in values], "images/s")
        yield row_of(
            section,
            "BindsNET / ours",
            ratios(per_image["BindsNET"], per_image["ours"]),
            "times",
            goal=">= 50",
        )


def as_in_the_paper(settings: Settings) -> Iterator[Row]:
    """Cost of an image over neurons, and over the rates of the inputs."""
    section = "Learning as in the paper, over neurons"
    for neurons in settings.neurons:
        taken = timed(neurons, 1.0, settings)
        yield row_of(section, f"neurons={neurons}", taken, "ms")
        if neurons == 400:
            # ms an image are minutes for 60,000 images
            yield row_of(section, "60,000 images, 400 neurons", taken, "minutes", goal="<= 8")
    section = "Learning as in the paper, over rates of the inputs, 400 neurons"
    for rate in settings.rates:
        yield row_of(section, f"rate={rate:g}", timed(400, rate, settings), "ms")


def timed(neurons: int, rate: float, settings: Settings) -> list[float]:
    """Milliseconds an image, one presentation each unless it brings too few spikes."""
    intensity = 2  # as in the paper: half as much again in the next presentation
    rates = images(settings.images) * rate / intensity
    learn = learner(neurons, settings, intensity=intensity)
    taken = paired({"ours": lambda: learn(rates)}, settings.rounds, warmup=1)["ours"]
    return [1000 * one / len(rates) for one in taken]


def draw(rows: list[Row], path: Path) -> None:
    """The cost as a figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
    labels = {"neurons": "excitatory neurons", "rate": "rate of the inputs; 1: white pixels at 63.75 Hz"}
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        points = [
            (float(one.name.partition("=")[2]), one.value) for one in rows if one.name.startswith(f"{name}=")
        ]
        ax.plot(*zip(*points, strict=True), "o-")
        ax.set(xlabel=label, ylabel="time of an image in ms", xlim=0, ylim=0)
        ax.grid(alpha=0.3)
    figure.suptitle("Diehl & Cook's network, learning")
    figure.savefig(path, dpi=120)


def missing() -> str:
    """Why BindsNET is not there; empty if it is."""
    with contextlib.suppress(ImportError):  # lets some builds of torchvision load, see ../shared/tools
        importlib.import_module("tvshim")
    try:
        importlib.import_module("bindsnet.models")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    """Run every part, print the table, write JSON and figure."""
    options = measure.arguments(__doc__).parse_args()
    about = measure.start()
    settings = replace(TOY if options.quick else Settings(), threads=options.threads)
    importlib.import_module("torch").set_num_threads(settings.threads)
    reason = missing()
    if reason:
        print(f"left out: BindsNET ({reason})")
    parts = (
        part(settings) for part in ((as_in_the_paper,) if reason else (against_bindsnet, as_in_the_paper))
    )
    out, packages = measure.place(options, "bench_plasticity"), ("torch", "numpy", "numba", "bindsnet")
    rows = measure.report(out, settings, parts, packages, about | {"left_out": reason})
    if out:
        draw(rows, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
