"""Typical work of users beside SpikingJelly: neurons, networks, layers, encoders, plasticity.

Run it on a quiet machine, with the environment that ../shared/tools/peers_env.sh makes:

    PYTHONPATH=/work/shared/tools /opt/peers/bin/python benchmarks/bench_users.py

Two to three minutes on 2 cores; ``--quick`` runs every part at toy sizes, and judges no goal. Both libraries
run the same lines: only the imports differ. The goal of every row is to be as fast at least.
"""

import importlib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import measure
from measure import BOTH, FORWARD, Row, paired, ratios, row_of

MODULES = ("neuron", "layer", "functional", "encoding", "learning", "monitor", "rnn")
SIDES = {"SpikingJelly": "spikingjelly.activation_based", "ours": "spikeloom"}
NEURONS = {
    "IFNode": {}, "LIFNode": {}, "ParametricLIFNode": {}, "QIFNode": {}, "EIFNode": {}, "IzhikevichNode": {},
    "KLIFNode": {}, "MaskedPSN": {"k": 4, "T": 16}, "SlidingPSN": {"k": 4},
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Sizes and repetitions; images are squares of ``side`` pixels."""

    quick: bool = False
    threads: int = 2
    rounds: int = 15
    batch: int = 32
    features: int = 784
    hidden: int = 256
    channels: int = 64
    side: int = 32


TOY = Settings(True, 2, 2, 2, 16, 8, 2, 8)
Work = Callable[[], Any]
Library = Any  # the modules of one of the libraries, by their names


def library(package: str) -> Library:
    found = {name: importlib.import_module(f"{package}.{name}") for name in MODULES}
    return types.SimpleNamespace(**found)


def stepping(lib: Library, net: Any, x: Any, mode: str, learns: bool) -> Work:
    """What trains or runs a network on one step's input, again and again, or on a sequence of as many."""
    import torch

    lib.functional.set_step_mode(net, mode)
    net.train(learns)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3) if any(True for _ in net.parameters()) else None

    def output() -> Any:
        return net(x) if mode == "m" else torch.stack([net(step) for step in x])

    def run() -> None:
        if learns:
            output().square().mean().backward()
            if optimizer:
                optimizer.step()
                optimizer.zero_grad()
        else:
            with torch.no_grad():
                output()
        lib.functional.reset_net(net)

    return run


