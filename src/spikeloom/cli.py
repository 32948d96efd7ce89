"""The front door: ``spikeloom list | train | test | plot | profile``. Only what needs torch imports it."""

import contextlib
import errno
import importlib
import io
import itertools
import os
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from spikeloom.errors import RunError, SpikeloomError, UnknownNameError, suggest
from spikeloom.recipe import RECIPES, BaseRecipe
from spikeloom.recipe.trained import opened, state_of

if TYPE_CHECKING:
    from spikeloom.train.run import Run

HELP = """\
usage: spikeloom COMMAND [options]

Train spiking neural networks by recipes that say what they reach.

commands
  list [PATTERN]           the recipes, with what they claim and what they cost
  train RECIPE [options]   train; `spikeloom train RECIPE --help` lists the options
  train --resume RUN       continue a training that was stopped or killed
  test RUN [options]       the accuracy of a run's network on the test samples
  plot RUN [options]       figures: learning curves, rasters, membrane potentials
  profile RUN [options]    what a run's network costs: operations, energy, memory

examples
  spikeloom train lif-fc
  spikeloom train lif-fc --dataset mnist --data-dir ~/data --epochs 20
  spikeloom train --resume runs/lif-fc-digits-20261122-120000
  spikeloom plot runs/lif-fc-digits-20261122-120000 --sample 3
  spikeloom profile runs/lif-fc-digits-20261122-120000

exit codes: 0 done, 1 failed, 2 wrong arguments, 130 stopped by Ctrl-C
"""


@dataclass(frozen=True)
class Resume:
    """Continue a training that was stopped or killed, with the settings that it was started with; on other
    devices if you like."""

    resume: Path
    """A run folder."""
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None
    """Kind of device to train on; default: as before."""
    devices: int | None = None
    """Number of devices, or of processes on CPU, of each machine; default: as before."""
    nodes: int | None = None
    """Number of machines; default: as before."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder with datasets; default: that of the training, or $SPIKELOOM_DATA if it is gone."""


@dataclass(frozen=True)
class Test:
    """The accuracy of a run's network on the test samples."""

    run: tyro.conf.Positional[Path]
    """A run folder."""
    checkpoint: Literal["last", "best"] = "last"
    """Which weights; the best were chosen by their accuracy on these same samples."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device to test on."""
    event_driven: bool = False
    """Also run the network event-driven, on the CPU, and say what its layers did."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder with datasets; default: that of the training, or $SPIKELOOM_DATA if it is gone."""

    def __post_init__(self) -> None:
        if self.event_driven and self.device not in ("auto", "cpu"):
            raise ValueError(f"`event-driven` runs on the CPU, got --device {self.device}. Leave one out.")


@dataclass(frozen=True)
class Plot:
    """Draw learning curves, rasters and membrane potentials into the run's figures folder."""

    run: tyro.conf.Positional[Path]
    """A run folder."""
    sample: Annotated[int, tyro.conf.arg(metavar="INDEX")] = 0
    """Which test sample the network is shown."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder with datasets; default: that of the training, or $SPIKELOOM_DATA if it is gone."""


@dataclass(frozen=True)
class Profile:
    """Count the operations of a run's network on test samples, estimate the energy that they need, and
    measure what training keeps in memory; into the run's profile.json and figures folder."""

    run: tyro.conf.Positional[Path]
    """A run folder."""
    samples: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 100
    """How many test samples the network is shown."""
    checkpoint: Literal["last", "best"] = "last"
    """Which weights."""
    mac: Annotated[float, tyro.conf.arg(metavar="PICOJOULES")] = 4.6
    """Energy of a multiply-accumulate: of 32-bit floats at 45 nm (Horowitz, ISSCC 2014)."""
    ac: Annotated[float, tyro.conf.arg(metavar="PICOJOULES")] = 0.9
    """Energy of an accumulate, from the same source."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder with datasets; default: that of the training, or $SPIKELOOM_DATA if it is gone."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"`samples` must be at least 1, got {self.samples}.")
        for name in ("mac", "ac"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be a number greater than 0, got {getattr(self, name)}.")


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; default: those of the process.
    Returns:
        the exit code: 0 done, 1 failed, 2 wrong arguments, 130 stopped by Ctrl-C
    """
    arguments = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):  # paths may hold what they cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    format_before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_: f"spikeloom: {message}\n"
    try:
        return _run(arguments)
    finally:
        warnings.formatwarning = format_before


