"""STBP's backward pass, written by hand in NumPy after the paper, against the recipes' networks.

The paper distinguishes four gradients of a spike: of the output or of a hidden layer, at the last or at an
earlier time step. Each is compared for each of the four curves, on a network of 3, 4 and 2 neurons.
"""

import itertools
import math

import numpy as np
import pytest
import torch

from compare import assert_gradient
from spikeloom import functional
from spikeloom.neuron import LIFNode
from spikeloom.recipe import StbpMlp

T, SAMPLES, SIZES = 4, 5, (3, 4, 2)
DECAY, THRESHOLD = 0.2, 0.5
WIDTH = 0.7  # another one than the default 1, with which errors in a power of it would not be seen

# The slope of each curve at a distance from the threshold; the paper's h1 to h4.
SLOPES = {
    "Rectangular": lambda u, a: (abs(u) < a / 2) / a,
    "Polynomial": lambda u, a: (math.sqrt(a) / 2 - a / 4 * abs(u)) * (abs(u) < 2 / math.sqrt(a)),
    "LogisticDensity": lambda u, a: np.exp(-u / a) / (1 + np.exp(-u / a)) ** 2 / a,
    "Gaussian": lambda u, a: np.exp(-(u**2) / (2 * a)) / math.sqrt(2 * math.pi * a),
}
over_curves = pytest.mark.parametrize("curve", SLOPES)


def forward(x, weights):
    """Potentials before the reset, and spikes: for each layer a list over time of ``[N, neurons]``."""
    potentials, spikes = [], [list(x)]  # spikes[0] is the input
    for weight, bias in weights:
        u, o = [], []
        for t in range(T):
            kept = u[-1] * DECAY * (1 - o[-1]) if t else 0.0
            u.append(kept + spikes[-1][t] @ weight.T + bias)
            o.append((u[-1] >= THRESHOLD).astype(float))
        potentials.append(u)
        spikes.append(o)
    return potentials, spikes


def backward(weights, potentials, spikes, labels, slope):
    """dL/do and dL/du of each layer and step, and the gradients of weights and biases."""
    num_layers = len(weights)
    by_spike = [[np.empty(0)] * T for _ in weights]
    by_potential = [[np.empty(0)] * T for _ in weights]
    rate = np.mean(spikes[-1], 0)
    by_rate = 2 * (rate - np.eye(SIZES[-1])[labels]) / rate.size  # of the mean squared error
    for layer in reversed(range(num_layers)):
        u, o = potentials[layer], spikes[layer + 1]
        for t in reversed(range(T)):
            if layer == num_layers - 1 and t == T - 1:
                of_spike = by_rate / T
            elif layer == num_layers - 1:
                of_spike = by_rate / T + by_potential[layer][t + 1] * (-DECAY * u[t])
            elif t == T - 1:
                of_spike = by_potential[layer + 1][t] @ weights[layer + 1][0]
            else:
                of_spike = by_potential[layer + 1][t] @ weights[layer + 1][0]
                of_spike = of_spike + by_potential[layer][t + 1] * (-DECAY * u[t])
            of_potential = of_spike * slope(u[t] - THRESHOLD, WIDTH)
            if t < T - 1:
                of_potential = of_potential + by_potential[layer][t + 1] * DECAY * (1 - o[t])
            by_spike[layer][t], by_potential[layer][t] = of_spike, of_potential
    gradients = []
    for layer in range(num_layers):
        of_weight = sum(by_potential[layer][t].T @ spikes[layer][t] for t in range(T))
        gradients += [of_weight, sum(by_potential[layer]).sum(0)]
    return by_spike, by_potential, gradients


