"""EventProp layers against the differential equations, one backend against the other, against differences."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient
from spikeloom import loom
from spikeloom.errors import BackendError, ShapeError
from spikeloom.timing import EventProp, PeakPotential, SpikeProp, firing_report

over_backends = pytest.mark.parametrize("backend", ["torch", "numba"])
over_spikes = pytest.mark.parametrize("num_spikes", [1, 4])
over_constants = pytest.mark.parametrize("constants", [(20.0, 5.0), (6.0, 6.0), (5.0, 20.0)])


def layer(kind=EventProp, in_features=7, out_features=6, constants=(20.0, 5.0), seed=0, **settings):
    """A layer whose neurons mostly fire, with weights of both signs."""
    torch.manual_seed(seed)
    settings = {"T": 60.0} | ({"min_slope": 1e-9} if kind is EventProp else {}) | settings
    made = kind(in_features, out_features, *constants, **settings).double()
    made.reset_parameters(drive=2.5, spread=1.5)
    return made


def patterns(num=6, in_features=7, latest=32.0, seed=1):
    """Spike times, about a fifth of them none."""
    generator = torch.Generator().manual_seed(seed)
    times = latest * (torch.rand(num, in_features, generator=generator, dtype=torch.float64) * 1.25 - 0.25)
    return torch.where(times < 0, -1.0, times)


def integrated(net, times, step=5e-3, fires=True):
    """The differential equations by the midpoint rule: spikes ``[(sample, neuron, time)]`` and the potentials
    ``[N, out, steps]``."""
    r, grid = net.response, torch.arange(0, net.T, step, dtype=torch.float64)
    v = torch.zeros(len(times), net.out_features, dtype=torch.float64)
    current, spikes, potentials = torch.zeros_like(v), [], []
    for now in grid:
        arrives = ((times >= now) & (times < now + step)).double()
        middle = v + step / 2 * (current - v) / r.tau
        half = current - step / 2 * current / r.tau_s
        v = v + step * (half - middle) / r.tau
        current = current - step * half / r.tau_s + arrives @ net.weight.detach().t()
        if fires:
            spikes += [(n, j, now.item() + step) for n, j in (v >= r.v_threshold).nonzero().tolist()]
            v = torch.where(v >= r.v_threshold, v - r.v_threshold, v)
        potentials.append(v)
    return spikes, torch.stack(potentials, -1)


@over_constants
def test_spikes_are_those_of_the_differential_equations(constants):
    net, times = layer(constants=constants, num_spikes=40), patterns()
    fired = net(times).detach()
    assert (fired[..., -1] < 0).all()  # as many spikes as the dynamics want
    spikes, _ = integrated(net, times)
    found = [
        (n, j, t) for n, row in enumerate(fired.tolist()) for j, ts in enumerate(row) for t in ts if t >= 0
    ]
    assert len(found) > 30
    assert abs(len(found) - len(spikes)) <= 1  # one may just touch the threshold
    late = [
        abs(t - min((u for m, i, u in spikes if (m, i) == (n, j)), key=lambda u: abs(u - t)))
        for n, j, t in found
    ]
    assert sorted(late)[-2] < 0.1
    assert (fired.diff(dim=-1)[fired[..., 1:] >= 0] > 0).all()


@over_constants
def test_the_highest_potential_is_that_of_the_differential_equations(constants):
    net, times = layer(PeakPotential, constants=constants), patterns()
    nn.init.normal_(net.weight, 0.0, 1.0)
    _, potentials = integrated(net, times, fires=False)
    torch.testing.assert_close(net(times).detach(), potentials.amax(-1).clamp(min=0), rtol=0, atol=2e-3)
    assert torch.equal(net(torch.full((1, 7), -1.0)), torch.zeros(1, 6))


def test_one_input_spike_by_hand():
    """With tau = 2 tau_s and x = exp(-t / tau), V = w (x - x^2): it is 1 for w = 25 / 4 at x = 4 / 5, and
    then the current is 4; reset to 0 it reaches 4 (x - x^2) = 1 at x = 1 / 2, where it just touches."""
    for backend in ("torch", "numba"):
        net = EventProp(1, 1, 10.0, 5.0, num_spikes=3, backend=backend).double()
        nn.init.constant_(net.weight, 25 / 4)
        first, second, third = net(torch.tensor([[3.0]]).double())[0, 0].tolist()
        assert first == pytest.approx(3 + 10 * math.log(5 / 4))
        assert second in (-1, pytest.approx(first + 10 * math.log(2), abs=1e-5))
        assert third == -1


@over_spikes
@over_constants
def test_both_backends_agree(num_spikes, constants):
    times, found = patterns(30), []
    for backend in ("numba", "torch"):
        settings = {"constants": constants, "backend": backend}
        first, last = layer(num_spikes=num_spikes, **settings), layer(PeakPotential, 6, 3, **settings)
        nn.init.normal_(last.weight, 0.0, 1.0)
        spikes = times.clone().requires_grad_()
        fired = first.fire(spikes)
        v_max = last(fired.time)
        upstream = torch.randn(v_max.shape, generator=torch.Generator().manual_seed(0)).double()
        grads = torch.autograd.grad((v_max * upstream).sum(), [spikes, first.weight, last.weight])
        found.append((*fired, v_max, *grads))
    names = ["time", "slope", "v_max", "times", "first", "last"]
    for name, got, expected in zip(names, *found, strict=True):
        torch.testing.assert_close(
            got, expected, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


@over_spikes
@over_constants
def test_gradients_of_times_and_weights_are_those_of_differences(num_spikes, constants):
    settings = {"constants": constants}
    net = nn.Sequential(
        layer(in_features=3, out_features=4, num_spikes=num_spikes, **settings),
        layer(in_features=4, out_features=4, num_spikes=num_spikes, **settings, seed=2),
        layer(PeakPotential, 4, 3, **settings),
    )
    nn.init.normal_(net[2].weight, 0.0, 1.0)
    times, weights = patterns(2, 3, latest=10.0).requires_grad_(), [one.weight for one in net]

    def run(spikes, *weights):
        for one, weight in zip(net, weights, strict=True):
            spikes = torch.func.functional_call(one, {"weight": weight}, spikes)
        return spikes

    assert (net[:2](times)[..., :1] >= 0).double().mean() > 0.5
    weights = [weight.detach().clone().requires_grad_() for weight in weights]
    assert torch.autograd.gradcheck(run, (times, *weights), eps=1e-7, atol=1e-5, rtol=1e-5)


def implicit(response, arrivals, weight, fired, grad):
    """The gradients of arrivals and weights by the implicit rule, dt = -dx / x'(t)."""
    to_arrivals, to_weight = torch.zeros_like(arrivals), torch.zeros_like(weight)
    grad = torch.where(fired.time >= 0, grad, 0.0)
    for k in reversed(range(response.num_spikes)):
        time = fired.time[..., k : k + 1]  # [N, out, 1]
        scaled = grad[..., k] / fired.slope[..., k].clamp(min=1e-9)
        lag = time - arrivals[:, None]  # [N, out, E]
        to_weight -= torch.einsum("no,noe->oe", scaled, response.psp(lag))
        to_arrivals += torch.einsum("no,oe,noe->ne", scaled, weight, response.psp_slope(lag))
        own = response.refractory / response.tau * ((fired.time[..., :k] - time) / response.tau).exp()
        grad = torch.cat([grad[..., :k] + scaled[..., None] * own, grad[..., k:]], -1)
    return to_arrivals, to_weight


