"""Where a training stands, and how it goes on from a checkpoint."""

from dataclasses import dataclass, field
from typing import Any

from spikeloom.errors import CheckpointError
from spikeloom.train.experiment import Experiment
from spikeloom.train.run import Run
from spikeloom.train.shard import load_whole, shard_state

WRONG = (RuntimeError, LookupError, ValueError, TypeError, AttributeError)
"""What a state of another form may end in."""


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
    batch_size: int | None = None  # with which, and on how many samples, it got there
    num_samples: int | None = None

    def continue_with(self, batch_size: int, num_samples: int) -> None:
        """Go on with batches of this size, of so many samples.

        Raises:
            CheckpointError: within an epoch they were others: some samples would be left out, or come twice.
        """
        before = (self.batch_size, self.num_samples)
        if self.step and None not in before and before != (batch_size, num_samples):
            raise CheckpointError(
                f"The training stands within epoch {self.epoch + 1}, of {before[1]} samples in batches of "
                f"{before[0]}, and cannot go on with {num_samples} in batches of {batch_size}. Finish the "
                "epoch as it was begun."
            )
        self.batch_size, self.num_samples = batch_size, num_samples


def restore(experiment: Experiment, run: Run, state: dict[str, Any]) -> Progress:
    """Load a checkpoint's ``state`` into the experiment, whose network is on its device and of its number
    format already, and say where the training stands.

    Raises:
        CheckpointError: the state belongs to another network, optimiser or scheduler.
    """
    load_weights(run, experiment, state)
    if "optimizer" not in state:
        raise CheckpointError(
            f"The last checkpoint in {run.checkpoints} has weights only, as the best one has, and cannot be "
            "continued. `spikeloom test` can use it."
        )
    try:
        if bool(experiment.scheduler) != bool(state["scheduler"]):
            raise _begun_otherwise(run, "scheduler", experiment.scheduler)
        states = experiment.optimizer.state_dict(), state["optimizer"]
        own, saved = (one["param_groups"][0].keys() for one in states)
        kind = type(experiment.optimizer).__name__
        # Another version of PyTorch's adds settings, or drops some.
        if (own - saved and saved - own) or state.get("kind", kind) != kind:
            raise _begun_otherwise(run, "optimiser", experiment.optimizer)
        experiment.optimizer.load_state_dict(state["optimizer"])
        shard_state(experiment.optimizer)
        if experiment.scheduler:
            experiment.scheduler.load_state_dict(state["scheduler"])
        return Progress(**state["progress"])
    except WRONG as error:
        raise misfit(run, error) from None


def load_weights(run: Run, experiment: Experiment, state: dict[str, Any]) -> None:
    """Load the network of a checkpoint's ``state``.

    Raises:
        CheckpointError: the state belongs to another network.
    """
    try:
        load_whole(experiment.net, state["net"])
    except WRONG as error:
        raise misfit(run, error) from None


def _begun_otherwise(run: Run, what: str, given: Any) -> CheckpointError:
    now = f"with {type(given).__name__}" if given else "without"
    return CheckpointError(
        f"The training in {run.folder} was begun with another {what}, and cannot go on {now}. Give it the "
        "one that it had, or train into another folder."
    )


def misfit(run: Run, error: Exception) -> CheckpointError:
    """What to raise where a run's checkpoint could not be loaded into its network."""
    return CheckpointError(
        f"The checkpoint in {run.checkpoints} does not fit the network that {run.folder}/config.json "
        f"describes: {' '.join(str(error).split())}"
    )
