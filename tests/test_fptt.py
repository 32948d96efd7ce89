"""Forward propagation through time against its equations, and that it learns."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, neuron
from spikeloom.errors import ShapeError

ALPHA, LR = 0.5, 0.1


def half_squares(y, target):
    return (y - target).square().sum() / 2


def test_two_steps_by_hand():
    torch.manual_seed(0)
    net = nn.Linear(3, 2, bias=False).double()
    x, target = torch.rand(2, 4, 3).double(), torch.rand(2, 4, 2).double()

    def slope(w, t):
        return (x[t] @ w.T - target[t]).T @ x[t]

    w0 = net.weight.detach().clone()
    w1 = w0 - LR * slope(w0, 0)  # the first step starts at its average
    g1 = slope(w1, 0)
    average = (w0 + w1) / 2 - g1 / (2 * ALPHA)
    w2 = w1 - LR * (slope(w1, 1) + ALPHA * (w1 - average - g1 / (2 * ALPHA)))
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    w_ra = functional.fptt_online_training_init_w_ra(optimizer)
    assert_same("average", w0, w_ra[0])
    losses = functional.fptt_online_training(net, optimizer, x, target, half_squares, ALPHA, w_ra)
    assert_close("weight", w2, net.weight.detach())
    assert_close("average", (average + w2) / 2 - slope(w2, 1) / (2 * ALPHA), w_ra[0])
    assert_close("loss", half_squares(x[0] @ w0.T, target[0]), losses[0])
    assert net.weight.grad is None


def test_memories_go_on_as_in_a_forward_pass():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), neuron.LIFNode(), nn.Linear(5, 2))
    x, target = 4 * torch.rand(6, 4, 3), torch.rand(6, 4, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    average = functional.fptt_online_training_init_w_ra(optimizer)
    losses = functional.fptt_online_training(net, optimizer, x, target, F.mse_loss, ALPHA, average)
    v = net[1].v
    assert v.grad_fn is None
    functional.reset_net(net)
    expected = [F.mse_loss(net(step), wanted).detach() for step, wanted in zip(x, target, strict=True)]
    assert_same("losses", torch.stack(expected), losses)
    assert_same("v", net[1].v.detach(), v)


class InPlace(neuron.IFNode):
    """Changes its potential in place."""

    def neuronal_charge(self, x):
        self.v = self.v + 0.0 * x if isinstance(self.v, float) else self.v
        self.v += x


def test_a_step_that_changes_its_memory_in_place_learns_as_one_that_does_not():
    found = []
    for kind in (neuron.IFNode, InPlace):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(3, 2), kind())
        optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
        average = functional.fptt_online_training_init_w_ra(optimizer)
        x, target = torch.rand(6, 4, 3), torch.ones(6, 4, 2)
        found.append(functional.fptt_online_training(net, optimizer, x, target, F.mse_loss, 0.5, average))
    assert_close("losses", *found)


def test_it_learns():
    torch.manual_seed(0)
    x, target = (torch.rand(20, 16, 8) < 0.3).float(), torch.rand(20, 16, 2)
    net = nn.Sequential(nn.Linear(8, 64), neuron.LIFNode(v_threshold=0.3), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    average, losses = functional.fptt_online_training_init_w_ra(optimizer), []
    for _ in range(20):
        functional.reset_net(net)
        found = functional.fptt_online_training(net, optimizer, x, target, F.mse_loss, 0.1, average)
        losses.append(found.mean().item())
    assert losses[-1] < 0.6 * losses[0]


def test_wrong_arguments():
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    average = functional.fptt_online_training_init_w_ra(optimizer)
    x = torch.rand(2, 4, 3)
    with pytest.raises(ValueError, match="`alpha`"):
        functional.fptt_online_training(net, optimizer, x, torch.rand(2, 4, 2), F.mse_loss, 0.0, average)
    with pytest.raises(ShapeError, match="`x_seq` must"):
        functional.fptt_online_training(net, optimizer, x[:0], torch.rand(0, 4, 2), F.mse_loss, 0.5, average)
    with pytest.raises(ShapeError, match="one target for each of 2 time steps, got 3"):
        functional.fptt_online_training(net, optimizer, x, torch.rand(3, 4, 2), F.mse_loss, 0.5, average)
    net = nn.Sequential(net, neuron.LIFNode(step_mode="m"))
    with pytest.raises(
        ValueError, match=r"fptt_online_training gives .* `step_mode` of LIFNode '1' must be 's'"
    ):
        functional.fptt_online_training(net, optimizer, x, torch.rand(2, 4, 2), F.mse_loss, 0.5, average)
