"""Memories that a step changes in place: whatever runs it, results are those of single steps."""

import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient
from spikeloom import encoding, functional, layer, loom, neuron
from spikeloom.memory import MemoryModule

X = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0))


class InPlace(neuron.BaseNode):
    def neuronal_charge(self, x):
        self.v += x

    def neuronal_reset(self, spike):
        self.v -= spike.detach() * self.v_threshold


class Integrator(neuron.BaseNode):
    """Gives its potential away."""

    def neuronal_charge(self, x):
        self.v += x

    def neuronal_fire(self):
        return self.v

    def neuronal_reset(self, spike):
        pass


class Total(MemoryModule):
    def __init__(self, step_mode="s"):
        super().__init__(step_mode)
        self.register_memory("total", 0.0)

    def single_step_forward(self, x):
        if not isinstance(self.total, torch.Tensor):
            self.total = torch.zeros_like(x)
        self.total += x
        return self.total


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("node", [InPlace, Integrator])
def test_sequences_are_single_steps(node, backend):
    alone, together = node(), node(step_mode="m", store_v_seq=True)
    steps, potentials = [], []
    for x in X:
        steps.append(alone(x))
        potentials.append(alone.v.clone())
    with loom.backend(backend):
        assert_close("output", torch.stack(steps), together(X))
    assert_close("v_seq", torch.stack(potentials), together.v_seq)


def test_a_module_that_returns_its_memory():
    assert torch.equal(Total("m")(torch.ones(3, 1)).flatten(), torch.tensor([1.0, 2.0, 3.0]))


def test_potentials_of_single_steps_are_kept():
    node = InPlace(store_v_seq=True)
    potentials = []
    for x in X:
        node(x)
        potentials.append(node.v.clone())
    assert_close("v_seq", torch.stack(potentials), node.v_seq)


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("node", [InPlace, neuron.LIFNode])
def test_checkpoints_start_from_the_memories_before(node, backend):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), node(step_mode="m", store_v_seq=True))

    def gradient(run):
        functional.reset_net(net)
        net.zero_grad()
        with loom.backend(backend):
            (run(X) * torch.arange(1.0, 7.0).view(6, 1, 1)).sum().backward()
        return net[0].weight.grad

    wanted = gradient(net)
    assert_gradient("over time", wanted, gradient(lambda x: functional.checkpoint_time(net, x, 2)))
    assert net[1].v_seq.shape == (2, 3, 5)  # of the last chunk, also behind the backward pass
    assert_gradient("at once", wanted, gradient(lambda x: functional.checkpoint(net, x)))
    assert net[1].v_seq.shape == (6, 3, 5)


def test_checkpoints_refuse_spikes_that_cannot_be_drawn_again():
    encoder = encoding.PoissonEncoder("m", generator=torch.Generator())
    net = nn.Sequential(encoder, layer.Linear(4, 2))
    with pytest.raises(ValueError, match="PoissonEncoder has another one, which cannot be set back"):
        functional.checkpoint_time(net, X, 2)


@pytest.mark.parametrize(
    "run",
    [
        lambda net: functional.checkpoint_time(net, X, 2),
        lambda net: functional.chunk_multi_step_forward(2, X, net),
    ],
)
def test_chunks_of_time_are_no_batches(run):
    assert run(encoding.PoissonEncoder()).shape == X.shape  # has no memory
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(neuron.IFNode()))
    with pytest.raises(ValueError, match=r"in multi-step mode, but IFNode.*set_step_mode\(net, 'm'\)"):
        run(net)
    functional.set_step_mode(net, "m")
    assert run(net).shape == X.shape


def test_memories_of_whole_numbers_follow_the_input():
    class Counts(MemoryModule):
        def __init__(self):
            super().__init__()
            self.register_memory("count", torch.zeros(3, dtype=torch.long))

        def single_step_forward(self, x):
            self.count = self.count + (x > 0)
            return x

    net = Counts()
    net(torch.ones(3, device="meta"))
    assert net.count.device.type == "meta"