def neurons(settings: Settings) -> Iterator[tuple[str, Callable[[Library], Work]]]:
    """Single layers of neurons, small and large, over 16 steps."""
    import torch

    small = (settings.batch, settings.hidden)
    large = (settings.batch, settings.channels, settings.side // 2, settings.side // 2)
    for (name, options), shape, mode in product(NEURONS.items(), (small, large), ("m", "s")):
        if mode == "s" and name not in ("IFNode", "LIFNode", "ParametricLIFNode"):
            continue
        for kind in (FORWARD, BOTH):

            def make(lib: Library, name=name, options=options, shape=shape, mode=mode, kind=kind) -> Work:
                torch.manual_seed(0)
                node = getattr(lib.neuron, name)(**options)
                x = torch.rand(16, *shape, requires_grad=kind == BOTH)
                return stepping(lib, node, x, mode, kind == BOTH)

            yield f"{name}, {'x'.join(map(str, shape))}, step_mode='{mode}', {kind}", make


def networks(settings: Settings) -> Iterator[tuple[str, Callable[[Library], Work]]]:
    """A fully connected and a convolutional network."""
    import torch
    from torch import nn

    def connected(lib: Library) -> tuple[Any, Any]:
        n = settings.hidden
        net = [lib.layer.Linear(settings.features, n), lib.neuron.LIFNode(), lib.layer.Linear(n, 10)]
        return nn.Sequential(*net, lib.neuron.LIFNode()), torch.rand(8, settings.batch, settings.features)

    def convolutional(lib: Library) -> tuple[Any, Any]:
        c, layer, x = settings.channels // 4 or 1, lib.layer, (4, settings.batch // 2)
        net = nn.Sequential(
            *(layer.Conv2d(2, c, 3, padding=1, bias=False), layer.BatchNorm2d(c), lib.neuron.LIFNode()),
            *(layer.MaxPool2d(2, 2), layer.Conv2d(c, c, 3, padding=1, bias=False), layer.BatchNorm2d(c)),
            *(lib.neuron.LIFNode(), layer.MaxPool2d(2, 2), layer.Flatten(), layer.Dropout(0.5)),
            *(layer.Linear(c * (settings.side // 4) ** 2, 10), lib.neuron.LIFNode()),
        )
        return net, torch.rand(*x, 2, settings.side, settings.side)

    for build, mode, learns in product((connected, convolutional), "ms", (False, True)):

        def make(lib: Library, build=build, mode=mode, learns=learns) -> Work:
            torch.manual_seed(0)
            return stepping(lib, *build(lib), mode, learns)

        yield f"{build.__name__}, step_mode='{mode}', {'training' if learns else 'inference'}", make


def layers(settings: Settings) -> Iterator[tuple[str, Callable[[Library], Work]]]:
    """Containers, recurrent layers and those with a memory, in multi-step mode with a backward pass."""
    import torch
    from torch import nn

    n = settings.hidden // 2
    made: dict[str, Callable[[Library], Any]] = {
        "MultiStepContainer": lambda lib: lib.layer.MultiStepContainer(nn.Linear(n, n), lib.neuron.LIFNode()),
        "LinearRecurrentContainer": lambda lib: lib.layer.LinearRecurrentContainer(
            lib.neuron.LIFNode(), n, n
        ),
        "ElementWiseRecurrentContainer": lambda lib: lib.layer.ElementWiseRecurrentContainer(
            lib.neuron.LIFNode(), lambda x, y: x + y
        ),
        "SynapseFilter": lambda lib: lib.layer.SynapseFilter(tau=10.0, learnable=True),
        "Dropout": lambda lib: lib.layer.Dropout(0.5),
    }
    for name, build in made.items():

        def make(lib: Library, build=build) -> Work:
            torch.manual_seed(0)
            x = torch.rand(32, settings.batch, n, requires_grad=True)
            return stepping(lib, build(lib), x, "m", True)

        yield name, make
    for name in ("SpikingLSTM", "SpikingGRU", "SpikingVanillaRNN"):

        def recurrent(lib: Library, name=name) -> Work:
            torch.manual_seed(0)
            net, x = getattr(lib.rnn, name)(28, n, 1), torch.rand(28, settings.batch, 28)
            return lambda: net(x)[0].sum().backward()

        yield name, recurrent


def encoders(settings: Settings) -> Iterator[tuple[str, Callable[[Library], Work]]]:
    """Eight steps of a code."""
    import torch

    shape = (settings.batch, settings.features)
    for name, options in (("PoissonEncoder", ()), ("LatencyEncoder", (8,)), ("WeightedPhaseEncoder", (8,))):

        def make(lib: Library, name=name, options=options) -> Work:
            torch.manual_seed(0)
            encoder, x = getattr(lib.encoding, name)(*options), 0.9 * torch.rand(shape)

            def run() -> None:
                for _ in range(8):
                    encoder(x)
                lib.functional.reset_net(encoder)

            return run

        yield name, make


def plasticity(settings: Settings) -> Iterator[tuple[str, Callable[[Library], Work]]]:
    """STDP of a linear and of a convolutional layer, and networks that are watched."""
    import torch
    from torch import nn

    def learning(lib: Library, mode: str, convolves: bool) -> Work:
        torch.manual_seed(0)
        synapse = (
            lib.layer.Conv2d(2, 8, 5, bias=False) if convolves else lib.layer.Linear(settings.features, 100)
        )
        shape = (2, settings.side, settings.side) if convolves else (settings.features,)
        x = (torch.rand(16, settings.batch // 4 or 1, *shape) < 0.1).float()
        net = nn.Sequential(synapse, lib.neuron.IFNode())
        lib.functional.set_step_mode(net, mode)
        learner = lib.learning.STDPLearner(mode, net[0], net[1], 2.0, 2.0)

        @torch.no_grad()
        def run() -> None:
            for part in [x] if mode == "m" else x:
                net(part)
                learner.step(on_grad=True)
            lib.functional.reset_net(net)
            learner.reset()
            synapse.weight.grad = None

        return run

    for convolves, mode in product((False, True), "ms"):
        kind = "convolution" if convolves else "linear layer"
        yield (
            f"STDP of a {kind}, step_mode='{mode}'",
            lambda lib, m=mode, c=convolves: learning(lib, m, c),
        )

    def watched(lib: Library) -> Work:
        net = nn.Sequential(lib.layer.Linear(settings.features, settings.hidden), lib.neuron.LIFNode())
        run = stepping(lib, net, torch.rand(16, settings.batch, settings.features), "m", False)
        monitor = lib.monitor.OutputMonitor(net, lib.neuron.LIFNode)

        def work() -> None:
            run()
            monitor.clear_recorded_data()

        return work

    yield "OutputMonitor", watched


def main() -> None:
    """Run every part, print the table, write the JSON."""
    options = measure.arguments(__doc__).parse_args()
    about = measure.start()
    settings = replace(TOY if options.quick else Settings(), threads=options.threads)
    import torch

    torch.set_num_threads(settings.threads)
    libraries = {name: library(package) for name, package in SIDES.items()}

    def rows(part: Callable[[Settings], Iterator[tuple[str, Callable[[Library], Work]]]]) -> Iterator[Row]:
        for name, make in part(settings):
            taken = paired({side: make(lib) for side, lib in libraries.items()}, settings.rounds)
            found = ratios(taken["SpikingJelly"], taken["ours"])
            yield row_of(f"SpikingJelly / ours: {part.__name__}", name, found, "times", goal=">= 1")

    parts = map(rows, (neurons, networks, layers, encoders, plasticity))
    packages = ("torch", "numpy", "numba", "spikingjelly")
    measure.report(measure.place(options, "bench_users"), settings, parts, packages, about)


if __name__ == "__main__":
    main()
