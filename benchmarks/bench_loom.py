"""How fast the loom is: against other libraries, over time, at start-up, in memory.

Run it on a quiet machine, with the environment that ../shared/tools/peers_env.sh makes:

    PYTHONPATH=/work/shared/tools /opt/peers/bin/python benchmarks/bench_loom.py

Without the other libraries it measures the rest. About ten minutes on 2 cores; ``--quick`` runs every part at
toy sizes in about a minute, and judges no goal.

The unit of work is the time to copy one tensor ``[T, N]`` into another that exists. All sides run the same
neuron (leak 1/2, hard reset, ATan) on the same input within one process, once a round, in a new order each
round; outputs are allocated, and freed, within the time that is taken. "Forward" runs under ``no_grad``; the
gradient of "forward + backward" is a given tensor. Each part is a process of its own; this one imports no
PyTorch, because a child of a large process inherits its peak memory.
"""

import contextlib
import importlib
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import measure
from measure import BOTH, FORWARD, PEERS, Row, from_reset, modes, paired, ratios, row_of, seconds

NUM_STEPS = 16
NEURONS = ["LIFNode", "IFNode", "ParametricLIFNode", "ALIFNode", "CubaLIFNode", "IzhikevichNode", "AdExNode"]
GOALS = {"SpikingJelly": ">= 12", "snnTorch": ">= 30", "Norse": ">= 30"}


@dataclass(frozen=True)
class Settings:
    """Sizes and repetitions."""

    quick: bool = False
    threads: int = 2
    rounds: int = 15
    sizes: tuple[int, ...] = (131_072, 2_097_152)
    num_values: int = 1 << 25  # T * N, where T varies
    times: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
    step_sizes: tuple[int, ...] = (1 << 14, 1 << 16, 1 << 18, 1 << 20)
    recurrent: tuple[tuple[int, int, int], ...] = (
        (100, 1, 100),
        (100, 32, 128),
        (100, 64, 256),
        (50, 256, 1024),
    )
    starts: int = 7  # fresh processes from which a start-up time is taken
    compiles: int = 3
    peers: tuple[str, ...] = ()


# Everything runs, nothing is measured.
TOY = Settings(True, 2, 3, (4096,), 1 << 14, (4, 64, 1024), (4096,), ((5, 2, 10),), 1, 1)

# Sides: each maker returns a function of a sequence ``[T, N]`` that gives spikes, from a fresh state.


def leaky(surrogate_name: str = "ATan") -> Any:
    from spikeloom import neuron, surrogate

    function = getattr(surrogate, surrogate_name)()
    return neuron.LIFNode(tau=2.0, surrogate_function=function, step_mode="m", backend="numba")


def ours(surrogate_name: str = "ATan") -> Callable[[Any], Any]:
    return from_reset(leaky(surrogate_name))


def ours_from(potential: Any) -> Callable[[Any], Any]:
    """LIF from the given potential instead of a reset."""
    node = leaky()

    def run(x):
        node.v = potential
        return node(x)

    return run


def users_neuron() -> Callable[[Any], Any]:
    return from_reset(measure.two_memories("numba"))


# Parts: each is run in a process of its own, and returns rows, or numbers for rows.


def speed(settings: Settings, allocator: str) -> Iterator[Row]:
    """LIF against the peers and against a copy."""
    import torch

    keep = allocator == "keep"
    if keep:
        measure.keep_freed_memory()
    sides = {"ours": ours(), "ours, Sigmoid": ours("Sigmoid")}
    sides |= {name: PEERS[name]() for name in settings.peers}
    for size in settings.sizes:
        x, gradient = 2 * torch.rand(NUM_STEPS, size), torch.randn(NUM_STEPS, size)
        fed = dict.fromkeys(sides, x) | {"snnTorch": x / 2}  # it does not divide its input by tau
        copied = torch.empty_like(x)
        same_neuron(sides, fed)
        for mode in (FORWARD, BOTH):
            runs = {name: modes(side, fed[name], gradient)[mode] for name, side in sides.items()}
            runs["copy"] = lambda x=x, copied=copied: copied.copy_(x)
            taken = paired(runs, settings.rounds)
            pages = "freed pages kept" if keep else "default allocator"
            section = f"LIF, T={NUM_STEPS}, {size:,} neurons, {mode}, {pages}"
            for name, values in taken.items():
                yield row_of(section, name, [1000 * value for value in values], "ms")
            limits = {FORWARD: {"ours": "<= 1.5"}, BOTH: {"ours": "<= 4.5", "ours, Sigmoid": "<= 7"}}[mode]
            for name in ("ours", "ours, Sigmoid"):
                goal = limits.get(name, "") if keep and size == 2_097_152 else ""
                values = ratios(taken[name], taken["copy"])
                yield row_of(section, name, values, "copies", goal=goal)
            for name in settings.peers:
                values = ratios(taken[name], taken["ours"])
                goal = GOALS[name] if keep else ""
                yield row_of(section, f"{name} / ours", values, "times", goal=goal)


