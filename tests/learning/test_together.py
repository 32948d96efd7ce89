"""The parts together, on the question that users ask most: why does every neuron respond alike?"""

import functools

import pytest
import torch
from torch import nn

from spikeloom import functional, layer, learning, neuron

CLASSES, NEURONS, PIXELS = 4, 8, 40


def patterns():
    """Images that share no pixel."""
    return torch.eye(CLASSES).repeat_interleave(PIXELS // CLASSES, 1)


def shown(net, pattern, num_steps, generator, after_step=lambda: None):
    """Show an image as random spikes; returns how often each neuron fired."""
    counts = torch.zeros(NEURONS)
    for _ in range(num_steps):
        counts += net((torch.rand(1, PIXELS, generator=generator) < 0.3 * pattern + 0.01).float())[0]
        after_step()
    functional.reset_net(net)
    return counts


@functools.cache
@torch.no_grad()
def learn(inhibition, theta_plus, rounds=10):
    """STDP alone, on one layer; returns what each neuron fires for each image, and what the check says."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    node = neuron.HomeostaticLIFNode(
        NEURONS, theta_plus=theta_plus, tau_theta=5e3, tau=10.0, refractory_steps=2
    )
    competing = node
    if inhibition:
        competing = learning.LateralInhibition(learning.WinnerTakeAll(node), inhibition)
    net = nn.Sequential(layer.Linear(PIXELS, NEURONS, bias=False), competing)
    nn.init.uniform_(net[0].weight, 0.3, 0.7)
    learner = learning.STDPLearner("s", *net, 10.0, 10.0, *learning.soft_bounds(0.05, 0.005))
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)

    def step():
        optimizer.zero_grad()
        learner.step()
        optimizer.step()
        learning.clamp_weights(net[0], 0.0, 1.0)

    for _ in range(rounds):
        for index in torch.randperm(CLASSES, generator=generator).tolist():
            learning.normalise_weights(net[0], PIXELS / 2)
            shown(net, patterns()[index], 30, generator, step)
            learner.reset()
    learner.disable()
    net.eval()
    counts = torch.stack([shown(net, pattern, 60, generator) for pattern in patterns()])
    return counts, learning.check_learning(net[0].weight, counts.sum(0), node.theta, (0.0, 1.0))


@pytest.mark.parametrize("theta_plus", [0.0, 0.02])
def test_without_inhibition_all_neurons_learn_the_same_and_the_check_says_so(theta_plus):
    counts, check = learn(0.0, theta_plus)
    assert check.similarity > 0.98
    assert any("learned the same" in advice for advice in check.advice())
    assert counts.argmax(1).unique().numel() < CLASSES


@pytest.mark.parametrize("theta_plus", [0.0, 0.02])
def test_with_inhibition_each_image_has_a_neuron_of_its_own(theta_plus):
    counts, check = learn(10.0, theta_plus)
    winners = counts.argmax(1)
    assert winners.unique().numel() == CLASSES
    assert (counts[torch.arange(CLASSES), winners] > 0.75 * counts.sum(1)).all()
    assert not any("learned the same" in advice for advice in check.advice())


def test_adaptive_thresholds_let_more_neurons_take_part():
    used = [(learn(10.0, theta_plus)[0].sum(0) > 0).sum() for theta_plus in (0.0, 0.02)]
    assert used[0] < used[1]
