"""Reward-modulated STDP: against values of SpikingJelly's, its equations, and what a reward is for."""

import math

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from learning.spikes import POST, PRE, parts, random_spikes
from spikeloom import layer, learning
from spikeloom.errors import ShapeError


def clamped(weight):
    return torch.clamp(weight, -1.0, 0.3)


def test_a_wrong_reward_loses_no_spikes():
    fc, sn = parts()
    learner, other = (learning.MSTDPLearner("s", fc, sn, 2.0, 4.0) for _ in range(2))
    for before, behind in zip(PRE[:3], POST[:3], strict=True):
        fc(before), sn(behind)
        with pytest.raises(ShapeError, match="`reward` must be a number or"):
            learner.step(torch.ones(7))
        changes = [one.step(1.0, on_grad=False) for one in (learner, other)]
        assert_same("change", *changes)
    assert changes[0].any()


def test_values_of_spikingjelly():
    """SpikingJelly 2.0.0, torch 2.13.0, 2026-11-22; the weight is changed after each step."""
    fc, sn = parts()
    learner = learning.MSTDPLearner("s", fc, sn, 2.0, 4.0, clamped)
    rewards = [[0.5, 1.0], [1.0, -1.0], [0.25, 2.0], [-1.0, 0.5]]
    for before, behind, reward in zip(PRE, POST, rewards, strict=True):
        fc(before), sn(behind)
        fc.weight.data += learner.step(torch.tensor(reward), on_grad=False)
    expected = [[0.0009905, 0.1541326, 0.2090204], [0.4367294, 0.1292505, -0.3551819]]
    assert_close("weight", torch.tensor(expected), fc.weight.detach())


def test_values_of_spikingjelly_with_an_eligibility_trace():
    fc, sn = parts()
    learner = learning.MSTDPETLearner("s", fc, sn, 2.0, 4.0, 3.0, clamped)
    for before, behind, reward in zip(PRE, POST, [0.5, 1.0, -0.25, 2.0], strict=True):
        fc(before[0]), sn(behind[0])
        fc.weight.data += learner.step(reward, on_grad=False)
    expected = [[0.1930481, -0.3540613, 0.6], [0.8186283, 0.0692877, -0.3]]
    assert_close("weight", torch.tensor(expected), fc.weight.detach())
    expected = [[0.0015785, 0.0229693, 0.0], [0.1319519, -0.0186012, 0.0]]
    assert_close("trace", torch.tensor(expected), learner.trace_e)


def test_the_functions_give_what_the_learners_reward():
    """The change of a step is the reward times the eligibility of the step before."""
    fc, sn = parts()
    learner = learning.MSTDPLearner("s", fc, sn, 2.0, 4.0)
    rewards = torch.tensor([[0.5, 1.0], [1.0, -1.0], [0.25, 2.0], [-1.0, 0.5]])
    trace_pre, trace_post, eligibility = None, None, torch.zeros(2, 2, 3)
    for before, behind, reward in zip(PRE, POST, rewards, strict=True):
        fc(before), sn(behind)
        expected = (reward[:, None, None] * eligibility).sum(0)
        assert_close("change", expected, learner.step(reward, on_grad=False))
        trace_pre, trace_post, eligibility = learning.mstdp_linear_single_step(
            fc, before, behind, trace_pre, trace_post, 2.0, 4.0
        )
    one = learning.mstdpet_linear_single_step(fc, PRE[0, 0], POST[0, 0], 0.0, 0.0, 2.0, 4.0, 3.0)
    assert_same("of one sample", torch.tensor([1.0, 0, 0]), one[0])
    assert one[2].shape == (2, 3)


@pytest.mark.parametrize("conv", [layer.Conv1d, layer.Conv2d, layer.Conv3d])
def test_a_convolution_with_a_reward_per_sample_learns_what_its_samples_would_alone(conv):
    places = {layer.Conv1d: 1, layer.Conv2d: 2, layer.Conv3d: 3}[conv]
    pre = random_spikes(3, 2, 2, *[4] * places)
    post = random_spikes(3, 2, 3, *[4] * places, seed=1)
    rewards = random_spikes(3, 2, rate=0.5, seed=2) - 0.25
    synapse = conv(2, 3, 3, padding=1).double()

    def changes(samples):
        learner = learning.MSTDPLearner("s", synapse, sn := nn.Identity(), 2.0, 3.0)
        total = torch.zeros_like(synapse.weight)
        for before, behind, reward in zip(
            pre[:, samples], post[:, samples], rewards[:, samples], strict=True
        ):
            synapse(before), sn(behind)
            total += learner.step(reward, on_grad=False)
        learner.close()
        return total.detach()

    assert_close("sum", changes([0]) + changes([1]), changes([0, 1]))
    assert changes([0, 1]).abs().sum() > 0