@over_backends
def test_the_adjoint_is_the_implicit_rule(backend):
    """The rule of the spike response model, dt = -dx / x'(t), says the same in other words."""
    net, times = layer(num_spikes=4, backend=backend), patterns(20).requires_grad_()
    fired = net.fire(times)
    upstream = torch.randn(fired.time.shape, generator=torch.Generator().manual_seed(0)).double()
    got = torch.autograd.grad((fired.time * upstream).sum(), [times, net.weight])
    arrivals, weight = net.terminals(times.detach())
    found = net.response.fire(arrivals, weight.detach().t())
    expected = implicit(net.response, arrivals, weight.detach().t(), found, upstream)
    for name, one, other in zip(("times", "weight"), expected, got, strict=True):
        torch.testing.assert_close(
            other, one, rtol=1e-7, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )


@over_backends
def test_an_inhibitory_spike_that_ends_a_rise_moves_the_peak(backend):
    net = PeakPotential(2, 1, backend=backend).double()
    with torch.no_grad():
        net.weight[:] = torch.tensor([[3.0, -20.0]])
    times = torch.tensor([[0.0, 4.0]]).double().requires_grad_()
    (slope,) = torch.autograd.grad(net(times).sum(), times)
    later = (net(times.detach() + torch.tensor([0.0, 1e-6])) - net(times.detach())).item() / 1e-6
    assert later > 0.01
    assert slope[0, 1].item() == pytest.approx(later, rel=1e-4)
    assert slope[0].sum().item() == pytest.approx(0, abs=1e-12)  # both later: as high, and later


