"""What is done with a run that is there: ``spikeloom test``, ``plot``, ``profile`` and ``export``."""

from typing import TYPE_CHECKING

from spikeloom.cli.options import Export, Plot, Profile, Test, parsed
from spikeloom.recipe.trained import opened, state_of

if TYPE_CHECKING:
    from spikeloom.train.run import Run


def test(arguments: list[str]) -> None:
    """``spikeloom test RUN``"""
    options = parsed(Test, "spikeloom test", arguments)
    run, recipe = opened(options.run, options.data_dir)
    state = state_of(run, options.checkpoint)
    if options.event_driven:
        print(f"{options.checkpoint} checkpoint\n{recipe.test_event_driven(run, state)}")
    else:
        print(f"{options.checkpoint} checkpoint: {recipe.test(run, state, options.device)}")


def plot(arguments: list[str]) -> None:
    """``spikeloom plot RUN``"""
    options = parsed(Plot, "spikeloom plot", arguments)
    run, recipe = opened(options.run, options.data_dir)
    recipe.plot(run, state_of(run), options.sample)
    print_figures(run)


def profile(arguments: list[str]) -> None:
    """``spikeloom profile RUN``"""
    options = parsed(Profile, "spikeloom profile", arguments)
    run, recipe = opened(options.run, options.data_dir)
    state = state_of(run, options.checkpoint)
    print(recipe.profile(run, state, options.samples, options.mac, options.ac))
    print(f"\nnumbers      {run.folder / 'profile.json'}")
    print(f"figure       {run.figures / 'profile.png'}")


def export(arguments: list[str]) -> None:
    """``spikeloom export RUN``"""
    options = parsed(Export, "spikeloom export", arguments)
    run, recipe = opened(options.run, options.data_dir)
    state = state_of(run, options.checkpoint)
    path = (options.file or run.folder / f"net.{options.to}").expanduser()
    said = recipe.export(run, state, options.to, path, options.dt, options.soft_reset)
    print(f"{options.checkpoint} checkpoint: {said}\nfile         {path}")


def print_figures(run: "Run") -> None:
    """The paths of a run's figures."""
    for path in sorted(run.figures.glob("*.png")):
        print(f"figure       {path}")
