"""``spikeloom train``."""

import contextlib
import importlib
import itertools
import os
import re
import shlex
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from spikeloom.cli.listing import list_recipes
from spikeloom.cli.options import Resume, parsed
from spikeloom.cli.trained import print_figures
from spikeloom.errors import RunError, UnknownNameError, suggest
from spikeloom.recipe import RECIPES, BaseRecipe
from spikeloom.recipe.base import is_main_process
from spikeloom.recipe.trained import opened, state_of

if TYPE_CHECKING:
    from spikeloom.train.run import Run


def train(arguments: list[str]) -> None:
    """``spikeloom train RECIPE [options]`` or ``spikeloom train --resume RUN``"""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: spikeloom train RECIPE [options]\n       spikeloom train --resume RUN\n\nrecipes")
        list_recipes([])
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
    if is_main_process():
        _print_results(run, recipe)


def _unused(folder: Path) -> Path:
    """``folder``, or the same with a number if it exists; made here, so that nobody else takes it."""
    for number in itertools.count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with contextlib.suppress(FileExistsError):
            candidate.mkdir(parents=True)
            return candidate
    raise AssertionError("there is always another number")


def _import_for_training() -> None:
    """Import the large libraries; Ctrl-C waits for the end, as some end badly when they are half imported."""
    from spikeloom.train.interrupt import interrupt_noted

    with interrupt_noted() as interrupt:
        importlib.import_module("spikeloom.train.launch")
    if interrupt.noted:
        raise KeyboardInterrupt


def _created(name: str, options: list[str]) -> "tuple[Run, BaseRecipe]":
    """A new run folder for the recipe ``name`` with ``options``."""
    for option in options:
        flag = option.split("=")[0]
        if flag.startswith("--") and flag[2:].replace("-", "_") in RECIPES[name].unused():
            raise UnknownNameError(f"The recipe '{name}' has no use for {flag}. Leave it out.")
    recipe = parsed(RECIPES[name], f"spikeloom train {name}", options, _description(RECIPES[name]))
    _import_for_training()
    from spikeloom.train.run import Run

    if "RANK" in os.environ and recipe.run_dir is None:
        raise RunError("Under torchrun every process needs the same run folder: name it with --run-dir.")
    what = name if name == recipe.dataset_name else f"{name}-{recipe.dataset_name}"
    folder = recipe.run_dir or _unused(Path("runs") / f"{what}-{time.strftime('%Y%m%d-%H%M%S')}")
    if not is_main_process():
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
    options = parsed(Resume, "spikeloom train", arguments)
    _import_for_training()
    folder = options.resume
    run, recipe = opened(folder)
    changes = {name: value for name, value in asdict(options).items() if value is not None}
    del changes["resume"]
    try:
        recipe = recipe.with_settings(**changes)
    except (ValueError, TypeError) as error:
        known = {field.name for field in fields(recipe)}
        what = str(error) if changes.keys() <= known else "it trains in one process, on the CPU."
        raise RunError(f"{folder} cannot be continued like this: {what}") from None
    if is_main_process():
        epochs = f"{recipe.num_epochs} epoch{'s' if recipe.num_epochs > 1 else ''}"
        print(f"continuing {folder}, which has {epochs} in all")
        if run.metrics.exists() and not run.has_checkpoint:
            print(
                f"There is no checkpoint in {run.checkpoints} any more: the training begins again. Its rows "
                "of metrics so far are kept in metrics-before.jsonl."
            )
    return run, recipe


def _print_results(run: "Run", recipe: BaseRecipe) -> None:
    print(f"\n{recipe.summary(state_of(run)['progress']['history'])}")
    print(f"metrics      {run.metrics}")
    if run.tensorboard.exists():
        print(f"TensorBoard  tensorboard --logdir {shlex.quote(str(run.tensorboard))}")
    print_figures(run)


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


def _long_options(arguments: list[str]) -> list[str]:
    """Options as older scripts spell them: ``-data-dir``, ``-amp``, ``-device cuda:0``; ``-j`` is dropped."""
    for option, value in itertools.pairwise(arguments):
        if option in ("-device", "--device") and re.fullmatch("cuda:0*[1-9][0-9]*", value):
            raise UnknownNameError(
                f"`device` must be 'cuda' without a number, got '{value}'. To choose a GPU, write "
                f"CUDA_VISIBLE_DEVICES={value[5:]} before the command."
            )
    text = "\0".join(["", *arguments, ""])
    text = re.sub("\0-j\0?[0-9]+(?=\0)", "", text)  # worker processes; data is in memory
    text = re.sub("\0-amp(?=\0)", "\0--precision\0bf16-mixed", text)
    text = re.sub("(\0--?device\0(?:cuda|cpu)):[0-9]+(?=\0)", r"\1", text)
    text = re.sub("\0-(?=[A-Za-z][A-Za-z-]+)", "\0--", text)
    return text.split("\0")[1:-1]
