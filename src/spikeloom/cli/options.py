"""What can be given to each command, and how it is read."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import tyro

from spikeloom.cli.failing import fail
from spikeloom.errors import UnknownNameError
from spikeloom.recipe.base import BaseRecipe, Device, PathOption
from spikeloom.recipe.settings import check_settings

_STEPS = re.compile("--(num[-_]?)?(time[-_]?)?steps?(=.*)?")  # so long that tyro sees no likeness to -T


@dataclass(frozen=True)
class _OfRun:
    run: tyro.conf.Positional[Path]
    """A run folder."""
    data_dir: PathOption = None
    """Folder with datasets; default: that of the training, or $SPIKELOOM_DATA if it is gone."""


@dataclass(frozen=True)
class _OfWeights(_OfRun):
    checkpoint: Literal["last", "best"] = "last"
    """Which weights."""


@dataclass(frozen=True)
class Resume:
    """Continue a training that was stopped or killed, with the settings that it was started with; on other
    devices if you like."""

    resume: Path
    """A run folder."""
    device: Device | None = None
    """Kind of device to train on; default: as before."""
    devices: int | None = None
    """Number of devices, or of processes on CPU, of each machine; default: as before."""
    nodes: int | None = None
    """Number of machines; default: as before."""
    data_dir: PathOption = None
    """Folder with datasets; default: that of the training, or $SPIKELOOM_DATA if it is gone."""


@dataclass(frozen=True)
class Test(_OfWeights):
    """The accuracy of a run's network on the test samples."""

    checkpoint: Literal["last", "best"] = "last"
    """Which weights; the best were chosen by their accuracy on these same samples."""
    device: Device = "auto"
    """Kind of device to test on."""
    event_driven: bool = False
    """Also run the network event-driven, on the CPU, and say what its layers did."""

    def __post_init__(self) -> None:
        if self.event_driven and self.device not in ("auto", "cpu"):
            raise ValueError(f"`event-driven` runs on the CPU, got --device {self.device}. Leave one out.")


@dataclass(frozen=True)
class Plot(_OfRun):
    """Draw learning curves, rasters and membrane potentials into the run's figures folder."""

    sample: Annotated[int, tyro.conf.arg(metavar="INDEX")] = 0
    """Which test sample the network is shown."""


@dataclass(frozen=True)
class Profile(_OfWeights):
    """Count the operations of a run's network on test samples, estimate the energy that they need, and
    measure what training keeps in memory; into the run's profile.json and figures folder."""

    samples: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 100
    """How many test samples the network is shown."""
    mac: Annotated[float, tyro.conf.arg(metavar="PICOJOULES")] = 4.6
    """Energy of a multiply-accumulate: of 32-bit floats at 45 nm (Horowitz, ISSCC 2014)."""
    ac: Annotated[float, tyro.conf.arg(metavar="PICOJOULES")] = 0.9
    """Energy of an accumulate, from the same source."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Bench:
    """How long a neuron takes for a sequence: its compiled loop, and the reference loop in PyTorch."""

    neuron: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="NEURON")]] = "LIFNode"
    """A class of spikeloom.neuron, or one of your own as file.py:Class or module:Class; with settings as in
    "LIFNode(tau=3.0)"."""
    neurons: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 131_072
    """How many there are."""
    T: Annotated[int, tyro.conf.arg(aliases=["-T"])] = 16
    """Time steps."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to run."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Export(_OfWeights):
    """Write a run's network in a format that other software reads: NIR, for simulators and neuromorphic
    chips, or ONNX, one time step for any runtime."""

    to: Literal["nir", "onnx"] = "nir"
    """The format. Each needs its package: pip install 'spikeloom[nir]' or 'spikeloom[onnx]'."""
    file: PathOption = None
    """The file to write; default: net.nir or net.onnx in the run folder."""
    dt: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 1e-4
    """NIR: duration of a time step."""
    soft_reset: bool = False
    """NIR: write neurons that subtract their threshold as if they were reset to 0, with a note."""

    def __post_init__(self) -> None:
        if not 0 < self.dt < float("inf"):
            raise ValueError(f"`dt` must be a finite number of seconds greater than 0, got {self.dt}.")
        check_settings(self)


def parsed(cls: type, prog: str, arguments: list[str], description: str | None = None) -> Any:
    """The dataclass ``cls``, filled from ``arguments``; wrong ones end the program with code 2."""
    for argument in arguments if hasattr(cls, "T") else ():
        if _STEPS.fullmatch(argument):
            meant = "-T, which is a duration here" if get_type_hints(cls)["T"] is float else "-T"
            raise UnknownNameError(f"There is no option {argument.split('=')[0]}. Did you mean {meant}?")
    given = tyro.cli(
        _unchecked(cls), prog=prog, args=arguments, description=description, config=(tyro.conf.DisallowNone,)
    )
    try:
        return cls(**{field.name: getattr(given, field.name) for field in dataclasses.fields(cls)})
    except ValueError as error:
        raise SystemExit(fail(str(error), 2)) from None


def _unchecked(cls: Any) -> type:
    """``cls`` without the checks of its values, which say what is wrong better by themselves, and without
    ``(default: None)`` in its help: what that stands for is said there. The help leaves out what a recipe has
    no use for."""
    hints = get_type_hints(cls, include_extras=True)
    plain, hidden = tyro.conf.arg(help_behavior_hint=""), tyro.conf.Suppress
    unused = cls.unused() if issubclass(cls, BaseRecipe) else ()
    changed = [
        (field.name, Annotated[hints[field.name], hidden if field.name in unused else plain], field)
        for field in dataclasses.fields(cls)
        if field.default is None or field.name in unused
    ]
    body = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__post_init__": lambda self: None}
    return dataclasses.make_dataclass(
        cls.__name__, changed, bases=(cls,), frozen=True, kw_only=True, namespace=body
    )
