"""What every recipe shares: its settings as a dataclass, its claim and its cost. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import tyro

from spikeloom.errors import RunError, suggest
from spikeloom.recipe.settings import check_settings
from spikeloom.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from spikeloom.data import Dataset
    from spikeloom.train.experiment import Experiment
    from spikeloom.train.run import Run

RECIPES: Registry[type[BaseRecipe]] = Registry("recipe")

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]


Steps = Annotated[int, tyro.conf.arg(aliases=["-T"])]
Duration = Annotated[float, tyro.conf.arg(aliases=["-T"])]
BatchSize = Annotated[int, tyro.conf.arg(aliases=["-b"])]
PathOption = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True, kw_only=True)
class BaseRecipe:
    """What the command line asks of a recipe, whichever way it learns. :class:`Recipe` answers for networks
    that are trained on an :class:`~spikeloom.train.experiment.Experiment`; others write :meth:`train`,
    :meth:`test`, :meth:`plot` and :meth:`summary` themselves.

    Every checkpoint of a run has its rows of metrics under ``state["progress"]["history"]``.
    """

    claim: ClassVar[str]
    """The result that the recipe reaches, in one line."""
    cost: ClassVar[str]
    """The time that it takes, and where."""
    UNUSED: ClassVar[frozenset[str]] = frozenset()
    """Settings that a recipe of its kind has, and this one no use for; its help leaves them out."""
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset()
    """Settings that are numbers of at least 0; others, but counts, are greater than 0."""

    seed: int = 0
    """Of every random number: weights, order of samples, spikes."""
    data_dir: PathOption = None
    """Folder with datasets; default: $SPIKELOOM_DATA, else a cache folder."""
    run_dir: PathOption = None
    """Folder to write results to; default: runs/RECIPE-DATASET-TIME."""

    @classmethod
    def unused(cls) -> frozenset[str]:
        """Every setting that the recipe has no use for."""
        return cls.UNUSED

    def __post_init__(self) -> None:
        if self.data_dir is not None:  # the run may be tested from another folder
            object.__setattr__(self, "data_dir", Path(self.data_dir).expanduser().absolute())
        if self.run_dir is not None:
            object.__setattr__(self, "run_dir", Path(self.run_dir).expanduser())
        check_settings(self, self.MAY_BE_ZERO)

    def fill(self, **defaults: Any) -> None:
        """Give settings that are ``None`` what stands for that; for ``__post_init__``."""
        for name, default in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
                vars(self).setdefault("_filled", {})[name] = None

    def with_settings(self, **changes: Any) -> Self:
        """The recipe with other settings. What was left out gets the defaults that go with the new ones;
        ``dataclasses.replace`` would keep the old defaults.

        Raises:
            TypeError: there is no such setting.
            ValueError: a value is refused.
        """
        return replace(self, **vars(self).get("_filled", {}) | changes)

    @property
    def dataset_name(self) -> str:
        """The dataset that the recipe loads; that of its setting, if it has one."""
        return vars(self)["dataset"]

    @property
    def num_epochs(self) -> int:
        """Passes over the training samples; those of the setting, if they are always the recipe's."""
        return vars(self)["epochs"]

    def train(self, run: Run) -> None:
        """Train into the run folder, from its last checkpoint on if there is one.

        Raises:
            KeyboardInterrupt: the user stopped it, after a checkpoint was written.
        """
        raise NotImplementedError

    def test(self, run: Run, state: dict[str, Any], device: str) -> str:
        """What the network of a checkpoint's ``state`` reaches on the test samples, in one line."""
        raise NotImplementedError

    def test_event_driven(self, run: Run, state: dict[str, Any]) -> str:
        """The same with the network run event by event, on the CPU, as lines of text.

        Raises:
            RunError: the network cannot run so.
        """
        raise _unsuited(
            run, "tested event-driven", "Test", "give one of your own to event.Runner(net, shape)"
        )

    def plot(self, run: Run, state: dict[str, Any], sample: int) -> None:
        """Draw figures of a checkpoint's ``state`` and of one test sample into the run folder."""
        raise NotImplementedError

    def profile(self, run: Run, state: dict[str, Any], samples: int, mac: float, ac: float) -> str:
        """What the network of a checkpoint's ``state`` costs, as lines of text; numbers and a figure go into
        the run folder.

        Args:
            samples: test samples to run.
            mac, ac: picojoules of a multiply-accumulate and of an accumulate.
        Raises:
            RunError: the network does not consist of layers that fire over time steps.
        """
        raise _unsuited(run, "profiled", "Profile", "a network of your own with profile.count(net, x)")

    def export(
        self, run: Run, state: dict[str, Any], kind: str, path: Path, dt: float, soft_reset: bool
    ) -> str:
        """Write the network of a checkpoint's ``state`` to the file ``path``; returns what was written.

        Args:
            kind: ``'nir'`` or ``'onnx'``.
            dt, soft_reset: as for :func:`spikeloom.exchange.export_to_nir`.
        Raises:
            RunError: the network does not work on time steps.
        """
        raise _unsuited(run, "exported", "Export", "one of your own with exchange.export_to_nir(net, x)")

    def summary(self, history: list[dict[str, Any]]) -> str:
        """What a training has reached, in one line; ``history`` has its rows of metrics."""
        last, best = history[-1], max(history, key=lambda row: row["test_accuracy"])
        return (
            f"test accuracy {last['test_accuracy']:.2%} after the last epoch "
            f"(best {best['test_accuracy']:.2%}, epoch {best['epoch']}), {last['seconds']:.0f} s of training"
        )

    def settings(self) -> dict[str, Any]:
        """Every setting, as JSON can hold it."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """The recipe with the settings that :meth:`settings` gave.

        Raises:
            RunError: a setting is unknown, or its value is refused.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(settings.keys() - set(known))
        if unknown:
            raise RunError(
                f"The run's config.json has settings that its recipe does not know: {unknown}. "
                f"{suggest(unknown[0], known)}"
            )
        try:
            return cls(**{key: value for key, value in settings.items() if value is not None})
        except (TypeError, ValueError) as error:
            raise RunError(f"The run's config.json does not fit its recipe: {error}") from None


