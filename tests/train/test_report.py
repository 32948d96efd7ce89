"""The figures of one test sample."""

import pytest
import torch
from torch import nn

from spikeloom import data, layer, neuron
from spikeloom.train import report
from spikeloom.train.experiment import Experiment
from spikeloom.train.run import Run


def figures_of(net, folder, monkeypatch, predict=lambda output: output.mean(0).argmax(-1), T=4):
    """The figures of a test sample that is shown for ``T`` steps, or once."""
    experiment = Experiment(
        net,
        data.digits().take(8, 8),
        encode=lambda x, _random: x.flatten(1).round().expand(*(T,) * bool(T), -1, -1),
        loss=lambda output, labels: output.sum(),
        predict=predict,
        optimizer=torch.optim.SGD(net.parameters(), 0.1),
    )
    figures = {}
    monkeypatch.setattr(report, "save_figure", lambda run, figure, name: figures.update({name: figure}))
    report.draw_sample(Run.create(folder, "none", {}), experiment, seed=0)
    return figures


@pytest.mark.parametrize(
    ("bright", "title"),
    [
        (3, "3 busiest neurons of 9"),
        (1, "1 busiest neuron of 9"),
        (9, "5 busiest neurons of 9"),
        (0, "5 silent neurons of 9"),
    ],
)
def test_silent_neurons_are_not_among_the_busiest(tmp_path, monkeypatch, bright, title):
    net = nn.Sequential(layer.Linear(64, 9, bias=True, step_mode="m"), neuron.IFNode(step_mode="m"))
    nn.init.zeros_(net[0].weight)
    net[0].bias.data = (torch.arange(9) < bright) * 2.0
    figures = figures_of(net, tmp_path / "run", monkeypatch)
    assert figures["membrane"].axes[0].get_title() == f"layer '1': {title}"


def with_weights(node):
    return nn.Sequential(layer.Linear(64, 64, step_mode="m"), node(step_mode="m"))


class Signed(neuron.IFNode):
    """Fires -1 at each step."""

    def neuronal_fire(self):
        return super().neuronal_fire() * 0 - 1


def test_spikes_of_either_sign_are_counted(tmp_path, monkeypatch):
    figures = figures_of(with_weights(Signed), tmp_path / "run", monkeypatch)
    assert "64 neurons, 256 spikes" in [axes.get_title() for axes in figures["raster"].axes][-1]
    assert "5 busiest" in figures["membrane"].axes[0].get_title()


def test_a_sample_that_no_neuron_names(tmp_path, monkeypatch):
    net = with_weights(neuron.IFNode)
    figures = figures_of(net, tmp_path / "run", monkeypatch, predict=lambda output: torch.tensor([-1]))
    assert figures["raster"].get_suptitle().endswith("classified as nothing")


class Repeats(nn.Sequential):
    """Makes the time steps itself."""

    def forward(self, x):
        return super().forward(x.expand(4, *x.shape))


def test_an_input_without_time_is_no_raster(tmp_path, monkeypatch):
    figures = figures_of(Repeats(with_weights(neuron.IFNode)), tmp_path / "run", monkeypatch, T=0)
    (axes,) = figures["raster"].axes
    assert "64 neurons" in axes.get_title()


def test_a_network_without_spikes_has_potentials(tmp_path, monkeypatch):
    net = with_weights(neuron.NonSpikingIFNode)
    figures = figures_of(Repeats(net), tmp_path / "run", monkeypatch, T=0)
    assert [*figures] == ["membrane"]
