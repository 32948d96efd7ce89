"""Trainings with the gradient of online learning: what :mod:`spikeloom.learning` computes, step by step."""

import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import data, functional, layer, learning, neuron
from spikeloom.recipe import RECIPES
from spikeloom.train import checkpoint
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import Trainer
from spikeloom.train.run import Run

T, LR, SAMPLES = 6, 0.5, 32


def build():
    net = nn.Sequential(
        layer.Linear(4, 20),
        neuron.LIFNode(tau=4.0),
        layer.Linear(20, 10),
        neuron.LIFNode(),
        layer.Linear(10, 3),
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)
    functional.set_step_mode(net, "m")
    return Experiment(
        net,
        data.load("iris").take(SAMPLES, 30),
        encode=lambda x, _random: x.double().expand(T, *x.shape),
        loss=lambda output, labels: loss(output, labels) / T,
        predict=lambda output: output.sum(0).argmax(-1),
        optimizer=torch.optim.SGD(net.parameters(), LR),
    )


def loss(output, labels):
    return sum(nn.functional.cross_entropy(step, labels) for step in output.double())


def trained(folder, **options):
    fabric = make_fabric("cpu", precision="64-true")
    fabric.launch()
    options = {"epochs": 1, "batch_size": SAMPLES, **options}
    one = Trainer(fabric, build_seeded(build, 0), Run.create(folder, "none", {}), **options)
    one.fit()
    return one.experiment.net


def by_steps(gradient):
    """The network after one step of the optimiser, with a backward pass after each time step."""
    experiment = build_seeded(build, 0)
    net, whole = experiment.net, experiment.data
    x, labels = torch.as_tensor(whole.train_x).double(), torch.as_tensor(whole.train_y)
    functional.set_step_mode(net, "s")
    online = {"sltt": learning.SLTT, "ottt": learning.OTTT}[gradient](net)
    for _ in range(T):
        (loss(online(x)[None], labels) / T).backward()
    experiment.optimizer.step()
    return net


@pytest.mark.parametrize("gradient", ["sltt", "ottt"])
@pytest.mark.parametrize("options", [{}, {"micro_batch": 8}, {"time_chunk": 2}], ids=str)
def test_a_step_is_that_of_online_learning(tmp_path, gradient, options):
    expected, got = by_steps(gradient), trained(tmp_path / "run", gradient=gradient, **options)
    through_time = trained(tmp_path / "through time")
    for (name, one), other in zip(expected.named_parameters(), got.parameters(), strict=True):
        assert_close(name, one.float(), other.float())  # single precision: Fabric returns outputs in it
    gap = (got[0].weight - through_time[0].weight).abs().max()
    assert gap > 1e-3 * got[0].weight.abs().max()


@pytest.mark.parametrize("gradient", ["sltt", "ottt"])
def test_it_learns_and_resumes(tmp_path, gradient):
    net = trained(tmp_path / "run", gradient=gradient, epochs=3)
    again = trained(tmp_path / "half", gradient=gradient, epochs=1)
    fabric = make_fabric("cpu", precision="64-true")
    fabric.launch()
    options = {"epochs": 3, "batch_size": SAMPLES, "gradient": gradient}
    resumed = Trainer(fabric, build_seeded(build, 0), Run(tmp_path / "half"), **options)
    losses = [row["train_loss"] for row in resumed.fit()]
    assert losses[2] < losses[0]
    for one, other, before in zip(
        net.parameters(), resumed.experiment.net.parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(one, other)
        assert not torch.equal(one, before)


def test_a_recipe_that_learns_online(tmp_path):
    recipe = RECIPES["lif-fc"](gradient="ottt", epochs=2, T=20, lr=5e-3)
    run = Run.create(tmp_path / "run", "lif-fc", recipe.settings())
    recipe.train(run)
    assert (
        checkpoint.load(run.checkpoints / checkpoint.LAST)["progress"]["history"][-1]["test_accuracy"] > 0.5
    )
