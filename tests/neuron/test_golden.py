"""Spikes, potentials and gradients equal those of SpikingJelly 2.0.0, and laws that hold for any input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare import assert_close, assert_same
from spikeloom import surrogate
from spikeloom.neuron import (
    IFNode,
    LIFNode,
    NonSpikingIFNode,
    NonSpikingLIFNode,
    ParametricLIFNode,
    SimpleIFNode,
    SimpleLIFNode,
)

X = [0.6, 1.2, 2.5, 0.1, 3.0]
# Made with SpikingJelly 2.0.0, torch 2.13.0, 2026-11-22: each neuron in step_mode='m', store_v_seq=True,
# on X; then the gradient of (spikes * [1, 2, 3, 4, 5]).sum() with respect to X.
GOLDEN = [
    (
        lambda: LIFNode(),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.3, 0.75, 0.0, 0.05, 0.0],
        [0.501823, 0.842099, 0.271363, 0.655113, 0.971947],
    ),
    (
        lambda: LIFNode(v_reset=None),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.3, 0.75, 0.625, 0.3625, 0.68125],
        [0.445176, 0.860117, 0.689938, 0.748531, 0.577302],
    ),
    (
        lambda: LIFNode(v_reset=-0.5),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [-0.2, 0.25, -0.5, -0.45, -0.5],
        [0.199811, 0.370842, 0.439888, 1.270204, 2.49376],
    ),
    (
        lambda: LIFNode(decay_input=False),
        [0.0, 1.0, 1.0, 0.0, 1.0],
        [0.6, 0.0, 0.0, 0.1, 0.0],
        [0.835597, 0.832246, 0.024456, 0.41695, 0.00549],
    ),
    (
        lambda: LIFNode(decay_input=False, v_reset=-0.5, tau=4),
        [0.0, 1.0, 1.0, 0.0, 1.0],
        [0.1, -0.5, -0.5, -0.4, -0.5],
        [1.231221, 1.603163, 0.200543, 0.086134, 0.036592],
    ),
    (
        lambda: LIFNode(detach_reset=True),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.3, 0.75, 0.0, 0.05, 0.0],
        [0.606456, 0.996759, 0.420622, 0.657193, 0.971947],
    ),
    (
        lambda: LIFNode(v_reset=None, detach_reset=True, surrogate_function=surrogate.ATan()),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.3, 0.75, 0.625, 0.3625, 0.68125],
        [0.550041, 0.928734, 0.620495, 0.623111, 0.447988],
    ),
    (
        lambda: IFNode(v_threshold=2),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.6, 1.8, 0.0, 0.1, 0.0],
        [1.710466, 1.710855, 0.000783, 0.247579, 0.239627],
    ),
    (
        lambda: ParametricLIFNode(init_tau=3),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.2, 0.533333, 0.0, 0.033333, 0.0],
        [0.261054, 0.326136, 0.033537, 1.213037, 1.663379],
    ),
    (
        lambda: ParametricLIFNode(init_tau=3.0, decay_input=False, v_reset=None),
        [0.0, 1.0, 1.0, 1.0, 1.0],
        [0.6, 0.6, 1.9, 0.366667, 2.244444],
        [0.960096, 1.364257, 1.627853, 2.437655, 0.002522],
    ),
]


@pytest.mark.parametrize(("make", "spikes", "v_seq", "gradient"), GOLDEN)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_known_spikes_potentials_and_gradients(make, spikes, v_seq, gradient, step_mode):
    node = make()
    node.step_mode, node.store_v_seq = step_mode, True
    x = torch.tensor(X).requires_grad_()
    out = node(x) if step_mode == "m" else torch.stack([node(step) for step in x])
    assert out.tolist() == spikes
    assert node.v_seq.tolist() == pytest.approx(v_seq, abs=1e-6)
    (out * torch.arange(1.0, 6.0)).sum().backward()
    # the gradient of a hand-rounded number: six decimals
    assert x.grad.tolist() == pytest.approx(gradient, abs=2e-6)


@given(tau=st.floats(1.01, 50.0), v_reset=st.floats(-2.0, 0.9), steps=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_without_input_the_potential_decays_in_closed_form(tau, v_reset, steps):
    """v_t = rest + (v_0 - rest) (1 - 1/tau)^t"""
    node = LIFNode(tau, v_reset=v_reset, decay_input=False, step_mode="m", v_threshold=10.0)
    node.v = torch.tensor([5.0], dtype=torch.float64)
    node(torch.zeros(steps, 1, dtype=torch.float64))
    expected = v_reset + (5.0 - v_reset) * (1.0 - 1.0 / tau) ** steps
    assert node.v.item() == pytest.approx(expected, abs=1e-9)


@given(tau=st.floats(1.01, 50.0), current=st.floats(-3.0, 3.0), steps=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_step_response_of_the_leaky_integrator(tau, current, steps):
    """v_t = I (1 - (1 - 1/tau)^t)"""
    node = NonSpikingLIFNode(tau, step_mode="m")
    v_seq = node(torch.full([steps, 1], current, dtype=torch.float64))
    assert v_seq[-1].item() == pytest.approx(current * (1 - (1 - 1 / tau) ** steps), abs=1e-9)


@pytest.mark.parametrize("current", [1.1, 1.5, 4.0])
def test_interspike_interval_of_a_constant_current(current):
    """A LIF neuron with rest 0 reaches the threshold 1 after ceil(ln(1 - 1/I) / ln(1 - 1/tau)) steps."""
    tau = 20.0
    node = LIFNode(tau, step_mode="m")
    spikes = node(torch.full([400], current, dtype=torch.float64))
    times = spikes.nonzero().flatten()
    period = math.ceil(math.log(1 - 1 / current) / math.log(1 - 1 / tau))
    assert set(times.diff().tolist()) == {period}


def test_an_integrator_conserves_charge_with_soft_reset():
    x = torch.rand(200, 50, dtype=torch.float64) * 1.5
    node = IFNode(v_reset=None, step_mode="m")
    spikes = node(x)
    assert_close("charge", x.sum(0), node.v + spikes.sum(0))


@pytest.mark.parametrize("v_reset", [0.0, None, -0.5])
@pytest.mark.parametrize("decay_input", [True, False])
def test_leak_after_reset_fires_as_leak_before_charge(v_reset, decay_input):
    x = torch.rand(100, 64, dtype=torch.float64) * 3
    settings_ = {
        "tau": 4.0,
        "v_reset": v_reset,
        "decay_input": decay_input,
        "step_mode": "m",
        "store_v_seq": True,
    }
    before, after = LIFNode(**settings_), LIFNode(**settings_, leak_after_reset=True)
    assert_same("spikes", before(x), after(x))
    rest = before.rest
    assert_close("leaked", (before.v_seq - rest) * 0.75 + rest, after.v_seq)


def test_leak_after_reset_is_the_form_of_simple_tutorials():
    """mem = mem * (1 - spike) * decay + x, with decay 0.2, bit by bit."""
    x = torch.randn(50, 64) + 0.5
    node = LIFNode(1 / (1 - 0.2), decay_input=False, v_threshold=0.5, leak_after_reset=True, step_mode="m")
    mem, spike, expected = torch.zeros(64), torch.zeros(64), []
    for step in x:
        mem = mem * (1 - spike) * 0.2 + step
        spike = (mem >= 0.5).float()
        expected.append(spike)
    assert_same("spikes", torch.stack(expected), node(x))


def test_simple_neurons_start_at_zero_and_others_at_v_reset():
    x = torch.tensor([0.25])
    simple, plain = SimpleIFNode(v_reset=-1.0), IFNode(v_reset=-1.0)
    assert simple.v == 0.0
    assert plain.v == -1.0
    simple(x), plain(x)
    assert simple.v.item() == 0.25
    assert plain.v.item() == -0.75
    simple.reset()
    assert simple.v == 0.0
    assert SimpleLIFNode(2.0, True, v_reset=-1.0).v == 0.0


@pytest.mark.parametrize(
    ("decode", "expected"),
    [("max-mem", 1.5), ("max-abs-mem", -2.0), ("mean-mem", 0.125), ("last-mem", 1.5), ("last_mem", 1.5)],
)
def test_decoding_of_the_potential(decode, expected):
    out = NonSpikingIFNode(decode, step_mode="m")(torch.tensor([[1.0], [-3.0], [2.0], [1.5]]))
    assert out.tolist() == [expected]
