"""What scripts written for SpikingJelly do with neurons, and slips of their readers."""

import pytest
import torch

from compare import assert_same
from spikeloom import neuron, surrogate


def test_a_hook_may_collect_potentials_in_v_seq():
    node, x = neuron.LIFNode(), torch.rand(4, 2, 3) * 2
    node.v_seq = []
    node.register_forward_hook(lambda module, _x, _y: module.v_seq.append(module.v.unsqueeze(0)))
    for step in x:
        node(step)
    stored = neuron.LIFNode(step_mode="m", store_v_seq=True)
    stored(x)
    assert_same("v_seq", stored.v_seq, torch.cat(node.v_seq))


def test_what_a_neuron_stores_itself_takes_the_place_of_what_was_assigned():
    node = neuron.IFNode(store_v_seq=True)
    node.v_seq = ["mine"]
    assert node.v_seq == ["mine"]
    node(torch.full((2,), 0.25))
    assert_same("v_seq", torch.full((1, 2), 0.25), node.v_seq)


def test_store_v_seq_in_the_place_of_backend():
    node = neuron.LIFNode(2.0, True, 1.0, 0.0, surrogate.ATan(), False, "m", True)
    assert node.store_v_seq is True
    assert node.backend == "auto"
    node(torch.rand(3, 2))
    assert node.v_seq.shape == (3, 2)


@pytest.mark.parametrize("made", [neuron.IFNode, neuron.LIFNode, neuron.QIFNode])
def test_a_surrogate_without_brackets_is_refused(made):
    with pytest.raises(TypeError, match=r"`surrogate_function` must be callable, as surrogate.ATan\(\) is"):
        made(surrogate_function=surrogate.ATan)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_surrogate_without_a_slope_is_not_taken_for_gradients_of_zero(backend):
    def step(x):
        return (x >= 0).float()

    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4), neuron.LIFNode(surrogate_function=step, step_mode="m", backend=backend)
    )
    output = net(torch.rand(5, 2, 3))
    assert not output.requires_grad
    with pytest.raises(RuntimeError, match="does not require grad"):
        output.sum().backward()
    net[1].v.sum().backward()  # the potential has a gradient all the same
    assert net[0].weight.grad.abs().sum() > 0


def test_decoding_takes_a_sequence_without_being_told():
    x = torch.rand(6, 2, 3)
    for decode, expected in (("max-mem", x.cumsum(0).amax(0)), ("last-mem", x.sum(0))):
        torch.testing.assert_close(neuron.NonSpikingIFNode(decode)(x), expected)
        torch.testing.assert_close(neuron.NonSpikingLIFNode(2.0, decode)(x).shape, expected.shape)
    assert neuron.NonSpikingIFNode().step_mode == "s"


def test_decoding_a_single_step_is_refused():
    node = neuron.NonSpikingLIFNode(2.0, "max-mem")
    node.step_mode = "s"
    with pytest.raises(ValueError, match="`decode` of NonSpikingLIFNode must be None in single-step mode"):
        node(torch.rand(2, 3))


def test_a_masked_psn_loads_the_state_of_spikingjellys():
    own = neuron.MaskedPSN(2, 4, step_mode="m")
    theirs = {"weight": torch.rand(4, 4), "bias": torch.rand(4, 1), "_lambda_": torch.tensor(0.75)}
    theirs |= {"mask1": torch.ones(4, 4), "mask0": torch.ones(4, 4)}
    net = torch.nn.Sequential(own)
    net.load_state_dict({f"0.{name}": value for name, value in theirs.items()})
    assert own.lambda_ == 0.75
    assert_same("weight", theirs["weight"], own.weight.detach())
