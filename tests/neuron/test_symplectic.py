"""SEAdLIFNode: the published recursion, its period, and its stability."""

import math

import pytest
import torch

from compare import assert_close, assert_same
from spikeloom.neuron import SEAdLIFNode


def test_it_is_the_published_recursion():
    """u = alpha u + (1 - alpha) (x - w); s = [u >= 1]; u = u (1 - s); w = beta w + (1 - beta) (a u + b s)."""
    x_seq = torch.rand(200, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 40 - 10
    alpha, beta, a, b = math.exp(-1 / 8), math.exp(-1 / 90), 30.0, 90.0
    u, w = (torch.zeros(40, dtype=torch.float64) for _ in range(2))
    expected = []
    for x in x_seq:
        u = alpha * u + (1 - alpha) * (x - w)
        s = (u >= 1).double()
        u = u * (1 - s)
        w = beta * w + (1 - beta) * (a * u + b * s)
        expected.append(s)
    node = SEAdLIFNode(8.0, 90.0, a, b, step_mode="m")
    spikes = node(x_seq)
    assert 0.02 < spikes.mean() < 0.5
    assert_same("spikes", torch.stack(expected), spikes)
    assert_close("current", w, node.w)


def swing(tau, tau_w, a, steps=2000):
    """The potential after an impulse, below threshold."""
    node = SEAdLIFNode(tau, tau_w, a, v_threshold=1e9, step_mode="m", store_v_seq=True)
    x = torch.zeros(steps, dtype=torch.float64)
    x[0] = 1.0
    node(x)
    return node.v_seq


@pytest.mark.parametrize(
    ("tau", "tau_w", "a"), [(15.0, 180.0, 60.0), (30.0, 300.0, 20.0), (20.0, 100.0, 5.0)]
)
def test_it_swings_with_the_period_of_its_differential_equation(tau, tau_w, a):
    damping = (1 / tau + 1 / tau_w) / 2
    period = 2 * math.pi / math.sqrt((1 + a) / (tau * tau_w) - damping**2)
    v = swing(tau, tau_w, a)[: round(6 * period)]
    upwards = ((v[1:] > 0) & (v[:-1] <= 0)).nonzero().flatten().double()
    assert upwards.diff().mean().item() == pytest.approx(period, rel=0.03)


@pytest.mark.parametrize("a", [100.0, 300.0, 600.0])
def test_a_swing_decays_where_euler_s_forward_order_would_grow(a):
    alpha, beta = math.exp(-1 / 15), math.exp(-1 / 180)
    forward = torch.tensor([[alpha, alpha - 1], [(1 - beta) * a, beta]])  # w of the potential before
    grows = torch.linalg.eigvals(forward).abs().max() > 1
    assert bool(grows) == (a > 195)  # where alpha beta + (1 - alpha) (1 - beta) a = 1
    v = swing(15.0, 180.0, a).abs()
    assert v[-100:].max() < 1e-6 * v[:100].max()


def test_where_even_this_order_would_grow_it_is_refused():
    """1 + trace + determinant of the step's matrix is 0 at the bound."""
    alpha, beta = math.exp(-1 / 1), math.exp(-1 / 12)
    bound = (1 + alpha) * (1 + beta) / ((1 - alpha) * (1 - beta))
    assert swing(1.0, 12.0, 0.98 * bound)[-100:].abs().max() < 1e-6
    with pytest.raises(ValueError, match=r"`a` must be less than 51.96 .*a swing would grow"):
        SEAdLIFNode(1.0, 12.0, 1.02 * bound)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="`tau_w` must be a number greater than 0"):
        SEAdLIFNode(tau_w=0.0)
    with pytest.raises(ValueError, match="`a` must be a finite number of at least 0"):
        SEAdLIFNode(a=-1.0)


def test_without_a_leak_nothing_swings():
    for endless in ({"tau": torch.inf}, {"tau_w": torch.inf}, {"tau": torch.tensor([20.0, torch.inf])}):
        assert SEAdLIFNode(**endless)(torch.ones(1, 2)).isfinite().all()
