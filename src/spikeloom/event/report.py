"""What an event-driven network has done, layer by layer."""

from dataclasses import dataclass

from spikeloom.event.layers import Work
from spikeloom.profile.table import aligned, shortened, si


@dataclass(frozen=True)
class Row:
    """What one layer has done.

    Args:
        name: of the layer, in the network; ``''`` is the network itself.
        kind: its class.
        work: what was counted.
        num_samples: over which it is a mean.
    """

    name: str
    kind: str
    work: Work
    num_samples: int

    @property
    def density(self) -> float | None:
        """Part of the inputs that were not zero; ``None`` if there were none."""
        return self.work.events / self.work.inputs if self.work.inputs else None

    @property
    def operations(self) -> float:
        """Weights that were added, each times its input, per sample."""
        return self.work.operations / self.num_samples

    @property
    def dense_operations(self) -> float:
        """Those of a layer that takes all inputs, per sample."""
        return self.work.dense_operations / self.num_samples


@dataclass(frozen=True)
class Report:
    """What a network has done. ``print`` it for a table.

    Args:
        layers: those that are event-driven, in the network's order.
        others: names of layers with weights that are not.
    """

    layers: tuple[Row, ...]
    others: tuple[str, ...]

    @property
    def operations(self) -> float:
        """Weights that were added, each times its input, per sample."""
        return sum(row.operations for row in self.layers)

    @property
    def dense_operations(self) -> float:
        """Those of layers that take all inputs, per sample."""
        return sum(row.dense_operations for row in self.layers)

    def __str__(self) -> str:
        shows_dense = any(row.work.dense_calls for row in self.layers)
        head = ("layer", "kind", "inputs not 0", "operations", "of all inputs")
        rows = [
            (
                shortened(row.name),
                row.kind,
                "" if row.density is None else f"{row.density:.2%}",
                si(row.operations),
                si(row.dense_operations),
                *([f"{row.work.dense_calls} of {row.work.calls}"] if shows_dense else []),
            )
            for row in self.layers
        ]
        total = ("total", "", "", si(self.operations), si(self.dense_operations))
        if shows_dense:
            head, total = (*head, "calls that took all"), (*total, "")
        first, *body, last = aligned([head, *rows, total], left=2)
        lines = [first, "-" * len(first), *body, "-" * len(first), last]
        if self.others:
            lines.append(f"not event-driven: {', '.join(self.others)}")
        return "\n".join(lines)
