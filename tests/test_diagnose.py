"""The firing check: silent and saturated layers are named with a cure, and watching changes nothing."""

import math

import pytest
import torch
from torch import nn

from compare import assert_same
from spikeloom import functional, layer, neuron, surrogate
from spikeloom.diagnose import ALWAYS, Firing, FiringCheck
from spikeloom.errors import ShapeError

STEPS = 6


def run(net, x_seq, step_mode):
    functional.set_step_mode(net, step_mode)
    return net(x_seq) if step_mode == "m" else torch.stack([net(x) for x in x_seq])


def watched(net, x_seq, step_mode="m", batches=1):
    with FiringCheck(net) as check:
        for _ in range(batches):
            run(net, x_seq, step_mode)
            functional.reset_net(net)
    return check


def num_hooks(net):
    return sum(len(module._forward_hooks) for module in net.modules())


def weak_net(surrogate_function, **settings):
    """A linear layer too weak to make its neurons fire: each step adds 0.05 to them."""
    net = nn.Sequential(
        nn.Linear(2, 3, bias=False), neuron.LIFNode(surrogate_function=surrogate_function, **settings)
    )
    nn.init.constant_(net[0].weight, 0.05)
    return net


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_rectangular_surrogate_that_never_fires_is_named_with_its_cure(step_mode):
    check = watched(weak_net(surrogate.Rectangular()), torch.ones(STEPS, 4, 2), step_mode, batches=3)
    (layer,) = check.layers
    assert layer.stuck
    (advice,) = check.advice()
    for part in (
        "Layer '1' (LIFNode) did not fire once",
        "Its potential stayed 0.902 or more below its threshold",  # 1 - 0.1 (1 - 2**-6)
        "passes no gradient, so it cannot learn to",
        "take a surrogate with wide support, such as surrogate.ATan()",
        "Lower v_threshold",
    ):
        assert part in advice


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_silent_layer_with_a_wide_surrogate_may_wake_up(step_mode):
    net = weak_net(surrogate.ATan())
    check = watched(net, torch.ones(STEPS, 4, 2), step_mode)
    assert not check.layers[0].stuck
    (advice,) = check.advice()
    assert "did not fire once" in advice
    assert "passes a gradient at 100% of its steps, so it may wake up" in advice
    run(net, torch.ones(STEPS, 4, 2), step_mode).sum().backward()
    assert (net[0].weight.grad != 0).all()  # and indeed it may


@pytest.mark.parametrize("threshold", [50.0, torch.tensor([50.0, 60.0])])
def test_a_high_threshold_is_no_input_below_zero(threshold):
    node = neuron.LIFNode(v_threshold=threshold, surrogate_function=surrogate.Sigmoid())
    (advice,) = watched(nn.Sequential(node), torch.rand(STEPS, 3, 2)).advice()
    assert "Lower v_threshold" in advice
    assert "far below 0" not in advice
    assert "passes no gradient" in advice  # but 4e-80, which is none
    (advice,) = watched(nn.Sequential(neuron.LIFNode()), torch.full((STEPS, 3, 2), -40.0)).advice()
    assert "far below 0" in advice


def test_a_stuck_layer_indeed_gets_no_gradient():
    net = weak_net(surrogate.Rectangular())
    run(net, torch.ones(STEPS, 4, 2), "m").sum().backward()
    assert not net[0].weight.grad.any()


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_layer_that_always_fires_is_told(step_mode):
    net = nn.Sequential(neuron.IFNode())
    check = watched(net, torch.full([STEPS, 4, 2], 1.5), step_mode)
    (advice,) = check.advice()
    assert check.layers[0].rate == 1.0 > ALWAYS
    assert "Layer '0' (IFNode) fires at 100% of all steps" in advice
    assert "Raise v_threshold" in advice


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_healthy_layer_needs_no_advice_and_its_rate_is_counted(step_mode):
    net = nn.Sequential(neuron.IFNode())
    check = watched(net, torch.full([STEPS, 4, 2], 0.5), step_mode, batches=2)
    assert check.advice() == []
    (layer,) = check.layers
    assert layer.rate == 0.5
    assert layer.values == 2 * STEPS * 4 * 2
    assert layer.spikes == layer.values / 2
    assert layer.calls == (2 if step_mode == "m" else 2 * STEPS)


