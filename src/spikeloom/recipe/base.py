"""What every recipe shares: its settings as a dataclass, its claim and its cost. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import tyro

from spikeloom.errors import RunError
from spikeloom.registry import Registry

if TYPE_CHECKING:
    from spikeloom.train.experiment import Experiment

RECIPES: Registry[type[Recipe]] = Registry("recipe")

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings that every recipe has. A subclass adds its own, and says how its experiment is built."""

    claim: ClassVar[str]
    """The result that the recipe reaches, in one line."""
    cost: ClassVar[str]
    """The time that it takes, and where."""

    batch_size: Annotated[int, tyro.conf.arg(aliases=["-b"])] = 64
    """Samples in a batch, over all processes together."""
    micro_batch: int | None = None
    """Samples that a process computes at once; the gradients of a batch are added up. Fewer need less memory,
    and a little more time. Default: the whole batch."""
    seed: int = 0
    """Of every random number: weights, order of samples, spikes."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder with datasets; default: $SPIKELOOM_DATA, else a cache folder."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder to write results to; default: runs/RECIPE-DATASET-TIME."""
    device: Device = "auto"
    """Kind of device to train on."""
    devices: int = 1
    """Number of devices, or of processes on CPU."""
    precision: Precision = "32-true"
    """Number format; the mixed ones compute matrix products in half precision."""
    checkpoint_minutes: float = 5.0
    """Time between checkpoints within an epoch; one is written after each epoch in any case."""

    log_every: int = 10
    """Steps between points of the loss curve in TensorBoard."""

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name, getattr(self, field.name), field.default)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"`seed` must be from 0 to 2^63 - 1, got {self.seed}.")
        if self.batch_size % self.devices:
            raise ValueError(
                f"`batch_size` must be a multiple of `devices`, so that each process gets the same number of "
                f"samples; got {self.batch_size} and {self.devices}."
            )

    @staticmethod
    def _check(name: str, value: Any, default: Any) -> None:
        """Refuse another type than the default's, a count below 1, and a size that is not positive."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(default, float) and not (number and 0 < value < float("inf")):
            raise ValueError(f"`{name}` must be a number greater than 0, got {value!r}.")
        if (
            isinstance(default, int)
            and not isinstance(default, bool)
            and not (number and value == int(value))
        ):
            raise ValueError(f"`{name}` must be a whole number, got {value!r}.")
        if isinstance(value, int) and number and name != "seed" and value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
        if isinstance(default, str) and not isinstance(value, str):
            raise ValueError(f"`{name}` must be a name, got {value!r}.")

    @property
    def dataset_name(self) -> str:
        """The dataset that the recipe loads."""
        raise NotImplementedError

    @property
    def num_epochs(self) -> int:
        """Passes over the training samples."""
        raise NotImplementedError

    def build(self) -> Experiment:
        """Load the data and make network, loss and optimiser."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Every setting, as JSON can hold it."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """The recipe with the settings that :meth:`settings` gave.

        Raises:
            RunError: a setting is unknown, or its value is refused.
        """
        unknown = settings.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise RunError(
                f"The run's config.json has settings that its recipe does not know: {sorted(unknown)}."
            )
        try:
            folders = {key: Path(settings[key]) for key in ("data_dir", "run_dir") if settings.get(key)}
            return cls(**{**settings, **folders})
        except (TypeError, ValueError) as error:
            raise RunError(f"The run's config.json does not fit its recipe: {error}") from None
