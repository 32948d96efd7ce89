"""Bounds of weights, and their sum."""

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from learning.spikes import random_spikes
from spikeloom import layer, learning


@pytest.mark.parametrize("mu", [1.0, 3.0])
def test_soft_bounds_are_never_crossed_by_small_steps(mu):
    """Only strengthening, then only weakening, for long."""
    f_pre, f_post = learning.soft_bounds(0.3, 0.3, -0.5, 2.0, mu)
    weight = torch.linspace(-0.5, 2.0, 11)
    up = down = weight
    for _ in range(200):
        up, down = up + 0.5 * f_post(up), down - 0.5 * f_pre(down)
    assert bool(((up >= weight) & (up <= 2.0)).all())
    assert bool(((down <= weight) & (down >= -0.5)).all())
    outside = torch.tensor([-3.0, 5.0])
    assert f_pre(outside)[0] == f_post(outside)[1] == 0
    assert torch.stack([f_pre(outside), f_post(outside)]).isfinite().all()


def test_soft_bounds_settle_where_both_sides_balance():
    """Equal numbers of strengthening and weakening pairs: w goes to A+ / (A+ + A-)."""
    fc, sn = nn.Linear(1, 1, bias=False), nn.Identity()
    learner = learning.STDPLearner("s", fc, sn, 2.0, 2.0, *learning.soft_bounds(0.3, 0.1))
    optimizer = torch.optim.SGD(fc.parameters(), lr=1.0)
    for _ in range(60):
        fc(torch.ones(1, 1)), sn(torch.ones(1, 1))
        optimizer.zero_grad()
        learner.step()
        optimizer.step()
    torch.testing.assert_close(fc.weight.item(), 0.75, rtol=1e-5, atol=0)


@pytest.mark.parametrize("make", [lambda: layer.Linear(6, 4), lambda: layer.Conv2d(2, 3, 3)])
def test_weights_are_normalised_per_neuron(make):
    module = make()
    module.weight.data[1] = 0.0
    before = module.weight.detach().clone()
    learning.normalise_weights(module, 5.0)
    sums = module.weight.detach().abs().flatten(1).sum(1)
    assert_close("sums", torch.full_like(sums, 5.0).index_fill(0, torch.tensor([1]), 0.0), sums)
    assert_same("signs", before.sign(), module.weight.detach().sign())
    assert module.weight.requires_grad


def test_parametrised_weights_are_clamped_and_normalised_too():
    fc = layer.dale(nn.Linear(4, 3), [True, True, False, False])
    learning.normalise_weights(fc, 2.0)
    assert_close("sums", torch.full([3], 2.0), fc.weight.detach().abs().sum(1))
    assert (fc.weight[:, 2:] < 0).all()
    learning.clamp_weights(fc, -0.1, 0.3)
    assert fc.weight.min() >= -0.1
    assert fc.weight.max() <= 0.3
    other = nn.Linear(4, 3)
    learning.clamp_weights(other, 0.0, 0.2)
    assert other.weight.min() == 0


def test_a_network_with_hard_bounds_stays_in_them():
    fc, sn = layer.Linear(5, 3, bias=False), nn.Identity()
    learner = learning.STDPLearner("s", fc, sn, 4.0, 4.0, *learning.additive(0.5, 0.5))
    optimizer = torch.optim.SGD(fc.parameters(), lr=1.0)
    pre, post = random_spikes(40, 2, 5).float(), random_spikes(40, 2, 3, seed=1).float()
    for before, behind in zip(pre, post, strict=True):
        fc(before), sn(behind)
        optimizer.zero_grad()
        learner.step()
        optimizer.step()
        learning.clamp_weights(fc, 0.0, 1.0)
        assert fc.weight.min() >= 0
        assert fc.weight.max() <= 1


def test_wrong_bounds():
    with pytest.raises(ValueError, match=r"below the upper one, got 1\.0 and 1\.0"):
        learning.clamp_weights(nn.Linear(1, 1), 1.0, 1.0)
    with pytest.raises(ValueError, match="below the upper one"):
        learning.soft_bounds(w_min=2.0)
    with pytest.raises(ValueError, match="`mu`"):
        learning.soft_bounds(mu=-1.0)
    for total in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`total`"):
            learning.normalise_weights(nn.Linear(1, 1), total)


def test_large_sums_of_halves_are_normalised():
    fc = nn.Linear(784, 2, bias=False).half()
    nn.init.constant_(fc.weight, 100.0)
    learning.normalise_weights(fc, 78.0)
    assert fc.weight.float().abs().sum(1).tolist() == pytest.approx([78, 78], rel=2e-3)


@pytest.mark.parametrize("mu", [0.0, 0.4, 1.0, 3.0])
def test_soft_bounds_are_their_equations(mu):
    f_pre, f_post = learning.soft_bounds(0.3, 0.2, -0.5, 2.0, mu)
    weight = torch.linspace(-0.4, 1.9, 11)
    assert_close("strengthening", 0.3 * (2.0 - weight) ** mu, f_post(weight))
    assert_close("weakening", 0.2 * (weight + 0.5) ** mu, f_pre(weight))
