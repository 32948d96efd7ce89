"""Starting a training in one process or in several."""

import contextlib
import gc
import logging
import os
import re
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from spikeloom.errors import RunError
from spikeloom.train.allocator import keep_freed_memory
from spikeloom.train.experiment import Experiment
from spikeloom.train.loop import Trainer, evaluate, load_weights
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
    precision: Any = "32-true",
    seed: int = 0,
    **training: Any,
) -> None:
    """Build an experiment and train it, in ``devices`` processes if that is more than one.

    Args:
        run: where results go, and whose checkpoint is continued.
        build: makes the experiment, in each process; it must be picklable for more than one.
        device: ``'auto'``, ``'cpu'``, ``'cuda'`` or ``'mps'``.
        devices: number of devices, or of processes on CPU. Under ``torchrun``, its number of processes per
            machine.
        precision: Fabric's name of the number format.
        seed: of weights, order of samples, encoding.
        training: ``epochs``, ``batch_size``, ``micro_batch``, ``checkpoint_minutes``, ``log_every`` of
            :class:`Trainer`.
    Raises:
        RunError: the device is not there; or another process trains into the folder.
    """
    fabric = make_fabric(device, devices, precision)
    try:
        fabric.launch(partial(_train, run=run, build=build, seed=seed, training=training))
    except ProcessRaisedException as error:
        raised = re.findall(r"^[\w.]+(?:Error|Exception|Interrupt): (.*)", str(error), re.MULTILINE)
        raise RunError(raised[-1] if raised else f"A process failed: {error}") from error
    except KeyboardInterrupt:  # Ctrl-C reaches this process only; the others would wait for each other
        for process in torch.multiprocessing.active_children():
            process.terminate()
        raise


def make_fabric(device: str = "auto", devices: int = 1, precision: Any = "32-true") -> Fabric:
    """Fabric for ``devices`` devices of a kind, not launched yet; arguments as for :func:`start`.

    Raises:
        RunError: the device is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError(
            "`device` is 'cuda', but PyTorch sees no CUDA device. Use --device cpu, or install a CUDA build."
        )
    strategy = "auto"
    if devices > 1:
        strategy = (
            "ddp" if "LOCAL_RANK" in os.environ else "ddp_spawn"
        )  # torchrun has started the processes already
    try:
        return Fabric(accelerator=device, devices=devices, strategy=strategy, precision=precision)
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
        raise RunError(f"The experiment cannot be built: {error}") from error


def test(
    run: Run, build: Callable[[], Experiment], state: dict[str, Any], device: str, precision: Any, seed: int
) -> tuple[float, float]:
    """Loss and accuracy on the test samples of a network loaded from a checkpoint's ``state``."""
    fabric = make_fabric(device, precision=precision)
    experiment = build_seeded(build, seed)
    load_weights(run, experiment, state)
    fabric.setup_module(experiment.net)
    return evaluate(fabric, experiment, seed)


def _train(
    fabric: Fabric, run: Run, build: Callable[[], Experiment], seed: int, training: dict[str, Any]
) -> None:
    keep_freed_memory()
    if torch.multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with run.locked() if fabric.is_global_zero else contextlib.nullcontext():
        Trainer(fabric, build_seeded(build, seed), run, seed=seed, **training).fit()
    if torch.distributed.is_initialized():
        _leave_group()


def _leave_group() -> None:
    """End the threads that exchange tensors; one that frees a tensor while Python ends aborts the process."""
    gc.collect()  # what was trained holds on to them
    torch.distributed.destroy_process_group()
