"""The neuron whose threshold outlasts a sample: HomeostaticLIFNode."""

import math

import pytest
import torch

from compare import assert_close, assert_same
from spikeloom import functional
from spikeloom.errors import ShapeError
from spikeloom.neuron import HomeostaticLIFNode, RefractoryLIFNode

SETTINGS = {"tau": 3.0, "refractory_steps": 1, "step_mode": "m"}


def drive(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 5


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_theta_is_its_equation(backend):
    """Decay, then a rise at each spike, on one sample; from sample to sample, too."""
    node = HomeostaticLIFNode(4, theta_plus=0.2, tau_theta=30.0, backend=backend, **SETTINGS)
    theta = torch.zeros(4)
    for _ in range(3):
        for spike in node(drive(25, 1, 4)):
            theta = theta * math.exp(-1 / 30) + 0.2 * spike[0]
        node.reset()
        assert_close("theta", theta, node.theta)
    assert (theta > 0.5).all()


def test_a_batch_adds_up_what_its_samples_gain():
    x = drive(20, 3, 5)
    together = HomeostaticLIFNode(5, theta_plus=0.2, tau_theta=math.inf, **SETTINGS)
    spikes = together(x)
    together.reset()
    assert_close("theta", 0.2 * spikes.sum((0, 1)), together.theta)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_batch_decays_as_one_sample_does(backend):
    """64 samples of 200 steps, and a time constant of 100: the clock runs 200 steps, not 12,800."""
    node = HomeostaticLIFNode(3, theta_plus=0.01, tau_theta=100.0, backend=backend, **SETTINGS)
    theta, x = torch.full([3], 2.0), drive(200, 64, 3)
    for _ in range(3):
        node.theta = theta
        gained = torch.zeros(64, 3)
        for spike in node(x):
            gained = gained * math.exp(-1 / 100) + 0.01 * spike
        node.reset()
        theta = theta * math.exp(-2) + gained.sum(0)
        torch.testing.assert_close(node.theta, theta, rtol=1e-5, atol=0)
    assert (theta > 1).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_steps", [1, 30])
def test_the_woven_loop_is_the_reference(training, num_steps):
    x, results = drive(num_steps, 3, 5), []
    for backend in ("torch", "numba"):
        node = HomeostaticLIFNode(5, theta_plus=0.3, tau_theta=20.0, backend=backend, **SETTINGS)
        node.theta += 0.7
        node.train(training)
        for _ in range(2):
            leaf = x.clone().requires_grad_()
            spikes = node(leaf)
            spikes.sum().backward()
            results.append((spikes.detach(), leaf.grad, node.rise.detach(), node.faded.detach()))
            node.detach()
        node.reset()
        results.append((node.theta,))
    for one, two in zip(results[:3], results[3:], strict=True):
        for reference, got in zip(one, two, strict=True):
            assert_close("backend", reference, got)
    assert training == bool((results[2][0] != 0.7).any())


def test_a_test_in_inference_mode_leaves_it_trainable():
    node = HomeostaticLIFNode(3, **SETTINGS)
    with torch.inference_mode():
        node(drive(5, 2, 3))
        node.reset()
        node.reset()
    x = drive(5, 2, 3).requires_grad_()
    node(x).sum().backward()
    assert x.grad is not None
    node.reset()
    assert not node.theta.is_inference()
    assert not node.theta.requires_grad


def test_an_empty_batch_teaches_nothing():
    node = HomeostaticLIFNode(3, tau_theta=10.0, **SETTINGS)
    node.theta += 1.0
    node(torch.ones(5, 0, 3))
    node.reset()
    assert_same("theta", torch.ones(3), node.theta)


def test_evaluation_changes_nothing_and_keeps_what_was_learned():
    node = HomeostaticLIFNode(5, theta_plus=0.3, **SETTINGS)
    x = drive(30, 2, 5)
    first = node(x)
    functional.reset_net(node)
    learned = node.theta.clone()
    node.eval()
    tested = node(x)
    functional.reset_net(node)
    assert_same("theta", learned, node.theta)
    assert_same("again", tested, node(x))
    assert tested.sum() < first.sum()
    twin = HomeostaticLIFNode(5, theta_plus=0.3, **SETTINGS).eval()
    twin.load_state_dict(node.state_dict())
    assert_same("saved and loaded", tested, twin(x))


def test_without_a_rise_it_is_the_refractory_neuron():
    x = drive(40, 3, 5)
    node = HomeostaticLIFNode(5, theta_plus=0.0, **SETTINGS)
    assert_same("spikes", RefractoryLIFNode(1, 3.0, step_mode="m")(x), node(x))


def test_the_slowest_decay_is_not_lost_in_rounding():
    """exp(-1e-7) is 1 in float32; over many samples it must still be seen."""
    node = HomeostaticLIFNode(1, theta_plus=0.05, tau_theta=1e7, **SETTINGS)
    node.theta.fill_(1.0)
    node(torch.zeros(20_000, 1, 1))
    node.reset()
    assert_close("theta", torch.tensor([math.exp(-2e-3)]), node.theta)


def test_thresholds_make_room_for_others():
    """The neuron with the larger input fires at most half as often, and the other still does."""
    x = torch.tensor([4.0, 2.0]).expand(200, 1, 2)
    fixed = RefractoryLIFNode(1, 3.0, step_mode="m")(x).sum((0, 1))
    node = HomeostaticLIFNode(2, theta_plus=0.2, tau_theta=50.0, **SETTINGS)
    adapted = node(x).sum((0, 1))
    assert adapted[1] > 5
    assert adapted[0] < fixed[0] / 2


def test_a_convolutional_shape_and_one_threshold_for_all():
    node = HomeostaticLIFNode((2, 3, 3), **SETTINGS)
    node(drive(5, 4, 2, 3, 3))
    node.reset()
    assert node.theta.shape == (2, 3, 3)
    shared = HomeostaticLIFNode(1, theta_plus=0.1, tau_theta=math.inf, **SETTINGS)
    spikes = shared(drive(5, 4, 6))
    shared.reset()
    assert_close("shared", 0.1 * spikes.sum().reshape(1), shared.theta)


def test_wrong_settings():
    for settings, name in (
        ({"theta_plus": -0.1}, "theta_plus"),
        ({"tau_theta": 0.0}, "tau_theta"),
        ({"v_reset": None}, "v_reset"),
        ({"refractory_steps": -1}, "refractory_steps"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            HomeostaticLIFNode(3, **settings)
    for name in ("theta_plus", "tau_theta"):
        with pytest.raises(TypeError, match=f"`{name}` must be a number"):
            HomeostaticLIFNode(3, **{name: torch.ones(3)})
    for shape in (-1, (2, 0), 2.5):
        with pytest.raises((ValueError, TypeError), match="`shape` must"):
            HomeostaticLIFNode(shape)
    node = HomeostaticLIFNode(3, **SETTINGS)
    with pytest.raises(ShapeError, match=r"thresholds for neurons of shape \[3\], got an input of \[2, 4\]"):
        node(drive(5, 2, 4))
    assert node(drive(5, 2, 3)).shape == (5, 2, 3)  # what was refused is not remembered


def test_it_can_be_reset_after_vmap():
    node = HomeostaticLIFNode(3, tau=2.0, refractory_steps=0)
    torch.func.vmap(node)(10 * torch.ones(2, 4, 3))
    functional.reset_net(node)
    assert node(10 * torch.ones(4, 3)).sum() > 0