@pytest.fixture
def example():
    """Input spikes, labels and weights with which both layers fire, and do not, at each step."""
    random = np.random.default_rng(111)
    x = (random.random((T, SAMPLES, SIZES[0])) < 0.6).astype(float)
    weights = [
        (random.normal(0.3, 0.5, (after, before)), random.normal(0.1, 0.1, after))
        for before, after in itertools.pairwise(SIZES)
    ]
    labels = random.integers(0, SIZES[-1], SAMPLES)
    for layer in forward(x, weights)[1][1:]:
        assert all(0 < step.mean() < 1 for step in layer)
    return x, labels, weights


def network(curve, weights):
    recipe = StbpMlp(hidden=SIZES[1], decay=DECAY, threshold=THRESHOLD, curve=curve, width=WIDTH)
    net = recipe.network((SIZES[0], 1, 1), SIZES[-1]).double()
    with torch.no_grad():
        for parameter, value in zip(
            net.parameters(), [part for pair in weights for part in pair], strict=True
        ):
            parameter.copy_(torch.from_numpy(value))
    return net


def autograd(net, x, labels):
    """As ``backward``, but by PyTorch, from one step after the other."""
    nodes = [module for module in net if isinstance(module, LIFNode)]
    curves = [node.surrogate_function for node in nodes]  # what they return goes into the reset too
    currents, spikes = {node: [] for node in nodes}, {curve: [] for curve in curves}
    for node, curve in zip(nodes, curves, strict=True):
        node.register_forward_pre_hook(lambda node, given: currents[node].append(given[0]))
        curve.register_forward_hook(lambda curve, _given, spike: spikes[curve].append(spike))
    output = torch.stack([net(step) for step in torch.from_numpy(x)[..., None, None]])
    for step in itertools.chain(*currents.values(), *spikes.values()):
        step.retain_grad()
    functional.firing_rate_mse(output, torch.from_numpy(labels)).backward()
    of_spikes, of_currents = (
        [[step.grad for step in steps] for steps in layers.values()] for layers in (spikes, currents)
    )
    return of_spikes, of_currents


@over_curves
@pytest.mark.parametrize("layer", ["output", "hidden"])
@pytest.mark.parametrize("when", ["last", "earlier"])
def test_the_gradient_of_a_spike(curve, layer, when, example):
    x, labels, weights = example
    expected = backward(weights, *forward(x, weights), labels, SLOPES[curve])
    got = autograd(network(curve, weights), x, labels)
    index = {"hidden": 0, "output": 1}[layer]
    for t in [T - 1] if when == "last" else range(T - 1):
        for name, hand_written, by_torch in zip(("dL/do", "dL/du"), expected[:2], got, strict=True):
            assert np.abs(hand_written[index][t]).max() > 1e-4
            assert_gradient(name, torch.from_numpy(hand_written[index][t]), by_torch[index][t])


@over_curves
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_the_gradients_of_weights(curve, backend, example):
    """``auto`` is the woven loop, where there is one."""
    x, labels, weights = example
    *_, expected = backward(weights, *forward(x, weights), labels, SLOPES[curve])
    net = network(curve, weights)
    functional.set_step_mode(net, "m")
    functional.set_backend(net, backend)
    spikes = net(torch.from_numpy(x)[..., None, None])
    functional.firing_rate_mse(spikes, torch.from_numpy(labels)).backward()
    for (name, parameter), gradient in zip(net.named_parameters(), expected, strict=True):
        assert_gradient(name, torch.from_numpy(gradient), parameter.grad)


def test_the_paths_through_the_reset_matter(example):
    """Else the tests above could not tell whether they are there."""
    x, labels, weights = example
    gradients = []
    for detach_reset in (False, True):
        net = network("Gaussian", weights)
        for node in net:
            if isinstance(node, LIFNode):
                node.detach_reset = detach_reset
        gradients.append(autograd(net, x, labels)[1])
    whole, detached = (torch.stack(gradient[1]) for gradient in gradients)  # of the output's currents
    assert_gradient("last step", whole[-1], detached[-1])
    assert (whole[:-1] - detached[:-1]).abs().max() > 1e-3
