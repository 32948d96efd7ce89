"""What a training has left in its run folder: the recipe, its checkpoints, the trained network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spikeloom.errors import RunError, suggest
from spikeloom.recipe.base import RECIPES, BaseRecipe, Recipe

if TYPE_CHECKING:
    from spikeloom.train.experiment import Experiment
    from spikeloom.train.run import Run


def load(
    folder: str | Path, checkpoint: Literal["last", "best"] = "last", data_dir: str | Path | None = None
) -> Experiment:
    """The network that ``spikeloom train`` trained, with its data, on the CPU and in evaluation mode.

    Args:
        folder: of the run.
        checkpoint: which weights.
        data_dir: folder with datasets; default: that of the training, or ``$SPIKELOOM_DATA`` if it is gone.
    Returns:
        the experiment: ``net``, ``data``, ``encoded_test``, ``predict`` and the rest
    Raises:
        RunError: the folder holds no run, the run no checkpoint, or the recipe does not train a network by
            gradients.
        CheckpointError: the checkpoint is missing or damaged.
        ValueError: ``checkpoint`` is another name.
    Example:
        >>> experiment = load("runs/first")  # doctest: +SKIP
        >>> output = experiment.net(experiment.encoded_test(0, range(10)))  # doctest: +SKIP
        >>> classes = experiment.predict(output)  # doctest: +SKIP
    """
    import torch

    run, recipe = opened(folder, data_dir)
    if not isinstance(recipe, Recipe):
        raise RunError(
            f"{run.folder} holds no network that was trained by gradients, but one of '{run.config()[0]}'. "
            "Look at it with `spikeloom test` and `spikeloom plot`."
        )
    with torch.random.fork_rng(devices=()):  # the caller's random numbers go on as they were
        experiment = recipe.restored(run, state_of(run, checkpoint))
    experiment.net.eval()
    return experiment


def opened(folder: str | Path, data_dir: str | Path | None = None) -> tuple[Run, BaseRecipe]:
    """A run and its recipe, with the settings that it was trained with; arguments: see :func:`load`."""
    from spikeloom.train.run import Run

    run = Run.open(Path(folder).expanduser())
    name, settings = run.config()
    stored = settings.get("data_dir")
    if data_dir or (
        isinstance(stored, str) and stored and not Path(stored).is_dir() and "SPIKELOOM_DATA" in os.environ
    ):
        settings["data_dir"] = data_dir  # without one, that of the variable
    if name not in RECIPES:
        raise RunError(f"The config.json of {run.folder} names a recipe '{name}'. {suggest(name, RECIPES)}")
    return run, RECIPES[name].from_settings(settings)


def state_of(run: Run, name: Literal["last", "best"] = "last") -> dict[str, Any]:
    """The checkpoint of that name.

    Raises:
        RunError: there is none yet, or ``last`` has weights only.
        CheckpointError: it is missing or damaged.
        ValueError: there is no such name.
    """
    from spikeloom.train import checkpoint

    if name not in ("last", "best"):
        raise ValueError(f"`checkpoint` must be 'last' or 'best', got {name!r}.")
    if name == "best":
        return checkpoint.load(run.checkpoints / checkpoint.BEST)
    state = checkpoint.load_last(run.checkpoints)
    if state is None and run.metrics.exists():
        raise RunError(
            f"{run.folder} has no checkpoint any more, though its training had epochs. Restore the folder "
            f"{run.checkpoints}, or train again."
        )
    if state is None:
        raise RunError(f"{run.folder} has no checkpoint yet: its training was stopped before the first one.")
    if "progress" not in state:
        raise RunError(
            f"The last checkpoint of {run.folder} has weights only, as the best one has, and no history. "
            "Take `spikeloom test RUN --checkpoint best`, or restore it."
        )
    return state
