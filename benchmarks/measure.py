"""What benchmarks share: times taken in turn, fresh processes, the other libraries, rows with goals, tables.

Imports the standard library only at first, so that a process can time what it imports afterwards.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "src"))  # this checkout is measured, installed or not
Seconds = list[float]
FORWARD, BOTH = "forward", "forward + backward"


@dataclass(frozen=True)
class Row:
    """One measured value beside its goal.

    Args:
        section: heading of the table that the row is in.
        name: what was measured.
        value: median.
        unit: of the value.
        low, high: 20th and 80th percentile.
        goal: such as ``"<= 1.5"`` or ``">= 12"``; empty where there is none.
        judged: whether the goal can be judged, which takes the sizes that the goal names.
    """

    section: str
    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    goal: str = ""
    judged: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; ``None`` where there is none to judge."""
        if not self.goal or not self.judged:
            return None
        relation, limit = self.goal.split()
        return self.value <= float(limit) if relation == "<=" else self.value >= float(limit)


def row_of(section: str, name: str, values: Sequence[float], unit: str, **settings: Any) -> Row:
    """The median of ``values`` as a row, with the 20th and the 80th percentile."""
    low, high = percentile(values, 0.2), percentile(values, 0.8)
    return Row(section, name, statistics.median(values), unit, low, high, **settings)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a ``share`` of ``values`` lies, between neighbours by a straight line."""
    place = share * (len(values) - 1)
    low, ordered = int(place), sorted(values)
    high = min(low + 1, len(values) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def seconds(run: Callable[[], Any]) -> float:
    """How long one call takes; what it returns is freed within that time."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def paired(sides: dict[str, Callable[[], Any]], rounds: int, warmup: int = 2) -> dict[str, Seconds]:
    """Time every side once a round, so that what slows the machine slows all of them.

    The order changes with every round, by chance but always alike: OpenMP's threads keep a core busy for some
    milliseconds after their work, which the next side pays for.

    Args:
        sides: name and what to run.
        rounds: that count.
        warmup: rounds before them: compilation, caches, the allocator's pages.
    """
    for _ in range(warmup):
        for run in sides.values():
            run()
    taken: dict[str, Seconds] = {name: [] for name in sides}
    order, chance = list(sides), random.Random(0)
    for _ in range(rounds):
        chance.shuffle(order)
        for name in order:
            taken[name].append(seconds(sides[name]))
    return taken


def ratios(above: Seconds, below: Seconds) -> Seconds:
    """The ratio in each round."""
    return [one / other for one, other in zip(above, below, strict=True)]


def off_line(x: Sequence[float], y: Sequence[float]) -> float:
    """How far the values are from the line that is nearest in proportion to them, at most, in per cent."""
    import numpy

    weights = 1 / numpy.array(y)
    line = numpy.polyfit(x, y, 1, w=weights)
    return float(100 * numpy.abs((numpy.polyval(line, x) - y) * weights).max())


def fresh(script: str, *arguments: str, **variables: str) -> Any:
    """Run ``script`` in a new process, and return the value that its last line is, as JSON.

    Args:
        script: path of a Python file.
        arguments: its command line.
        variables: environment variables to set.
    Raises:
        RuntimeError: it failed; with what it wrote.
    """
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


# Other libraries: each maker returns a function of a sequence [T, N] that gives the spikes of a leaky
# integrate-and-fire neuron from a fresh state: leak 1/2, threshold 1, hard reset to 0, surrogate ATan(2).


def spikingjelly(**settings: Any) -> Callable[[Any], Any]:
    from spikingjelly.activation_based import neuron, surrogate

    return from_reset(neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), step_mode="m", **settings))


def snntorch(device: str = "cpu") -> Callable[[Any], Any]:
    import snntorch
    import torch
    from snntorch import surrogate

    leaky = snntorch.Leaky(beta=0.5, reset_mechanism="zero", spike_grad=surrogate.atan(2.0)).to(device)

    def run(x):
        potential, spikes = leaky.reset_mem(), []
        for step in x:
            spike, potential = leaky(step, potential)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def norse() -> Callable[[Any], Any]:
    """Norse's neuron without synaptic current: one memory, as the others have; and with their surrogate."""
    import norse.torch
    import torch
    from snntorch.surrogate import ATan

    functions = sys.modules["norse.torch.functional.lif_box"]
    functions.threshold = lambda potential, method, alpha: ATan.apply(potential, 2.0)
    parameters = norse.torch.LIFBoxParameters(tau_mem_inv=torch.tensor(500.0))  # times dt = 1 / tau
    lifted = norse.torch.Lift(norse.torch.LIFBoxCell(parameters))
    return lambda x: lifted(x)[0]


def two_memories(backend: str) -> Any:
    """A neuron of two memories that a user might write, run by one of our backends."""
    from spikeloom import neuron, surrogate

    class TwoMemories(neuron.BaseNode):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.register_memory("w", 0.0)

        def neuronal_charge(self, x):
            self.v = self.v + (x - self.v - 0.3 * self.w) / 3
            self.w = 0.9 * self.w + 0.1 * self.v

        def neuronal_reset(self, spike):
            self.v = self.v - spike

    return TwoMemories(surrogate_function=surrogate.ATan(), step_mode="m", backend=backend)


