"""Spikes, memories and gradients are those of the published equations, written out and given to autograd."""

import pytest
import torch
from torch import nn

from compare import assert_same
from spikeloom import neuron, surrogate

STEPS, SLOPE = 20, surrogate.ATan()


def alif(x_seq, cut, tau, tau_b, beta):
    alpha, rho, v, b = (-1 / tau).exp(), (-1 / tau_b).exp(), 0.0, 0.0
    for x in x_seq:
        h, threshold = alpha * v + (1 - alpha) * x, 1 + beta * b
        s = SLOPE(h - threshold)
        v, b = h - threshold * cut(s), rho * b + s
        yield s


def adlif(x_seq, cut, alpha, beta, a, b):
    v, w = 0.0, 0.0
    for x in x_seq:
        h = alpha * v + (1 - alpha) * (x - w)
        s = SLOPE(h - 1)
        v, w = h - cut(s), beta * w + a * h + b * s
        yield s


def symplectic(x_seq, cut, tau, tau_w, a, b):
    alpha, beta, v, w = (-1 / tau).exp(), (-1 / tau_w).exp(), 0.0, 0.0
    for x in x_seq:
        h = alpha * v + (1 - alpha) * (x - w)
        s = SLOPE(h - 1)
        v = h * (1 - cut(s))
        w = beta * w + (1 - beta) * (a * v + b * s)
        yield s


def balanced(x_seq, cut, omega, offset):
    dt, v, u, q = 0.01, 0.0, 0.0, 0.0
    for x in x_seq:
        b = ((1 - (omega * dt) ** 2).sqrt() - 1) / dt - offset - q
        v, u = v + dt * (b * v - omega * u + x), u + dt * (omega * v + b * u)
        s = SLOPE(v - 1 - q)
        q = 0.9 * q + cut(s)
        yield s


def adex(x_seq, cut, tau_w, a, b):
    v, w = torch.zeros(()), 0.0
    for x in x_seq:
        h = v + (x - w - v + 0.5 * ((v - 1) / 0.5).exp()) / 10
        s = SLOPE(h - 1)
        v, w = h * (1 - cut(s)), w + (a * h - w) / tau_w + b * s
        yield s


def izhikevich(x_seq, cut, a, d):
    v, u = torch.tensor(-65.0), torch.tensor(-13.0)
    for x in x_seq:
        h = v + 0.5 * (0.04 * v * v + 5 * v + 140 - u + x)
        s = SLOPE(h - 30)
        v, u = h * (1 - cut(s)) - 65 * cut(s), u + 0.5 * a * (0.2 * h - u) + d * s
        yield s


# The equations, the neuron, what it learns, the size of the input.
EQUATIONS = {
    "alif": (alif, neuron.ALIFNode, {"tau": 5.0, "tau_adaptation": 20.0, "beta": 0.6}, 12.0),
    "adlif": (adlif, neuron.AdaptiveLIFNode, {"alpha": 0.85, "beta": 0.97, "a": 0.3, "b": 0.7}, 15.0),
    "symplectic": (symplectic, neuron.SEAdLIFNode, {"tau": 5.0, "tau_w": 60.0, "a": 3.0, "b": 5.0}, 15.0),
    "balanced": (balanced, neuron.BalancedResonateAndFireNode, {"omega": 8.0, "b_offset": 0.6}, 300.0),
    "adex": (adex, neuron.AdExNode, {"tau_w": 20.0, "a": 1.0, "b": 0.5}, 30.0),
    "izhikevich": (izhikevich, neuron.BiologicalIzhikevichNode, {"a": 0.02, "d": 8.0}, 200.0),
}


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("name", EQUATIONS)
def test_gradients_are_those_of_the_equations(name, detach_reset):
    equations, make, settings, size = EQUATIONS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(STEPS, 30, dtype=torch.float64, generator=generator) * size
    weight = torch.randn(STEPS, 30, dtype=torch.float64, generator=generator)
    found = []
    for written_out in (True, False):
        learned = {key: nn.Parameter(torch.tensor(value).double()) for key, value in settings.items()}
        leaf = x.clone().requires_grad_()
        if written_out:
            cut = torch.Tensor.detach if detach_reset else torch.Tensor.clone
            out = torch.stack([*equations(leaf, cut, *learned.values())])
        else:
            extra = {"detach_reset": detach_reset, "surrogate_function": SLOPE, "step_mode": "m"}
            out = make(**learned, **extra, backend="torch")(leaf)
        gradients = torch.autograd.grad((out * weight).sum(), [leaf, *learned.values()])
        found.append((out.detach(), *gradients))
    assert found[0][0].mean() > 0.05
    assert_same("spikes", found[0][0], found[1][0])
    for reference, got in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(got, reference, rtol=1e-8, atol=1e-9 * reference.abs().max().item())
