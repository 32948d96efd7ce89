"""What a conversion did to each operation of a network."""

from dataclasses import dataclass, field

from spikeloom.profile.table import aligned


@dataclass(frozen=True)
class Row:
    """One operation: its name, its class or function, what became of it, and whether it was converted."""

    name: str
    operation: str
    became: str
    converted: bool = True


@dataclass
class Report:
    """The operations of a network in their order, with what became of each.

    Example:
        >>> print(Report([Row("fc", "Linear", "kept"), Row("act", "ReLU", "IF neurons, threshold 2.5")]))
        fc   Linear  kept
        act  ReLU    IF neurons, threshold 2.5
    """

    rows: list[Row] = field(default_factory=list)

    @property
    def unconverted(self) -> list[Row]:
        """The operations that are as they were although they are not linear; each says why."""
        return [row for row in self.rows if not row.converted]

    def __str__(self) -> str:
        return "\n".join(aligned([(row.name, row.operation, row.became) for row in self.rows], left=3))
