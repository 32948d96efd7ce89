"""What learners refuse, and what they say; what is left of them, and of their copies."""

import copy
import gc
import math
import pickle
import warnings

import pytest
import torch
from torch import nn

from compare import assert_same
from learning.spikes import POST, PRE, parts, show
from spikeloom import layer, learning, neuron
from spikeloom.errors import ShapeError, SpikeloomError


def learner_of(fc, sn, step_mode="s"):
    return learning.STDPLearner(step_mode, fc, sn, 2.0, 2.0)


def test_a_step_before_the_network_has_run():
    learner = learner_of(*parts())
    with pytest.raises(SpikeloomError, match=r"STDPLearner saw 0 inputs of `synapse` and 0 outputs of `sn`"):
        learner.step()


def test_neurons_that_the_network_does_not_run():
    """A new neuron made for the learner, in place of the network's."""
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
    learner = learner_of(net[0], neuron.LIFNode())
    net(PRE[0])
    with pytest.raises(SpikeloomError, match=r"saw 1 inputs .* 0 outputs.*the very modules"):
        learner.step()
    learner.reset()
    assert learner.trace_pre is None


def test_neurons_within_the_neurons_are_not_watched():
    """A stack of stacks as ``sn``: only its own output is learned from, and kept until the next step."""
    fc, sn = layer.Linear(3, 2), nn.Sequential(nn.Sequential(neuron.IFNode()), nn.Sequential(nn.Identity()))
    learner = learner_of(fc, sn)
    show(fc, sn, PRE, POST)
    assert learner.out_spike_monitor.monitored_layers == [""]
    assert len(learner.out_spike_monitor) == len(learner.in_spike_monitor) == len(PRE)


def test_after_close():
    fc, sn = parts()
    learner = learner_of(fc, sn)
    learner.close()
    show(fc, sn, PRE, POST)
    with pytest.raises(SpikeloomError, match="was closed"):
        learner.step()


def test_a_batch_of_another_size_needs_a_reset():
    fc, sn = parts()
    learner = learner_of(fc, sn)
    show(fc, sn, PRE, POST)
    learner.step()
    show(fc, sn, PRE[:, :1], POST[:, :1])
    with pytest.raises(ShapeError, match=r"`trace_pre` of STDPLearner.*\[1, 3\], got \[2, 3\]. Call reset"):
        learner.step()
    learner.reset()
    show(fc, sn, PRE[:, :1], POST[:, :1])
    show(fc, sn, PRE, POST)
    with pytest.raises(ShapeError, match="changed their shape between two steps"):
        learner.step()


def test_another_step_mode_than_the_network():
    fc, sn = parts("m")
    learner = learner_of(fc, sn, "s")
    show(fc, sn, PRE, POST)
    with pytest.raises(
        ShapeError, match=r"step_mode='s' expects input spikes \[N, features\], got \[4, 2, 3\]"
    ):
        learner.step()
    fc, sn = parts("s")
    learner = learner_of(fc, sn, "m")
    show(fc, sn, PRE, POST)
    with pytest.raises(ShapeError, match=r"\[T, N, features\], got \[2, 3\]"):
        learner.step()
    conv = layer.Conv2d(1, 1, 3)
    learner = learner_of(conv, sn := nn.Identity(), "m")
    sn(conv(torch.ones(2, 1, 5, 5)))
    with pytest.raises(ShapeError, match=r"\[T, N, C, H, W\], got \[2, 1, 5, 5\]"):
        learner.step()


@pytest.mark.parametrize("between", [nn.AvgPool2d(2), nn.Flatten()])
def test_something_between_synapse_and_neurons(between):
    net = nn.Sequential(layer.Conv2d(1, 2, 3), between, neuron.LIFNode())
    learner = learner_of(net[0], net[2])
    net(torch.ones(1, 1, 8, 8))
    with pytest.raises(ShapeError, match=r"right behind `synapse`|expects output spikes"):
        learner.step()


