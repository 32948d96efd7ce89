"""SpikeProp layers against the potential written out on a fine grid, and against differences."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient
from spikeloom import loom
from spikeloom.errors import BackendError, ShapeError
from spikeloom.layer import constrain_sign
from spikeloom.timing import (
    ReLPSPConv2d,
    ReLPSPLinear,
    SpikeProp,
    firing_report,
    spike_prop_rule,
    spike_time_mse,
)
from spikeloom.timing.spike_response import function

STEP = 5e-3  # of the fine grid

over_backends = pytest.mark.parametrize("backend", ["torch", "numba"])
over_spikes = pytest.mark.parametrize("num_spikes", [1, 3])


def layer(in_features=7, out_features=4, delays=3, seed=0, **settings):
    """A layer whose neurons mostly fire, with weights of both signs."""
    torch.manual_seed(seed)
    made = SpikeProp(in_features, out_features, delays, **{"T": 30.0, "min_slope": 1e-9, **settings}).double()
    nn.init.normal_(made.weight, 0.15, 0.3)
    return made


def patterns(num=6, in_features=7, latest=12.0, seed=1):
    """Spike times, about a quarter of them none."""
    generator = torch.Generator().manual_seed(seed)
    times = latest * (torch.rand(num, in_features, generator=generator, dtype=torch.float64) * 4 / 3 - 1 / 3)
    return torch.where(times < 0, -1.0, times)


def written_out(net, times, at):
    """Each response of each terminal at each time, and only then the weights: ``[N, out, at]``."""
    total = torch.zeros(len(times), net.out_features, len(at), dtype=torch.float64)
    for k, delay in enumerate(net.delays):
        s = (at - times[..., None] - delay) / net.response.tau  # [N, in, at]
        response = torch.where((s > 0) & (times[..., None] >= 0), s * (1 - s).exp(), 0.0)
        total += torch.einsum("oi,nit->not", net.weight[:, :, k], response)
    return total.detach()


def exact(net, times, fired, num):
    """The potential at the ``num``-th spikes, with what the neuron's own earlier spikes took off."""
    found = []
    for n, j in (fired[..., num] >= 0).nonzero().tolist():
        t = fired[n, j, num]
        own = sum(math.exp(-(t - earlier) / net.response.tau) for earlier in fired[n, j, :num])
        found.append(written_out(net, times[n : n + 1], t[None])[0, j, 0] - net.response.refractory * own)
    return torch.stack(found)


@over_backends
@pytest.mark.parametrize("delays", [0, 16, (0.5, 2.25)])
def test_a_neuron_fires_when_its_potential_first_reaches_the_threshold(backend, delays):
    net, times = layer(delays=delays, backend=backend), patterns(12)
    nn.init.normal_(net.weight, 0.0, 0.6 / len(net.delays) ** 0.5)
    fired = net(times).detach()
    grid = torch.arange(0, net.T + STEP, STEP, dtype=torch.float64)
    above = written_out(net, times, grid) >= 1
    first = torch.where(above.any(-1), above.double().argmax(-1) * STEP, -1.0)
    # Seen on the grid means there; what the grid misses is a maximum that barely passes.
    assert (fired >= 0)[first >= 0].all()
    assert ((fired >= 0) != (first >= 0)).double().mean() < 0.02
    both = (fired >= 0) & (first >= 0)
    assert 0.1 < both.double().mean() < 0.99
    assert ((first - fired)[both] >= -1e-9).all()
    assert ((first - fired)[both] <= STEP).all()
    at = exact(net, times, fired[..., None], 0)
    torch.testing.assert_close(at, torch.ones_like(at), rtol=0, atol=1e-9)


