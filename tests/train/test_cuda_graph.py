"""Steps that are replayed as a CUDA graph, and what they may not be combined with."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from spikeloom import data, functional, layer, neuron
from spikeloom.errors import RunError
from spikeloom.train import loop, refusals
from spikeloom.train.augment import random_crop
from spikeloom.train.cuda_graph import CudaGraph
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import CHECKED_STEPS, Trainer
from spikeloom.train.run import Run


def build(mixup=0.0):
    digits = data.load("digits").take(num_train=100, num_test=20)
    convolution, norm = layer.Conv2d(1, 4, 3, padding=1), layer.BatchNorm2d(4)
    net = nn.Sequential(convolution, norm, neuron.LIFNode(), layer.Flatten(), layer.Linear(256, 10))
    functional.set_step_mode(net, "m")
    return Experiment(
        net,
        digits,
        encode=lambda x, _random: (3 * x).repeat(4, 1, 1, 1, 1),
        loss=lambda output, labels: nn.functional.cross_entropy(output.float().mean(0), labels),
        predict=lambda output: output.mean(0).argmax(-1),
        optimizer=torch.optim.SGD(net.parameters(), 0.1, momentum=0.9),
        augment=lambda x, random: random_crop(x, random, padding=1),
        mixup=mixup,
    )


def trained(folder, device, cuda_graph, mixup=0.0, **settings):
    experiment = build_seeded(lambda: build(mixup), 0)
    run = Run.create(folder, "own", {})
    trainer = Trainer(
        make_fabric(device), experiment, run, epochs=3, batch_size=16, cuda_graph=cuda_graph, **settings
    )
    return trainer.fit(), experiment.net


def assert_the_same(eager, replayed):
    """Losses and weights, but for what kernels that add in another order make of them."""
    for one, other in zip(eager[0], replayed[0], strict=True):
        assert math.isclose(one["train_loss"], other["train_loss"], rel_tol=1e-4)
        assert one["train_accuracy"] == other["train_accuracy"]
    weights = [
        {name: value.double().cpu() for name, value in net.state_dict().items()}
        for net in (eager[1], replayed[1])
    ]
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_a_replayed_training_is_the_same(tmp_path, mixup):
    assert_the_same(
        trained(tmp_path / "eager", "cuda", False, mixup), trained(tmp_path / "graph", "cuda", True, mixup)
    )


class Played(CudaGraph):
    """Stands in where there is no CUDA device: it runs the function at each call."""

    calls = 0

    def __call__(self, *tensors):
        Played.calls += 1
        return self.function(*tensors)


@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_batches_that_are_prepared_ahead_are_the_same(tmp_path, monkeypatch, mixup):
    eager = trained(tmp_path / "eager", "cpu", False, mixup)
    monkeypatch.setattr(loop, "CudaGraph", Played)
    monkeypatch.setattr(refusals, "require_whole_steps", lambda *_: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(Played, "calls", 0)
    assert_the_same(eager, trained(tmp_path / "graph", "cpu", True, mixup))
    assert Played.calls == 3 * (100 // 16) - CHECKED_STEPS


def test_what_a_graph_cannot_hold(tmp_path):
    with pytest.raises(RunError, match=r"`cuda_graph` must be off here: the device is 'cpu'.*--cuda-graph"):
        trained(tmp_path / "cpu", "cpu", True)
    fabric = SimpleNamespace(device=torch.device("cuda"), world_size=1)
    with pytest.raises(RunError, match="micro_batch and time_chunk"):
        refusals.require_whole_steps(fabric, 8, "bptt")
    with pytest.raises(RunError, match="OTTT reads the neurons' time constants"):
        refusals.require_whole_steps(fabric, None, "ottt")
    fabric.world_size = 2
    with pytest.raises(RunError, match="several processes"):
        refusals.require_whole_steps(fabric, None, "bptt")
