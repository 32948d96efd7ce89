"""Pair STDP against its definition, against values of SpikingJelly's, one step mode against the other."""

import math

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from learning.spikes import POST, PRE, WEIGHT, pair_sums, parts, random_spikes, show
from spikeloom import layer, learning, neuron
from spikeloom.learning.correlation import correlate


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("nearest", [False, True])
def test_the_change_is_the_sum_over_pairs_of_spikes(step_mode, nearest):
    pre, post = random_spikes(30, 3, 4), random_spikes(30, 3, 2, seed=1)
    fc, sn = parts(step_mode, torch.rand(2, 4, dtype=torch.float64) - 0.3)
    learner = learning.STDPLearner(
        step_mode, fc, sn, 5.0, 8.0, lambda w: w**2, lambda w: 1 - w, nearest=nearest
    )
    show(fc, sn, pre, post)
    stronger, weaker = pair_sums(pre, post, 1 - 1 / 5, 1 - 1 / 8, nearest)
    weight = fc.weight.detach()
    assert_close("change", (1 - weight) * stronger - weight**2 * weaker, learner.step(on_grad=False))


def test_values_of_spikingjelly():
    """SpikingJelly 2.0.0, torch 2.13.0, 2026-11-22: f_pre clamps to [-1, 0.3]."""
    fc, sn = parts()
    learner = learning.STDPLearner("s", fc, sn, 2.0, 4.0, lambda w: torch.clamp(w, -1.0, 0.3))
    show(fc, sn, PRE, POST)
    change = learner.step(on_grad=False)
    expected = [[-0.184375, 0.25, 0.2859375], [1.01875, 0.10625, 0.3140625]]
    assert_close("change", torch.tensor(expected), change)
    assert_close("before", torch.tensor([[0.625, 0.75, 1.0], [1.25, 0.375, 1.625]]), learner.trace_pre)
    assert_close("behind", torch.tensor([[1.3125, 2.171875], [1.421875, 1.75]]), learner.trace_post)


def test_spikes_in_the_same_step_strengthen_and_weaken():
    fc, sn = parts(weight=torch.tensor([[2.0]]))
    learner = learning.STDPLearner("s", fc, sn, 3.0, 3.0, *learning.additive(0.25, 1.0))
    show(fc, sn, torch.ones(1, 1, 1), torch.ones(1, 1, 1))
    assert_same("change", torch.tensor([[-0.75]]), learner.step(on_grad=False))


def test_the_batch_is_summed_and_the_factors_are_of_the_weight():
    fc, sn = parts(weight=torch.tensor([[0.5, 0.0, -0.5]]))
    learner = learning.STDPLearner("s", fc, sn, 2.0, 2.0)
    show(fc, sn, torch.ones(1, 4, 3), torch.zeros(1, 4, 1))
    show(fc, sn, torch.zeros(1, 4, 3), torch.ones(1, 4, 1))  # four samples, each half a trace
    assert_same("change", torch.tensor([[1.0, 0.0, -1.0]]), learner.step(on_grad=False))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_steps_in_between_change_nothing_but_the_moment_of_the_weight(step_mode):
    """Traces go on over steps; with factors that ignore the weight, whole equals parts."""
    pre, post = random_spikes(12, 2, 3), random_spikes(12, 2, 2, seed=1)
    results = []
    for cuts in ([12], [5, 1, 6], [1] * 12):
        fc, sn = parts(step_mode, WEIGHT.double())
        learner = learning.STDPLearner(step_mode, fc, sn, 2.5, 4.0, *learning.additive(1.0, 0.5))
        change = torch.zeros_like(fc.weight)
        for before, behind in zip(pre.split(cuts), post.split(cuts), strict=True):
            show(fc, sn, before, behind)
            change += learner.step(on_grad=False)
        results.append((change.detach(), learner.trace_pre, learner.trace_post))
    for other in results[1:]:
        for name, one, two in zip(("change", "before", "behind"), results[0], other, strict=True):
            assert_close(name, one, two)


