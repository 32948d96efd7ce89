"""Training in several processes: how they start, and what becomes of the others when one is gone."""

import contextlib
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from compare import assert_same
from spikeloom import cli
from spikeloom.errors import RunError
from spikeloom.recipe import RECIPES, Blobs
from spikeloom.train import checkpoint
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import Trainer
from spikeloom.train.processes import deaf_children
from spikeloom.train.run import Run
from train.together import in_processes

MODULE = ["-m", "spikeloom", "train"]
COMMAND = [sys.executable, *MODULE]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
# A checkpoint after almost every step, so that a training can be broken off within an epoch.
EPOCHS = 25
KEYS = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
TRAINING = [
    "blobs", "--epochs", f"{EPOCHS}", "--points", "512", "--device", "cpu", "--checkpoint-minutes", "0.0001",
]  # fmt: skip
SECONDS = 240  # the machine may have other work

THREADS_THAT_EXCHANGE_TENSORS = """
import tempfile
from pathlib import Path
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from spikeloom.train.processes import leave_group

def exchanging():
    return [path for path in Path("/proc/self/task").glob("*/comm") if "gloo" in path.read_text()]

with tempfile.TemporaryDirectory() as folder:
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", world_size=1, rank=0)
    net = DistributedDataParallel(nn.Linear(2, 2))
    net(torch.ones(1, 2)).sum().backward()
    net.module.itself = [net]  # a cycle, which only the garbage collector ends
    assert exchanging()
    del net
    leave_group()
    assert not exchanging()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's threads")
def test_no_thread_outlives_a_training():
    """One that frees a tensor while Python ends aborts the process: about one run in ten, on one core."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS_THAT_EXCHANGE_TENSORS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("environment", "settings", "message"),
    [
        (
            {"LOCAL_RANK": "0", "WORLD_SIZE": "4"},
            {"devices": 2},
            r"torchrun started, 4, got 2 times 1\. .*--nodes",
        ),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "2"}, {}, "torchrun started, 2, got 1 times 1"),
        ({}, {"devices": 2, "nodes": 2}, r"`nodes` must be 1 .* got 2\. .*torchrun"),
    ],
)
def test_processes_that_torchrun_did_not_start_are_refused(monkeypatch, environment, settings, message):
    for name in ("LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match=message):
        make_fabric("cpu", **settings)


def masked(queue):
    queue.put(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no masks of signals")
def test_processes_are_started_deaf_to_ctrl_c():
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=masked, args=(queue,))
    with deaf_children():
        process.start()
    process.join()
    assert queue.get()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_without_cuda_the_processor_is_chosen(monkeypatch):
    """And no other accelerator that Fabric may know."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("spikeloom.train.launch.Fabric", lambda accelerator, **_: chosen.append(accelerator))
    make_fabric("auto")
    assert chosen == ["cpu"]


def wait_for_checkpoints(path, process, number):
    """Wait until the checkpoint was written ``number`` times."""
    seen, deadline = set(), time.monotonic() + SECONDS
    while len(seen) < number and process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):  # the one before it takes a new name for a moment
            seen.add(path.stat().st_mtime_ns)
        time.sleep(0.005)
    assert len(seen) == number


def workers(process):
    """The processes that compute, among those that ``process`` started."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(*command):
    return subprocess.Popen(
        [*command], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def unbroken(_rank, folder):
    """The same training in two processes that nobody disturbs."""
    fabric = make_fabric("cpu", 2)
    fabric.launch()
    recipe = Blobs(epochs=EPOCHS, points=512)
    trainer = Trainer(fabric, build_seeded(recipe.build, 0), Run(folder), epochs=EPOCHS, batch_size=64)
    trainer.fit()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_when_processes_are_killed_the_others_end_and_the_run_goes_on_to_the_same_weights(tmp_path):
    folder, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / checkpoint.LAST
    two = ["--devices", "2"]

    process = started(*COMMAND, *TRAINING, *two, "--run-dir", str(folder))  # one of them is killed
    wait_for_checkpoints(last, process, 3)
    children = workers(process)
    assert len(children) == 2
    children[1].kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The training has stopped, because" in errors
    assert f"Continue with `spikeloom train --resume {folder}`.\n" in errors
    assert "Traceback" not in errors
    assert not psutil.wait_procs(children, timeout=60)[1]

    process = started(*COMMAND, "--resume", str(folder))  # the one that started them is killed
    wait_for_checkpoints(last, process, 3)
    children = workers(process)
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=60)[1]

    process = started(*TORCHRUN, "--standalone", "--nproc-per-node", "2", *MODULE, "--resume", str(folder))
    wait_for_checkpoints(last, process, 3)  # all are asked to stop
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert f"Stopped. Continue with: spikeloom train --resume {folder}" in errors
    state = checkpoint.load(last)
    assert 0 < state["progress"]["epoch"] < EPOCHS

    port, command = free_port(), [*MODULE, "--resume", str(folder), "--devices", "1", "--nodes", "2"]
    machines = [
        started(*TORCHRUN, "--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1",
                "--master-addr", "127.0.0.1", "--master-port", str(port), *command)
        for rank in (0, 1)
    ]  # fmt: skip
    outputs = [machine.communicate(timeout=SECONDS) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    assert f"which has {EPOCHS} epochs in all" in outputs[0][0]

    reference = tmp_path / "unbroken"
    Run.create(reference, "blobs", {})
    in_processes(2, unbroken, reference)
    expected, got = (checkpoint.load(one / "checkpoints" / checkpoint.LAST) for one in (reference, folder))
    for name, weight in expected["net"].items():
        assert_same(name, weight, got["net"][name])
    for number, moments in expected["optimizer"]["state"].items():
        for name, moment in moments.items():
            assert_same(f"{name} of {number}", moment, got["optimizer"]["state"][number][name])
    for one, other in zip(*(state["progress"]["history"] for state in (expected, got)), strict=True):
        assert [one[key] for key in KEYS] == [other[key] for key in KEYS]


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("blobs", ["--devices", "3"], "`batch_size` must be a multiple of `devices`.* got 64 and 3"),
        ("blobs", ["--devices", "2", "--nodes", "3"], "multiple of `devices` times `nodes`.* got 64 and 6"),
        ("blobs", ["--devices", "0"], "`devices` must be at least 1, got 0"),
        ("diehl-cook", ["--devices", "2"], "it trains in one process"),
    ],
)
def test_a_run_is_not_resumed_where_it_cannot_train(tmp_path, capsys, recipe, options, message):
    Run.create(tmp_path / "run", recipe, RECIPES[recipe]().settings())
    assert cli.main(["train", "--resume", str(tmp_path / "run"), *options]) == 1
    assert re.search(f"run cannot be continued like this: .*{message}", capsys.readouterr().err)