def is_main_process() -> bool:
    """Whether this is the only process, or the first of those that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


def _unsuited(run: Run, done: str, do: str, instead: str) -> RunError:
    return RunError(
        f"{run.folder} cannot be {done}: the network of '{run.config()[0]}' does not consist of layers that "
        f"fire over time steps. {do} a run of lif-fc or stbp-scnn, or {instead}."
    )


@dataclass(frozen=True, kw_only=True)
class Validated(BaseRecipe):
    """A recipe whose settings can be chosen without a look at the test samples."""

    validate: bool = False
    """Hold out a sixth of the training samples and test on them: for choosing settings, with the test samples
    untouched."""

    def parts(self, dataset: Dataset) -> Dataset:
        """The dataset; with ``validate`` its training samples only, in two parts."""
        return dataset.held_out(self.seed) if self.validate else dataset

    def summary(self, history: list[dict[str, Any]]) -> str:
        return super().summary(history) + self._tested_on

    def test(self, run: Run, state: dict[str, Any], device: str) -> str:
        return super().test(run, state, device) + self._tested_on

    def test_event_driven(self, run: Run, state: dict[str, Any]) -> str:
        text = super().test_event_driven(run, state)
        return f"{self._tested_on.removeprefix('; ')}\n{text}" if self.validate else text

    @property
    def _tested_on(self) -> str:
        return "; tested on held-out training samples" if self.validate else ""


@dataclass(frozen=True, kw_only=True)
class Recipe(BaseRecipe):
    """A network that is trained on an experiment, by gradients. A subclass adds its own settings, and says
    how the experiment is built."""

    OVER_TIME: ClassVar[bool] = True
    """Whether the network takes sequences of time steps."""
    WHY_UNUSED: ClassVar[str] = (
        "the network does not work on time steps, or has a rule of its own. To save memory, use `micro_batch`"
    )

    @classmethod
    def unused(cls) -> frozenset[str]:
        return cls.UNUSED if cls.OVER_TIME else cls.UNUSED | {"gradient", "time_chunk"}

    batch_size: BatchSize = 64
    """Samples in a batch, over all processes together."""
    micro_batch: int | None = None
    """Samples that a process computes at once; the gradients of a batch are added up. Fewer need less memory,
    and a little more time. Default: the whole batch."""
    gradient: Literal["bptt", "sltt", "ottt"] = "bptt"
    """bptt: through time. sltt: within each time step, as if it were trained online. ottt: the same, with a
    trace of each layer's earlier inputs."""
    time_chunk: int | None = None
    """Time steps that keep what their backward pass needs; the others are computed again. Fewer need less
    memory, and up to a third more time; only for networks over time steps. Default: all."""
    device: Device = "auto"
    """Kind of device to train on."""
    devices: int = 1
    """Number of devices, or of processes on CPU, of each machine."""
    nodes: int = 1
    """Number of machines; for more than one, start the training on each with torchrun."""
    shard: bool = False
    """Divide parameters, gradients and the optimiser's state over the processes, which needs less memory and
    more exchange."""
    sync_norm: bool = True
    """Take the statistics of batch normalisation over all processes, and not over each one's own samples."""
    cuda_graph: bool = False
    """Launch all kernels of a step at once, on one CUDA device: faster where Python takes longer to launch
    them than the device to run them."""
    precision: Precision = "32-true"
    """Number format; the mixed ones compute matrix products in half precision."""
    checkpoint_minutes: float = 5.0
    """Time between checkpoints within an epoch; one is written after each epoch in any case."""
    log_every: int = 10
    """Steps between points of the loss curve in TensorBoard."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in sorted(self.unused() - {"data_dir"}):
            if getattr(self, name) != getattr(type(self), name):
                raise ValueError(f"`{name}` must be left out here: {self.WHY_UNUSED}.")
        if self.batch_size % (self.devices * self.nodes):
            count = "`devices`" if self.nodes == 1 else "`devices` times `nodes`"
            raise ValueError(
                f"`batch_size` must be a multiple of {count}, so that each process gets the same number of "
                f"samples; got {self.batch_size} and {self.devices * self.nodes}."
            )

    def build(self) -> Experiment:
        """Load the data and make network, loss and optimiser."""
        raise NotImplementedError

    def train(self, run: Run) -> None:
        from spikeloom.train.launch import start

        start(
            run,
            self.build,
            device=self.device,
            devices=self.devices,
            nodes=self.nodes,
            shard=self.shard,
            precision=self.precision,
            seed=self.seed,
            sync_norm=self.sync_norm,
            epochs=self.num_epochs,
            batch_size=self.batch_size,
            checkpoint_minutes=self.checkpoint_minutes,
            log_every=self.log_every,
            micro_batch=self.micro_batch,
            gradient=self.gradient,
            time_chunk=self.time_chunk,
            cuda_graph=self.cuda_graph,
        )

    def test(self, run: Run, state: dict[str, Any], device: str) -> str:
        from spikeloom.train.launch import test

        loss, accuracy = test(run, self.build, state, device, self.precision, self.seed)
        return f"test accuracy {accuracy:.2%}, loss {loss:.4f}"

    def test_event_driven(self, run: Run, state: dict[str, Any]) -> str:
        if not self.OVER_TIME:
            return super().test_event_driven(run, state)
        from spikeloom.train.event import event_driven_test

        return event_driven_test(run, self.restored(run, state), self.seed, getattr(self, "T", None))

    def plot(self, run: Run, state: dict[str, Any], sample: int) -> None:
        from spikeloom.train.report import draw_curves, draw_sample

        experiment = self.restored(run, state)
        if history := state["progress"]["history"]:
            draw_curves(run, history)
        draw_sample(run, experiment, self.seed, sample)

    def profile(self, run: Run, state: dict[str, Any], samples: int, mac: float, ac: float) -> str:
        from spikeloom.train.profile import profile_run

        def build(T: int | None) -> Experiment:
            return (self if T is None else self.with_settings(T=T)).build()

        T = getattr(self, "T", None)
        return profile_run(run, build, state, seed=self.seed, num_steps=T, samples=samples, mac=mac, ac=ac)

    def export(
        self, run: Run, state: dict[str, Any], kind: str, path: Path, dt: float, soft_reset: bool
    ) -> str:
        from spikeloom import exchange

        found = self.spiking(run, state)
        if found is None:
            return super().export(run, state, kind, path, dt, soft_reset)
        if kind == "onnx":
            starts = exchange.export_to_onnx(*found, path)
            memories = "1 memory" if len(starts) == 1 else f"{len(starts)} memories"
            return f"one time step as an ONNX model, with {memories}"
        graph = exchange.export_to_nir(*found, path, dt, soft_reset)
        return f"a NIR graph of {len(graph.nodes)} nodes"

    def spiking(self, run: Run, state: dict[str, Any]) -> tuple[nn.Module, Tensor] | None:
        """The network of a checkpoint's ``state`` that works on time steps, and an input for it, if there is
        one."""
        if not self.OVER_TIME:
            return None
        experiment = self.restored(run, state)
        return experiment.net, experiment.encoded_test(self.seed, range(1))

    def restored(self, run: Run, state: dict[str, Any]) -> Experiment:
        """The experiment, on the CPU, with the weights of a checkpoint's ``state``.

        Raises:
            RunError: a setting was refused.
            CheckpointError: the state belongs to another network.
        """
        from spikeloom.train.launch import restored

        return restored(self.build, self.seed, run, state)

    def steps_in_epoch(self, dataset: Dataset) -> int:
        """Steps of the optimiser in an epoch; a dataset of less than a batch is one."""
        return max(1, len(dataset.train_y) // self.batch_size)

    def warmup_cosine(self, optimizer: Optimizer, dataset: Dataset, part: float) -> LRScheduler:
        """The learning rate rises in this part of all steps, and then falls to 0."""
        from spikeloom.train.schedule import warmup_cosine

        num_steps = self.num_epochs * self.steps_in_epoch(dataset)
        return warmup_cosine(optimizer, num_steps, int(part * num_steps))