@over_backends
def test_one_input_spike_by_hand(backend):
    """w (s / tau) exp(1 - s / tau) = 1 at s = tau for w = 1; and for w = e / 2 where (s / tau) exp(-s / tau)
    is 2 exp(-2): at s / tau = 0.406375739959959."""
    net = SpikeProp(1, 1, delays=(2.0,), tau=5.0, backend=backend).double()
    found = []
    for weight in (1 + 1e-12, math.e / 2, 1 - 1e-9):
        nn.init.constant_(net.weight, weight)
        found.append(net(torch.tensor([[3.0]]).double()).item())
    assert found[0] == pytest.approx(10, abs=1e-4)
    assert found[1] == pytest.approx(5 + 5 * 0.406375739959959, abs=1e-9)
    assert found[2] == -1


@over_spikes
def test_both_backends_agree(num_spikes):
    compiled, plain = (layer(num_spikes=num_spikes, backend=backend) for backend in ("numba", "torch"))
    times = patterns(30)
    found = []
    for net in (compiled, plain):
        spikes = times.clone().requires_grad_()
        fired = net.fire(spikes)
        upstream = torch.randn(fired.time.shape, generator=torch.Generator().manual_seed(0)).double()
        found.append((*fired, *torch.autograd.grad((fired.time * upstream).sum(), [spikes, net.weight])))
    (time, slope, *gradients), (expected_time, expected_slope, *expected) = found
    torch.testing.assert_close(time, expected_time, rtol=0, atol=1e-9)
    torch.testing.assert_close(slope, expected_slope, rtol=0, atol=1e-9)
    for name, reference, got in zip(("times", "weight"), expected, gradients, strict=True):
        assert_gradient(name, reference, got) if num_spikes == 1 else torch.testing.assert_close(
            got, reference, rtol=1e-7, atol=1e-7
        )


@over_backends
@over_spikes
def test_gradients_of_times_and_weights_are_those_of_differences(backend, num_spikes):
    first = layer(3, 3, 2, num_spikes=num_spikes, backend=backend)
    second = layer(3, 1, (0.0, 2.5), seed=3, num_spikes=num_spikes, backend=backend)
    nn.init.uniform_(first.weight, 0.3, 1.0)
    nn.init.uniform_(second.weight, 0.6, 1.4)
    times = patterns(2, 3, latest=6.0).requires_grad_()

    def run(spikes, *weights):
        hidden = torch.func.functional_call(first, {"weight": weights[0]}, spikes)
        return torch.func.functional_call(second, {"weight": weights[1]}, hidden)

    weights = [net.weight.detach().clone().requires_grad_() for net in (first, second)]
    assert (run(times, *weights) >= 0).double().mean() >= 0.5
    assert torch.autograd.gradcheck(run, (times, *weights), eps=1e-7, atol=1e-5, rtol=1e-5)


@over_backends
def test_delays_can_learn_too(backend):
    net, times = layer(backend=backend), patterns()

    def run(delays):
        return torch.func.functional_call(net, {"delays": delays}, times)

    assert torch.autograd.gradcheck(run, net.delays.clone().requires_grad_(), eps=1e-7, atol=1e-5, rtol=1e-5)


@over_backends
def test_refractory_kernel_separates_the_spikes_of_a_neuron(backend):
    net, times = layer(num_spikes=3, refractory=1.5, backend=backend), patterns(20)
    fired = net(times).detach()  # [N, out, 3]
    once = layer(backend=backend)(times).detach()
    assert_close("first", once, fired[..., 0])
    for num in range(3):
        at = exact(net, times, fired, num)
        assert len(at) > 5
        torch.testing.assert_close(at, torch.ones_like(at), rtol=0, atol=1e-9)
    several = fired[..., 1] >= 0
    assert (fired[..., 1] > fired[..., 0])[several].all()
    middle = (fired[..., 0] + fired[..., 1]) / 2
    for n, j in several.nonzero().tolist():
        assert net.potential(times[n : n + 1], middle[n, j : j + 1])[0, j, 0] < 1


