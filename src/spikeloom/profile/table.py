"""A profile as text."""

from collections.abc import Sequence

from spikeloom.profile.memory import TrainingMemory
from spikeloom.profile.result import AC_ENERGY, MAC_ENERGY, LayerProfile, Profile

NAME_WIDTH = 28  # of a layer; longer names lose their middle
_HEAD = ("layer", "kind", "output", "parameters", "input", "firing", "ANN MACs", "ACs", "MACs")


def operations_table(profile: Profile) -> list[str]:
    """Lines of text: a row for each layer, and the totals."""
    rows = [
        (
            shortened(layer.name),
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            _percent(layer.input_rate),
            _percent(layer.firing_rate),
            *(_operations(layer) if layer.input_rate is not None else ("", "", "")),
        )
        for layer in profile.layers
    ]
    total = ("total", "", "", f"{profile.parameters:,}", "", "", *_operations(profile))
    head, *body, last = aligned([_HEAD, *rows, total], left=3)
    return [head, "-" * len(head), *body, "-" * len(head), last]


def energy_lines(profile: Profile, mac: float = MAC_ENERGY, ac: float = AC_ENERGY) -> list[str]:
    """Lines of text: the energy of the spiking network and of an ANN of the same shape; arguments as for
    :meth:`Profile.energy`."""
    snn, ann = profile.energy(mac, ac), profile.ann_energy(mac)
    times = f", {snn / ann:.3g} times that of the ANN" if ann else ""
    operations = f"{si(profile.acs)} ACs x {ac:g} pJ + {si(profile.macs)} MACs x {mac:g} pJ"
    return [
        f"energy of the SNN  {joules(snn)} per sample{times}  ({operations})",
        f"energy of the ANN  {joules(ann)} per sample  ({si(profile.ann_macs)} MACs x {mac:g} pJ)",
    ]


def memory_table(memory: TrainingMemory) -> list[str]:
    """Lines of text: what training keeps, for each number of time steps."""
    fixed = {"parameters": memory.parameters, "gradients": memory.gradients, "optimiser": memory.optimizer}
    lines = [", ".join(f"{name} {size(number)}" for name, number in fixed.items())]
    rows = [("T", *map(str, memory.saved)), ("kept for the backward pass", *map(size, memory.saved.values()))]
    lines += aligned(rows, left=1)
    if memory.per_step is not None:
        lines.append(f"each time step adds {size(memory.per_step)}")
    return lines


def si(number: float) -> str:
    """A number with three digits and a prefix: ``12.5 k``."""
    return _scaled(number, ("", "k", "M", "G", "T")).rstrip()


def joules(picojoules: float) -> str:
    """An energy with its unit: ``1.2 nJ``."""
    return _scaled(picojoules, ("pJ", "nJ", "uJ", "mJ", "J"))


def size(number: float) -> str:
    """Bytes with a unit: ``1.2 MiB``."""
    return _scaled(number, ("B", "KiB", "MiB", "GiB"), 1024)


def _scaled(number: float, units: Sequence[str], factor: int = 1000) -> str:
    """A number in the unit that fits, each ``factor`` times the one before, with three digits, at least all
    before the point."""
    place = sum(number >= 0.9995 * factor**power for power in range(1, len(units)))
    scaled = number / factor**place
    return f"{scaled:.0f} {units[place]}" if scaled >= 100 else f"{scaled:.3g} {units[place]}"


def shortened(name: str) -> str:
    """A layer's name, without its middle if it is long."""
    half = NAME_WIDTH // 2 - 1
    return name if len(name) <= NAME_WIDTH else f"{name[:half]}..{name[-half:]}"


def _operations(counted: LayerProfile | Profile) -> tuple[str, str, str]:
    return si(counted.ann_macs), si(counted.acs), si(counted.macs)


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2%}"


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows of cells as lines; the first ``left`` columns stand at their left, the others at their right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