def same_neuron(sides: dict[str, Callable[[Any], Any]], fed: dict[str, Any]) -> None:
    """Hold that the sides fire alike; they round and order their operations differently."""
    rates = {name: float(side(fed[name][:, :4096]).detach().mean()) for name, side in sides.items()}
    if max(rates.values()) - min(rates.values()) > 0.001:
        raise RuntimeError(f"The sides do not run the same neuron: firing rates {rates}.")


def lengths(settings: Settings) -> Iterator[Row]:
    """Time per element and step, the same number of values in sequences of several lengths."""
    import torch

    measure.keep_freed_memory()
    x, gradient = 2 * torch.rand(settings.num_values), torch.randn(settings.num_values)
    # The potential of a silent neuron halves until it is denormal, after 126 steps, and then stays so: at the
    # smallest denormal number half of it rounds to 0.
    inputs = {"random": (x, 0.0), "silent": (torch.zeros_like(x), 0.5)}
    for kind, (values, start) in inputs.items():
        for mode in (FORWARD, BOTH):
            runs = {}
            for time in settings.times:
                side = ours_from(torch.full((settings.num_values // time,), start))
                runs[f"T={time}"] = modes(side, values.view(time, -1), gradient.view(time, -1))[mode]
            taken = paired(runs, settings.rounds)
            section = f"LIF, {kind} input, {mode}, T x N = {settings.num_values:,}"
            for name, times in taken.items():
                yield row_of(section, name, [1e9 * time / settings.num_values for time in times], "ns")
            medians = [statistics.median(times) for times in taken.values()]
            yield Row(section, "largest / smallest", max(medians) / min(medians), "times", goal="<= 1.6")


def users(settings: Settings) -> Iterator[Row]:
    """A user's neuron of two memories against LIF."""
    import torch

    measure.keep_freed_memory()
    sides = {"LIF": ours(), "two memories": users_neuron()}
    for size in settings.sizes:
        x, gradient = 2 * torch.rand(NUM_STEPS, size), torch.randn(NUM_STEPS, size)
        for mode in (FORWARD, BOTH):
            runs = {name: modes(side, x, gradient)[mode] for name, side in sides.items()}
            taken = paired(runs, settings.rounds)
            section = f"A user's neuron, T={NUM_STEPS}, {size:,} neurons, {mode}"
            for name, values in taken.items():
                yield row_of(section, name, [1000 * value for value in values], "ms")
            values = [ratio / 2 for ratio in ratios(taken["two memories"], taken["LIF"])]
            yield row_of(section, "two memories / LIF, per memory", values, "times", goal="<= 1.3")


def steps(settings: Settings) -> Iterator[Row]:
    """Single-step mode: steps that are compiled against the reference's."""
    import torch

    from spikeloom import neuron, surrogate
    from spikeloom.loom import single

    measure.keep_freed_memory()
    pays = single.PAYS
    for name in ("LIFNode", "IFNode", "ParametricLIFNode", "IzhikevichNode"):
        for size in settings.step_sizes:
            node = getattr(neuron, name)(surrogate_function=surrogate.ATan(), backend="numba")
            x, gradient = 2 * torch.rand(NUM_STEPS, size), torch.randn(NUM_STEPS, size)

            def over(x: Any, pays: int, node: Any = node) -> Any:
                single.PAYS = pays
                node.reset()
                return torch.stack([node(step) for step in x.unbind()])

            sides = {
                "compiled": lambda x, over=over: over(x, 0),
                "reference": lambda x, over=over: over(x, 1 << 62),
            }
            section = f"{name}, {NUM_STEPS} single steps"
            for mode in (FORWARD, BOTH):
                taken = paired(
                    {side: modes(run, x, gradient)[mode] for side, run in sides.items()}, settings.rounds
                )
                values = ratios(taken["reference"], taken["compiled"])
                goal = ">= 1" if size >= pays else ""
                yield row_of(
                    section, f"reference / compiled, {size:,} neurons, {mode}", values, "times", goal=goal
                )


def recurrence(settings: Settings) -> Iterator[Row]:
    """A recurrent layer against itself step by step, and against SpikingJelly's."""
    import torch

    measure.keep_freed_memory()
    for num_steps, batch, features in settings.recurrent:
        sides = {
            "ours": recurrent(features, "spikeloom"),
            "ours, step by step": recurrent(features, "spikeloom", backend="torch"),
        }
        if "SpikingJelly" in settings.peers:
            sides["SpikingJelly"] = recurrent(features, "spikingjelly.activation_based")
        x, gradient = 3 * torch.randn(num_steps, batch, features), torch.randn(num_steps, batch, features)
        rates = {name: float(run(x, None).detach().mean()) for name, run in sides.items()}
        if max(rates.values()) - min(rates.values()) > 0.01:
            raise RuntimeError(f"The sides do not run the same layer: firing rates {rates}.")
        for mode, given in ((FORWARD, None), (BOTH, gradient)):
            runs = {name: lambda run=run, x=x, given=given: run(x, given) for name, run in sides.items()}
            taken = paired(runs, settings.rounds)
            section = f"A recurrent layer, T={num_steps}, batch {batch}, {features} neurons, {mode}"
            for name, values in taken.items():
                yield row_of(section, name, [1000 * value for value in values], "ms")
            for name in [name for name in taken if name != "ours"]:
                yield row_of(
                    section, f"{name} / ours", ratios(taken[name], taken["ours"]), "times", goal=">= 1"
                )


def recurrent(features: int, package: str, **chosen: str) -> Callable[[Any, Any], Any]:
    """What runs the recurrent layer of a library, of neurons with the ``chosen`` settings, from a reset, and
    backwards if there is a gradient."""
    import torch

    modules = ("functional", "layer", "neuron", "surrogate")
    functional, layer, neuron, surrogate = (importlib.import_module(f"{package}.{name}") for name in modules)
    node = neuron.LIFNode(surrogate_function=surrogate.ATan(), **chosen)
    torch.manual_seed(0)
    net = layer.LinearRecurrentContainer(node, features, features, step_mode="m")

    def run(x, gradient):
        with torch.set_grad_enabled(gradient is not None):
            spikes = net(x)
            if gradient is not None:
                spikes.backward(gradient)
        functional.reset_net(net)
        return spikes

    return run


def overhead(settings: Settings) -> Iterator[Row]:
    """What a call costs beside its work."""
    import torch

    from spikeloom import neuron
    from spikeloom.loom import select

    node = neuron.LIFNode(step_mode="m")
    reference = neuron.LIFNode(step_mode="m", backend="torch")
    x, calls = torch.rand(1, 1), 100 if settings.quick else 2000
    runs = {
        "fingerprint": lambda: select.look(node),
        "fingerprint and look-up": lambda: select.find(node, (1,), torch.float32),
        "call on [1, 1], no_grad": lambda: node(x),
        "the same on the reference loop": lambda: reference(x),
    }
    with torch.no_grad():
        many = {name: lambda run=run: [run() for _ in range(calls)] for name, run in runs.items()}
        taken = paired(many, settings.rounds)
    for name, values in taken.items():
        goal = "<= 20" if name == "fingerprint and look-up" else ""
        microseconds = [1e6 * value / calls for value in values]
        yield row_of("A call of an unchanged LIF", name, microseconds, "us", goal=goal)


def imports(settings: Settings) -> dict[str, float]:
    """What importing the library takes after PyTorch, in seconds."""
    importlib.import_module("torch")
    package = seconds(lambda: importlib.import_module("spikeloom"))
    neurons = seconds(lambda: importlib.import_module("spikeloom.neuron"))
    return {"spikeloom": package, "spikeloom.neuron": package + neurons}


def first_uses(settings: Settings) -> dict[str, float]:
    """What the first forward and backward pass of several neurons takes, one after the other, in seconds."""
    import torch

    from spikeloom import neuron, surrogate

    x = torch.rand(NUM_STEPS, 64).requires_grad_()

    def use(name: str) -> None:
        node = getattr(neuron, name)
        node(surrogate_function=surrogate.ATan(), step_mode="m", backend="numba")(x).sum().backward()

    return {name: seconds(lambda name=name: use(name)) for name in NEURONS}


def peak(settings: Settings, side: str, work: str) -> float:
    """The largest resident memory of a process that imports, allocates the input, and then does its work."""
    import torch

    run = ours() if side == "ours" else PEERS[side]()
    run(torch.rand(NUM_STEPS, 64).requires_grad_()).sum().backward()  # imports and compiles
    size = max(settings.sizes)
    x = (2 * torch.rand(NUM_STEPS, size)).requires_grad_()
    gradient = torch.randn(NUM_STEPS, size)
    if work == "work":
        torch.autograd.grad(run(x), x, gradient)
    return measure.peak_memory()


PARTS: dict[str, Callable[..., Any]] = {
    "importable": lambda settings: measure.importable(),
    "speed": speed,
    "lengths": lengths,
    "users": users,
    "steps": steps,
    "recurrence": recurrence,
    "overhead": overhead,
    "imports": imports,
    "first_uses": first_uses,
    "peak": peak,
}


def part(name: str, settings: Settings, *arguments: str, **variables: str) -> Any:
    """A part in a fresh process: its rows, or its numbers."""
    words = (*measure.words(settings), "--part", name, *arguments)
    found = measure.fresh(__file__, *words, **variables)
    return [Row(**row) for row in found] if isinstance(found, list) else found


def run_part(name: str, settings: Settings, arguments: list[str]) -> None:
    """Be the fresh process: the last line on stdout is the result."""
    if name not in ("imports", "first_uses"):  # those time what they import
        importlib.import_module("torch").set_num_threads(settings.threads)
        with contextlib.suppress(ImportError):  # lets some builds of torchvision load, see ../shared/tools
            importlib.import_module("tvshim")
    found = PARTS[name](settings, *arguments)
    print(json.dumps(found if isinstance(found, dict | float) else [asdict(row) for row in found]))


def starts(settings: Settings) -> Iterator[Row]:
    """Import and first use, each from fresh processes."""
    section = "Start-up, fresh processes"
    found = [part("imports", settings) for _ in range(settings.starts)]
    for name in found[0]:
        times = [one[name] for one in found]
        yield row_of(section, f"import {name}, after torch", times, "s", goal="<= 0.3")
    with tempfile.TemporaryDirectory() as folder:
        caches = [f"{folder}/{number}" for number in range(settings.compiles)]
        empty = [part("first_uses", settings, **cache(one)) for one in caches]
        filled = [part("first_uses", settings, **cache(caches[0])) for _ in range(settings.starts)]
    for kind, runs, goals in (("empty", empty, ("<= 8", "<= 8")), ("filled", filled, ("<= 1.5", "<= 0.05"))):
        for name in NEURONS:
            first = name == NEURONS[0]
            label = f"{name}, first use, {kind} cache" + (", with Numba's import" if first else "")
            goal = goals[0] if first else goals[1]
            yield row_of(section, label, [run[name] for run in runs], "s", goal=goal)


def cache(folder: str) -> dict[str, str]:
    """Variables for a cache of one's own; the helpers that emitted loops call are compiled into it too."""
    return {"SPIKELOOM_CACHE": f"{folder}/loom", "NUMBA_CACHE_DIR": f"{folder}/numba"}


def peaks(settings: Settings) -> Iterator[Row]:
    """Resident memory of a forward and a backward pass beyond that of a process which does all else."""
    section = f"Peak resident memory, T={NUM_STEPS}, {max(settings.sizes):,} neurons, {BOTH}"
    used = {}
    for side in ("ours", *(name for name in settings.peers if name == "SpikingJelly")):
        idle, busy = (part("peak", settings, side, work) for work in ("idle", "work"))
        used[side] = busy - idle
        yield Row(section, side, used[side], "MiB")
    if len(used) == 2:
        yield Row(section, "ours / SpikingJelly", used["ours"] / used["SpikingJelly"], "times", goal="<= 0.5")


def main() -> None:
    """Run every part, print the table, write the JSON."""
    parser = measure.arguments(__doc__, workers=True)
    parser.add_argument("--only", nargs="+", help="parts to run: speed, lengths, users, steps, overhead, ...")
    options = parser.parse_args()
    if options.part:
        run_part(options.part[0], Settings(**json.loads(options.settings)), options.part[1:])
        return
    about = measure.start()
    settings = replace(TOY if options.quick else Settings(), threads=options.threads)
    there = part("importable", settings)
    left_out = {name: reason for name, reason in there.items() if reason}
    settings = replace(settings, peers=tuple(name for name in there if name not in left_out))
    print(*(f"left out: {name} ({reason})" for name, reason in left_out.items()), sep="\n")
    runs: dict[str, Callable[[], Iterable[Row]]] = {
        "speed": lambda: part("speed", settings, "keep") + part("speed", settings, "default"),
        "lengths": lambda: part("lengths", settings),
        "users": lambda: part("users", settings),
        "steps": lambda: part("steps", settings),
        "recurrence": lambda: part("recurrence", settings),
        "overhead": lambda: part("overhead", settings),
        "starts": lambda: starts(settings),
        "peaks": lambda: peaks(settings),
    }
    packages = ("torch", "numpy", "numba", "spikingjelly", "snntorch", "norse")
    out = measure.place(options, "bench_loom", options.only or ())
    parts = (runs[name]() for name in options.only or runs)
    measure.report(out, settings, parts, packages, about | {"left_out": left_out})


if __name__ == "__main__":
    main()
