"""A batch that is computed in parts: the same samples, gradients and metrics, and less at once."""

import math

import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import data, functional, layer, neuron
from spikeloom.encoding import PoissonEncoder
from spikeloom.recipe import LifFc
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import Trainer
from spikeloom.train.run import Run


class Sizes(nn.Module):
    """Notes how many samples it sees at once."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.shape[1])
        return x


def build():
    digits = data.load("digits").take(num_train=48, num_test=16)
    net = nn.Sequential(Sizes(), layer.Flatten(), layer.Linear(64, 10), neuron.LIFNode())
    functional.set_step_mode(net, "m")
    return Experiment(
        net,
        digits,
        encode=lambda x, random: PoissonEncoder(generator=random).encode(x, 12),
        loss=functional.firing_rate_mse,
        predict=lambda spikes: spikes.sum(0).argmax(-1),
        optimizer=torch.optim.SGD(net.parameters(), 0.5),
    )


def trained(folder, micro_batch):
    fabric = make_fabric("cpu")
    experiment = build_seeded(build, 0)
    run = Run.create(folder, "own", {})
    trainer = Trainer(fabric, experiment, run, epochs=2, batch_size=16, micro_batch=micro_batch)
    return trainer.fit(), experiment.net


@pytest.mark.parametrize(("micro_batch", "first"), [(5, [5, 5, 5, 1]), (16, [16]), (99, [16]), (1, [1] * 16)])
def test_parts_add_up_to_the_batch(tmp_path, micro_batch, first):
    """12 spikes of a sample depend on its place in the dataset only, so that parts see the same ones."""
    (whole, net), (parts, other) = trained(tmp_path / "a", None), trained(tmp_path / "b", micro_batch)
    for one, two in zip(whole, parts, strict=True):
        assert math.isclose(one["train_loss"], two["train_loss"], rel_tol=1e-5)
        assert one["train_accuracy"] == two["train_accuracy"]
    assert_close("weights", net[2].weight, other[2].weight)
    assert other[0].seen[: len(first)] == first


def test_a_recipe_refuses_no_samples_at_all():
    with pytest.raises(ValueError, match="`micro_batch` must be at least 1, got 0"):
        LifFc(micro_batch=0)