def _run(arguments: list[str]) -> int:
    """The command that ``arguments`` name, with errors as one message and an exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] == "--version":
        print(f"spikeloom {metadata.version('spikeloom')}")
        return 0
    if "" in arguments or any(one.startswith("--") and one.endswith("=") for one in arguments):
        return _fail("One of the arguments is empty. Perhaps a variable is not set?", 2)
    commands: dict[str, Callable[[list[str]], None]] = {
        "list": _list, "train": _train, "test": _test, "plot": _plot, "profile": _profile,
    }  # fmt: skip
    try:
        if arguments[0] not in commands:
            raise UnknownNameError(f"There is no command '{arguments[0]}'. {suggest(arguments[0], commands)}")
        commands[arguments[0]](arguments[1:])
    except UnknownNameError as error:
        return _fail(str(error), 2)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SpikeloomError, OSError) as error:
        return _fail(_shown(error), 1)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search("allocate memory|out of memory", str(error)):
            raise
        return _fail("There is too little memory for these sizes. Make the largest of them smaller.", 1)
    except KeyboardInterrupt:
        return _fail("stopped.", 130)
    except SystemExit as exit_:  # tyro: 0 after --help, 2 after wrong arguments
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0


def _list(arguments: list[str]) -> None:
    """``spikeloom list [PATTERN]``"""
    if "-h" in arguments or "--help" in arguments:
        print(
            "usage: spikeloom list [PATTERN]\n\nThe recipes whose names contain PATTERN, or match it if it "
            "has a *; without one, all:\n"
        )
        arguments = []
    if len(arguments) > 1:
        raise UnknownNameError(f"`spikeloom list` takes one pattern, got {' '.join(arguments)}.")
    pattern = arguments[0] if arguments else "*"
    names = RECIPES.names(pattern if set(pattern) & set("*?[") else f"*{pattern}*")
    if not names:
        raise UnknownNameError(f"No recipe matches '{arguments[0]}'. {suggest(arguments[0], RECIPES)}")
    width = max(len(name) for name in names)
    for name in names:
        recipe = RECIPES[name]
        print(f"{name:{width}}  {(recipe.__doc__ or '').strip().splitlines()[0]}")
        print(f"{'':{width}}  reaches {recipe.claim}")
        print(f"{'':{width}}  takes   {recipe.cost}")


def _train(arguments: list[str]) -> None:
    """``spikeloom train RECIPE [options]`` or ``spikeloom train --resume RUN``"""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: spikeloom train RECIPE [options]\n       spikeloom train --resume RUN\n\nrecipes")
        _list([])
        print(
            "\n`spikeloom train RECIPE --help` lists the options of one, with their defaults;\n"
            "`spikeloom train --resume RUN --help` those of a training that is continued."
        )
        return
    arguments = _long_options(arguments)
    if arguments[0].startswith("--resume"):
        run, recipe = _resumed(arguments)
    elif any(argument.split("=")[0] == "--resume" for argument in arguments):
        if arguments[0].startswith("-"):
            raise UnknownNameError("`--resume RUN` goes first: spikeloom train --resume RUN [options].")
        raise UnknownNameError("A run knows its recipe: write `spikeloom train --resume RUN` without a name.")
    elif arguments[0].startswith("-"):
        raise UnknownNameError(
            f"`spikeloom train` starts with the recipe's name, got '{arguments[0]}'. {suggest('', RECIPES)}"
        )
    else:
        run, recipe = _created(arguments[0], arguments[1:])
    again = f"Continue with: spikeloom train --resume {shlex.quote(str(run.folder))}"
    try:
        recipe.train(run)
    except KeyboardInterrupt:
        print(f"\nStopped. {again}", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        print(f"\nStopped, since nobody reads the output any more. {again}", file=sys.stderr)
        raise
    except Exception:
        run.discard_unstarted()
        raise
    if _is_main_process():
        _print_results(run, recipe)


def _unused(folder: Path) -> Path:
    """``folder``, or the same with a number if it exists; made here, so that nobody else takes it."""
    for number in itertools.count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with contextlib.suppress(FileExistsError):
            candidate.mkdir(parents=True)
            return candidate
    raise AssertionError("there is always another number")


def _is_main_process() -> bool:
    """Whether this is the only process, or the first of those that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


