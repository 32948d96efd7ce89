"""What is done with a run that is there: ``spikeloom test``, ``plot``, ``profile`` and ``export``."""

from typing import TYPE_CHECKING, Any

from spikeloom.cli.options import Export, Plot, Profile, Test, parsed
from spikeloom.recipe.base import BaseRecipe
from spikeloom.recipe.trained import opened, state_of

if TYPE_CHECKING:
    from spikeloom.train.run import Run


def test(arguments: list[str]) -> None:
    """``spikeloom test RUN``"""
    options, run, recipe, state = _given(Test, "test", arguments)
    if options.event_driven:
        print(f"{options.checkpoint} checkpoint\n{recipe.test_event_driven(run, state)}")
    else:
        print(f"{options.checkpoint} checkpoint: {recipe.test(run, state, options.device)}")


def plot(arguments: list[str]) -> None:
    """``spikeloom plot RUN``"""
    options, run, recipe, state = _given(Plot, "plot", arguments)
    recipe.plot(run, state, options.sample)
    print_figures(run)


def profile(arguments: list[str]) -> None:
    """``spikeloom profile RUN``"""
    options, run, recipe, state = _given(Profile, "profile", arguments)
    print(recipe.profile(run, state, options.samples, options.mac, options.ac))
    print(f"\nnumbers      {run.folder / 'profile.json'}")
    print(f"figure       {run.figures / 'profile.png'}")


def export(arguments: list[str]) -> None:
    """``spikeloom export RUN``"""
    options, run, recipe, state = _given(Export, "export", arguments)
    path = (options.file or run.folder / f"net.{options.to}").expanduser()
    said = recipe.export(run, state, options.to, path, options.dt, options.soft_reset)
    print(f"{options.checkpoint} checkpoint: {said}\nfile         {path}")


def _given(cls: type, command: str, arguments: list[str]) -> "tuple[Any, Run, BaseRecipe, dict[str, Any]]":
    """The options of a command, and the run that they name, with its recipe and a checkpoint."""
    options = parsed(cls, f"spikeloom {command}", arguments)
    run, recipe = opened(options.run, options.data_dir)
    return options, run, recipe, state_of(run, getattr(options, "checkpoint", "last"))


def print_figures(run: "Run") -> None:
    """The paths of a run's figures."""
    for path in sorted(run.figures.glob("*.png")):
        print(f"figure       {path}")
