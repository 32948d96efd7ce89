"""Testing the network of a run event-driven, beside the way in which it was trained."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from spikeloom import event, functional
from spikeloom.data import as_float
from spikeloom.encoding import SampleGenerator
from spikeloom.errors import RunError
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import evaluate, load_weights
from spikeloom.train.run import Run


def event_driven_test(run: Run, build: Callable[[], Experiment], state: dict[str, Any], seed: int) -> str:
    """Test the network of a checkpoint's ``state`` on the CPU, in float32, with events and with all inputs.

    Args:
        run: of the network.
        build: makes the experiment.
        state: of a checkpoint.
        seed: of weights and encoding.
    Returns:
        a table as lines of text
    Raises:
        RunError: the network has no layer that can be event-driven.
    """
    experiment = build_seeded(build, seed)
    load_weights(run, experiment, state)
    try:
        net = event.event_driven(experiment.net)
    except ValueError as error:
        raise RunError(f"The network of {run.folder} cannot be event-driven: {error}") from error
    lines = [
        f"{name:12}  {_tested(replace(experiment, net=tested), seed)}"
        for name, tested in (("event-driven", net), ("all inputs", experiment.net))
    ]
    report = event.report(net, len(experiment.data.test_y))
    return "\n".join([*lines, "", "per sample", str(report)])


def _tested(experiment: Experiment, seed: int) -> str:
    """What a network reaches on the test samples, and how long it takes for them."""
    net, few = experiment.net.eval(), torch.arange(2)
    with functional.fresh_state(net), torch.no_grad():  # its loops are compiled now, or loaded
        net(experiment.encode(as_float(experiment.data.test_x[few]), SampleGenerator(seed, few, "test")))
    event.reset_work(net)
    clock = _Clock(net)
    loss, accuracy = evaluate(make_fabric("cpu"), experiment, seed)
    return f"test accuracy {accuracy:.2%}, loss {loss:.4f}, {clock.seconds:.1f} s in the network"


class _Clock:
    """How long a network runs, without what is around it."""

    def __init__(self, net: nn.Module):
        self.seconds, self._begun = 0.0, 0.0
        net.register_forward_pre_hook(self._begin)
        net.register_forward_hook(self._end)

    def _begin(self, *_: Any) -> None:
        self._begun = time.perf_counter()

    def _end(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._begun
