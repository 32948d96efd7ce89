"""e-prop against autograd with the spikes cut where e-prop cuts them; its memory; and that it learns."""

import math

import pytest
import torch

from compare import assert_close
from spikeloom import learning
from spikeloom.errors import ShapeError, SpikeloomError

SIZES = (3, 6, 2)
SETTINGS = {"tau": 5.0, "tau_out": 4.0, "tau_adaptation": 12.0, "v_threshold": 0.6}


class Triangle(torch.autograd.Function):
    """A step whose derivative is e-prop's, dampened by 0.3, at a threshold of 0.6."""

    @staticmethod
    def forward(ctx, distance):
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance)

    @staticmethod
    def backward(ctx, grad):
        (distance,) = ctx.saved_tensors
        return grad * 0.3 / 0.6 * (1 - distance.abs() / 0.6).clamp(min=0)


def through_time(net, x, targets, beta, refractory=0):
    """The gradients of half the squared error, by autograd; spikes are cut on their way to other neurons and
    to the reset, not on their way to the neuron's own threshold."""
    alpha, kappa, rho = (math.exp(-1 / tau) for tau in (5.0, 4.0, 12.0))
    v = a = z = torch.zeros(x.shape[1], SIZES[1], dtype=x.dtype)
    y, loss, spikes = 0.0, 0.0, 0.0
    last, now = torch.full_like(z, -math.inf), 0
    for step, target in zip(x, targets, strict=True):
        a = rho * a + z
        v = alpha * v + torch.cat([step, z.detach()], 1) @ net.weight.T - 0.6 * z.detach()
        z = Triangle.apply(v - 0.6 - beta * a) * (now - last > refractory)
        last, now = torch.where(z > 0, float(now), last), now + 1
        y = kappa * y + z @ net.readout.weight.T + net.readout.bias
        loss = loss + (y - target).square().sum() / 2
        spikes = spikes + z.detach().sum()
    assert spikes > 20
    return torch.autograd.grad(loss, [net.weight, net.readout.weight, net.readout.bias])


def sequences(num_steps=25, batch=4):
    torch.manual_seed(0)
    net = learning.EProp(*SIZES, **SETTINGS).double()
    return net, torch.rand(num_steps, batch, 3).double() * 2, torch.randn(num_steps, batch, 2).double()


@pytest.mark.parametrize(("beta", "refractory"), [(0.0, 0), (0.4, 0), (0.4, 1), (0.4, 3)])
def test_the_gradient_is_that_through_time_with_the_spikes_cut(beta, refractory):
    net, x, targets = sequences()
    net.beta, net.refractory = beta, refractory
    expected = list(through_time(net, x, targets, beta, refractory))
    expected[0][:, 3:].fill_diagonal_(0)  # no synapse to itself
    for step, target in zip(x, targets, strict=True):
        net.learn(net(step) - target)
    for reference, got in zip(expected, net.parameters(), strict=True):
        assert reference.abs().max() > 0.1
        assert_close("gradient", reference, got.grad)


def test_memory_does_not_grow_with_time():
    sizes = []
    for num_steps in (2, 40):
        net, x, targets = sequences(num_steps)
        for step, target in zip(x, targets, strict=True):
            net.learn(net(step) - target)
        held = [value for value in net.memories() if isinstance(value, torch.Tensor)]
        assert not any(value.requires_grad for value in held)
        sizes.append(sum(value.numel() for value in held))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_it_learns_a_pattern_over_time(feedback):
    """Frozen noise in, a sine wave out."""
    torch.manual_seed(0)
    net = learning.EProp(10, 40, 1, feedback=feedback, tau_out=5.0)
    x = (torch.rand(50, 1, 10) < 0.2).float()
    target = torch.sin(torch.arange(50) * 2 * math.pi / 50)
    optimizer, errors = torch.optim.Adam(net.parameters(), lr=0.01), []
    for _ in range(80):
        error = 0.0
        optimizer.zero_grad()
        for step, wanted in zip(x, target, strict=True):
            difference = net(step) - wanted
            net.learn(difference / 50)
            error += difference.square().item() / 50
        optimizer.step()
        net.reset()
        errors.append(error)
    assert errors[-1] < 0.1 * errors[0]


def test_evaluation_keeps_no_traces_and_learns_nothing():
    net, x, _ = sequences()
    trained = [net(step) for step in x]
    net.reset()
    net.eval()
    assert all(torch.equal(one, net(step)) for one, step in zip(trained, x, strict=True))
    assert net.eligible.abs().sum() == 0
    with pytest.raises(SpikeloomError, match="training mode"):
        net.learn(trained[0])


def test_autocast_changes_no_type_of_a_gradient():
    torch.manual_seed(3)  # with which neurons fire
    net = learning.EProp(3, 4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        for x in torch.ones(5, 2, 3) * 3:
            net.learn(net(x).bfloat16() - 1)
    for parameter in net.parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.abs().sum() > 0


def test_wrong_arguments():
    for name in ("tau", "tau_out", "tau_adaptation", "v_threshold", "dampening"):
        with pytest.raises(ValueError, match=f"`{name}` must be a finite number greater than 0"):
            learning.EProp(1, 1, 1, **{name: 0.0})
    with pytest.raises(ValueError, match="`feedback`"):
        learning.EProp(1, 1, 1, feedback="other")
    net = learning.EProp(3, 4, 2)
    with pytest.raises(SpikeloomError, match="before learn"):
        net.learn(torch.zeros(1, 2))
    with pytest.raises(ShapeError, match=r"input \[N, 3\], got \[5, 4\]"):
        net(torch.zeros(5, 4))
    net.reset()
    net(torch.zeros(5, 3))
    with pytest.raises(ShapeError, match=r"`error` must have the output's shape \[5, 2\], got \[5, 1\]"):
        net.learn(torch.zeros(5, 1))
