"""What the layers of a network have done."""

from dataclasses import dataclass

from spikeloom.profile.table import aligned, shortened, si


@dataclass(frozen=True)
class LayerWork:
    """What one layer with weights has done.

    Args:
        name: of the layer, in the network; ``''`` is the network itself.
        kind: its class.
        density: part of its inputs that were not zero; ``None`` before the first step.
        operations: weights that were added, each times its input, per sample.
        dense_operations: those of a layer that takes all inputs; padding is none.
    """

    name: str
    kind: str
    density: float | None
    operations: float
    dense_operations: float


@dataclass(frozen=True)
class Report:
    """What a network has done, per sample. ``print`` it for a table.

    Args:
        layers: those with weights, in the order in which they run.
    """

    layers: tuple[LayerWork, ...]

    @property
    def operations(self) -> float:
        """Weights that were added, each times its input."""
        return sum(layer.operations for layer in self.layers)

    @property
    def dense_operations(self) -> float:
        """Those of layers that take all inputs."""
        return sum(layer.dense_operations for layer in self.layers)

    def __str__(self) -> str:
        head = ("layer", "kind", "inputs not 0", "operations", "of all inputs")
        rows = [
            (
                shortened(layer.name),
                layer.kind,
                "" if layer.density is None else f"{layer.density:.2%}",
                si(layer.operations),
                si(layer.dense_operations),
            )
            for layer in self.layers
        ]
        total = ("total", "", "", si(self.operations), si(self.dense_operations))
        first, *body, last = aligned([head, *rows, total], left=2)
        return "\n".join([first, "-" * len(first), *body, "-" * len(first), last])
