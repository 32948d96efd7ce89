"""What the network of a run costs: operations, energy, memory; as text, numbers and a figure."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from spikeloom import profile
from spikeloom.errors import RunError, ShapeError
from spikeloom.files import write_beside
from spikeloom.profile.table import energy_lines, memory_table, operations_table
from spikeloom.train import checkpoint
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import restored
from spikeloom.train.report import save_figure
from spikeloom.train.run import Run

BATCH = 10  # samples that run at once
MEMORY_SAMPLES = 4  # the memory of a larger batch is a multiple


def profile_run(
    run: Run,
    build: Callable[[int | None], Experiment],
    state: dict[str, Any],
    *,
    seed: int,
    num_steps: int | None,
    samples: int,
    mac: float,
    ac: float,
) -> str:
    """Profile the network of a checkpoint's ``state`` on the CPU, into profile.json and figures/profile.png.

    Args:
        run: where the results go.
        build: makes the experiment; with other time steps than the run's, if it is given a number.
        state: of a checkpoint.
        seed: of weights and encoding.
        num_steps: time steps of the run, if it has a number of them.
        samples: test samples to run, from the first on.
        mac, ac: picojoules of a multiply-accumulate and of an accumulate.
    Returns:
        tables as lines of text
    Raises:
        RunError: the network has no neurons that fire over time steps.
    """
    experiment = restored(partial(build, None), seed, run, state)
    net = experiment.net
    if not any(map(profile.is_neuron, net.modules())):
        raise RunError(
            f"The network of {run.folder} cannot be profiled: it has no neurons that fire over time steps "
            "and that `profile` knows. Profile a run of lif-fc or stbp-scnn, or a network of your own with "
            "profile.count(net, x)."
        )
    _restore_optimizer(experiment, run, state)
    samples = min(samples, len(experiment.data.test_y))
    # A network that is given an image once makes the time steps itself.
    steps = None if experiment.has_time(seed) else num_steps or 1
    batches = (experiment.encoded_test(seed, part) for part in torch.arange(samples).split(BATCH))
    counted = profile.count(net, batches, steps)
    x = experiment.encoded_test(seed, range(min(samples, MEMORY_SAMPLES)))
    memory = _memory(experiment, x) if steps is None else _memory_of_images(experiment, x, steps, build)
    return write_profile(run, counted, memory, mac=mac, ac=ac)


def write_profile(
    run: Run,
    counted: profile.Profile,
    memory: profile.TrainingMemory | None,
    *,
    network: str = "",
    mac: float,
    ac: float,
) -> str:
    """Write profile.json and figures/profile.png.

    Args:
        run: where they go.
        counted, memory: what was measured.
        network: which one of the run's, for people; default: there is one.
        mac, ac: picojoules of a multiply-accumulate and of an accumulate.
    Returns:
        tables as lines of text
    """
    energy = {"unit": "picojoule", "mac": mac, "ac": ac}
    energy |= {"snn": counted.energy(mac, ac), "ann": counted.ann_energy(mac)}
    numbers = {"per_sample": counted.as_dict(), "energy": energy}
    numbers["training_memory"] = asdict(memory) if memory else None
    write_beside(run.folder / "profile.json", json.dumps(numbers, indent=2) + "\n")
    name = " ".join(filter(None, (run.config()[0], network)))
    title = f"{name}: {counted.num_samples} test samples, T={counted.num_steps}"
    save_figure(run, profile.draw_profile(counted, memory, title, mac=mac, ac=ac), "profile")
    lines = [title, "", *operations_table(counted), *(f"not counted: {one}" for one in counted.not_counted)]
    if silent := [layer.name for layer in counted.layers if layer.firing_rate == 0]:
        lines.append(f"never fired: {', '.join(silent)}")
    lines += ["", *energy_lines(counted, mac, ac)]
    if memory:
        lines += ["", f"memory of training, batch of {memory.num_samples}", *memory_table(memory)]
    return "\n".join(lines)


def _restore_optimizer(experiment: Experiment, run: Run, state: dict[str, Any]) -> None:
    """Give the optimiser what it remembered; the best checkpoint does not have it, but the last one."""
    found = state if "optimizer" in state else checkpoint.load_last(run.checkpoints) or {}
    if "optimizer" in found:
        experiment.optimizer.load_state_dict(found["optimizer"])


def _memory(experiment: Experiment, x: Tensor) -> profile.TrainingMemory:
    """Of a network that is given sequences."""
    net, optimizer = experiment.net, experiment.optimizer
    try:
        return profile.training_memory(net, x, optimizer=optimizer)
    except ShapeError:  # it is for one number of time steps only, such as one of parallel neurons
        return profile.training_memory(net, x, steps=[len(x)], optimizer=optimizer)


def _memory_of_images(
    experiment: Experiment, x: Tensor, num_steps: int, build: Callable[[int | None], Experiment]
) -> profile.TrainingMemory:
    """Of a network that is given images, and is built for a number of time steps."""
    found = profile.training_memory(experiment.net, x, num_steps=num_steps, optimizer=experiment.optimizer)
    saved = dict(found.saved)
    for steps in {max(1, num_steps // 2), 2 * num_steps} - saved.keys():
        saved |= profile.training_memory(build(steps).net, x, num_steps=steps).saved
    return replace(found, saved=dict(sorted(saved.items())))