def from_reset(node: Any) -> Callable[[Any], Any]:
    def run(x):
        node.reset()
        return node(x)

    return run


PEERS = {"SpikingJelly": spikingjelly, "snnTorch": snntorch, "Norse": norse}


def modes(side: Callable[[Any], Any], x: Any, gradient: Any) -> dict[str, Callable[[], Any]]:
    """What is timed of a side: without and with the backward pass."""
    import torch

    leaf = x.detach().requires_grad_()

    @torch.no_grad()
    def forward() -> Any:
        return side(x)

    return {FORWARD: forward, BOTH: lambda: torch.autograd.grad(side(leaf), leaf, gradient)}


def importable() -> dict[str, str]:
    """The peers that are there, with "", and the others, with the reason."""
    found = {}
    for name, make in PEERS.items():
        try:
            make()
            found[name] = ""
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def keep_freed_memory() -> None:
    from spikeloom.train.allocator import keep_freed_memory

    if not keep_freed_memory():
        raise RuntimeError("The allocator cannot be told to keep freed memory here.")


def peak_memory() -> float:
    """The largest resident memory of this process so far, in MiB; Linux only.

    Not ``getrusage``: its maximum begins with that of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**10


def machine() -> dict[str, Any]:
    """The machine, and how busy it is."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "system": platform.platform(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.exists() else []
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())


def _memory() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def versions(*names: str) -> dict[str, str]:
    """Versions of Python, of the checkout, and of the packages that are installed."""
    found = {"python": platform.python_version(), "commit": _commit()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def table(rows: Sequence[Row]) -> str:
    """The rows under their sections, each beside its goal."""
    lines: list[str] = []
    width = max(len(row.name) for row in rows)
    for number, row in enumerate(rows):
        if number == 0 or rows[number - 1].section != row.section:
            lines += ["", row.section]
        spread = "" if row.low is None else f"{_short(row.low)} to {_short(row.high)}"
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        value = f"{_short(row.value):>9} {row.unit:<8}"
        lines.append(f"  {row.name:<{width}} {value} {spread:>18}  {row.goal:<8} {verdict}".rstrip())
    return "\n".join(lines)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def arguments(document: str, workers: bool = False, threads: bool = True) -> argparse.ArgumentParser:
    """The options of a benchmark, whose docstring is ``document``.

    Args:
        workers: whether it starts itself in processes of their own, with ``--part`` and ``--settings``.
        threads: whether their number can be chosen.
    """
    parser = argparse.ArgumentParser(description=document.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy sizes: does it run? Writes only to --out")
    if threads:
        parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON file to write; default: in results/, all parts or not")
    if workers:
        parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
        parser.add_argument("--settings", help=argparse.SUPPRESS)
    return parser


def words(settings: Any) -> tuple[str, str]:
    """The settings of a process that the benchmark starts, as its arguments."""
    return "--settings", json.dumps(asdict(settings))


def added_memory(script: str, settings: Any, *part: str) -> float:
    """MiB that work adds to a process, which gets ``part`` and whether to work, 0 or 1."""
    idle, busy = (fresh(script, "--part", *part, str(works), *words(settings)) for works in (0, 1))
    return busy - idle


def start() -> dict[str, Any]:
    """What to say of the machine, before it is made busy."""
    about = {"machine": machine()}
    print(f"load average before the start (quiet: below 0.3): {about['machine']['load_average']}")
    return about


def report(
    out: Path | None,
    settings: Any,
    parts: Iterable[Iterable[Row]],
    packages: Sequence[str],
    about: dict[str, Any],
) -> list[Row]:
    """Measure part after part, print the tables and the goals that were missed, and write JSON.

    It is written after each part: a machine may be lent for minutes only.

    Args:
        out: the file; none for none.
        settings: of the benchmark; with ``quick``, no goal is judged.
        parts: rows, measured as they are asked for.
        packages: whose versions to write.
        about: what else to write.
    """
    rows: list[Row] = []
    about = about | {"versions": versions(*packages), "settings": asdict(settings)}
    for part in parts:
        found = [replace(row, judged=not settings.quick) for row in part]
        print(table(found), flush=True)
        rows += found
        if out:
            write(out, rows, about)
    verdicts = [row.met for row in rows if row.met is not None]
    print(f"\n{verdicts.count(False)} of {len(verdicts)} goals missed; written: {out or 'nothing'}")
    return rows


def place(options: argparse.Namespace, name: str, chosen: Sequence[str] = ()) -> Path | None:
    """The file that a benchmark writes: toy sizes none, and some parts alone one of their own."""
    default = None if options.quick else RESULTS / f"{'_'.join([name, *chosen])}.json"
    return options.out or default


def write(path: Path, rows: Sequence[Row], about: dict[str, Any]) -> None:
    """The rows and what they were measured on and with, as JSON."""
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    found = {"date": stamp, "command": [sys.executable, *sys.argv]} | about
    write_json(path, found | {"rows": [asdict(row) | {"met": row.met} for row in rows]})


def rows_in(path: Path) -> list[Row]:
    """The rows that :func:`write` wrote."""
    found = json.loads(path.read_text())["rows"]
    return [Row(**{name: value for name, value in row.items() if name != "met"}) for row in found]


def write_json(path: Path, found: Any) -> None:
    """Write beside, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(found, indent=1) + "\n")
    beside.replace(path)
