"""Starting a training in one process or in several."""

import contextlib
import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessException

from spikeloom.errors import RunError
from spikeloom.train import processes
from spikeloom.train.allocator import keep_freed_memory
from spikeloom.train.evaluation import evaluate
from spikeloom.train.experiment import Experiment
from spikeloom.train.interrupt import interrupt_raised
from spikeloom.train.loop import Trainer
from spikeloom.train.progress import load_weights
from spikeloom.train.run import Run

# Announcements of every process that starts or is stopped, between the lines that matter.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)


def start(
    run: Run,
    build: Callable[[], Experiment],
    *,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    shard: bool = False,
    precision: Any = "32-true",
    seed: int = 0,
    **training: Any,
) -> None:
    """Build an experiment and train it, in ``devices`` times ``nodes`` processes if that is more than one.

    Args:
        run: where results go, and whose checkpoint is continued.
        build: makes the experiment, in each process; it must be picklable for more than one.
        device: ``'cpu'``, ``'cuda'``, ``'mps'``; or ``'auto'``, CUDA where it is, else the CPU.
        devices: number of devices, or of processes on CPU, of each machine.
        nodes: number of machines. For more than one, ``torchrun`` must start the processes on each.
        shard: whether each process keeps a part of parameters, gradients and the optimiser's state only.
        precision: Fabric's name of the number format.
        seed: of weights, order of samples, encoding.
        training: ``epochs``, ``batch_size``, ``micro_batch``, ``gradient``, ``time_chunk``, ``sync_norm``,
            ``checkpoint_minutes``, ``log_every``, ``cuda_graph`` of :class:`~spikeloom.train.loop.Trainer`.
    Raises:
        RunError: the device is not there; another process trains into the folder; or a process was lost.
    """
    fabric = make_fabric(device, devices, precision, nodes=nodes, shard=shard)
    train = partial(_train, run=run, build=build, seed=seed, training=training)
    try:
        with interrupt_raised(), processes.deaf_children():
            if fabric.launch(train):
                raise KeyboardInterrupt
    except ProcessException as error:
        raise processes.failure(error, run) from error
    except KeyboardInterrupt:  # the others would wait for each other
        processes.stop_children()
        raise


def make_fabric(
    device: str = "auto",
    devices: int = 1,
    precision: Any = "32-true",
    *,
    nodes: int = 1,
    shard: bool = False,
) -> Fabric:
    """Fabric for ``devices`` devices of a kind, not launched yet; arguments as for :func:`start`.

    Raises:
        RunError: the device is not there; or ``torchrun`` is needed, or has started other processes.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError(
            "`device` is 'cuda', but PyTorch sees no CUDA device. Use --device cpu, or install a CUDA build."
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise RunError("`device` is 'mps', but PyTorch sees no such device. Use --device cpu.")
    strategy = processes.strategy(devices, nodes, shard)
    if device == "auto":  # no 'mps': it has no float64, which spike times are computed in
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return Fabric(
            accelerator=device, devices=devices, num_nodes=nodes, strategy=strategy, precision=precision
        )
    except Exception as error:  # Fabric raises several types
        raise RunError(f"Fabric cannot use this device: {error}") from error


def build_seeded(build: Callable[[], Experiment], seed: int) -> Experiment:
    """The experiment, with the weights that ``seed`` stands for.

    Raises:
        RunError: a setting was refused.
    """
    try:
        torch.manual_seed(seed)
        return build()
    except (ValueError, TypeError) as error:  # a setting that its layer or dataset refuses
        said = str(error).split("\nException raised from")[0]  # what follows are PyTorch's stack frames
        raise RunError(f"The experiment cannot be built: {said}") from error


def restored(build: Callable[[], Experiment], seed: int, run: Run, state: dict[str, Any]) -> Experiment:
    """The experiment, with the weights of a checkpoint's ``state``.

    Raises:
        RunError: a setting was refused.
        CheckpointError: the state belongs to another network.
    """
    experiment = build_seeded(build, seed)
    load_weights(run, experiment, state)
    return experiment


def test(
    run: Run, build: Callable[[], Experiment], state: dict[str, Any], device: str, precision: Any, seed: int
) -> tuple[float, float]:
    """Loss and accuracy on the test samples of a network loaded from a checkpoint's ``state``."""
    fabric = make_fabric(device, precision=precision)
    experiment = build_seeded(build, seed)
    fabric.setup_module(experiment.net)
    load_weights(run, experiment, state)
    return evaluate(fabric, experiment, seed)


def _train(
    fabric: Fabric, run: Run, build: Callable[[], Experiment], seed: int, training: dict[str, Any]
) -> bool:
    """Train in this process.

    Returns:
        whether it was interrupted, where another process has started this one and waits for an answer
    """
    keep_freed_memory()
    if processes.is_spawned():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    failed = None
    try:
        with run.locked() if fabric.is_global_zero else contextlib.nullcontext():
            Trainer(fabric, build_seeded(build, seed), run, seed=seed, **training).fit()
        return False
    except BaseException as error:
        failed = error
        if isinstance(error, KeyboardInterrupt) and processes.is_spawned():
            return True
        if processes.is_lost(error):
            silent = f"another process is gone or silent: {processes.shown(error)}"
            raise processes.lost(silent, run) from error
        raise
    finally:
        processes.leave_group(failed)
