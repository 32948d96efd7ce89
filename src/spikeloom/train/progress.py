"""Where a training stands, and how it goes on from a checkpoint."""

from dataclasses import dataclass, field
from typing import Any

from spikeloom.errors import CheckpointError
from spikeloom.train.experiment import Experiment
from spikeloom.train.run import Run
from spikeloom.train.shard import load_whole, shard_state


@dataclass
class Progress:
    """Where a training stands; with the states of network and optimiser, all that a resumed one needs."""

    epoch: int = 0
    step: int = 0  # steps done within the epoch
    sums: list[float] = field(
        default_factory=lambda: [0.0, 0.0, 0.0]
    )  # of this epoch: loss, correct, samples
    notes: dict[str, float] = field(default_factory=dict)  # of this epoch: what `before_epoch` returned
    seconds: float = 0.0  # of training, in all
    history: list[dict[str, Any]] = field(default_factory=list)


def restore(experiment: Experiment, run: Run, state: dict[str, Any]) -> Progress:
    """Load a checkpoint's ``state`` into the experiment, whose network is on its device and of its number
    format already, and say where the training stands.

    Raises:
        CheckpointError: the state belongs to another network.
    """
    load_weights(run, experiment, state)
    if "optimizer" not in state:
        raise CheckpointError(
            f"The last checkpoint in {run.checkpoints} has weights only, as the best one has, and cannot be "
            "continued. `spikeloom test` can use it."
        )
    try:
        experiment.optimizer.load_state_dict(state["optimizer"])
        shard_state(experiment.optimizer)
        if experiment.scheduler:
            experiment.scheduler.load_state_dict(state["scheduler"])
        return Progress(**state["progress"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise misfit(run, error) from None


def load_weights(run: Run, experiment: Experiment, state: dict[str, Any]) -> None:
    """Load the network of a checkpoint's ``state``.

    Raises:
        CheckpointError: the state belongs to another network.
    """
    try:
        load_whole(experiment.net, state["net"])
    except (RuntimeError, KeyError, AttributeError) as error:
        raise misfit(run, error) from None


def misfit(run: Run, error: Exception) -> CheckpointError:
    """What to raise where a run's checkpoint could not be loaded into its network."""
    return CheckpointError(
        f"The checkpoint in {run.checkpoints} does not fit the network that {run.folder}/config.json "
        f"describes: {' '.join(str(error).split())}"
    )