def test_extrapolation_arranges_the_input_spikes_once(monkeypatch):
    net, calls = layer(extrapolate=True), []
    of_layer = EventProp.terminals
    monkeypatch.setattr(EventProp, "terminals", lambda *given: calls.append(1) or of_layer(*given))
    net(patterns())
    assert calls == [1]


def test_times_of_a_subclass_that_fires_otherwise_are_kept_with_extrapolation():
    class Late(EventProp):
        def fire(self, times):
            fired = super().fire(times)
            return fired._replace(time=torch.where(fired.time < 0, fired.time, fired.time + 1))

    net, times = Late(2, 3, extrapolate=True), torch.tensor([[0.0, 2.0]])
    nn.init.constant_(net.weight, 6.0)
    torch.testing.assert_close(net(times), EventProp.fire(net, times).time + 1)


@over_backends
def test_a_silent_neuron_has_no_gradient_unless_it_is_extrapolated(backend):
    net, times = layer(backend=backend), patterns()
    with torch.no_grad():
        net.weight[1] = 0.05
    fired = net(times)
    assert (fired[:, 1] == -1).all()
    fired[:, 1].sum().backward()
    assert not net.weight.grad.any()
    net.extrapolate = True
    late = net(times)
    peak = PeakPotential(7, 6, backend=backend).double()
    peak.load_state_dict(net.state_dict())
    assert_close("late", 60 * (2 - peak(times)[:, 1]), late[:, 1])
    assert_close("in time", fired[fired >= 0], late[fired >= 0])
    late[:, 1].sum().backward()
    assert (net.weight.grad[1] < 0).all()  # a larger weight, an earlier spike
    assert net(torch.empty(0, 7)).shape == (0, 6)


def test_wake_pulls_on_neurons_that_never_fire_and_only_in_training():
    times, grads = patterns(), []
    for wake in (0.5, 0.0):
        net = layer(wake=wake)
        with torch.no_grad():
            net.weight[1] = 0.01
        net(times).sum().backward()
        grads.append(net.weight.grad)
    pull = torch.zeros_like(net.weight)
    pull[1] = 0.5 * (times >= 0).double().mean(0)
    assert_gradient("pull", grads[1] - pull, grads[0])
    net.wake, net.weight.grad = 0.5, None
    net.eval()(times).sum().backward()
    assert torch.equal(net.weight.grad, grads[1])


@over_backends
def test_gradients_are_clipped_where_the_potential_just_touches(backend):
    net = EventProp(1, 1, min_slope=0.01, backend=backend).double()
    nn.init.constant_(net.weight, (1 + 1e-10) / net.response.peak)
    fired, slope = net.fire(torch.zeros(1, 1).double())
    assert 0 <= slope.item() < 1e-4
    fired.backward()
    assert net.weight.grad.item() == pytest.approx(-net.response.peak / 0.01, rel=1e-3)


@over_backends
def test_nothing_finite_becomes_nan(backend):
    for scale in (1e-30, 1.0, 1e30):
        net = layer(num_spikes=2, T=400.0, constants=(0.8, 2.0), backend=backend)
        nn.init.normal_(net.weight, 0, scale)
        times = torch.cat([patterns(20, latest=400.0), torch.zeros(1, 7), torch.full((1, 7), 400.0)])
        fired = net(times.double().requires_grad_())
        fired.sum().backward()
        assert fired.isfinite().all()
        assert net.weight.grad.isfinite().all()


@over_backends
@pytest.mark.parametrize("make", [EventProp, PeakPotential, SpikeProp])
def test_weights_that_are_no_numbers_are_not_taken_for_silence(make, backend):
    for wrong in (float("nan"), float("inf")):
        net = make(3, 2, backend=backend)
        net.weight.data[0, 0] = wrong
        with pytest.raises(ValueError, match=r"`weight` must be finite, .*smaller learning rate"):
            net(torch.ones(1, 3))