def test_potential_is_the_one_that_fires():
    net, times = layer(), patterns()
    at = torch.linspace(0, 30, 50, dtype=torch.float64)
    fired = net(times).detach()[..., None]
    own = torch.where((fired >= 0) & (at >= fired), (-(at - fired) / net.response.tau).exp(), 0.0)
    torch.testing.assert_close(
        net.potential(times, at), written_out(net, times, at) - own, rtol=1e-10, atol=1e-12
    )


def test_several_spikes_per_input_are_as_several_inputs_with_the_same_weights():
    net, times = layer(3, 2), patterns(5, 6).view(5, 3, 2)
    wide = layer(6, 2)
    with torch.no_grad():
        wide.weight.copy_(net.weight.repeat_interleave(2, 1))
    assert_close("times", wide(times.flatten(1)), net(times))


@over_backends
def test_a_silent_neuron_says_minus_one_and_has_no_gradient(backend):
    net = layer(backend=backend)
    with torch.no_grad():
        net.weight[1] = 0
    times = patterns()
    times[2] = -1
    fired = net(times.requires_grad_())
    assert (fired[:, 1] == -1).all()
    assert (fired[2] == -1).all()
    fired[:, 1].sum().backward()
    assert not net.weight.grad.any()
    assert not times.grad.any()
    assert net(torch.empty(0, 7)).shape == (0, 4)


@over_backends
def test_gradients_are_clipped_where_the_potential_just_touches(backend):
    net = SpikeProp(1, 1, delays=0, tau=5.0, min_slope=0.1, backend=backend).double()
    nn.init.constant_(net.weight, 1 + 1e-10)
    fired, slope = net.fire(torch.zeros(1, 1).double())
    assert 0 <= slope.item() < 1e-4
    fired.backward()
    assert net.weight.grad.item() == pytest.approx(-1 / 0.1, rel=1e-4)


@over_backends
def test_nothing_finite_becomes_nan(backend):
    for scale in (1e-30, 1.0, 1e30):
        net = layer(num_spikes=2, T=400.0, tau=0.8, backend=backend)
        nn.init.normal_(net.weight, 0, scale)
        times = torch.cat([patterns(20, latest=400.0), torch.zeros(1, 7), torch.full((1, 7), 400.0)])
        fired = net(times.double().requires_grad_())
        fired.sum().backward()
        assert fired.isfinite().all()
        assert net.weight.grad.isfinite().all()


def test_float32_is_as_good_as_its_type():
    net, times = layer(), patterns()
    expected = net(times).detach()
    net.float()
    torch.testing.assert_close(net(times.float()).double(), expected, rtol=0, atol=2e-4)
    assert net(times.float()).dtype == torch.float32
    assert_close("integers", net(times.round()).float(), net(times.round().long()))


def test_wake_pulls_on_neurons_that_never_fire_and_only_in_training():
    net, times = layer(wake=0.5, v_threshold=2.0), patterns()
    with torch.no_grad():
        net.weight[1] = 0.01
    plain = layer(v_threshold=2.0)
    plain.load_state_dict(net.state_dict())
    for made in (net, plain):
        made(times).sum().backward()
    share = (times[..., None] + net.delays < 30)[:, :, :] & (times >= 0)[..., None]
    pull = torch.zeros_like(net.weight)
    pull[1] = 0.25 * share.double().mean(0)
    assert pull.any()
    assert_gradient("pull", plain.weight.grad - pull, net.weight.grad)
    net.weight.grad = None
    net.eval()(times).sum().backward()
    assert torch.equal(net.weight.grad, plain.weight.grad)


