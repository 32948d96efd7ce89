"""What a training refuses, with the reason and the cure; each raises a RunError or a CheckpointError."""

from collections.abc import Callable, Mapping
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from spikeloom.errors import CheckpointError, RunError
from spikeloom.functional.recomputing import require_parts
from spikeloom.memory import MemoryModule
from spikeloom.train.evaluation import summed
from spikeloom.train.experiment import Experiment
from spikeloom.train.run import Run
from spikeloom.train.shard import ShardedStrategy

ROW = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
"""What an epoch's row has of each part of the data."""


def require_shares(fabric: Fabric, experiment: Experiment, batch_size: int) -> None:
    """Refuse what the processes cannot share."""
    size, num_samples = fabric.world_size, len(experiment.data.train_y)
    if not len(experiment.data.test_y):
        raise RunError("`data` of the experiment must have at least one test sample, got none.")
    if num_samples < size:
        raise RunError(f"{num_samples} training samples are too few for {size} processes.")
    if batch_size % size:
        raise RunError(
            f"`batch_size` must be a multiple of the number of processes, so that each gets the same "
            f"number of samples; got {batch_size} and {size}."
        )
    if batch_size > num_samples and num_samples % size:
        raise RunError(
            f"`batch_size` must be at most {num_samples - num_samples % size} with {num_samples} training "
            f"samples and {size} processes, got {batch_size}: else the processes would leave samples out."
        )
    if not any(one.requires_grad for one in experiment.net.parameters()):
        raise RunError("`net` of the experiment must have a parameter that learns, got none.")
    own = {id(one) for one in experiment.net.parameters()}
    given = {id(one) for group in experiment.optimizer.param_groups for one in group["params"]}
    if own.isdisjoint(given):
        raise RunError(
            "`optimizer` of the experiment must have parameters of its `net`, but has none of them."
        )
    scheduled = getattr(experiment.scheduler, "optimizer", experiment.optimizer)
    if scheduled is not experiment.optimizer:
        raise RunError("`scheduler` of the experiment must be one of its `optimizer`, but is another one's.")
    if isinstance(fabric.strategy, ShardedStrategy) and experiment.before_epoch:
        raise RunError(
            "`shard` must be off for this experiment: what it does before each epoch needs the network's "
            "own parameters, and not parts of them. Leave out --shard."
        )


def require_gradients(net: nn.Module) -> None:
    """Refuse parameters that the loss does not use, after a backward pass: processes wait for their
    gradients."""
    unused = [name for name, one in net.named_parameters() if one.requires_grad and one.grad is None]
    if unused:
        raise RunError(
            f"The loss of the experiment must use every parameter of `net`, but not '{unused[0]}', so that "
            "several processes would wait for its gradient. Leave it out, or freeze it: "
            "parameter.requires_grad_(False)."
        )


def require_time_in_parts(net: nn.Module) -> None:
    """Refuse layers that have to see all of time."""
    try:
        require_parts(net)
    except ValueError as error:
        raise RunError(
            f"`time_chunk` must be off for this network: {error} On the command line: leave out "
            "--time-chunk, and use --micro-batch."
        ) from None


def require_whole_steps(fabric: Fabric, parts: int | None, gradient: str) -> None:
    """Refuse what a CUDA graph cannot hold."""
    reason = None
    if fabric.device.type != "cuda":
        reason = f"the device is {fabric.device.type!r}, and a graph needs a CUDA device"
    elif fabric.world_size > 1:
        reason = "several processes exchange gradients, which is not part of a graph"
    elif gradient == "ottt":
        reason = "OTTT reads the neurons' time constants anew at each step"
    elif parts:
        reason = "micro_batch and time_chunk divide a step, which a graph holds as a whole"
    if reason:
        raise RunError(f"`cuda_graph` must be off here: {reason}. Leave out --cuda-graph.")


def require_sequences(net: nn.Module, x: Tensor, num_samples: int, has_time: Callable[[], bool]) -> None:
    """Refuse neurons that have taken the time of an input ``[T, N, *]`` for its batch."""
    if x.dim() < 3 or x.shape[1] != num_samples or (x.shape[0] == num_samples and not has_time()):
        return
    for name, module in net.named_modules():
        seen = module._step_shape if isinstance(module, MemoryModule) else None
        if seen is not None and module.step_mode == "s" and seen[:2] == x.shape[:2]:
            raise RunError(
                f"{type(module).__name__} '{name}' is in single-step mode, but got a sequence of "
                f"{len(x)} time steps, as a batch. Call functional.set_step_mode(net, 'm')."
            )


def notes_of(found: Mapping[str, Any]) -> dict[str, float]:
    """What is noted before an epoch, as plain numbers; refuse names that the epoch's row has already."""
    if not isinstance(found, Mapping):
        raise RunError(f"`before_epoch` of the experiment must return numbers by name, got {found!r}.")
    taken = found.keys() & {"epoch", "seconds", "samples_per_second", *ROW}
    if taken:
        raise RunError(f"`before_epoch` of the experiment must give numbers of its own, not {sorted(taken)}.")
    try:
        return {name: float(value) for name, value in found.items()}
    except (TypeError, ValueError):
        raise RunError(f"`before_epoch` of the experiment must return numbers, got {found!r}.") from None


def require_agreement(fabric: Fabric, run: Run, place: int) -> None:
    """Refuse processes that have loaded different checkpoints: they stand at different steps."""
    (total,) = summed(fabric, [place])
    if total != place * fabric.world_size:
        raise CheckpointError(
            f"The processes have found different checkpoints: this one stands at step {place}. "
            f"{run.checkpoints} must be the same folder on all machines; share it, or copy it."
        )