def test_results_do_not_depend_on_the_number_of_threads():
    found, threads = [], torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            net, times = layer(num_spikes=4), patterns(50).requires_grad_()
            out = net(times)
            found.append((out, *torch.autograd.grad(out.square().sum(), [times, net.weight])))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_several_spikes_per_input_are_as_several_inputs_with_the_same_weights():
    net, times = layer(in_features=3), patterns(5, 6).view(5, 3, 2)
    wide = layer(in_features=6)
    with torch.no_grad():
        wide.weight.copy_(net.weight.repeat_interleave(2, 1))
    assert_close("times", wide(times.flatten(1)), net(times))


def test_float32_is_as_good_as_its_type():
    net, times = layer(), patterns()
    expected = net(times).detach()
    net.float()
    torch.testing.assert_close(net(times.float()).double(), expected, rtol=0, atol=1e-3)
    assert net(times.float()).dtype == torch.float32


def test_potential_is_the_one_that_fires():
    net, times = layer(num_spikes=40), patterns()
    at = torch.arange(0.005, 60, 0.5, dtype=torch.float64)
    _, potentials = integrated(net, times)
    near = (net.potential(times, at) - potentials[..., 0::100][..., : len(at)]).abs()
    assert near.median() < 1e-3
    assert (near < 0.02).double().mean() > 0.97  # but for the moments between two resets


def test_the_report_covers_it():
    net = nn.Sequential(layer(num_spikes=3), PeakPotential(6, 2).double())
    with torch.no_grad():
        net[0].weight[2] = 0
    (report,) = firing_report(net, patterns(40))
    assert report.silent == [2]


def test_times_may_be_written_into_and_layers_are_copied_and_pickled():
    net, times = layer(), patterns(3)
    expected = torch.autograd.grad(net(times).sum(), net.weight)[0]
    out = net(times)
    out[out < 0] = 30.0
    assert_close("weight", expected, torch.autograd.grad(out.sum(), net.weight)[0])
    for made in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(made(times), net(times))
    assert list(net.state_dict()) == ["weight"]


def test_what_its_backward_pass_cannot_do_is_refused():
    for made in (layer(), layer(PeakPotential)):
        with pytest.raises(BackendError, match="cannot be differentiated again"):
            torch.autograd.grad(made(patterns(3)).sum(), made.weight, create_graph=True)
        with loom.backend("triton"), pytest.raises(BackendError, match="it has no Triton kernels"):
            made(patterns(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau": 0.0}, r"`tau` must be .* greater than 0"),
        ({"tau_s": -1.0}, r"`tau_s` must be .* greater than 0"),
        ({"tau_s": None}, r"`tau_s` must be a number, got None"),
        ({"tau_s": 20.001}, r"`tau_s` must be `tau`, or differ from it by a thousandth"),
        ({"num_spikes": 0}, r"`num_spikes` must be"),
        ({"num_spikes": 2, "extrapolate": True}, r"`extrapolate` must be False with several spikes"),
        ({"wake": -1.0}, r"`wake` must be"),
        ({"backend": "tpu"}, r"`backend` must be one of"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        EventProp(2, 2, **settings)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (torch.ones(2, 5), ShapeError, r"`times` must be spike times \[N, 7\].*got \[2, 5\]"),
        (torch.full((2, 7), math.nan), ValueError, r"no NaN, got 14. No spike is written as -1"),
        (torch.full((2, 7), 60.5), ValueError, r"got a spike at 60.5.*make T larger"),
    ],
)
@pytest.mark.parametrize("kind", [EventProp, PeakPotential])
def test_bad_times_are_refused_with_a_cure(kind, times, error, message):
    with pytest.raises(error, match=message):
        layer(kind)(times)


def test_wake_counts_all_spikes_of_an_input():
    times = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [-1.0, -1.0]], [[1.0, 4.0], [-1.0, -1.0], [-1.0, -1.0]]])
    net = EventProp(3, 1, T=60.0, wake=0.5).double()
    nn.init.constant_(net.weight, 0.01)
    net(times.double()).sum().backward()
    assert_close("pull", -0.5 * torch.tensor([[2.0, 0.5, 0.0]]).double(), net.weight.grad)
