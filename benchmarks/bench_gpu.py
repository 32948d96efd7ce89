"""How fast the loom is on a GPU: against copying, against other libraries, and in whole training steps.

Run it on a machine with a CUDA device that nobody else uses:

    python benchmarks/bench_gpu.py

It needs no network. SpikingJelly and snnTorch are measured where they are installed, and named where not.
``--quick`` runs every part at toy sizes and judges no goal; without a CUDA device it does so under Triton's
interpreter (and the training steps with Numba), to see that the script still runs.

All sides run the same neuron (leak 1/2, hard reset, ATan) on the same input, once a round, in a new order
each round, and the device is waited for at the end of each. "Of copy speed" is the floor by the time that the
device takes by its own clock, for calls that are put on its stream together. The floor is what has to be
moved, at the speed at which a tensor of this size is copied on the device: an input and an output forward,
an input and two gradients backward, and what is remembered after the last step, in float32.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import measure
from measure import BOTH, FORWARD, Row, from_reset, modes, paired, ratios, row_of

MOVED = {FORWARD: 1.0, BOTH: 2.5}  # copies of a sequence that the floor is, but for the memories
CALLS = 6  # that are timed together by the device's clock
SHARES = {FORWARD: ">= 0.85", BOTH: ">= 0.75"}


@dataclass(frozen=True)
class Settings:
    """Sizes and repetitions."""

    quick: bool = False
    device: str = "cuda"
    rounds: int = 9
    num_values: int = 1 << 29  # T * N of a neuron alone
    times: tuple[int, ...] = (4, 16, 64, 256)
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    unrolled: int = 4  # steps that torch.compile is given at most: it takes long for more
    batch: int = 128  # images of a training step
    net: str = "sew-resnet18-cifar"
    widths: tuple[int, ...] = (256, 1024, 4096, 16384)  # of the open-neuromorphic benchmark
    steps: int = 500
    samples: int = 16


TOY = Settings(True, "cuda", 1, 1 << 8, (4, 6), ("float32",), 4, 1, "sew-resnet-mini-cifar", (8,), 5, 2)
Sequence = Callable[[Any], Any]

# Sides: each maker returns a function of a sequence ``[T, N]`` that gives spikes, from a fresh state.


def leaky(backend: str = "triton") -> Any:
    from spikeloom import neuron, surrogate

    return neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), step_mode="m", backend=backend)


def unrolled() -> Sequence:
    """The reference loop as TorchInductor compiles it."""
    import torch

    return torch.compile(from_reset(leaky("torch")))


PEERS: dict[str, Callable[[Settings], Sequence]] = {
    "SpikingJelly": lambda _: measure.spikingjelly(),  # on a CUDA device, 2.0 runs its Triton kernel
    "SpikingJelly, CuPy": lambda _: measure.spikingjelly(backend="cupy"),
    "snnTorch": lambda settings: measure.snntorch(settings.device),
    "torch.compile": lambda _: unrolled(),
}


def there(settings: Settings) -> dict[str, str]:
    """The other sides, with "" where they run, and else the reason why they do not."""
    import torch

    found = {}
    for name, make in PEERS.items():
        if settings.device == "cpu" and name != "snnTorch":
            found[name] = "it is left out under Triton's interpreter"
            continue
        try:
            x = torch.rand(4, 64, device=settings.device).requires_grad_()
            make(settings)(x).sum().backward()
            found[name] = ""
        except Exception as error:  # whatever a library that lacks something raises
            found[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return found


def waited(run: Callable[[], Any], settings: Settings) -> Callable[[], None]:
    """``run``, until the device is done."""
    import torch

    def whole() -> None:
        run()
        if settings.device == "cuda":
            torch.cuda.synchronize()

    return whole


def in_turn(runs: dict[str, Callable[[], Any]], settings: Settings) -> dict[str, list[float]]:
    return paired({name: waited(run, settings) for name, run in runs.items()}, settings.rounds, warmup=3)


# Parts.


def alone(settings: Settings, peers: list[str]) -> Iterator[Row]:
    """Neurons alone, against copying and against the peers."""
    import torch

    for kind in settings.dtypes:
        for steps in settings.times:
            shape = steps, settings.num_values // steps
            x = (2 * torch.rand(shape, device=settings.device)).to(getattr(torch, kind))
            gradient, copied = torch.randn_like(x), torch.empty_like(x)
            neurons = {"LIF": leaky(), "two memories": measure.two_memories("triton")}
            chosen = [name for name in peers if name != "torch.compile" or steps <= settings.unrolled]
            sides = {name: from_reset(neuron) for name, neuron in neurons.items()}
            sides |= {name: PEERS[name](settings) for name in chosen}
            fed = dict.fromkeys(sides, x) | {"snnTorch": x / 2}  # it does not divide its input by tau
            for mode in (FORWARD, BOTH):
                runs = {name: modes(side, fed[name], gradient)[mode] for name, side in sides.items()}
                runs["copy"] = lambda x=x, copied=copied: copied.copy_(x)
                floors = {name: floor(mode, x, neuron) for name, neuron in neurons.items()}
                yield from compared(
                    f"{kind}, T={steps}, {shape[1]:,} neurons, {mode}", mode, runs, floors, settings
                )


def floor(mode: str, x: Any, neuron: Any) -> float:
    """What has to be moved, in copies of ``x``."""
    remembered = 4 * len(neuron._memories) / (2 * x.element_size() * len(x))
    return MOVED[mode] + remembered


def compared(
    section: str, mode: str, runs: dict[str, Callable[[], Any]], floors: dict[str, float], settings: Settings
) -> Iterator[Row]:
    """The times of all sides, how near ours are to their floors, and how far the others are from ours."""
    taken = in_turn(runs, settings)
    for name, values in taken.items():
        yield row_of(section, name, [1000 * value for value in values], "ms")
    by_device = [{name: queued(runs[name], settings) for name in ("copy", *floors)} for _ in range(3)]
    for name, floor in floors.items():
        shares = [floor * one["copy"] / one[name] for one in by_device]
        yield row_of(section, name, shares, "of copy speed", goal=SHARES[mode])
    for name in runs:
        if name != "copy" and name not in floors:
            yield row_of(section, f"{name} / LIF", ratios(taken[name], taken["LIF"]), "times", goal=">= 1")


def queued(run: Callable[[], Any], settings: Settings) -> float:
    """Milliseconds of the device for a call, of some that are put on its stream together."""
    import torch

    if settings.device == "cpu":
        return 1000 * measure.seconds(run)
    run()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(CALLS):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / CALLS


def training(settings: Settings, _peers: list[str]) -> Iterator[Row]:
    """Whole training steps in mixed precision, with the loom and on the reference loop."""
    from spikeloom import model
    from spikeloom.recipe.stbp_scnn import StbpScnn

    scnn = StbpScnn(dataset="mnist", T=4 if settings.quick else 20)
    nets = {
        "stbp-scnn": (lambda: scnn.network((1, 28, 28), 10), (1, 28, 28), scnn.T),
        settings.net: (lambda: model.create(settings.net, T=2 if settings.quick else 4), (3, 32, 32), None),
    }
    for name, (make, shape, steps) in nets.items():
        runs = {backend: step_of(make(), shape, steps, backend, settings) for backend in ("auto", "torch")}
        section = f"A training step of {name}, batch {settings.batch}, bfloat16 autocast"
        taken = in_turn(runs, settings)
        for backend, values in taken.items():
            label = {"auto": "woven", "torch": "reference loop"}[backend]
            yield row_of(section, label, [1000 * value for value in values], "ms")
        yield row_of(
            section, "reference loop / woven", ratios(taken["torch"], taken["auto"]), "times", goal=">= 1"
        )


def step_of(
    net: Any, shape: tuple[int, ...], steps: int | None, backend: str, settings: Settings
) -> Callable[[], None]:
    """Forward, loss of firing rates, backward, SGD; ``steps`` for a network that takes spikes over time."""
    import torch

    from spikeloom import functional, loom

    net = net.to(settings.device).to(memory_format=torch.channels_last)
    functional.set_step_mode(net, "m")
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    images = torch.rand(settings.batch, *shape, device=settings.device)
    labels = torch.randint(10, (settings.batch,), device=settings.device)

    def step() -> None:
        optimizer.zero_grad()
        x = (
            images
            if steps is None
            else (torch.rand(steps, *images.shape, device=images.device) < images).float()
        )
        with torch.autocast(settings.device, torch.bfloat16), loom.backend(backend):
            rates = net(x).float().mean(0)
        torch.nn.functional.cross_entropy(rates, labels).backward()
        optimizer.step()
        functional.reset_net(net)

    return step


def layers(settings: Settings, peers: list[str]) -> Iterator[Row]:
    """The set-up of the open-neuromorphic benchmark: a linear layer, then LIF, forward and backward."""
    import torch

    for width in settings.widths:
        weight = torch.nn.Linear(width, width, device=settings.device)
        x = torch.rand(settings.steps, settings.samples, width, device=settings.device).requires_grad_()
        sides = {"ours": from_reset(leaky())}
        sides |= {name: PEERS[name](settings) for name in peers if name != "torch.compile"}
        runs: dict[str, Callable[[], Any]] = {
            name: lambda side=side, x=x, weight=weight: side(weight(x)).sum().backward()
            for name, side in sides.items()
        }
        runs["the linear layer alone"] = lambda x=x, weight=weight: weight(x).sum().backward()
        taken = in_turn(runs, settings)
        section = f"Linear and LIF, {width:,} neurons, batch {settings.samples}, T={settings.steps}, {BOTH}"
        for name, values in taken.items():
            yield row_of(section, name, [1000 * value for value in values], "ms")
        for name in sides:
            if name != "ours":
                yield row_of(
                    section, f"{name} / ours", ratios(taken[name], taken["ours"]), "times", goal=">= 1"
                )


PARTS = {"alone": alone, "training": training, "layers": layers}


def device_of(settings: Settings) -> dict[str, Any]:
    """What it runs on."""
    import torch

    if settings.device == "cpu":
        return {"name": "none: Triton's interpreter"}
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
    }


def main() -> None:
    """Run every part, print the table, write the JSON."""
    parser = measure.arguments(__doc__, threads=False)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    options = parser.parse_args()
    settings = TOY if options.quick else Settings()
    import torch

    if not torch.cuda.is_available():
        if not options.quick:
            parser.error("there is no CUDA device. Use --quick to see whether the script runs.")
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
        settings = replace(settings, device="cpu")
    found = there(settings)
    peers = [name for name, reason in found.items() if not reason]
    left_out = {name: reason for name, reason in found.items() if reason}
    print(*(f"left out: {name} ({reason})" for name, reason in left_out.items()), sep="\n")
    about = {"machine": measure.machine(), "device": device_of(settings), "left_out": left_out}
    rows = itertools.chain(*(PARTS[name](settings, peers) for name in options.parts))
    sections = (part for _, part in itertools.groupby(rows, key=lambda row: row.section))
    chosen = options.parts if set(options.parts) < set(PARTS) else ()
    packages = ("torch", "triton", "spikingjelly", "snntorch")
    measure.report(measure.place(options, "bench_gpu", chosen), settings, sections, packages, about)


if __name__ == "__main__":
    main()