def test_rates_are_of_spikes_also_at_a_rate_below_one_in_a_thousand():
    x_seq = torch.zeros(1000, 2)
    x_seq[7, 0] = 2.0
    check = watched(nn.Sequential(neuron.LIFNode()), x_seq)
    assert check.layers[0].rate == pytest.approx(1 / 2000)
    assert check.advice() == []


def test_a_layer_that_was_never_called_is_not_judged():
    net = nn.Sequential(neuron.IFNode())
    net.unused = neuron.IFNode()
    with FiringCheck(net) as check:
        net[0](torch.full([2], 0.5))
        net[0](torch.full([2], 0.5))
    assert check.advice() == []
    assert [layer.calls for layer in check.layers] == [2, 0]


def test_an_empty_batch_is_not_judged():
    check = watched(nn.Sequential(neuron.IFNode()), torch.zeros(STEPS, 0, 2))
    assert check.advice() == []


def test_layers_are_named_by_their_place():
    net = nn.Sequential(nn.Sequential(nn.Identity(), neuron.IFNode(v_threshold=9.0)), neuron.LIFNode())
    check = watched(net, torch.ones(STEPS, 2, 2))
    first, second = check.advice()
    assert "Layer '0.1' (IFNode)" in first
    assert "stayed 3 or more below" in first
    assert "Layer '1' (LIFNode)" in second


def test_non_spiking_neurons_are_ignored():
    net = nn.Sequential(neuron.NonSpikingIFNode(), neuron.NonSpikingLIFNode())
    check = watched(net, torch.ones(STEPS, 2, 2))
    assert check.layers == []
    assert check.advice() == []
    assert num_hooks(net) == 0


@pytest.mark.parametrize("learned", [False, True])
def test_a_threshold_per_neuron_is_shown_as_its_range(learned):
    thresholds = torch.tensor([2.0, 5.0])
    node = neuron.LIFNode(
        v_threshold=nn.Parameter(thresholds) if learned else thresholds,
        surrogate_function=surrogate.Rectangular(),
    )
    check = watched(nn.Sequential(node), torch.ones(STEPS, 3, 2))
    assert check.layers[0].stuck
    assert "stayed 1.02 or more below its threshold" in check.advice()[0]
    assert node.v_threshold.grad is None


def test_a_gradient_at_some_neurons_is_no_stuck_layer():
    node = neuron.LIFNode(
        v_threshold=torch.tensor([1.3, 5.0]), surrogate_function=surrogate.Rectangular()
    )  # potentials end just below 1: within the half-width of the first threshold only
    check = watched(nn.Sequential(node), torch.ones(STEPS, 3, 2))
    assert not check.layers[0].stuck
    assert "passes a gradient at" in check.advice()[0]


def test_a_threshold_that_is_a_memory_is_taken_as_it_stands():
    class Adaptive(neuron.SimpleBaseNode):
        def __init__(self, **settings):
            super().__init__(**settings)
            del self.v_threshold
            self.register_memory("v_threshold", 4.0)

        def neuronal_charge(self, x):
            self.v = 0.5 * self.v + x

    check = watched(nn.Sequential(Adaptive()), torch.ones(STEPS, 3, 2))
    assert "did not fire once" in check.advice()[0]


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_watching_changes_neither_outputs_nor_gradients_nor_memories(step_mode):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), neuron.LIFNode(), nn.Linear(5, 2), neuron.ParametricLIFNode())
    x_seq = torch.rand(STEPS, 4, 3) * 5

    def results():
        net.zero_grad()
        functional.reset_net(net)
        x = x_seq.clone().requires_grad_()
        out = run(net, x, step_mode)
        out.square().sum().backward()
        return [out.detach(), x.grad, net[1].v.detach(), *(p.grad.clone() for p in net.parameters())]

    plain = results()
    with FiringCheck(net):
        seen = results()
    for reference, got in zip(plain, seen, strict=True):
        assert_same("watched", reference, got)


def test_watching_works_without_gradients():
    net = weak_net(surrogate.ATan())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            check = watched(net, torch.ones(STEPS, 4, 2))
        assert "may wake up" in check.advice()[0]


def test_hooks_are_removed_at_the_end():
    net = weak_net(surrogate.ATan())
    with FiringCheck(net):
        assert num_hooks(net) == 2  # of the neuron and of the network
    assert num_hooks(net) == 0
    check = FiringCheck(net)
    net(torch.ones(4, 2))
    assert len(check.close()) == 1
    assert num_hooks(net) == 0