def test_the_published_rule_is_the_gradient():
    layers = [layer(5, 4, 3, min_slope=0.05), layer(4, 3, 2, seed=3, min_slope=0.05), layer(3, 2, 0, seed=5)]
    for net in layers:
        nn.init.uniform_(net.weight, 0, 4 / net.weight[0].numel())
    times, target = patterns(8, 5), torch.full((8, 2), 14.0).double()
    out = nn.Sequential(*layers)(times)
    assert 0 < (out < 0).sum() < 8  # one that does not fire is no trouble
    (len(times) * spike_time_mse(torch.where(out < 0, out.detach(), out), target, 14.0)).backward()
    for net, change in zip(layers, spike_prop_rule(layers, times, target), strict=True):
        assert change.any()
        assert_gradient("rule", -net.weight.grad, change)


@pytest.mark.parametrize("learn", ["rule", "gradient"])
def test_it_learns_times(learn):
    torch.manual_seed(0)
    net = nn.Sequential(SpikeProp(3, 5), SpikeProp(5, 1))
    constrain_sign(net[1], torch.tensor([1, 1, 1, 1, -1])[:, None])
    times = torch.tensor([[0.0, 0, 0], [0, 6, 0], [6, 0, 0], [6, 6, 0]])
    target = torch.tensor([[16.0], [10], [10], [16]])
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(150):
        loss = 4 * spike_time_mse(net(times), target, 40.0)
        if loss < 1:
            break
        for n in range(4):
            optimizer.zero_grad()
            if learn == "gradient":
                spike_time_mse(net(times[n : n + 1]), target[n : n + 1], 40.0).backward()
            else:
                first, second = spike_prop_rule(list(net), times[n : n + 1], target[n : n + 1])
                net[0].weight.grad = -first
                net[1].weight.backward(-second)  # through the sign's parametrization
            optimizer.step()
    assert loss < 1


def test_the_report_names_silent_neurons_and_near_tangent_crossings():
    net = nn.Sequential(layer(min_slope=0.1), layer(4, 2, seed=3))
    with torch.no_grad():
        net[0].weight[2] = 0
        net[1].weight[:, 2] = 1.0
    first, second = firing_report(net, patterns(40))
    assert (first.name, first.silent, second.name) == ("0", [2], "1")
    fired = net[0].fire(patterns(40))
    assert first.missing == pytest.approx((fired.time < 0).double().mean().item())
    tangent = (fired.slope < 0.1)[fired.time >= 0].double().mean().item()
    assert 0 < first.near_tangent == pytest.approx(tangent, abs=1e-6)
    assert "Neurons [2] never fire and cannot learn" in str(first)
    assert not net[0]._forward_pre_hooks


def test_the_report_covers_rel_psp_layers():
    net = nn.Sequential(ReLPSPConv2d(1, 3, 2, T=10), nn.Flatten(), ReLPSPLinear(12, 2, T=10))
    with torch.no_grad():
        net[0].weight[1] = -1.0
    first, second = firing_report(net, torch.rand(5, 1, 3, 3))
    assert (first.name, second.name) == ("0", "2")
    assert first.silent == [1]
    assert first.missing == pytest.approx(1 / 3)
    assert second.silent == []


@over_backends
def test_times_may_be_written_into(backend):
    made, times = layer(backend=backend), patterns(3)
    out = made(times)
    expected = torch.autograd.grad(out.sum(), made.weight)[0]
    out = made(times)
    out[out < 0] = 30.0
    assert_close("weight", torch.autograd.grad(out.sum(), made.weight)[0], expected)


def test_what_its_backward_pass_cannot_do_is_refused():
    made, times = layer(), patterns(3)
    with pytest.raises(BackendError, match="cannot be differentiated again"):
        torch.autograd.grad(made(times).sum(), made.weight, create_graph=True)
    out = made(times)
    with pytest.raises(BackendError, match="one gradient at a time"):
        torch.autograd.grad(out, made.weight, torch.ones(2, *out.shape), is_grads_batched=True)


def test_weights_at_first_let_neurons_fire():
    torch.manual_seed(0)
    net = SpikeProp(101, 25)
    net.reset_parameters(active=0.13)
    times = torch.where(torch.rand(50, 101) < 0.13, 9 * torch.rand(50, 101), -1.0)
    fired = net(times)
    assert (fired > 0).all()
    assert 3 < fired.mean() < 15