CONVOLUTIONS = {
    "1d": (lambda: layer.Conv1d(2, 3, 3, stride=2, padding=1), (2, 9)),
    "1d circular": (lambda: layer.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), (2, 7)),
    "2d": (lambda: layer.Conv2d(2, 3, (3, 2), stride=(2, 3), padding=(1, 0)), (2, 8, 9)),
    "2d groups": (lambda: layer.Conv2d(4, 6, 3, groups=2, dilation=2), (4, 7, 8)),
    "2d same": (lambda: layer.Conv2d(2, 3, 4, padding="same"), (2, 6, 6)),
    "3d": (lambda: layer.Conv3d(2, 2, 2, stride=2), (2, 5, 4, 4)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even")
def test_a_convolution_learns_what_each_of_its_places_would(name):
    """A weight is used at every place: its change is the sum over the places, as a gradient's."""
    make, shape = CONVOLUTIONS[name]
    conv = make().double()
    pre = random_spikes(2, 3, *shape)
    post = random_spikes(2, 3, *conv(pre[0]).shape[1:], seed=1)
    conv.step_mode = "m"
    loss = (conv(pre) * post).sum()
    assert_close(
        "correlation", torch.autograd.grad(loss, conv.weight)[0], correlate(conv, pre, post).detach()
    )
    learner = learning.STDPLearner("m", conv, sn := nn.Identity(), 2.0, 3.0, *learning.additive(1.0, 0.5))
    conv(pre), sn(post)
    stronger = correlate(conv, pre[0], post[0]) + correlate(conv, pre[1] + pre[0] / 2, post[1])
    weaker = correlate(conv, pre[0], post[0]) + correlate(conv, pre[1], post[1] + post[0] * 2 / 3)
    assert_close("change", (stronger - weaker / 2).detach(), learner.step(on_grad=False))


def test_the_functions_are_what_the_learner_does():
    fc, sn = parts()
    learner = learning.STDPLearner("s", fc, sn, 2.0, 4.0)
    show(fc, sn, PRE, POST)
    change = learner.step(on_grad=False)
    traces, total = (None, 0.0), torch.zeros_like(change)
    for before, behind in zip(PRE, POST, strict=True):
        *traces, new = learning.stdp_linear_single_step(fc, before, behind, *traces, 2.0, 4.0)
        total += new
    assert_close("steps", change, total)
    *traces_m, whole = learning.stdp_multi_step(fc, PRE, POST, 0.0, None, 2.0, 4.0)
    assert_close("sequence", change, whole)
    for one, two in zip(traces, traces_m, strict=True):
        assert_close("trace", one, two)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_gradient_is_the_negative_change_and_adds_up(scale):
    fc, sn = parts()
    learner = learning.STDPLearner("s", fc, sn, 2.0, 4.0, *learning.additive(1.0, 0.5))
    show(fc, sn, PRE, POST)
    change = learner.step(on_grad=False)
    learner.reset()
    for times in (1, 2):
        show(fc, sn, PRE, POST)
        assert learner.step(scale=scale) is None
        assert_close("gradient", -times * scale * change, fc.weight.grad)
        learner.reset()
    torch.optim.SGD([fc.weight], lr=0.1).step()
    assert_close("weight", WEIGHT + 0.2 * scale * change, fc.weight.detach())


def test_weights_with_a_sign_learn_and_keep_it():
    fc = layer.dale(layer.Linear(2, 1, bias=False), [True, False])
    learner = learning.STDPLearner("s", fc, sn := nn.Identity(), 2.0, 2.0, *learning.additive(1.0, 0.0))
    optimizer = torch.optim.SGD(fc.parameters(), lr=0.1)
    before = fc.weight.detach().clone()
    for _ in range(30):
        optimizer.zero_grad()
        fc(torch.ones(1, 2)), sn(torch.ones(1, 1))
        learner.step()
        optimizer.step()
    assert fc.weight[0, 0] > before[0, 0] + 1
    assert fc.weight[0, 1] == 0  # it was strengthened up to its bound


def test_a_script_as_tutorials_write_it():
    """The network, learner and loop of SpikingJelly's tutorial on STDP, in both step modes."""
    torch.manual_seed(0)
    seen = []
    for step_mode in ("s", "m"):
        torch.manual_seed(0)
        net = nn.Sequential(
            layer.Linear(4, 3, bias=False, step_mode=step_mode),
            neuron.IFNode(step_mode=step_mode),
        )
        nn.init.constant_(net[0].weight, 0.4)
        learner = learning.STDPLearner(
            step_mode=step_mode, synapse=net[0], sn=net[1], tau_pre=2.0, tau_post=2.0,
            f_pre=lambda x: torch.clamp(x, -1, 1.0), f_post=lambda x: torch.clamp(x, -1, 1.0),
        )  # fmt: skip
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.0)
        x = random_spikes(8, 2, 4, rate=0.5).float()
        with torch.no_grad():
            if step_mode == "m":
                net(x)
            else:
                for t in range(8):
                    net(x[t])
            optimizer.zero_grad()
            learner.step(on_grad=True)
            optimizer.step()
        seen.append(net[0].weight.detach().clone())
    assert_close("step modes", *seen)
    assert (seen[0] != 0.4).any()


