"""Leaky neurons with another output or a pause: RefractoryLIFNode, ILIFNode, TernaryLIFNode."""

import pytest
import torch

from compare import assert_close, assert_same
from spikeloom import surrogate
from spikeloom.neuron import ILIFNode, LIFNode, RefractoryLIFNode, TernaryLIFNode


@pytest.mark.parametrize("refractory_steps", [1, 3, 7])
def test_spikes_are_apart_by_more_than_the_refractory_period(refractory_steps):
    x = torch.rand(300, 20) * 4
    spikes = RefractoryLIFNode(refractory_steps, step_mode="m")(x)
    intervals = torch.cat([row.nonzero().flatten().diff() for row in spikes.t()])
    assert intervals.min() == refractory_steps + 1
    always = RefractoryLIFNode(refractory_steps, step_mode="m")(torch.full([40], 100.0))
    assert always.nonzero().flatten().diff().unique().tolist() == [refractory_steps + 1]


@pytest.mark.parametrize("v_reset", [0.0, -0.5, None])
def test_without_a_refractory_period_it_is_a_leaky_neuron(v_reset):
    x = torch.rand(100, 20) * 4
    reference = LIFNode(3.0, v_reset=v_reset, step_mode="m")
    node = RefractoryLIFNode(0, 3.0, v_reset=v_reset, step_mode="m")
    assert_same("spikes", reference(x), node(x))


def test_between_spikes_it_is_a_leaky_neuron_that_starts_anew():
    """A constant current: the interval is the leaky neuron's, plus the refractory period."""
    x = torch.full([300], 1.5, dtype=torch.float64)
    plain = LIFNode(10.0, step_mode="m")(x).nonzero().flatten().diff().unique()
    late = RefractoryLIFNode(4, 10.0, step_mode="m")(x).nonzero().flatten().diff().unique()
    assert late.tolist() == (plain + 4).tolist()


def test_input_and_gradient_are_lost_in_the_refractory_period():
    node = RefractoryLIFNode(2, step_mode="m", store_v_seq=True, v_reset=None)
    x = torch.tensor([4.0, 9.0, -9.0, 1.0]).requires_grad_()
    assert node(x).tolist() == [1.0, 0.0, 0.0, 1.0]
    assert node.v_seq.tolist() == [1.0, 1.0, 1.0, 0.0]
    node.v_seq.sum().backward()
    assert x.grad[1:3].tolist() == [0.0, 0.0]
    assert x.grad[0] != 0
    assert node.countdown.item() == 2.0


@pytest.mark.parametrize("wrong", [1.5, True, "2"])
def test_refractory_steps_are_a_count(wrong):
    with pytest.raises(TypeError, match="`refractory_steps` must be an integer, got"):
        RefractoryLIFNode(wrong)
    with pytest.raises(ValueError, match="`refractory_steps` must be at least 0, got -1"):
        RefractoryLIFNode(-1)


# Made with SpikingJelly 2.0.0's ILIFNode, torch 2.13.0, 2026-11-22: settings, input, spikes, potentials after
# each step, gradient of (spikes * [1, 2, 3, 4, 5]).sum().
INTEGER = [
    (
        {},
        [0.6, 1.2, 2.5, 0.1, 3.0],
        [1.0, 1.0, 3.0, 0.0, 3.0],
        [-0.4, 0.1, -0.475, -0.01875, -0.004688],
        [1.0, 2.0, 3.0, 1.25, 5.0],
    ),
    (
        {},
        [0.5, 1.5, 2.5, 7.0, -3.0],
        [0.0, 2.0, 2.0, 4.0, 0.0],
        [0.5, -0.375, 0.40625, 3.101562, -2.224609],
        [1.0, 2.0, 3.0, 0.0, 0.0],
    ),
    (
        {"tau": 2.0, "v_threshold": 2.0},
        [0.5, 1.5, 2.5, 7.0, -3.0],
        [0.0, 1.0, 1.0, 4.0, 0.0],
        [0.5, -0.25, 0.375, -0.8125, -3.40625],
        [0.5, 1.0, 1.5, 2.0, 0.0],
    ),
]


@pytest.mark.parametrize(("settings", "x", "spikes", "v_seq", "gradient"), INTEGER)
def test_known_counts_potentials_and_gradients(settings, x, spikes, v_seq, gradient):
    node = ILIFNode(step_mode="m", store_v_seq=True, **settings)
    x = torch.tensor(x).requires_grad_()
    out = node(x)
    assert out.tolist() == spikes
    assert node.v_seq.tolist() == pytest.approx(v_seq, abs=2e-6)
    (out * torch.arange(1.0, 6.0)).sum().backward()
    assert x.grad.tolist() == pytest.approx(gradient, abs=2e-6)


