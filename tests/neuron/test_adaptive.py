"""Thresholds and currents that adapt: ALIFNode, AdaptiveLIFNode."""

import math

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom.neuron import AdaptiveLIFNode, ALIFNode, LIFNode, SEAdLIFNode


def test_without_adaptation_alif_is_a_leaky_neuron():
    tau = 1 / (1 - math.exp(-1 / 20))  # of the Euler step that decays as much as the exact one
    x = torch.rand(200, 50, dtype=torch.float64) * 4
    for settings in ({}, {"v_reset": -0.3}, {"decay_input": False}):
        reference = LIFNode(tau, step_mode="m", store_v_seq=True, **({"v_reset": None} | settings))
        node = ALIFNode(20.0, beta=0.0, step_mode="m", store_v_seq=True, **settings)
        assert_same("spikes", reference(x), node(x))
        assert_close("potential", reference.v_seq, node.v_seq)


def test_the_interspike_interval_of_alif_grows_to_a_steady_one():
    node = ALIFNode(tau=10.0, tau_adaptation=100.0, beta=0.2, step_mode="m")
    intervals = node(torch.full([3000], 2.0, dtype=torch.float64)).nonzero().flatten().diff()
    assert (intervals[:6].diff() > 0).all()
    assert intervals[-1] > 2 * intervals[0]
    assert intervals[-20:].max() - intervals[-20:].min() <= 1


def test_the_threshold_of_alif_decays_in_closed_form():
    """One spike at step 0, then b_t = exp(-t / tau_b)."""
    node = ALIFNode(tau=5.0, tau_adaptation=30.0, step_mode="m", decay_input=False)
    x = torch.zeros(41, dtype=torch.float64)
    x[0] = 1.5
    assert node(x).tolist() == [1.0] + [0.0] * 40
    assert node.b.item() == pytest.approx(math.exp(-40 / 30), abs=1e-12)
    assert node.v.item() == pytest.approx(0.5 * math.exp(-40 / 5), abs=1e-12)


def test_alif_resets_by_its_own_threshold():
    node = ALIFNode(beta=0.5, decay_input=False)
    node.v, node.b = torch.tensor([0.0]), torch.tensor([2.0])
    assert node(torch.tensor([1.9])).item() == 0.0
    node.v, node.b = torch.tensor([0.0]), torch.tensor([2.0])
    assert node(torch.tensor([2.25])).item() == 1.0
    assert node.v.item() == 0.25


def test_alif_checks_its_settings():
    with pytest.raises(ValueError, match="`tau` must be a number greater than 0, got 0"):
        ALIFNode(tau=0.0)
    with pytest.raises(
        ValueError, match=r"`tau_adaptation` must be greater than 0 everywhere, got \[1.0, -1.0\]"
    ):
        ALIFNode(tau_adaptation=torch.tensor([1.0, -1.0]))
    with pytest.raises(TypeError, match="`beta` must be a number, got 'x'"):
        ALIFNode(beta="x")


def test_adlif_is_the_published_recursion():
    """w = beta w + a u + b s; u = alpha (u - s) + (1 - alpha) (x - w); s = [u >= 1], in that order."""
    generator = torch.Generator().manual_seed(0)
    x_seq = torch.rand(100, 40, dtype=torch.float64, generator=generator) * 15
    alpha, beta, a, b = 0.9, 0.97, 0.3, 0.7
    u, w, s = (torch.zeros(40, dtype=torch.float64) for _ in range(3))
    expected = []
    for x in x_seq:
        w = beta * w + a * u + b * s
        u = alpha * (u - s) + (1 - alpha) * (x - w)
        s = (u >= 1).double()
        expected.append(s)
    assert torch.stack(expected).mean() > 0.05
    assert_same("spikes", torch.stack(expected), AdaptiveLIFNode(alpha, beta, a, b, step_mode="m")(x_seq))


def test_adlif_rests_where_its_current_balances():
    """Below threshold, v = x - w and w = a v / (1 - beta), so v = x / (1 + a / (1 - beta))."""
    node = AdaptiveLIFNode(alpha=0.9, beta=0.9, a=0.1, b=1.0, step_mode="m")
    assert node(torch.full([1000, 1], 1.6, dtype=torch.float64)).sum() == 0
    assert node.v.item() == pytest.approx(0.8, abs=1e-12)
    assert node.w.item() == pytest.approx(0.8, abs=1e-12)


def test_the_learned_constants_of_adlif_start_in_their_ranges_and_act_clamped():
    node = AdaptiveLIFNode(shape=(1000,))
    ranges = {"alpha": (0.818730, 0.960790), "beta": (0.967216, 0.991702), "a": (-1.0, 1.0), "b": (0.0, 2.0)}
    assert dict(node.named_parameters()).keys() == ranges.keys()
    for name, (low, high) in ranges.items():
        value = getattr(node, name)
        assert value.min() >= low - 1e-6
        assert value.max() <= high + 1e-6
        assert value.max() - value.min() > 0.9 * (high - low)
        with torch.no_grad():
            value.fill_(5.0 if name in ("a", "b") else 1.0)
        assert node.constant(name)[0].item() == pytest.approx(high, abs=1e-6)


def test_adlif_takes_numbers_tensors_and_parameters():
    node = AdaptiveLIFNode(0.5, torch.tensor([0.5, 0.9]), a=nn.Parameter(torch.tensor(0.0)), b=3.0)
    assert dict(node.named_parameters()).keys() == {"a"}
    assert node.state_dict().keys() == {"a", "beta"}
    with pytest.raises(ValueError, match=r"`alpha` must be a number from 0 to 1, got 1\.5"):
        AdaptiveLIFNode(alpha=1.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda **more: AdaptiveLIFNode(0.9, 0.97, 0.3, 0.7, **more),
        lambda **more: SEAdLIFNode(8.0, 90.0, 30.0, 90.0, **more),
    ],
    ids=["adlif", "symplectic"],
)
@pytest.mark.parametrize("v_reset", [-0.5, 0.25])
def test_another_v_reset_stands_for_0(make, v_reset):
    """The neuron whose 0 is elsewhere: threshold and potentials are counted from there."""
    x = torch.rand(100, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 15
    at_0 = make(v_reset=0.0, step_mode="m", store_v_seq=True)
    moved = make(v_reset=v_reset, v_threshold=1.0 + v_reset, step_mode="m", store_v_seq=True)
    spikes = at_0(x)
    assert spikes.mean() > 0.02
    assert_same("spikes", spikes, moved(x))
    torch.testing.assert_close(moved.v_seq - v_reset, at_0.v_seq, rtol=0, atol=1e-12)
    torch.testing.assert_close(moved.w, at_0.w, rtol=1e-10, atol=1e-12)