def test_a_late_reward_reaches_what_is_still_eligible():
    """A pair at step 0, then silence; the reward comes after some steps."""
    for delay in (1, 3, 6):
        fc, sn = parts(weight=torch.tensor([[1.0]]))
        learner = learning.MSTDPETLearner("s", fc, sn, 2.0, 2.0, 5.0, *learning.additive(1.0, 0.5))
        change = None
        for t in range(delay + 1):
            fc(torch.tensor([[float(t == 0)]])), sn(torch.tensor([[float(t == 0)]]))
            change = learner.step(float(t == delay), on_grad=False)
        assert_close("change", torch.tensor([[0.5 / 5 * math.exp(-(delay - 1) / 5)]]), change)


@pytest.mark.parametrize("reward", [-1.0, 0.0])
def test_the_reward_gives_the_sign(reward):
    results = []
    for given in (1.0, reward):
        fc, sn = parts()
        learner = learning.MSTDPLearner("s", fc, sn, 2.0, 2.0)
        for before, behind in zip(PRE, POST, strict=True):
            fc(before), sn(behind)
            learner.step(given)
        results.append(fc.weight.grad)
    assert_same("gradient", results[0] * reward, results[1])


def test_made_as_older_scripts_do():
    fc, sn = parts()
    for learner in (
        learning.MSTDPLearner("s", 4, fc, sn, 2.0, 3.0),
        learning.MSTDPLearner(step_mode="s", batch_size=4, synapse=fc, sn=sn, tau_pre=2.0, tau_post=3.0),
        learning.MSTDPETLearner("s", fc, sn, 2.0, 3.0, tau_trace=4.0),
    ):
        assert (learner.synapse, learner.tau_pre, learner.tau_post) == (fc, 2.0, 3.0)


def test_wrong_rewards_and_modes():
    fc, sn = parts()
    with pytest.raises(ValueError, match="`step_mode` of MSTDPLearner"):
        learning.MSTDPLearner("m", fc, sn, 2.0, 2.0)
    with pytest.raises(ValueError, match="`tau_trace`"):
        learning.MSTDPETLearner("s", fc, sn, 2.0, 2.0, -1.0)
    for learner in (
        learning.MSTDPLearner("s", fc, sn, 2.0, 2.0),
        learning.MSTDPETLearner("s", fc, sn, 2.0, 2.0, 2.0),
    ):
        fc(PRE[0]), sn(POST[0])
        with pytest.raises(ShapeError, match="`reward`"):
            learner.step(torch.ones(3))
        learner.close()


def test_a_batch_of_another_size_needs_a_reset():
    fc, sn = parts()
    learner = learning.MSTDPLearner("s", fc, sn, 2.0, 2.0)
    for size in (2, 1):
        fc(PRE[0, :size]), sn(POST[0, :size])
        if size == 2:
            learner.step(torch.ones(2))
    with pytest.raises(ShapeError, match=r"`trace_pre`.*Call reset\(\)"):
        learner.step(torch.ones(1))


@pytest.mark.parametrize(
    ("make", "reward"),
    [
        (lambda *parts: learning.MSTDPLearner("s", *parts, 2.0, 3.0), (1.0,)),
        (lambda *parts: learning.MSTDPETLearner("s", *parts, 2.0, 3.0, 4.0), (1.0,)),
        (lambda *parts: learning.TripletSTDPLearner("s", *parts), ()),
    ],
)
def test_the_scale_multiplies_the_change(make, reward):
    found = []
    for scale in (1.0, 0.25):
        fc, sn = parts()
        learner, total = make(fc, sn), torch.zeros_like(fc.weight)
        for before, behind in zip(PRE, POST, strict=True):
            fc(before), sn(behind)
            total += learner.step(*reward, on_grad=False, scale=scale)
        found.append(total.detach())
    assert found[0].abs().sum() > 0
    assert_close("scale", 0.25 * found[0], found[1])
