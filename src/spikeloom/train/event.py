"""Testing the network of a run event by event, beside the way in which it was trained."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from spikeloom import functional
from spikeloom.errors import BackendError, ConversionError, RunError, ShapeError
from spikeloom.event import Runner
from spikeloom.train.evaluation import samples_at_once
from spikeloom.train.experiment import Experiment
from spikeloom.train.run import Run


def event_driven_test(run: Run, experiment: Experiment, seed: int, num_steps: int | None) -> str:
    """Test a trained network on the CPU, in float32, with events and with all inputs.

    Args:
        run: of the network.
        experiment: of the run, with the trained weights.
        seed: of the encoding.
        num_steps: of the run, for a network that is given an image once and repeats it.
    Returns:
        lines of text: what both reach, and a table
    Raises:
        RunError: the network cannot run event by event.
    """
    net = experiment.net.eval()
    few = experiment.encoded_test(seed, [0, 0])
    repeats = not experiment.has_time(seed)
    shape = few.shape[1:] if repeats else few.shape[2:]
    try:
        runner = Runner(net, tuple(shape))
    except (BackendError, ConversionError, ShapeError, ValueError) as error:
        raise RunError(f"The network of {run.folder} cannot run event by event: {error}") from error

    def by_events(x: Tensor) -> Tensor:
        runner.reset()
        return runner(x.expand(num_steps or 1, *x.shape) if repeats else x)

    def by_steps(x: Tensor) -> Tensor:
        with functional.fresh_state(net), torch.no_grad():
            return net(x)

    for way in (by_events, by_steps):  # loops are compiled now, or loaded
        way(few)
    runner.reset_work()
    ways = {"event-driven": by_events, "all inputs": by_steps}
    lines = [f"{name:12}  {_tested(experiment, seed, way)}" for name, way in ways.items()]
    report = runner.report(len(experiment.data.test_y))
    return "\n".join([*lines, "", "per sample", str(report)])


def _tested(experiment: Experiment, seed: int, way: Callable[[Tensor], Tensor]) -> str:
    """What a way to run the network reaches on the test samples, and how long it takes for them."""
    labels, seconds, loss, correct = experiment.data.test_y, 0.0, 0.0, 0
    for indices in torch.arange(len(labels)).split(samples_at_once(experiment.data)):
        x = experiment.encoded_test(seed, indices)
        begun = time.perf_counter()
        output = way(x)
        seconds += time.perf_counter() - begun
        loss += experiment.loss(output, labels[indices]).item() * len(indices)
        correct += int((experiment.predict(output) == labels[indices]).sum())
    accuracy, loss = correct / len(labels), loss / len(labels)
    return f"test accuracy {accuracy:.2%}, loss {loss:.4f}, {seconds:.2f} s in the network"