def _import_for_training() -> None:
    """Import the large libraries; Ctrl-C waits for the end, as some end badly when they are half imported."""
    from spikeloom.train.interrupt import interrupt_noted

    with interrupt_noted() as interrupt:
        importlib.import_module("spikeloom.train.launch")
    if interrupt.noted:
        raise KeyboardInterrupt


def _created(name: str, options: list[str]) -> "tuple[Run, BaseRecipe]":
    """A new run folder for the recipe ``name`` with ``options``."""
    recipe = _parsed(RECIPES[name], f"spikeloom train {name}", options, _description(RECIPES[name]))
    _import_for_training()
    from spikeloom.train.run import Run

    if "RANK" in os.environ and recipe.run_dir is None:
        raise RunError("Under torchrun every process needs the same run folder: name it with --run-dir.")
    what = name if name == recipe.dataset_name else f"{name}-{recipe.dataset_name}"
    folder = recipe.run_dir or _unused(Path("runs") / f"{what}-{time.strftime('%Y%m%d-%H%M%S')}")
    if not _is_main_process():
        return Run(folder), recipe
    run = Run.create(folder, name, recipe.settings())
    print(f"{name} on {recipe.dataset_name}, epochs: {recipe.num_epochs}, results: {folder}")
    return run, recipe


def _resumed(arguments: list[str]) -> "tuple[Run, BaseRecipe]":
    """The run of ``--resume RUN``, as it was configured, but for where it trains."""
    known = [f"--{field.name.replace('_', '-')}" for field in fields(Resume)]
    for argument in arguments:
        if argument.startswith("--") and argument.split("=")[0].replace("_", "-") not in (*known, "--help"):
            raise UnknownNameError(
                f"{argument} cannot be given with --resume: a training goes on with the settings that it was "
                f"started with, but for {', '.join(known[1:])}. For others, start a new one."
            )
    options = _parsed(Resume, "spikeloom train", arguments)
    _import_for_training()
    folder = options.resume
    run, recipe = opened(folder)
    changes = {name: value for name, value in asdict(options).items() if value is not None}
    del changes["resume"]
    try:
        recipe = replace(recipe, **changes)
    except (ValueError, TypeError) as error:
        known = {field.name for field in fields(recipe)}
        what = str(error) if changes.keys() <= known else "it trains in one process, on the CPU."
        raise RunError(f"{folder} cannot be continued like this: {what}") from None
    if _is_main_process():
        epochs = f"{recipe.num_epochs} epoch{'s' if recipe.num_epochs > 1 else ''}"
        print(f"continuing {folder}, which has {epochs} in all")
        if (folder / "metrics.jsonl").exists() and not any(run.checkpoints.glob("*.safetensors")):
            print(f"There is no checkpoint in {run.checkpoints} any more: the training begins again.")
    return run, recipe