def test_neurons_of_another_layer():
    fc, sn = parts()
    learner = learner_of(fc, sn)
    fc(PRE[0]), sn(torch.ones(2, 5))
    with pytest.raises(ShapeError, match=r"behind Linear must have shape \[1, 2, 2\].*got \[1, 2, 5\]"):
        learner.step()


def test_what_is_no_synapse_and_what_are_no_neurons():
    with pytest.raises(TypeError, match=r"`synapse` must be a Linear.*got LIFNode"):
        learner_of(neuron.LIFNode(), nn.Identity())
    with pytest.raises(TypeError, match=r"`synapse`.*ConvTranspose2d"):
        learner_of(layer.ConvTranspose2d(1, 1, 2), nn.Identity())
    with pytest.raises(TypeError, match=r"`sn`.*str"):
        learner_of(nn.Linear(1, 1), "1")
    with pytest.raises(ValueError, match="`step_mode`"):
        learner_of(nn.Linear(1, 1), nn.Identity(), "x")
    with pytest.raises(TypeError, match=r"`f_post` must be a function of the weight, got 1.0"):
        learning.STDPLearner("s", nn.Linear(1, 1), nn.Identity(), 2.0, 2.0, f_post=1.0)


def test_a_wrong_scale_loses_no_spikes():
    net = parts()
    learner = learner_of(*net)
    net[1](net[0](PRE[0]))
    with pytest.raises(TypeError, match="`scale` must be a number, got '2'"):
        learner.step(scale="2")
    assert learner.step(on_grad=False, scale=2) is not None


@pytest.mark.parametrize("tau", [0.5, 0.0, -1.0, float("inf"), float("nan")])
def test_wrong_time_constants(tau):
    rule = "a number, got NaN" if math.isnan(tau) else "a finite number of at least 1"
    for name in ("tau_pre", "tau_post"):
        with pytest.raises(ValueError, match=f"`{name}` must be {rule}"):
            learning.STDPLearner(
                "s", nn.Linear(1, 1), nn.Identity(), **{"tau_pre": 2.0, "tau_post": 2.0, name: tau}
            )


def test_a_trace_that_a_script_has_set():
    """``learner.trace_pre = 0.`` stands in old scripts; a trace of another shape is refused."""
    fc, sn = parts()
    learner = learner_of(fc, sn)
    learner.trace_pre, learner.trace_post = 0.0, torch.ones(2, 2)
    show(fc, sn, PRE[:1], POST[:1])
    learner.step()
    assert (learner.trace_post == 0.5 + POST[0]).all()
    learner.trace_pre = torch.ones(3, 2)
    show(fc, sn, PRE[:1], POST[:1])
    with pytest.raises(ShapeError, match=r"`trace_pre`.*\[2, 3\], got \[3, 2\]"):
        learner.step()


def test_nothing_is_left_on_the_network():
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
    learner = learner_of(net[0], net[1])
    assert net[0]._forward_hooks
    learner.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_learner_that_is_dropped_stops_watching():
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
    learner = learner_of(net[0], net[1])
    monitor = learner.in_spike_monitor
    del learner
    gc.collect()
    net(PRE[0])
    assert not monitor.records
    assert not any(module._forward_hooks for module in net.modules())


LEARNERS = {
    "pair": lambda *parts: learning.STDPLearner("s", *parts, 2.0, 2.0, *learning.soft_bounds()),
    "triplet": lambda *parts: learning.TripletSTDPLearner("s", *parts),
    "reward": lambda *parts: learning.MSTDPLearner("s", *parts, 2.0, 2.0, *learning.additive()),
    "eligibility": lambda *parts: learning.MSTDPETLearner("s", *parts, 2.0, 2.0, 3.0),
}


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_goes_on_from_where_it_was_taken_on_its_own_modules(name, copied):
    reward = (1.0,) if name in ("reward", "eligibility") else ()
    fc, sn = parts()
    learner = LEARNERS[name](fc, sn)
    show(fc, sn, PRE[:2], POST[:2])
    learner.step(*reward)
    show(fc, sn, PRE[2:3], POST[2:3])
    (fc_2, sn_2), twin = copied(((fc, sn), learner))
    assert twin.synapse is fc_2
    changes = []
    for synapse, neurons, one in ((fc, sn, learner), (fc_2, sn_2, twin)):
        show(synapse, neurons, PRE[3:], POST[3:])
        changes.append(one.step(*reward, on_grad=False))
    assert_same("change", *changes)
    assert changes[0].abs().sum() > 0
    for one in (learner, twin):
        one.close()
    assert not any(module._forward_hooks for module in (fc, sn, fc_2, sn_2))


