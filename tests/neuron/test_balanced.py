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
    node = BalancedResonateAndFireNode(omega, 0.0, dt=dt, v_threshold=1e9, step_mode="m", store_v_seq=True)
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


def test_a_learned_frequency_may_leave_its_range():
    omega = nn.Parameter(torch.tensor([50.0, 150.0]))
    node = BalancedResonateAndFireNode(step_mode="m", v_threshold=0.01)
    node.omega = omega
    node(torch.rand(20, 3, 2)).sum().backward()
    assert omega.grad.isfinite().all()


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"`omega` must be .* from -100 to 100"):
        BalancedResonateAndFireNode(omega=200.0)
    with pytest.raises(ValueError, match="`b_offset` must be"):
        BalancedResonateAndFireNode(b_offset=-0.1)
    with pytest.raises(ValueError, match="`gamma` must be a number from 0 to 1"):
        BalancedResonateAndFireNode(gamma=1.5)
