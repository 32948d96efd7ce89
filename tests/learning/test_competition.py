"""Inhibition and winners: against a dense matrix of weights, and by what they do."""

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer, learning, neuron
from spikeloom.errors import ShapeError
from spikeloom.learning.competition import all_but_self

MAKERS = {
    "lateral": lambda mode="s": learning.LateralInhibition(neuron.LIFNode(), 0.7, mode),
    "population": lambda mode="s": learning.InhibitoryPopulation(
        neuron.LIFNode(), neuron.IFNode(), 1.0, 0.7, mode
    ),
    "winner": lambda mode="s": learning.WinnerTakeAll(neuron.LIFNode(), 2, mode),
}


def drive(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 4


@pytest.mark.parametrize("name", ["lateral", "population"])
def test_inhibition_is_that_of_a_dense_matrix_with_an_empty_diagonal(name):
    """A partner with threshold 1 that gets 1 relays its neuron's spikes in the same step."""
    x = drive(20, 3, 6)
    got = MAKERS[name]("m")(x)
    dense = -0.7 * (1 - torch.eye(6))
    node, last, expected = neuron.LIFNode(), torch.zeros(3, 6), []
    for step in x:
        last = node(step + last @ dense)
        expected.append(last)
    assert_same("spikes", torch.stack(expected), got)
    assert 0 < got.mean() < 0.9


def test_inhibition_reaches_all_dimensions_of_a_sample_and_no_other_sample():
    spikes = torch.zeros(2, 2, 3)
    spikes[0, 1, 2] = 1.0
    received = all_but_self(spikes)
    assert_same("first sample", 1 - spikes[0], received[0])
    assert (received[1] == 0).all()


@pytest.mark.parametrize("strength", [0.0, 100.0])
def test_strong_inhibition_leaves_the_first_neuron_and_none_leaves_all(strength):
    x = drive(30, 4, 10)
    spikes = learning.LateralInhibition(neuron.IFNode(), strength, "m")(x)
    if strength:
        for sample in spikes.unbind(1):  # who fires first silences the rest; several may fire in one step
            first = sample[sample.any(1).nonzero()[0, 0]]
            assert_same("who fires at all", first, sample.amax(0))
    else:
        assert_same("all", neuron.IFNode(step_mode="m")(x), spikes)


@pytest.mark.parametrize("num_winners", [1, 3, 99])
def test_only_the_strongest_are_heard(num_winners):
    x = drive(20, 4, 3, 5)
    free = neuron.LIFNode(step_mode="m")(x)
    won = learning.WinnerTakeAll(neuron.LIFNode(), num_winners, "m")(x)
    per_step = free.flatten(2).sum(2).clamp(max=num_winners)
    assert_same("numbers", per_step, won.flatten(2).sum(2))
    assert ((won == 1) <= (free == 1)).all()
    silenced = (free - won).bool()
    for t, n in silenced.flatten(2).any(2).nonzero().tolist():
        assert x[t, n][silenced[t, n]].max() <= x[t, n][won[t, n].bool()].min()


@pytest.mark.parametrize("name", MAKERS)
def test_both_step_modes_and_reset(name):
    x = drive(15, 2, 7)
    single, multi = MAKERS[name]("s"), MAKERS[name]("m")
    first = torch.stack([single(step) for step in x])
    assert_same("modes", first, multi(x))
    functional.reset_net(single)
    assert_same("reset", first, torch.stack([single(step) for step in x]))


@pytest.mark.parametrize("name", MAKERS)
def test_set_step_mode_leaves_the_neurons_inside_alone(name):
    net = nn.Sequential(layer.Linear(4, 7), MAKERS[name]())
    functional.set_step_mode(net, "m")
    assert net(drive(5, 2, 4)).shape == (5, 2, 7)


@pytest.mark.parametrize("name", ["lateral", "population"])
def test_gradients_pass_through_the_inhibition(name):
    x = drive(6, 2, 4).requires_grad_()
    net = MAKERS[name]("m")
    out = net(x)
    out[1, 0, 0].backward()
    assert x.grad[0, 0, 1] < 0  # more input to a neighbour, fewer spikes here
    assert (x.grad[:, 1] == 0).all()


def test_it_takes_a_learner():
    net = nn.Sequential(layer.Linear(4, 3, bias=False), MAKERS["winner"]())
    nn.init.constant_(net[0].weight, 1.0)
    learner = learning.STDPLearner("s", net[0], net[1], 2.0, 2.0, *learning.additive(1.0, 0.0))
    for step in drive(6, 2, 4):
        net((step > 2).float())
    assert learner.step(on_grad=False).abs().sum() > 0


def test_strengths_are_numbers_or_one_for_each_neuron():
    assert "strength=2.0," in repr(learning.LateralInhibition(neuron.LIFNode(), 2.0))
    each = learning.LateralInhibition(neuron.LIFNode(), torch.tensor([2.0, 3.0]))
    assert "strength=tensor" in repr(each)
    assert each(torch.ones(1, 2)).shape == (1, 2)


def test_wrong_settings():
    for strength in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`strength`"):
            learning.LateralInhibition(neuron.LIFNode(), strength)
    with pytest.raises(ValueError, match="`inhibition`"):
        learning.InhibitoryPopulation(neuron.LIFNode(), neuron.LIFNode(), 1.0, -1.0)
    with pytest.raises(ValueError, match="`num_winners`"):
        learning.WinnerTakeAll(neuron.LIFNode(), 0)
    with pytest.raises(TypeError, match=r"`num_winners` must be an integer, got 1\.5"):
        learning.WinnerTakeAll(neuron.LIFNode(), 1.5)
    for make in MAKERS.values():
        with pytest.raises(ShapeError, match=r"expects \[N, neurons\], got \[5\]"):
            make()(torch.ones(5))
        with pytest.raises(ShapeError, match=r"expects \[T, N, neurons\], got \[3, 5\]"):
            make("m")(torch.ones(3, 5))
    with pytest.raises(ValueError, match="`step_mode` of LIFNode must be 's'"):
        learning.LateralInhibition(neuron.LIFNode(step_mode="m"), 1.0)


def test_each_step_of_a_batch_is_its_own():
    x = drive(10, 3, 5)
    for make in MAKERS.values():
        whole = make("m")(x)
        assert_close("alone", whole[:, 1:2], make("m")(x[:, 1:2]))


def test_of_equal_inputs_the_lower_index_wins():
    won = learning.WinnerTakeAll(neuron.IFNode(), 3)(torch.full([2, 100], 1.5))
    assert won[:, :3].all()
    assert not won[:, 3:].any()
