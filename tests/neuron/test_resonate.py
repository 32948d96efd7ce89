"""ResonateAndFireNode: period, decay, and its preference for its own rhythm."""

import math

import pytest
import torch

from compare import assert_close
from spikeloom.neuron import ResonateAndFireNode

# Made with SpikingJelly 2.0.0's RAFNode, torch 2.13.0, 2026-11-22, on X: spikes, potential after each step, u
# at the end, gradient of (spikes * [1, 2, 3, 4, 5]).sum() with respect to X.
X = [0.6, 1.2, 2.5, 0.1, 3.0]
GOLDEN = [
    (
        {},
        [0.0, 0.0, 1.0, 1.0, 0.0],
        [0.0, 0.413363, 0.0, 0.0, 0.941563],
        3.604571,
        [2.977292, 4.117988, 1.486726, 3.398064, 0.0],
    ),
    (
        {"b": -0.1, "omega": 0.5, "dt": 0.5},
        [0.0, 0.0, 0.0, 1.0, 0.0],
        [0.0, 0.141203, 0.542687, 0.0, 0.878962],
        6.442292,
        [0.868523, 0.814964, 0.76212, 1.110341, 0.0],
    ),
]


@pytest.mark.parametrize(("settings", "spikes", "v_seq", "u", "gradient"), GOLDEN)
def test_known_spikes_potentials_and_gradients(settings, spikes, v_seq, u, gradient):
    node = ResonateAndFireNode(step_mode="m", store_v_seq=True, **settings)
    x = torch.tensor(X).requires_grad_()
    out = node(x)
    assert out.tolist() == spikes
    assert node.v_seq.tolist() == pytest.approx(v_seq, abs=2e-6)
    assert node.u.item() == pytest.approx(u, abs=4e-6)
    (out * torch.arange(1.0, 6.0)).sum().backward()
    assert x.grad.tolist() == pytest.approx(gradient, abs=4e-6)


@pytest.mark.parametrize(("b", "omega", "dt"), [(-0.1, 0.5, 1.0), (-0.02, 2.0, 0.25), (0.0, 1.0, 0.5)])
def test_an_impulse_swings_and_decays_in_closed_form(b, omega, dt):
    """v_t = exp(b t dt) sin(omega t dt)"""
    node = ResonateAndFireNode(b, omega, dt, v_threshold=10.0, step_mode="m", store_v_seq=True)
    x = torch.zeros(100, dtype=torch.float64)
    x[0] = 1.0
    node(x)
    t = torch.arange(100.0, dtype=torch.float64) * dt
    assert_close("potential", (b * t).exp() * (omega * t).sin(), node.v_seq)


def test_pulses_in_its_own_rhythm_make_it_fire_and_others_do_not():
    period = 20
    for interval in (5, 10, 15, 20, 30, 40):
        node = ResonateAndFireNode(b=-0.02, omega=2 * math.pi / period, v_threshold=1.5, step_mode="m")
        x = torch.zeros(400)
        x[::interval] = 0.8
        assert (node(x).sum() > 0).item() == (interval == period)


def test_a_hard_reset_leaves_the_other_memory():
    node = ResonateAndFireNode(b=0.0, omega=math.pi / 2)
    node(torch.tensor([2.0]))
    assert node(torch.tensor([0.5])).item() == 1.0
    assert node.v.item() == 0.0
    assert node.u.item() == pytest.approx(0.5)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="`dt` must be a number greater than 0"):
        ResonateAndFireNode(dt=-1.0)
