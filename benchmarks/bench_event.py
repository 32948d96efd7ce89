"""How long a trained network takes on CPU, event by event and otherwise.

Run it on a quiet machine:

    .venv/bin/python benchmarks/bench_event.py

Half a minute on 2 cores; ``--quick`` runs every part at toy sizes. SpikingJelly is measured beside it where
it is installed.

Networks have random weights, scaled until one neuron in twenty fires at a time step, and see random spikes.
The sides, in turn in one process, without gradients:

- events: ``event.Runner``;
- network: the network that it was made of, in evaluation mode; in single-step mode where steps come one by
  one, else in multi-step mode, with woven neurons;
- SpikingJelly: the same network of its layers and neurons.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import measure
from measure import Row, paired, ratios, row_of

POTENTIAL = (
    1.05  # standard deviation of a layer's outputs at which a LIF neuron of tau 2 fires in 5 % of steps
)
STREAM, ONE, MANY = "step by step, one sample", "a sequence, one sample", "a sequence, 16 samples"


@dataclass(frozen=True)
class Settings:
    """Sizes and repetitions."""

    quick: bool = False
    threads: int = 2
    rounds: int = 15
    T: int = 20
    batch: int = 16
    rates: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    features: int = 2312
    hidden: int = 800
    channels: int = 32
    size: int = 34


TOY = Settings(True, 2, 2, 3, 2, (0.1, 0.5), 20, 10, 4, 12)


def fully_connected(settings: Settings, layer: Any, neuron: Any) -> tuple[Any, tuple[int, ...]]:
    """Two hidden layers, on the pixels of N-MNIST."""
    from torch import nn

    widths = (settings.features, settings.hidden, settings.hidden, 10)
    layers = [one for width, to in itertools.pairwise(widths) for one in (layer.Linear(width, to), neuron())]
    return nn.Sequential(*layers), (settings.features,)


def convolutional(settings: Settings, layer: Any, neuron: Any) -> tuple[Any, tuple[int, ...]]:
    """The network of the recipe stbp-scnn, on the frames of N-MNIST."""
    from torch import nn

    channels, side = settings.channels, settings.size // 4
    return nn.Sequential(
        *(layer.Conv2d(2, channels, 3, padding=1), neuron(), layer.AvgPool2d(2)),
        *(layer.Conv2d(channels, channels, 3, padding=1), neuron(), layer.AvgPool2d(2)),
        *(layer.Flatten(), layer.Linear(channels * side**2, 128), neuron(), layer.Linear(128, 10), neuron()),
    ), (2, settings.size, settings.size)


NETWORKS = {"fully connected": fully_connected, "convolutional": convolutional}


def spikes(settings: Settings, shape: tuple[int, ...], batch: int, rate: float) -> Any:
    """``[T, batch, *shape]``"""
    import torch

    generator = torch.Generator().manual_seed(0)
    return (torch.rand(settings.T, batch, *shape, generator=generator) < rate).float()


def made(settings: Settings, make: Any, rate: float) -> tuple[Any, tuple[int, ...]]:
    """A network of ours whose neurons fire."""
    import torch
    from torch import nn

    from spikeloom import functional, layer, neuron

    torch.manual_seed(0)
    net, shape = make(settings, layer, neuron.LIFNode)
    functional.set_step_mode(net, "m")
    x = spikes(settings, shape, settings.batch, rate)
    with torch.no_grad():
        for number, module in enumerate(net):
            if isinstance(module, nn.Linear | nn.Conv2d):
                functional.reset_net(net)
                scale = POTENTIAL / net[: number + 1](x).std()
                module.weight *= scale
                module.bias *= 0
    functional.reset_net(net)
    return net.eval(), shape


def peer(settings: Settings, make: Any, net: Any) -> Any:
    """The same network of SpikingJelly's parts; ``None`` if it is not installed."""
    try:
        from spikingjelly.activation_based import functional, layer, neuron
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    other, _ = make(settings, layer, neuron.LIFNode)
    other.load_state_dict(net.state_dict())
    functional.set_step_mode(other, "m")
    return other.eval()


def sides(
    settings: Settings, make: Any, rate: float, batch: int, stream: bool
) -> dict[str, Callable[[], Any]]:
    """What is timed: all time steps, from a reset."""
    import torch

    from spikeloom import functional
    from spikeloom.event import Runner

    net, shape = made(settings, make, rate)
    x, runner, other = spikes(settings, shape, batch, rate), Runner(net, shape), peer(settings, make, net)

    def by_events() -> Any:
        runner.reset()
        return torch.stack([runner.step(one) for one in x]) if stream else runner(x)

    @torch.no_grad()
    def by(network: Any, reset: Callable[[Any], None]) -> Any:
        reset(network)
        return torch.stack([network(one) for one in x]) if stream else network(x)

    found = {"events": by_events, "network": lambda: by(net, functional.reset_net)}
    if stream:
        functional.set_step_mode(net, "s")
    if other is not None:
        from spikingjelly.activation_based import functional as theirs

        if stream:
            theirs.set_step_mode(other, "s")
        found["SpikingJelly"] = lambda: by(other, theirs.reset_net)
    expected = found["network"]()
    off = (found["events"]() != expected).float().mean().item()
    assert off < 0.01, f"{off:.2%} of the outputs differ"
    return found


def networks(settings: Settings) -> Iterator[Row]:
    """A time step of each network, fed in three ways."""
    for name, make in NETWORKS.items():
        for way, batch, stream in ((STREAM, 1, True), (ONE, 1, False), (MANY, settings.batch, False)):
            section = f"{name}, 2 % of the inputs spike, {way}"
            yield from compared(section, sides(settings, make, 0.02, batch, stream), settings)


def compared(section: str, found: dict[str, Callable[[], Any]], settings: Settings) -> Iterator[Row]:
    taken = paired(found, settings.rounds)
    for side, values in taken.items():
        yield row_of(section, side, [1e6 * one / settings.T for one in values], "us a step")
    for side in list(taken)[1:]:
        yield row_of(section, f"{side} / events", ratios(taken[side], taken["events"]), "times")


def over_rates(settings: Settings) -> Iterator[Row]:
    """A sequence of one sample, over the part of the inputs that spike."""
    for rate in settings.rates:
        found = sides(settings, fully_connected, rate, 1, False)
        taken = paired({name: found[name] for name in ("events", "network")}, settings.rounds)
        section = "fully connected, a sequence of one sample, over the part of the inputs that spike"
        for side, values in taken.items():
            yield row_of(
                section, f"{side}, {rate:g}", [1e6 * one / settings.T for one in values], "us a step"
            )


def main() -> None:
    """Run every part, print the table, write JSON."""
    options = measure.arguments(__doc__).parse_args()
    about = measure.start()
    settings = replace(TOY if options.quick else Settings(), threads=options.threads)
    import torch

    torch.set_num_threads(settings.threads)
    parts = (part(settings) for part in (networks, over_rates))
    packages = ("torch", "numpy", "numba", "spikingjelly")
    measure.report(measure.place(options, "bench_event"), settings, parts, packages, about)


if __name__ == "__main__":
    main()
