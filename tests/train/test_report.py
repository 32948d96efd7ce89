"""The figures of one test sample."""

import pytest
import torch
from torch import nn

from spikeloom import data, layer, neuron
from spikeloom.train import report
from spikeloom.train.experiment import Experiment
from spikeloom.train.run import Run


@pytest.mark.parametrize(("bright", "title"), [(3, "3 busiest"), (9, "5 busiest"), (0, "5 silent")])
def test_silent_neurons_are_not_among_the_busiest(tmp_path, monkeypatch, bright, title):
    net = nn.Sequential(layer.Linear(64, 9, bias=True, step_mode="m"), neuron.IFNode(step_mode="m"))
    nn.init.zeros_(net[0].weight)
    net[0].bias.data = (torch.arange(9) < bright) * 2.0
    experiment = Experiment(
        net,
        data.digits().take(8, 8),
        encode=lambda x, _random: x.flatten(1).expand(4, -1, -1),
        loss=lambda output, labels: output.sum(),
        predict=lambda output: output.mean(0).argmax(-1),
        optimizer=torch.optim.SGD(net.parameters(), 0.1),
    )
    figures = {}
    monkeypatch.setattr(report, "save_figure", lambda run, figure, name: figures.update({name: figure}))
    report.draw_sample(Run.create(tmp_path / "run", "none", {}), experiment, seed=0)
    assert figures["membrane"].axes[0].get_title() == f"layer '1': {title} neurons"
