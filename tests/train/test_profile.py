"""Profiles of runs whose networks make the time steps themselves, or take one number of them only."""

import json

import pytest
import torch
from torch import nn

from spikeloom import layer, neuron
from spikeloom.data import Dataset
from spikeloom.errors import CheckpointError
from spikeloom.train import checkpoint
from spikeloom.train.experiment import Experiment
from spikeloom.train.profile import profile_run
from spikeloom.train.run import Run

T, FLOAT = 4, 4  # time steps, bytes


class Repeats(nn.Module):
    """A layer of neurons that see the same current at each of ``T`` steps."""

    def __init__(self, T):
        super().__init__()
        self.T, self.fc, self.node = T, nn.Linear(3, 5), neuron.IFNode(step_mode="m", backend="torch")

    def forward(self, x):
        return self.node(self.fc(x).expand(self.T, len(x), 5))


def parallel(T):
    return nn.Sequential(layer.Linear(3, 5, step_mode="m"), neuron.PSN(T))


def experiment(net, encode):
    x, y = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
    data = Dataset("random", ("a", "b"), x, y, x, y)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    return Experiment(net, data, encode, nn.functional.cross_entropy, lambda out: out.argmax(-1), optimizer)


@pytest.fixture
def profiled(tmp_path):
    """Profiles the network that ``make`` makes for a number of time steps; returns text and numbers."""
    run = Run.create(tmp_path / "run", "mine", {})

    def profile(make, encode):
        def build(T_now):
            return experiment(make(T_now or T), encode)

        built = build(None)
        state = {"net": built.net.state_dict(), "optimizer": built.optimizer.state_dict()}
        text = profile_run(run, build, state, seed=0, num_steps=T, samples=6, mac=4.6, ac=0.9)
        return text, json.loads((run.folder / "profile.json").read_text())

    profile.run = run
    return profile


def test_a_network_that_repeats_its_input_is_built_for_other_time_steps(profiled):
    text, numbers = profiled(Repeats, lambda x, _random: x)
    counted, memory = numbers["per_sample"], numbers["training_memory"]
    assert (counted["num_steps"], counted["num_samples"]) == (T, 6)
    assert counted["layers"][0]["macs"] == counted["layers"][0]["ann_macs"] == 15  # once, not T times
    saved = {int(steps): size for steps, size in memory["saved"].items()}
    assert list(saved) == [2, 4, 8]
    assert saved[8] - saved[4] == 2 * (saved[4] - saved[2]) > 0
    assert "mine: 6 test samples, T=4" in text


def test_a_network_for_one_number_of_time_steps_is_measured_with_it(profiled):
    text, numbers = profiled(parallel, lambda x, _random: x.expand(T, *x.shape))
    assert list(numbers["training_memory"]["saved"]) == ["4"]
    assert "not counted: addmm in '1' (PSN)" in text
    assert "each time step" not in text
    assert numbers["per_sample"]["layers"][0]["macs"] == 15 * T


def test_silent_layers_are_named(profiled):
    def silent(T):
        net = Repeats(T)
        net.node.v_threshold = 1e6
        return net

    text, _ = profiled(silent, lambda x, _random: x)
    assert "never fired: node" in text


def test_without_an_optimiser_in_the_checkpoint_that_of_the_last_one_is_measured(profiled):
    built = experiment(Repeats(T), lambda x, _random: x)
    built.optimizer = torch.optim.Adam(built.net.parameters())
    built.net(built.data.test_x).sum().backward()
    built.optimizer.step()
    state = {"net": built.net.state_dict(), "optimizer": built.optimizer.state_dict()}
    checkpoint.save_last(profiled.run.checkpoints, state)

    def build(T_now):
        again = experiment(Repeats(T_now or T), lambda x, _random: x)
        again.optimizer = torch.optim.Adam(again.net.parameters())
        return again

    best = {"net": state["net"]}
    profile_run(profiled.run, build, best, seed=0, num_steps=T, samples=1, mac=4.6, ac=0.9)
    memory = json.loads((profiled.run.folder / "profile.json").read_text())["training_memory"]
    assert memory["optimizer"] == 2 * memory["parameters"] + 2 * FLOAT
    checkpoint.save_last(profiled.run.checkpoints, best)  # a copy of the best one
    profile_run(profiled.run, build, best, seed=0, num_steps=T, samples=1, mac=4.6, ac=0.9)
    with pytest.raises(CheckpointError, match="does not fit"):
        profile_run(profiled.run, build, {"net": {}}, seed=0, num_steps=T, samples=1, mac=4.6, ac=0.9)