def test_a_copy_of_a_closed_or_disabled_learner_is_so_too():
    fc, sn = parts()
    learner = learner_of(fc, sn)
    learner.disable()
    (fc_2, sn_2), twin = copy.deepcopy(((fc, sn), learner))
    show(fc_2, sn_2, PRE, POST)
    assert twin.step(on_grad=False) is None
    learner.enable()
    learner.close()
    with pytest.raises(SpikeloomError, match="was closed"):
        copy.deepcopy(learner).step()


def test_spikes_that_nobody_learns_from_are_told_of_once(monkeypatch):
    """In evaluation at once; in training when they have become many."""
    fc, sn = parts()
    learner = learner_of(fc, sn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        show(fc, sn, PRE, POST)
        learner.disable()
        fc.eval()
        show(fc, sn, PRE, POST)
    learner.enable()
    with pytest.warns(UserWarning, match=r"evaluation mode.*disable\(\) before a test") as seen:
        show(fc, sn, PRE, POST)
    assert len(seen) == 1
    assert len(learner.in_spike_monitor) == 2 * len(PRE)  # known semantics: they still count
    monkeypatch.setattr("spikeloom.learning.learner.MANY_BYTES", 3 * PRE[0].nbytes)
    fc, sn = parts()
    learner = learner_of(fc, sn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            show(fc, sn, PRE[:3], POST[:3])
            learner.step()
    with pytest.warns(UserWarning, match="keeps what passes Linear"):
        show(fc, sn, PRE, POST)


@pytest.mark.parametrize("synapse", [layer.Linear(18, 3), layer.Conv2d(2, 3, 3)])
def test_autocast_makes_no_change_coarser(synapse):
    """A sum over many spikes does not fit into 8 bits; and a gradient must have the parameter's type."""
    shape = (18,) if isinstance(synapse, nn.Linear) else (2, 3, 3)
    pre = (torch.rand(300, 4, *shape, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    post = torch.ones(300, 4, 3, *[1] * (len(shape) - 1))
    changes = []
    for enabled in (False, True):
        learner = learning.STDPLearner("s", synapse, sn := nn.Identity(), 9.0, 9.0, *learning.additive())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            for before, behind in zip(pre, post, strict=True):
                synapse(before), sn(behind)
            learner.step()
        changes.append(synapse.weight.grad)
        synapse.weight.grad = None
        learner.close()
    assert_same("gradient", *changes)


@pytest.mark.parametrize("kind", ["pair", "triplet", "reward"])
def test_half_weights_learn_from_sums_in_full(kind):
    changes = []
    generator = torch.Generator().manual_seed(0)
    pre, post = ((torch.rand(600, 2, size, generator=generator) < 0.4).float() for size in (5, 3))
    for dtype in (torch.float32, torch.bfloat16):
        fc, sn = nn.Linear(5, 3, dtype=dtype), nn.Identity()
        nn.init.constant_(fc.weight, 0.5)
        if kind == "reward":
            learner = learning.MSTDPLearner("s", fc, sn, 500.0, 500.0)
        elif kind == "pair":
            learner = learning.STDPLearner("s", fc, sn, 500.0, 500.0, *learning.additive(0.5, 1.0))
        else:
            learner = learning.TripletSTDPLearner("s", fc, sn)
        for before, behind in zip(pre.to(dtype), post.to(dtype), strict=True):
            fc(before), sn(behind)
        changes.append(learner.step(*([1.0] if kind == "reward" else []), on_grad=False))
    assert changes[1].dtype is torch.bfloat16
    assert_same("change", changes[0].bfloat16(), changes[1])
