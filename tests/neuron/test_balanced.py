"""BalancedResonateAndFireNode: the published recursion, and the damping that balances it."""

import math

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom.neuron import BalancedResonateAndFireNode


def test_it_is_the_published_recursion():
    dt, omega, offset = 0.01, 8.0, 0.6
    x_seq = torch.rand(300, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 60 - 20
    z, q = torch.zeros(40, dtype=torch.complex128), torch.zeros(40, dtype=torch.float64)
    balance = (math.sqrt(1 - (omega * dt) ** 2) - 1) / dt
    expected = []
    for x in x_seq:
        z = z + dt * (torch.complex(balance - offset - q, torch.full_like(q, omega)) * z + x)
        spike = (z.real - 1 - q >= 0).double()
        q = 0.9 * q + spike
        expected.append(spike)
    node = BalancedResonateAndFireNode(omega, offset, step_mode="m")
    spikes = node(x_seq)
    assert 0.01 < spikes.mean() < 0.5
    assert_same("spikes", torch.stack(expected), spikes)
    for name, value in (("v", z.real), ("u", z.imag), ("q", q)):
        assert_close(name, value, getattr(node, name))


@pytest.mark.parametrize(("omega", "dt"), [(7.5, 0.01), (40.0, 0.02), (-3.0, 0.3)])
def test_without_more_damping_a_swing_neither_grows_nor_decays(omega, dt):
    node = BalancedResonateAndFireNode(omega, 0.0, 0.0, dt, 1e9, step_mode="m", store_v_seq=True)
    x = torch.zeros(1000, dtype=torch.float64)
    x[0] = 1 / dt
    node(x)
    t = torch.arange(1000, dtype=torch.float64)
    expected = (math.asin(omega * dt) * t).cos()
    torch.testing.assert_close(node.v_seq, expected, rtol=0, atol=1e-12)  # roundings add up


def test_a_spike_raises_threshold_and_damping_and_resets_nothing():
    node = BalancedResonateAndFireNode(omega=0.0, b_offset=0.0, dt=0.5, gamma=0.5)
    assert node(torch.tensor([4.0])).item() == 1
    assert (node.v.item(), node.q.item()) == (2.0, 1.0)
    assert node(torch.tensor([3.0])).item() == 1  # 2 + (3 - 2 * 1) / 2 = 2.5 against 2
    assert (node.v.item(), node.q.item()) == (2.5, 1.5)
    assert node(torch.tensor([0.0])).item() == 0  # 2.5 (1 - 1.5 / 2) against 2.5


def test_a_frequency_that_is_learned_beyond_its_bound_acts_as_the_bound():
    omega = nn.Parameter(torch.tensor([50.0, 100.0, 150.0]))
    node = BalancedResonateAndFireNode(omega=omega.detach().clamp(max=50), b_offset=0.0, v_threshold=100.0)
    node.step_mode, node.store_v_seq, node.omega = "m", True, omega
    x = torch.zeros(1000, 3)
    x[0] = 50.0
    node(x).sum().backward()
    assert omega.grad.isfinite().all()
    assert node.v_seq.abs().max() <= 0.51
    assert_close("as the bound", node.v_seq[:, 1], node.v_seq[:, 2])


@pytest.mark.parametrize(("omega", "dt"), [(0.5, 1.0), (9.9, 0.1), (torch.tensor([1.0, 9.9]), 0.1)])
def test_steps_that_are_too_long_for_the_damping_are_refused(omega, dt):
    with pytest.raises(ValueError, match=r"`dt` must be short enough for the damping.*a swing would grow"):
        BalancedResonateAndFireNode(omega=omega, dt=dt)


def test_at_the_strongest_damping_it_stays_bounded():
    node = BalancedResonateAndFireNode(omega=9.0, b_offset=0.0, dt=0.08, v_threshold=0.0, store_v_seq=True)
    node.step_mode = "m"
    node(torch.full([2000, 1], 100.0, dtype=torch.float64))
    assert node.v_seq.abs().max() < 200


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"`omega` must be .* from -100 to 100"):
        BalancedResonateAndFireNode(omega=200.0)
    with pytest.raises(ValueError, match="`b_offset` must be"):
        BalancedResonateAndFireNode(b_offset=-0.1)
    with pytest.raises(ValueError, match="`gamma` must be a finite number of at least 0"):
        BalancedResonateAndFireNode(gamma=-0.5)
    with pytest.raises(ValueError, match="`dt` must be short enough"):
        BalancedResonateAndFireNode(gamma=1.0)
    with pytest.raises(TypeError, match="`gamma` must be a number"):
        BalancedResonateAndFireNode(gamma=torch.tensor([0.5, 0.9]))
