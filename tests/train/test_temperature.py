"""The temperature of Dspike: finite differences are those of the loss, the best candidate is chosen."""

import copy

import pytest
import torch
from torch import nn

from spikeloom import functional, layer, neuron, surrogate
from spikeloom.train.temperature import TemperatureAdaptation, dspike_surrogates

T = 6


def lif(temperature=3.0):
    dspike = surrogate.Dspike(torch.tensor(temperature))
    return neuron.LIFNode(2.0, False, 0.5, surrogate_function=dspike, step_mode="m")


def network(temperature=3.0):
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1, step_mode="m"),
        layer.BatchNorm2d(4, step_mode="m"),
        lif(temperature),
        layer.Flatten(step_mode="m"),
        layer.Linear(4 * 36, 3, step_mode="m"),
        lif(temperature),
    )
    return net.to(memory_format=torch.channels_last)


def samples_of(count):
    random = torch.Generator().manual_seed(1)
    x, labels = torch.rand(count, 1, 6, 6, generator=random), torch.arange(count) % 3
    x[labels == 1, :, :3] *= 0.3
    x[labels == 2, :, 3:] *= 0.3
    return x, labels


def loss_of(net):
    x, labels = samples_of(256)
    return lambda: functional.firing_rate_mse(net(x.expand(T, *x.shape)), labels)


def adaptation(net, **settings):
    return TemperatureAdaptation(net, net[0].weight, **{"num_weights": 36, **settings})


def test_finite_differences_are_those_of_the_loss():
    net = network().eval()
    loss = loss_of(net)
    places = torch.unravel_index(torch.tensor([4, 13, 18, 31]), (4, 1, 3, 3))
    got = adaptation(net, difference=0.5)._finite_differences(loss, places)
    distance = 0.5 * net[0].weight.std(correction=0).item()
    for slope, place in zip(got, zip(*places, strict=True), strict=True):
        sides = []
        for sign in (1, -1):
            moved = copy.deepcopy(net)
            with torch.no_grad():
                moved[0].weight[place] += sign * distance
            sides.append(loss_of(moved)().item())
        assert slope.item() == pytest.approx((sides[0] - sides[1]) / (2 * distance), rel=1e-4, abs=1e-9)
    assert (got != 0).sum() > 1  # far enough to change spikes


def test_a_smooth_loss_has_the_same_direction_at_every_temperature():
    net = network()
    conv = net[0]
    x = torch.rand(1, 5, 1, 6, 6)
    found = adaptation(net, difference=1e-3).similarities(lambda: conv(x).square().mean(), [0.5, 3.0], seed=0)
    assert found[0.5] == found[3.0] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("start", [0.4, 8.0])
def test_the_chosen_temperature_has_the_highest_similarity(start):
    net = network(start)
    one = adaptation(net, change=0.35)
    tried = one.similarities(loss_of(net), one.candidates(), seed=3)
    assert len(set(tried.values())) == 3  # the temperature matters
    chosen = one.adapt(loss_of(net), seed=3)
    assert chosen == {"temperature": max(tried, key=tried.get), "similarity": max(tried.values())}
    assert {float(each.temperature) for each in dspike_surrogates(net)} == {one.temperature}
    assert one.temperature == pytest.approx(chosen["temperature"])


@pytest.mark.parametrize("start", [2.0, 16.0])
def test_the_temperature_moves_to_where_the_similarity_is_highest(start):
    net = network(start)
    one, loss = adaptation(net, change=2.0), loss_of(net)
    curve = one.similarities(loss, [2.0, 4.0, 8.0, 12.0, 16.0], seed=0)
    for _ in range(6):
        one.adapt(loss, seed=0)
    assert 4.0 <= one.temperature <= 12.0
    assert max(curve, key=curve.get) == 8.0


def test_measuring_leaves_nothing_behind():
    net = network().train()
    net[0].weight.requires_grad_(False)
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    adaptation(net).similarities(loss_of(net), [1.0, 2.0], seed=0)
    assert not net[0].weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [one.training for one in net] == [True, False, True, True, True, True]
    assert net[0].weight.grad is None
    assert net[2].v == 0.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_replayed_passes_find_the_same():
    """Also after the weights and the samples have changed."""
    found = []
    for cuda_graph in (False, True):
        net = network().cuda()
        one, (x, labels) = adaptation(net, cuda_graph=cuda_graph), samples_of(256)
        x, labels = x.cuda(), labels.cuda()

        def loss(net=net, x=x, labels=labels):
            return functional.firing_rate_mse(net(x.expand(T, *x.shape)), labels)

        first = one.similarities(loss, [1.0, 3.0, 9.0], seed=0)
        with torch.no_grad():
            net[0].weight.mul_(1.2)
            x.copy_(x.flip(0))
        found.append([*first.values(), *one.similarities(loss, [2.0, 3.0], seed=1).values()])
    assert found[1] == pytest.approx(found[0], abs=1e-3)
    assert len(set(found[0])) == 5


def test_candidates_stay_above_the_lowest():
    assert adaptation(network(0.5), change=0.4, lowest=0.3).candidates() == pytest.approx([0.5, 0.3, 0.9])
    assert adaptation(network(0.25), change=0.5, lowest=0.25).candidates() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"change": 0.0}, "`change` must be a finite number greater than 0, got 0.0"),
        ({"difference": float("nan")}, "`difference` must be"),
        ({"num_weights": 0}, "`num_weights` must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        adaptation(network(), **settings)


@pytest.mark.parametrize("function", [surrogate.ATan(), surrogate.Dspike(3.0)])
def test_a_network_without_temperatures_that_checkpoints_keep_is_refused(function):
    node = neuron.LIFNode(surrogate_function=function)
    with pytest.raises(ValueError, match=r"surrogate.Dspike\(torch.tensor\(3.0\)\)"):
        dspike_surrogates(nn.Sequential(node))


@pytest.mark.parametrize("at", [1, 2, 74])  # the forward passes of differences, and then of gradients
def test_what_is_interrupted_leaves_weights_and_temperature(at):
    net = network()
    loss, calls = loss_of(net), []

    def interrupted():
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return loss()

    before = copy.deepcopy(net.state_dict())
    with pytest.raises(KeyboardInterrupt):
        adaptation(net).adapt(interrupted, seed=0)
    after = net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
