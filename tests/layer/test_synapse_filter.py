"""The synaptic current: numbers of SpikingJelly 2.0.0, the closed form, learning."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare import assert_close, assert_same
from spikeloom import layer

# spikingjelly 2.0.0: layer.SynapseFilter(tau)(x[t:t+1]) for each t
GOLDEN = [
    (4.0, [1, 0, 0, 1, 2], [1.0, 0.75, 0.5625, 1.5625, 3.953125]),
    (100.0, [1, 0, 0, 1, 2], [1.0, 0.9900000095367432, 0.9801000356674194, 1.98010003, 3.99990105]),
    (4.0, [0.5, -1.0, 0.25, 1.0], [0.5, -0.75, -0.359375, 0.640625]),
    (3.0, [0, 1, 1, 0, 0, 1, 0],
     [0.0, 1.0, 2.0, 1.3333332538604736, 0.8888888359069824, 1.8888888359069824, 1.2592592239379883]),
]  # fmt: skip


def run(synapse, x_seq, step_mode):
    synapse.step_mode = step_mode
    return synapse(x_seq) if step_mode == "m" else torch.stack([synapse(x) for x in x_seq])


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize(("tau", "x", "golden"), GOLDEN)
def test_the_peers_numbers(tau, x, golden, learnable, step_mode):
    synapse = layer.SynapseFilter(tau, learnable)
    out = run(synapse, torch.tensor(x).float().unsqueeze(1), step_mode)
    assert_close("current", torch.tensor(golden), out.detach().flatten())
    assert list(synapse.state_dict()) == (["w"] if learnable else [])
    synapse.reset()
    assert synapse.out_i == 0.0


def test_the_time_constant_learns():
    synapse = layer.SynapseFilter(4.0, learnable=True, step_mode="m")
    x = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])
    synapse(x.unsqueeze(1))[-1].sum().backward()
    torch.testing.assert_close(synapse.w.grad, torch.tensor(-0.5039), rtol=0, atol=5e-5)  # spikingjelly 2.0.0
    assert_close("tau", torch.tensor(4.0), synapse.tau.detach())
    twin = pickle.loads(pickle.dumps(copy.deepcopy(synapse)))
    assert_same("memory of the copy", synapse.out_i.detach(), twin.out_i)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.floats(1.1, 200.0))
def test_a_single_spike_decays_geometrically(num_steps, tau):
    x = torch.zeros(num_steps, 1, dtype=torch.float64)
    x[0] = 1
    out = layer.SynapseFilter(tau, step_mode="m")(x)
    assert_close("decay", (1 - 1 / tau) ** torch.arange(num_steps, dtype=torch.float64), out.flatten())


@pytest.mark.parametrize("learnable", [False, True])
def test_the_current_may_be_summed_in_place(learnable):
    synapse, x = layer.SynapseFilter(3.0, learnable), torch.rand(5, 2, requires_grad=True)
    reference = run(synapse, x, "s").sum(0)
    synapse.reset()
    total = synapse(x[0])
    for step in x[1:]:
        total += synapse(step)
    assert_close("sum", reference, total)
    total.sum().backward()


def test_wrong_time_constants_and_half_input():
    for tau in (1.0, -3.0, float("nan")):
        with pytest.raises(ValueError, match="`tau`"):
            layer.SynapseFilter(tau)
    assert layer.SynapseFilter(2)(torch.ones(3).bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="`tau` must be a finite number"):
        layer.SynapseFilter(float("inf"), learnable=True)
    assert "tau=4, learnable=True" in repr(layer.SynapseFilter(4.0, True))
