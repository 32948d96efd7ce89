"""Figures of a run: learning curves, and what every layer does with one sample."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from spikeloom import functional, plot
from spikeloom.data import Dataset
from spikeloom.errors import RunError
from spikeloom.files import beside
from spikeloom.monitor import record
from spikeloom.neuron import BaseNode, NonSpikingBaseNode
from spikeloom.plot.axes import count, stacked
from spikeloom.train.experiment import Experiment
from spikeloom.train.run import Run

NUM_TRACES = 5  # membrane potentials shown per layer


def draw_curves(run: Run, history: list[dict]) -> None:
    """Loss and accuracy against epochs, to figures/curves.png."""
    save_figure(run, curves_of(run.folder.name, history), "curves")


def curves_of(name: str, history: list[dict]) -> Figure:
    """Loss and accuracy of a run against epochs."""
    keys = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]
    figure = Figure(figsize=(10, 4.1), layout="constrained")
    figure.suptitle(f"Learning curves of {name}")
    plot.curves(history, keys, list(figure.subplots(1, 2)))
    return figure


def draw_sample(run: Run | None, experiment: Experiment, seed: int, sample: int = 0) -> None:
    """The spikes of every layer, and some membrane potentials, for one test sample: raster.png and
    membrane.png; or the experiment's own figures.

    Args:
        run: where the figures go; ``None`` only runs the network, as all processes must if it is sharded.
        experiment: whose network and test data are used.
        seed: of the encoding, as in training.
        sample: index of the test sample.
    Raises:
        RunError: there is no such sample.
    """
    net, data = experiment.net, experiment.data
    check_sample(data, sample)
    nodes = {
        name: node
        for name, node in net.named_modules()
        if isinstance(node, BaseNode) and "v" in node._memories and not experiment.draw
    }
    with (
        torch.no_grad(),
        functional.evaluating(net),
        functional.fresh_state(net),
        record(net, "v", "spike", instance=BaseNode) if nodes else nullcontext({}) as records,
    ):
        coded = experiment.encoded_test(seed, [sample])
        predicted = int(experiment.predict(net(coded)))
        title = title_of_sample(data, sample, predicted)
        figures = experiment.draw(net, coded, title) if experiment.draw else {}
    if run is None:
        return
    for name, figure in figures.items():
        save_figure(run, figure, name)
    if ran := {name: node for name, node in nodes.items() if records[name].has_run}:
        spikes = {
            name: records[name]["spike"]
            for name, node in ran.items()
            if not isinstance(node, NonSpikingBaseNode)
        }
        layers = {f"layer '{name}'": spike for name, spike in spikes.items()}
        _draw_rasters(run, title, coded if experiment.has_time(seed) else None, layers)
        _draw_membranes(run, title, ran, {name: records[name]["v"] for name in ran}, spikes)


@contextmanager
def allowed_to_fail(say: Callable[[str], object] = tqdm.write) -> Iterator[None]:
    """A block that draws figures, without which a training goes on."""
    try:
        yield
    except Exception as error:
        say(f"Not all figures were drawn: {type(error).__name__}: {error}")


def check_sample(data: Dataset, sample: int) -> None:
    """Raise a RunError if there is no such test sample."""
    if not 0 <= sample < len(data.test_y):
        raise RunError(f"`sample` must be from 0 to {len(data.test_y) - 1}, the test samples, got {sample}.")


def title_of_sample(data: Dataset, sample: int, predicted: int) -> str:
    """What a test sample is, and what it was taken for: a class, or a negative number for none."""
    said = data.classes[predicted] if predicted >= 0 else "nothing"
    label = data.classes[int(data.test_y[sample])]
    return f"Test sample {sample} of {len(data.test_y)}: label {label}, classified as {said}"


def _draw_membranes(
    run: Run,
    title: str,
    nodes: dict[str, BaseNode],
    potentials: dict[str, Tensor],
    spikes: dict[str, Tensor],
) -> None:
    figure, panels = stacked(title, len(nodes), 3.2)
    for panel, (name, node) in zip(panels, nodes.items(), strict=True):
        v = potentials[name][:, 0].flatten(1)  # [T, neurons]
        fired = spikes[name][:, 0].flatten(1) != 0 if name in spikes else None
        activity = v.var(0) if fired is None else fired.sum(0)
        busiest = activity.argsort(descending=True, stable=True)[:NUM_TRACES].sort().values
        active = busiest[activity[busiest] > 0]
        shown, kind = (active, "busiest") if len(active) else (busiest, "silent")
        threshold = node.v_threshold if fired is not None and isinstance(node.v_threshold, float) else None
        plot.membrane(
            v,
            fired,
            panel,
            v_threshold=threshold,
            neurons=shown.tolist(),
            title=f"layer '{name}': {count(len(shown), kind + ' neuron')} of {v.shape[1]}",
        )
    save_figure(run, figure, "membrane")


def _draw_rasters(run: Run, title: str, coded: Tensor | None, layers: dict[str, Tensor]) -> None:
    if coded is not None and bool(((coded == 0) | (coded == 1)).all()):  # spikes, and not currents
        layers = {"input": coded, **layers}
    if not layers:
        return
    figure, panels = stacked(title, len(layers), 2.8)
    for panel, (name, spikes) in zip(panels, layers.items(), strict=True):
        fired = spikes[:, 0].flatten(1) != 0  # [T, neurons]
        plot.raster(fired, panel, title=f"{name}: {fired.shape[1]} neurons, {int(fired.sum())} spikes")
    save_figure(run, figure, "raster")


def save_figure(run: Run, figure: Figure, name: str) -> None:
    """Write a figure to the run's folder of figures."""
    run.figures.mkdir(parents=True, exist_ok=True)
    with beside(run.figures / f"{name}.png") as part:
        figure.savefig(part, dpi=120, format="png")