def _test(arguments: list[str]) -> None:
    """``spikeloom test RUN``"""
    options = _parsed(Test, "spikeloom test", arguments)
    run, recipe = opened(options.run, options.data_dir)
    state = state_of(run, options.checkpoint)
    if options.event_driven:
        print(f"{options.checkpoint} checkpoint\n{recipe.test_event_driven(run, state)}")
    else:
        print(f"{options.checkpoint} checkpoint: {recipe.test(run, state, options.device)}")


def _plot(arguments: list[str]) -> None:
    """``spikeloom plot RUN``"""
    options = _parsed(Plot, "spikeloom plot", arguments)
    run, recipe = opened(options.run, options.data_dir)
    recipe.plot(run, state_of(run), options.sample)
    _print_figures(run)


def _profile(arguments: list[str]) -> None:
    """``spikeloom profile RUN``"""
    options = _parsed(Profile, "spikeloom profile", arguments)
    run, recipe = opened(options.run, options.data_dir)
    state = state_of(run, options.checkpoint)
    print(recipe.profile(run, state, options.samples, options.mac, options.ac))
    print(f"\nnumbers      {run.folder / 'profile.json'}")
    print(f"figure       {run.figures / 'profile.png'}")


def _print_results(run: "Run", recipe: BaseRecipe) -> None:
    print(f"\n{recipe.summary(state_of(run)['progress']['history'])}")
    print(f"metrics      {run.folder / 'metrics.jsonl'}")
    if run.tensorboard.exists():
        print(f"TensorBoard  tensorboard --logdir {run.tensorboard}")
    _print_figures(run)


def _print_figures(run: "Run") -> None:
    for path in sorted(run.figures.glob("*.png")):
        print(f"figure       {path}")


def _description(recipe: type[BaseRecipe]) -> str:
    """What a recipe's help begins with: what it is, what it reaches and costs, and examples."""
    examples = [
        line for line in (sys.modules[recipe.__module__].__doc__ or "").splitlines() if "spikeloom " in line
    ]
    return "\n".join(
        [
            (recipe.__doc__ or "").strip(),
            f"  reaches {recipe.claim}\n  takes   {recipe.cost}\n\nExamples:",  # indented lines stay lines
            *(f"  {line.removeprefix('Command').strip()}" for line in examples),
        ]
    )


def _parsed(cls: type, prog: str, arguments: list[str], description: str | None = None) -> Any:
    """The dataclass ``cls``, filled from ``arguments``; wrong ones end the program with code 2."""
    try:
        return tyro.cli(cls, prog=prog, args=arguments, description=description)
    except ValueError as error:
        raise SystemExit(_fail(str(error), 2)) from None


def _long_options(arguments: list[str]) -> list[str]:
    """Options as older scripts spell them: ``-data-dir``, ``-amp``, ``-device cuda:0``; ``-j`` is dropped."""
    text = "\0".join(["", *arguments, ""])
    text = re.sub("\0-j\0?[0-9]+(?=\0)", "", text)  # worker processes; data is in memory
    text = re.sub("\0-amp(?=\0)", "\0--precision\0bf16-mixed", text)
    text = re.sub("(\0--?device\0(?:cuda|cpu)):[0-9]+(?=\0)", r"\1", text)
    text = re.sub("\0-(?=[A-Za-z][A-Za-z-]+)", "\0--", text)
    return text.split("\0")[1:-1]


_CURES = {
    errno.EACCES: "Change its rights, or choose another folder.",
    errno.EROFS: "Choose a folder that can be written.",
    errno.ENOTDIR: "A part of this path is a file. Choose another folder.",
    errno.ENOSPC: "Free some space. What was written before is whole; a training goes on with --resume.",
}


def _shown(error: BaseException) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    what = f"{error.strerror}: {os.fsdecode(error.filename)}" if error.filename else error.strerror
    return f"{what}. {_CURES[error.errno]}" if error.errno in _CURES else what


def _fail(message: str, code: int) -> int:
    print(f"spikeloom: {message}", file=sys.stderr)
    return code
