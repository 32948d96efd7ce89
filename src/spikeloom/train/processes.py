"""Several processes that train together: how they are started, stopped, and end when one of them is lost."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import re
import signal
import traceback
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.context import SpawnProcess
from typing import Any

import torch.distributed as dist
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException

from spikeloom.errors import RunError
from spikeloom.train.run import Run
from spikeloom.train.shard import ShardedStrategy

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others; the first one draws figures and writes checkpoints meanwhile."""
_PARENT = os.getppid()
STOP_SECONDS = 60.0
"""How long processes that are told to stop may take for their step and a checkpoint."""


def strategy(devices: int, nodes: int, shard: bool) -> DDPStrategy | str:
    """How Fabric shall run ``devices`` processes on each of ``nodes`` machines.

    Raises:
        RunError: ``torchrun`` has started another number of processes, or is needed and not there.
    """
    size = devices * nodes
    is_started = "LOCAL_RANK" in os.environ  # by torchrun
    started = int(os.environ.get("WORLD_SIZE", size)) if is_started else size
    if started != size:
        raise RunError(
            f"`devices` times `nodes` must be the number of processes that torchrun started, {started}, got "
            f"{devices} times {nodes}. Give --devices the value of --nproc-per-node, and --nodes that of "
            "--nnodes."
        )
    if nodes > 1 and not is_started:
        raise RunError(
            f"`nodes` must be 1 where Spikeloom starts the processes itself, got {nodes}. Start the training "
            "on each machine with torchrun, as docs/several-machines.md shows."
        )
    if size == 1:
        return "auto"
    kind = ShardedStrategy if shard else DDPStrategy
    return kind(start_method="popen" if is_started else "spawn", timeout=PATIENCE)


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """A block in which processes are started deaf to Ctrl-C, which a terminal sends to them too; this process
    passes it on. They would end with a traceback each while they still import."""
    spawned: Any = SpawnProcess
    start = spawned._Popen

    def start_deaf(process: Any) -> Any:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which is inherited
        try:
            return start(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    if hasattr(signal, "pthread_sigmask"):
        spawned._Popen = staticmethod(start_deaf)
    try:
        yield
    finally:
        spawned._Popen = staticmethod(start)


def is_spawned() -> bool:
    """Whether another process of ours started this one, and passes signals on to it."""
    return multiprocessing.parent_process() is not None


def is_orphan() -> bool:
    """Whether the process that started this one was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        return not parent.is_alive()
    return "TORCHELASTIC_RUN_ID" in os.environ and os.getppid() != _PARENT


def stop_children() -> None:
    """Have the processes that were started finish their step and write a checkpoint; an interrupt while they
    do ends them at once."""
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    try:
        for child in children:
            child.join(STOP_SECONDS)
    finally:
        for child in children:
            child.kill()


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another process is gone, or did not answer."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and re.search("gloo|nccl", str(error), re.IGNORECASE) is not None
    )


def shown(error: BaseException) -> str:
    """What an error of the exchange says, without the place in PyTorch's source and advice."""
    return re.sub(r"^\[[^]]*\] ", "", str(error)).split(". ")[0]


def lost(reason: str, run: Run) -> RunError:
    """The error of a training whose processes are not all there any more."""
    again = f"Continue with `spikeloom train --resume {run.folder}`."
    cure = again if run.has_checkpoint else "Start the training again."
    return RunError(f"The training has stopped, because {reason}. {cure}")


def failure(error: ProcessException, run: Run) -> RunError:
    """What to tell of a started process that failed."""
    if isinstance(error, ProcessExitedException):
        how = f"by {error.signal_name}" if error.signal_name else f"with exit code {error.exit_code}"
        cause = ", perhaps for lack of memory" if error.signal_name == "SIGKILL" else ""
        return lost(f"process {error.error_index} of it was ended {how}{cause}", run)
    *_, last = str(error).split("Traceback (most recent call last):\n")
    said = "\n".join(itertools.dropwhile(lambda line: line.startswith("  "), last.splitlines())).strip()
    return RunError(
        re.sub(r"^[\w.]+(?:Error|Exception|Interrupt): ", "", said) or f"A process failed: {error}"
    )


def leave_group(error: BaseException | None = None) -> None:
    """End the threads that exchange tensors; one that frees a tensor while Python ends aborts the process.

    Args:
        error: why the training ended early. GPUs may then wait for a lost process, and are left as they are.
    """
    waits = error and not isinstance(error, KeyboardInterrupt)
    if not dist.is_initialized() or (waits and dist.get_backend() != "gloo"):
        return
    if error:
        traceback.clear_frames(error.__traceback__)
    gc.collect()  # what was trained holds on to them
    dist.destroy_process_group()
