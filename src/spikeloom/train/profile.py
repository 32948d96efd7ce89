"""What the network of a run costs: operations, energy, memory; as text, numbers and a figure."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from spikeloom import profile
from spikeloom.data import as_float
from spikeloom.encoding import SampleGenerator
from spikeloom.errors import RunError
from spikeloom.profile.table import energy_lines, memory_table, operations_table
from spikeloom.train import checkpoint
from spikeloom.train.experiment import Experiment
from spikeloom.train.files import write_beside
from spikeloom.train.launch import build_seeded
from spikeloom.train.loop import load_weights
from spikeloom.train.report import save_figure
from spikeloom.train.run import Run

BATCH = 10  # samples that run at once
MEMORY_SAMPLES = 8  # the memory of a larger batch is a multiple


def profile_run(
    run: Run,
    build: Callable[[], Experiment],
    state: dict[str, Any],
    *,
    seed: int,
    samples: int,
    num_steps: int | None,
    mac: float,
    ac: float,
) -> str:
    """Profile the network of a checkpoint's ``state`` on the CPU, into profile.json and figures/profile.png.

    Args:
        run: where the results go.
        build: makes the experiment.
        state: of a checkpoint.
        seed: of weights and encoding.
        samples: test samples to run, from the first on.
        num_steps: time steps, if the network takes inputs without time and repeats them itself.
        mac, ac: picojoules of a multiply-accumulate and of an accumulate.
    Returns:
        tables as lines of text
    Raises:
        RunError: the network has no neurons that fire over time steps.
    """
    experiment = build_seeded(build, seed)
    load_weights(run, experiment, state)
    net = experiment.net
    if not any(map(profile.is_neuron, net.modules())):
        raise RunError(
            f"The network of {run.folder} cannot be profiled: it has no neurons that fire over time steps. "
            "Profile a run of lif-fc or stbp-scnn, or a network of your own with profile.count(net, x)."
        )
    _restore_optimizer(experiment, run, state)
    samples = min(samples, len(experiment.data.test_y))
    steps = None if _has_time(experiment, seed) else num_steps
    counted = profile.count(net, _batches(experiment, seed, samples), steps)
    memory = _memory(experiment, _encoded(experiment, seed, 0, min(samples, MEMORY_SAMPLES)), steps)
    write_beside(run.folder / "profile.json", json.dumps(_numbers(counted, memory, mac, ac), indent=2) + "\n")
    title = f"{run.config()[0]} on {experiment.data.name}, {samples} test samples, T={counted.num_steps}"
    save_figure(run, profile.draw_profile(counted, memory, title, mac=mac, ac=ac), "profile")
    return "\n".join([title, "", *_text(counted, memory, mac, ac)])