def test_hooks_are_removed_after_an_exception_too():
    net = weak_net(surrogate.ATan())
    with pytest.raises(RuntimeError), FiringCheck(net):
        net(torch.ones(4, 7))
    assert num_hooks(net) == 0
    with pytest.raises(KeyError), FiringCheck(net):
        raise KeyError("mine")
    assert num_hooks(net) == 0


def test_a_users_own_hooks_stay():
    net = weak_net(surrogate.ATan())
    net[1].register_forward_hook(lambda *_: None)
    with FiringCheck(net):
        assert num_hooks(net) == 3
    assert num_hooks(net) == 1


def test_what_is_computed_after_the_check_is_not_counted():
    net = weak_net(surrogate.ATan())
    check = watched(net, torch.ones(STEPS, 4, 2))
    run(net, torch.full([STEPS, 4, 2], 100.0), "m")
    assert check.layers[0].spikes == 0


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_layer_with_a_gradient_early_in_the_sequence_is_not_called_stuck(step_mode):
    """Input comes first and silence after it: the potential has leaked away when the sequence ends."""
    net = nn.Sequential(
        nn.Linear(1, 1, bias=False), neuron.LIFNode(surrogate_function=surrogate.Rectangular())
    )
    nn.init.constant_(net[0].weight, 1.5)
    x_seq = torch.zeros(20, 1, 1)
    x_seq[0] = 1.0
    check = watched(net, x_seq, step_mode)
    run(net, x_seq, step_mode).sum().backward()
    assert net[0].weight.grad != 0
    assert not check.layers[0].stuck
    assert "cannot learn" not in check.advice()[0]


def test_many_spikes_in_half_precision_are_counted():
    check = watched(nn.Sequential(neuron.LIFNode()), torch.full([1000, 100], 3.0).half())
    assert check.layers[0].rate == 1.0


def test_weights_that_are_far_too_large_are_not_to_be_larger():
    net = nn.Sequential(nn.Linear(4, 3), neuron.LIFNode())
    nn.init.constant_(net[0].weight, -100.0)
    with FiringCheck(net) as check:
        net(torch.ones(2, 4))
    assert "lower the learning rate" in check.layers[0].advice()


class Sends(neuron.IFNode):
    """Sends its input on as its spikes."""

    def neuronal_fire(self):
        return super().neuronal_fire() * 0 + self.v


@pytest.mark.parametrize(
    ("spikes", "advice"),
    [
        ([1.0, 2.0, 3.0, 1.0], []),  # counts, at every step
        ([2.0, 2.0, 2.0, 2.0], ["fires at 100% of all steps"]),
        ([-1.0, 1.0, 1.0, -1.0], []),  # signs that differ, with the sum 0
        ([-1.0, 0.0, 0.0, 0.0], []),
        ([0.0, 0.0, 0.0, 0.0], ["did not fire once"]),
        ([1.0, 0.0, 0.0, math.nan], ["has NaN in its potentials"]),
    ],
)
def test_spikes_of_any_size_and_sign_are_counted(spikes, advice):
    check = watched(nn.Sequential(Sends(v_reset=None)), torch.tensor(spikes).view(4, 1), "s")
    (layer,) = check.layers
    assert layer.rate == sum(one != 0 for one in spikes) / 4
    assert [part in said for part, said in zip(advice, check.advice(), strict=True)] == [True] * len(advice)


class Reuses(nn.Module):
    """One neuron behind both layers, perhaps under a second name."""

    def __init__(self, second_name):
        super().__init__()
        self.one, self.two, self.sn = layer.Linear(4, 4), layer.Linear(4, 4), neuron.IFNode(v_threshold=0.1)
        if second_name:
            self.again = self.sn

    def forward(self, x):
        return self.sn(self.two(self.sn(self.one(x))))


class Once(Reuses):
    """A neuron under two names that runs once."""

    def forward(self, x):
        return self.again(self.one(x))


@pytest.mark.parametrize(("mode", "second_name"), [("m", False), ("m", True), ("s", True)])
def test_a_neuron_in_two_places_is_told(mode, second_name):
    net = Reuses(second_name)
    (advice,) = watched(net, torch.rand(STEPS, 3, 4), mode).advice()
    assert "'sn' (IFNode) ran 2 times in each forward pass" in advice
    assert "a neuron of its own" in advice