def test_layers_are_saved_copied_and_pickled():
    net, times = layer(delays=(0.5, 3.0)), patterns()
    other = SpikeProp(7, 4, (1.0, 2.0), T=30.0).double()
    other.load_state_dict(net.state_dict())
    for made in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(made(times), net(times))
    assert sorted(net.state_dict()) == ["delays", "weight"]


def test_the_backend_is_that_of_a_block_where_the_layer_has_none(monkeypatch):
    net, times = layer(), patterns()
    expected = net(times)
    monkeypatch.setattr(function, "_run", None)
    with loom.backend("torch"):
        assert torch.allclose(net(times), expected, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert torch.allclose(net(times), expected, rtol=1e-9, atol=1e-9)
    net.backend = "numba"
    with pytest.raises(BackendError, match="NUMBA_DISABLE_JIT"):
        net(times)


def test_backends_that_there_are_not():
    net, times = layer(), patterns()
    with loom.backend("triton"), pytest.raises(BackendError, match="'triton': it has no Triton kernels"):
        net(times)
    net.backend = "tpu"
    with pytest.raises(ValueError, match=r"`backend` must be one of .*'tpu'"):
        net(times)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (torch.ones(2, 5), ShapeError, r"`times` must be spike times \[N, 7\].*got \[2, 5\]"),
        (torch.ones(7), ShapeError, r"got \[7\]. Flatten"),
        (torch.full((2, 7), math.nan), ValueError, r"no NaN, got 14. No spike is written as -1"),
        (torch.full((2, 7), math.inf), ValueError, r"at most T = 30, got a spike at inf"),
        (torch.full((2, 7), 30.5), ValueError, r"got a spike at 30.5.*make T larger"),
    ],
)
def test_bad_times_are_refused_with_a_cure(times, error, message):
    with pytest.raises(error, match=message):
        layer()(times)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"in_features": 0}, "`in_features` must be at least 1"),
        ({"out_features": 1.5}, "`out_features` must be an integer"),
        ({"delays": -1}, "`delays` must be a count of at least 0"),
        ({"delays": []}, "`delays` must be a count"),
        ({"delays": [1.0, -2.0]}, "`delays` must be a count"),
        ({"delays": [math.inf]}, "`delays` must be a count"),
        ({"tau": 0.0}, "`tau` must be a finite number greater than 0"),
        ({"v_threshold": -1.0}, "`v_threshold` must be a finite number greater than 0"),
        ({"T": math.nan}, "`T` must be a number, got NaN"),
        ({"tau": None}, "`tau` must be a number, got None"),
        ({"refractory": 0.0}, "`refractory` must be a finite number greater than 0"),
        ({"num_spikes": 0}, "`num_spikes` must be at least 1"),
        ({"min_slope": 0.0}, "`min_slope` must be a finite number greater than 0"),
        ({"wake": -1.0}, "`wake` must be a finite number of at least 0"),
        ({"backend": "cuda"}, "`backend` must be one of"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        SpikeProp(**{"in_features": 3, "out_features": 2, **settings})


def test_bad_calls_are_refused_by_name():
    net = layer()
    with pytest.raises(ValueError, match="`active` must be a number greater than 0 and at most 1, got 0"):
        net.reset_parameters(active=0)
    with pytest.raises(ValueError, match=r"`drive` must be a finite number of at least 1, got 0.5"):
        net.reset_parameters(drive=0.5)
    with pytest.raises(ShapeError, match=r"`target` must be \[6, 4\], as the output, got \[6, 3\]"):
        spike_prop_rule([net], patterns(), torch.ones(6, 3))
    with pytest.raises(ValueError, match="one spike per neuron"):
        spike_prop_rule([layer(num_spikes=2)], patterns(), torch.ones(6, 4))