def test_disabled_it_sees_nothing_and_enabled_it_sees_again():
    fc, sn = parts()
    learner = learning.STDPLearner("s", fc, sn, 2.0, 2.0)
    learner.disable()
    show(fc, sn, PRE, POST)
    assert learner.step(on_grad=False) is None
    assert learner.step() is None
    assert fc.weight.grad is None
    learner.enable()
    show(fc, sn, PRE, POST)
    assert learner.step(on_grad=False).abs().sum() > 0


def test_reset_forgets_traces_and_spikes():
    fc, sn = parts()
    learner = learning.STDPLearner("s", fc, sn, 2.0, 2.0)
    changes = []
    for _ in range(2):
        show(fc, sn, PRE, POST)
        learner.reset()
        assert learner.trace_pre is None
        show(fc, sn, PRE, POST)
        changes.append(learner.step(on_grad=False))
        learner.reset()
    assert_same("again", *changes)


def test_a_weight_change_needs_no_graph_and_takes_none():
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
    learner = learning.STDPLearner("s", net[0], net[1], 2.0, 2.0)
    output = net(PRE[0])
    change = learner.step(on_grad=False)
    assert not change.requires_grad
    output.sum().backward()  # the network's own graph is untouched
    assert net[0].weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.int64])
def test_spikes_of_other_types(dtype):
    fc, _ = parts()
    traces_and_change = learning.stdp_multi_step(fc, PRE.to(dtype), POST.to(dtype), None, None, 2.0, 4.0)
    expected = learning.stdp_multi_step(fc, PRE, POST, None, None, 2.0, 4.0)
    for one, two in zip(expected, traces_and_change, strict=True):
        assert_same("type", one, two)


@pytest.mark.parametrize("reach", [1, 7])
def test_the_window_is_two_exponentials(reach):
    factors = learning.additive(0.3, 0.2)
    delays, change = learning.stdp_window(lambda *all: learning.STDPLearner(*all, 4.0, 5.0, *factors), reach)
    for delay, got in zip(delays.tolist(), change.tolist(), strict=True):
        expected = 0.3 * 0.75**delay * (delay >= 0) - 0.2 * 0.8 ** abs(delay) * (delay <= 0)
        assert math.isclose(got, expected, rel_tol=1e-12)
    with pytest.raises(ValueError, match="`reach`"):
        learning.stdp_window(lambda *_: None, 0)