@pytest.mark.parametrize("mode", ["s", "m"])
def test_a_neuron_with_two_names_that_runs_once_is_not(mode):
    (watched_layer,) = watched(Once(True), torch.rand(STEPS, 3, 4), mode).layers
    assert not watched_layer.shared


def test_a_forward_pass_that_a_backward_pass_repeats_is_no_second_run():
    net = nn.Sequential(layer.Linear(4, 4), neuron.IFNode())
    functional.set_step_mode(net, "m")
    with FiringCheck(net) as check:
        functional.checkpoint_time(net, torch.rand(STEPS, 3, 4), 2).sum().backward()
        functional.reset_net(net)
        functional.checkpoint(net, torch.rand(STEPS, 3, 4)).sum().backward()
    assert not check.layers[0].shared


def test_layers_that_share_a_surrogate_are_judged_each_for_itself():
    shared = surrogate.Rectangular()
    lively, silent = (neuron.IFNode(surrogate_function=shared, step_mode="m") for _ in range(2))
    net = nn.Sequential(lively, nn.Linear(2, 2), silent)
    nn.init.zeros_(net[1].weight)
    nn.init.constant_(net[1].bias, -3.0)
    with FiringCheck(net) as check:
        net(torch.full([STEPS, 1, 2], 0.6))
    first, second = check.layers
    assert (first.stuck, second.stuck) == (False, True)
    assert (first.distances, second.distances) == (2 * STEPS, 2 * STEPS)
    assert second.nearest == -4


def test_neurons_that_fire_counts_are_told_their_potential_in_thresholds():
    check = watched(nn.Sequential(neuron.ILIFNode()), torch.full([STEPS, 2, 3], 0.2))
    assert "Its potential reached 0.267 thresholds at most;" in check.advice()[0]


def test_a_neuron_within_a_neuron_is_counted_and_so_is_the_outer_one():
    class Outer(neuron.IFNode):
        def __init__(self):
            super().__init__(step_mode="m")
            self.inner = neuron.IFNode()

        def neuronal_charge(self, x):
            super().neuronal_charge(self.inner(x))

    with FiringCheck(Outer()) as check:
        check.layers[0].node(torch.full([STEPS, 2], 0.6))
    assert [layer.distances for layer in check.layers] == [2 * STEPS, 2 * STEPS]


def test_a_surrogate_that_is_no_module_may_be_unhashable():
    class Step:
        __hash__ = None

        def __call__(self, x):
            return (x >= 0).to(x)

    check = watched(nn.Sequential(neuron.IFNode(surrogate_function=Step())), torch.ones(STEPS, 2, 3))
    assert check.layers[0].rate == 1


def test_a_forward_pass_that_fails_leaves_nothing_behind():
    """What the surrogate is given later, outside of any neuron, is no neuron's."""
    shared = surrogate.ATan()
    net = nn.Sequential(nn.Linear(3, 2), neuron.IFNode(surrogate_function=shared))
    with FiringCheck(net) as check:
        net(torch.rand(4, 3))
        with pytest.raises(ShapeError):
            net(torch.rand(5, 3))
        shared(torch.rand(7))
    assert check.layers[0].distances == 8
    assert check.layers[0].calls == 1


@pytest.mark.parametrize(("spikes", "told"), [(95, False), (96, True)])
def test_from_which_rate_on_spikes_say_nothing(spikes, told):
    firing = Firing("0", neuron.IFNode(), calls=1, passes=1, spikes=spikes, values=100, low=1.0, high=1.0)
    assert firing.always == bool(firing.advice()) == told


@pytest.mark.parametrize(
    ("x", "cure"), [(-10.0, "Lower v_threshold"), (-198.0, "Its input is far below 0")]
)  # 6 and 100 below the threshold, where the slope is 3e-3 and 1e-5
def test_a_small_slope_is_a_gradient_and_how_far_is_far(x, cure):
    net = nn.Sequential(neuron.LIFNode(surrogate_function=surrogate.ATan()))
    with FiringCheck(net) as check:
        net(torch.full([3], x))
    assert not check.layers[0].stuck
    assert cure in check.advice()[0]