@pytest.mark.parametrize("most", [1, 4, 8])
def test_one_step_of_ilif_is_a_quantised_rectifier(most):
    x = torch.randn(1, 1000) * 5
    node = ILIFNode(v_threshold=0.5, surrogate_function=surrogate.MultiLevelSpikeCount(most), step_mode="m")
    assert_same("counts", (x / 0.5).round().clamp(0, most) + 0.0, node(x) + 0.0)


def test_ilif_forgets_only_by_its_leak():
    """A slow leak: what went in came out as spikes, or is still there."""
    x = torch.rand(50, 20, dtype=torch.float64) * 3
    node = ILIFNode(tau=1e9, step_mode="m")
    spikes = node(x)
    # the leak takes at most 50 steps of potentials below 1, each a part of 1e-9
    assert (x.sum(0) - spikes.sum(0) - node.v).abs().max() < 1e-7


def test_ilif_needs_a_positive_threshold():
    with pytest.raises(ValueError, match="`v_threshold` must be a number greater than 0, got 0"):
        ILIFNode(v_threshold=0)
    with pytest.raises(ValueError, match="`v_threshold` must be a number greater than 0"):
        TernaryLIFNode(v_threshold=-1.0)


# Made with SpikingJelly 2.0.0's TernaryLIFNode, torch 2.13.0, 2026-11-22, on this input; as above.
TERNARY_X = [0.6, 3.0, -3.0, -1.0, 2.0]
TERNARY = [
    (
        {},
        [0.0, 1.0, -1.0, 0.0, 0.0],
        [0.3, 0.0, 0.0, -0.5, 0.75],
        [0.229014, 0.233674, 0.112385, 1.644778, 1.975222],
    ),
    (
        {"v_reset": None, "decay_input": False},
        [0.0, 1.0, -1.0, -1.0, 1.0],
        [0.6, 2.3, -0.85, -0.425, 0.7875],
        [0.714776, 0.686575, 1.372087, 2.278824, 0.788344],
    ),
    (
        {"v_reset": 0.2},
        [0.0, 1.0, -1.0, 0.0, 0.0],
        [0.5, 0.2, 0.2, -0.3, 0.95],
        [0.259938, 0.102666, 0.217158, 1.595137, 2.47926],
    ),
]


@pytest.mark.parametrize(("settings", "spikes", "v_seq", "gradient"), TERNARY)
def test_known_ternary_spikes_potentials_and_gradients(settings, spikes, v_seq, gradient):
    node = TernaryLIFNode(step_mode="m", store_v_seq=True, **settings)
    x = torch.tensor(TERNARY_X).requires_grad_()
    out = node(x)
    assert out.tolist() == spikes
    assert node.v_seq.tolist() == pytest.approx(v_seq, abs=2e-6)
    (out * torch.arange(1.0, 6.0)).sum().backward()
    assert x.grad.tolist() == pytest.approx(gradient, abs=4e-6)


@pytest.mark.parametrize("settings", [{}, {"v_reset": None}, {"decay_input": False, "detach_reset": True}])
def test_ternary_spikes_are_odd_in_their_input(settings):
    """f(-x) = -f(x), and the gradient is even."""
    results = []
    for sign in (1.0, -1.0):
        generator = torch.Generator().manual_seed(0)
        x = (sign * 3 * torch.randn(50, 40, generator=generator)).requires_grad_()
        node = TernaryLIFNode(step_mode="m", store_v_seq=True, **settings)
        out = node(x)
        (out * torch.linspace(-1, 1, 50).unsqueeze(1)).sum().backward()
        results.append([sign * out.detach(), sign * node.v_seq.detach(), x.grad])
    assert set(results[0][0].unique().tolist()) == {-1.0, 0.0, 1.0}
    for name, reference, got in zip(("spikes", "potential", "gradient"), *results, strict=True):
        # the two surrogates are added in the other order
        (assert_close if name == "gradient" else assert_same)(name, reference + 0.0, got + 0.0)


def test_on_positive_input_a_ternary_neuron_is_a_leaky_one():
    x = torch.rand(100, 50) * 3
    for v_reset in (0.0, None):
        reference, node = (
            LIFNode(v_reset=v_reset, step_mode="m"),
            TernaryLIFNode(v_reset=v_reset, step_mode="m"),
        )
        assert_same("spikes", reference(x), node(x))
