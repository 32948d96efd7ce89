"""Containers: who sees time, who does not, and what is refused."""

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer, neuron
from spikeloom.errors import ShapeError


def stack():
    torch.manual_seed(0)
    return [nn.Linear(3, 4), neuron.LIFNode(), nn.Linear(4, 2), neuron.IFNode()]


def test_multi_step_container_is_the_loop_over_time():
    container, plain, x_seq = (
        layer.MultiStepContainer(*stack()),
        nn.Sequential(*stack()),
        torch.rand(6, 5, 3) * 3,
    )
    reference = torch.stack([plain(x) for x in x_seq])
    assert_same("output", reference, container(x_seq))
    functional.reset_net(container)
    assert_same("after reset", reference, container(x_seq))
    assert list(container.state_dict()) == list(plain.state_dict())


def test_seq_to_ann_container_is_one_call():
    calls = []
    conv = nn.Conv2d(1, 2, 3)
    conv.register_forward_hook(lambda _m, inputs, _o: calls.append(tuple(inputs[0].shape)))
    x_seq = torch.rand(3, 2, 1, 7, 5)
    out = layer.SeqToANNContainer(conv, nn.BatchNorm2d(2))(x_seq)
    assert calls == [(6, 1, 7, 5)]
    assert_close("output", nn.BatchNorm2d(2)(conv(x_seq.flatten(0, 1))).unflatten(0, (3, 2)), out)


@pytest.mark.parametrize("stateful", [False, True])
def test_step_mode_container_takes_both_argument_orders(stateful):
    x_seq = torch.rand(4, 2, 3)
    linear = nn.Linear(3, 2)
    for container in (
        layer.StepModeContainer(stateful, "m", linear),
        layer.StepModeContainer(stateful, linear, step_mode="m"),
    ):
        assert container.step_mode == "m"
        assert_close("output", linear(x_seq), container(x_seq))
    assert layer.StepModeContainer(stateful, linear).step_mode == "s"
    assert list(container.state_dict()) == ["0.weight", "0.bias"]


@pytest.mark.parametrize("cls", [layer.MultiStepContainer, layer.SeqToANNContainer])
def test_set_step_mode_stops_at_the_container(cls):
    container = cls(layer.Linear(3, 2), nn.ReLU())
    assert container.step_mode == "m"
    for step_mode, x in (("s", torch.rand(5, 3)), ("m", torch.rand(4, 5, 3))):
        functional.set_step_mode(container, step_mode)
        assert (container.step_mode, container[0].step_mode) == (step_mode, "s")
        assert_close("output", container[1](container[0](x)), container(x))


def test_containers_slice_copy_and_pickle():
    container = layer.MultiStepContainer(OrderedDict(fc=nn.Linear(3, 2), sn=neuron.IFNode()))
    x_seq = torch.rand(4, 5, 3, requires_grad=True)
    container(x_seq).sum().backward()
    assert type(container[:1]) is layer.MultiStepContainer
    for twin in (copy.deepcopy(container), pickle.loads(pickle.dumps(container))):
        functional.reset_net(twin)
        functional.reset_net(container)
        assert_same("copy", container(x_seq), twin(x_seq))


def test_modules_in_the_wrong_mode_are_refused_also_later():
    with pytest.raises(ValueError, match=r"IFNode '0' must be 's'.*step_mode='s'"):
        layer.MultiStepContainer(nn.Sequential(neuron.IFNode(step_mode="m")))
    container = layer.MultiStepContainer(neuron.IFNode())
    container[0].step_mode = "m"
    with pytest.raises(ValueError, match="must be 's'"):
        container(torch.rand(2, 3))


@pytest.mark.parametrize(
    "module", [neuron.IFNode, layer.Dropout, lambda: nn.Sequential(nn.ReLU(), neuron.LIFNode())]
)
def test_seq_to_ann_refuses_memories(module):
    with pytest.raises(ValueError, match=r"stateless.*MultiStepContainer"):
        layer.SeqToANNContainer(nn.Linear(2, 2), module())
    with pytest.raises(ValueError, match="stateless"):
        layer.StepModeContainer(False, module())
    container = layer.SeqToANNContainer(nn.ReLU())
    container.append(module())
    with pytest.raises(ValueError, match="stateless"):
        container(torch.rand(2, 3))


def test_sequences_without_steps_or_batch_are_refused():
    for container in (layer.MultiStepContainer(nn.ReLU()), layer.SeqToANNContainer(nn.ReLU())):
        with pytest.raises(ShapeError, match="at least one time step"):
            container(torch.rand(0, 3))
    with pytest.raises(ShapeError, match="time axis"):
        layer.SeqToANNContainer(nn.ReLU())(torch.rand(3))
    assert layer.MultiStepContainer(neuron.IFNode())(torch.ones(3)).tolist() == [1, 1, 1]


def test_stateful_must_be_a_boolean():
    with pytest.raises(TypeError, match="stateful"):
        layer.StepModeContainer(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda *modules: layer.StepModeContainer(True, *modules),
        lambda *modules: layer.MultiStepContainer(*modules, step_mode="s"),
        lambda *modules: layer.TLastMultiStepContainer(*modules, step_mode="s"),
    ],
)
def test_a_part_of_a_container_is_one_too(make):
    whole = make(nn.Linear(3, 2), neuron.IFNode(), nn.Linear(2, 2)).eval()
    part = whole[:2]
    assert (type(part), part.step_mode, part.stateful, part.training, len(part)) == (
        type(whole),
        "s",
        True,
        False,
        2,
    )
    assert part[0] is whole[0]
    assert whole[-1] is whole[2]
    assert part(torch.ones(5, 3)).shape == (5, 2)


def test_a_part_of_a_container_of_ones_own_has_its_attributes():
    class Scaled(layer.MultiStepContainer):
        def __init__(self, *modules):
            super().__init__(*modules)
            self.scale = 2.0

        def forward(self, input):
            return self.scale * super().forward(input)

    net = Scaled(nn.Identity(), nn.ReLU())
    net.register_forward_hook(lambda *_: pytest.fail("hooks stay with the whole"))
    assert net[:1](torch.ones(3, 1)).flatten().tolist() == [2, 2, 2]
