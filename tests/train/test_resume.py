"""A training that was broken off, at any moment, by any means, ends with the weights of an unbroken one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from compare import assert_same
from spikeloom.train import checkpoint

# A checkpoint after almost every step, so that the training is broken off within an epoch.
EPOCHS = 30
TRAINING = ["blobs", "--epochs", f"{EPOCHS}", "--points", "512", "--checkpoint-minutes", "0.0001"]
COMMAND = [sys.executable, "-m", "spikeloom"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def spikeloom(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=300, **options
    )


def last_state(run):
    return checkpoint.load(run / "checkpoints" / checkpoint.LAST)


def break_off(arguments, run, number, after):
    """Start a training, send it ``number`` after ``after`` more checkpoints, return its output."""
    path = run / "checkpoints" / checkpoint.LAST
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    seen, changes, deadline = _stamp(path), 0, time.monotonic() + 120
    while changes < after and process.poll() is None and time.monotonic() < deadline:
        now = _stamp(path)
        changes += now not in (seen, None)
        seen = now
    process.send_signal(number)
    output = process.communicate(timeout=60)
    return process.returncode, *output


def _stamp(path):
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    done = spikeloom("train", *TRAINING, "--run-dir", str(run))
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_and_interrupted_runs_resume_to_bitwise_the_same_weights(unbroken, tmp_path):
    run = tmp_path / "broken"
    code, _, _ = break_off(["train", *TRAINING, "--run-dir", str(run)], run, signal.SIGKILL, after=5)
    assert code == -signal.SIGKILL
    assert 0 < _steps_done(last_state(run)) < EPOCHS * 8
    code, _, errors = break_off(["train", "--resume", str(run)], run, signal.SIGINT, after=5)
    assert code == 130, errors
    assert f"Continue with: spikeloom train --resume {run}" in errors
    assert _steps_done(last_state(run)) < EPOCHS * 8
    done = spikeloom("train", "--resume", str(run))
    assert done.returncode == 0, done.stderr
    reference, got = last_state(unbroken), last_state(run)
    for name, weight in reference["net"].items():
        assert_same(name, weight, got["net"][name])
    moments = [state["optimizer"]["state"] for state in (reference, got)]
    for number, parameter in moments[0].items():
        for name, moment in parameter.items():
            assert_same(f"{name} of {number}", moment, moments[1][number][name])
    keys = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    histories = [state["progress"]["history"] for state in (reference, got)]
    assert [[row[key] for key in keys] for row in histories[0]] == [
        [row[key] for key in keys] for row in histories[1]
    ]


def _steps_done(state):
    return state["progress"]["epoch"] * 8 + state["progress"]["step"]


@pytest.mark.slow
def test_a_finished_run_resumes_to_itself(unbroken):
    before = (unbroken / "metrics.jsonl").read_bytes()
    done = spikeloom("train", "--resume", str(unbroken))
    assert done.returncode == 0, done.stderr
    assert f"which has {EPOCHS} epochs in all" in done.stdout
    assert (unbroken / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(unbroken, tmp_path):
    import shutil

    run = tmp_path / "copy"
    shutil.copytree(unbroken, run)
    last = run / "checkpoints" / checkpoint.LAST
    last.write_bytes(last.read_bytes()[:-10])
    done = spikeloom("train", "--resume", str(run))
    assert done.returncode == 0, done.stderr
    assert "is damaged" in done.stderr
    assert "Using the one before it" in done.stderr
    reference, got = last_state(unbroken), last_state(run)
    for name, weight in reference["net"].items():
        assert_same(name, weight, got["net"][name])


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path):
    """The first 20 steps' losses agree to 1e-5, though each process draws its own samples' spikes."""
    losses, accuracies = [], []
    for devices in ("1", "2"):
        run = tmp_path / devices
        done = spikeloom(
            "train", "lif-fc", "--devices", devices, "--device", "cpu", "--run-dir", str(run),
            "--epochs", "3", "--T", "10", "--hidden", "64", "--lr", "0.005", "--log-every", "1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        losses.append(step_losses(run))
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        accuracies.append(rows[-1]["test_accuracy"])
    one, two = losses
    assert len(one) == len(two) == 3 * (1438 // 64)
    torch.testing.assert_close(two[:20], one[:20], rtol=0, atol=1e-5)
    assert one[0] != one[19]
    assert accuracies[0] > 0.6
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.03)


def step_losses(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return torch.tensor([event.value for event in events.Scalars("step/loss")])
