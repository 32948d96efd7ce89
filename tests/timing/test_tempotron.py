"""The tempotron against the formula written out, and against what can be worked out by hand."""

import gc
import math
import threading
import time

import psutil
import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient
from spikeloom.errors import ShapeError
from spikeloom.timing import DoubleExponential, GaussianTuning, Tempotron, margin_loss, tempotron_rule


def neuron(in_features=7, out_features=3, T=30, seed=0, scale=1.0, **settings):
    torch.manual_seed(seed)
    made = Tempotron(in_features, out_features, T, **settings).double()
    nn.init.normal_(made.fc.weight, 0.1, scale)
    return made


def patterns(num=5, in_features=7, T=30, whole=True, seed=1):
    """Spike times in the window, about a third of them none."""
    generator = torch.Generator().manual_seed(seed)
    times = (
        torch.rand(num, in_features, generator=generator, dtype=torch.float64) * (T - 1) * 1.5 - (T - 1) / 2
    )
    times = times.ceil() if whole else times
    times[:, 0] = times[:, 0].abs().clamp(max=T - 1)
    return torch.where(times < 0, -1.0, times)


def written_out(net, times, grid=None):
    """Every input's kernel at every time, and only then the weights: ``[N, out, grid]``."""
    tau, tau_s = net.kernel.tau, net.kernel.tau_s
    peak = tau * tau_s * math.log(tau / tau_s) / (tau - tau_s)
    scale = net.v_threshold / (math.exp(-peak / tau) - math.exp(-peak / tau_s))
    grid = torch.arange(net.T, dtype=times.dtype) if grid is None else grid
    t = grid - times[..., None]  # [N, in, grid]
    kernel = scale * ((-t / tau).exp() - (-t / tau_s).exp())
    kernel = torch.where((t >= 0) & (times[..., None] >= 0), kernel, 0.0)
    return torch.einsum("oi,nit->not", net.fc.weight, kernel)


over_times = pytest.mark.parametrize("whole", [True, False], ids=["on the grid", "between time steps"])


@over_times
@pytest.mark.parametrize(("num", "inputs", "outputs", "T"), [(5, 7, 3, 30), (1, 1, 1, 1), (2, 63, 1, 300)])
@pytest.mark.parametrize("taus", [(15.0, 3.75), (4.0, 3.9), (2, 1)])
def test_potential_is_the_sum_of_all_kernels(whole, num, inputs, outputs, T, taus):
    net = neuron(inputs, outputs, T, tau=taus[0], tau_s=taus[1], v_threshold=0.7)
    times = patterns(num, inputs, T, whole)
    expected = written_out(net, times)
    assert net(times, "v").shape == (num, outputs, T)
    torch.testing.assert_close(net(times, "v"), expected, rtol=1e-10, atol=1e-12)
    assert net(times).shape == (num, outputs)
    torch.testing.assert_close(net(times, "v_max"), expected.amax(-1), rtol=1e-10, atol=1e-12)


@over_times
def test_gradient_is_that_of_the_sum_of_all_kernels(whole):
    net, times = neuron(), patterns(whole=whole)
    upstream = torch.randn(5, 3, 30, dtype=torch.float64)
    (expected,) = torch.autograd.grad((written_out(net, times) * upstream).sum(), net.fc.weight)
    (got,) = torch.autograd.grad((net(times, "v") * upstream).sum(), net.fc.weight)
    assert_gradient("weight", expected, got)


@pytest.mark.parametrize("shunt", [False, True])
def test_gradients_of_weights_and_of_times_are_those_of_differences(shunt):
    net, times = neuron(5, 2, 20, shunt=shunt), patterns(3, 5, 20, whole=False)

    def v(weight, spikes):
        return torch.func.functional_call(net, {"fc.weight": weight}, (spikes, "v"))

    spiking = times.clone().requires_grad_()
    assert torch.autograd.gradcheck(v, (net.fc.weight.detach().requires_grad_(), spiking))


def test_a_float32_network_is_as_good_as_its_type():
    net, times = neuron(200, 4, 100, scale=0.05), patterns(8, 200, 100)
    expected = net(times, "v").detach()
    torch.testing.assert_close(net.float()(times.float(), "v").double(), expected, rtol=0, atol=2e-6)


def test_one_spike_draws_the_kernel_and_its_peak_is_the_threshold():
    net = neuron(1, 1, 400, v_threshold=2.5)
    nn.init.ones_(net.fc.weight)
    v = net(torch.tensor([[3.0]]), "v")[0, 0].detach()
    assert_close("v", DoubleExponential(15.0, 3.75, 2.5)(torch.arange(400.0).double() - 3), v)
    fine = net.kernel(torch.linspace(0, 30, 30_001, dtype=torch.float64))
    assert fine.max().item() == pytest.approx(2.5, abs=1e-8)
    assert fine.argmax().item() / 1000 == pytest.approx(net.kernel.peak_time, abs=1e-3)
    assert (net.kernel.peak_time, net.kernel.scale / 2.5) == pytest.approx((6.9315, 2.1165), abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_windows_stay_finite_and_right(dtype):
    net = neuron(3, 2, 5000).to(dtype)
    times = torch.tensor([[0, 2500, 4990.0], [4999, -1, -1]], dtype=dtype)
    v = net(times, "v")
    assert v.isfinite().all()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(v, written_out(net, times), rtol=tolerance, atol=tolerance)
    v.sum().backward()
    assert net.fc.weight.grad.isfinite().all()
    assert torch.equal(Tempotron.psp_kernel(torch.tensor([-5000.0, 0.0]), 15.0, 3.75), torch.zeros(2))


def test_dimensions_of_size_one_stay():
    net = Tempotron(4, 1, 10)
    times = torch.ones(1, 4)
    shapes = {
        ret_type: tuple(net(times, ret_type).shape) for ret_type in ("v", "v_max", "spikes", "crossing")
    }
    assert shapes == {"v": (1, 1, 10), "v_max": (1, 1), "spikes": (1, 1), "crossing": (1, 1)}
    assert net(torch.empty(0, 4)).shape == (0, 1)


def test_times_may_be_integers_and_the_batch_does_not_matter():
    net, times = neuron(), patterns()
    assert torch.equal(net(times.long(), "v"), net(times, "v"))
    one_by_one = torch.cat([net(times[n : n + 1], "v") for n in range(5)])
    assert_close("v", one_by_one, net(times, "v"))
    assert_close("order", net(times, "v").flip(0), net(times.flip(0), "v"))


def test_spikes_are_the_times_of_the_maxima_negative_if_below_the_threshold():
    net, times = neuron(scale=0.5), patterns(40)
    v, spikes = net(times, "v"), net(times, "spikes")
    v_max, peak = v.max(-1)
    fired = v_max >= 1
    assert fired.any()
    assert not fired.all()
    assert torch.equal(spikes[fired], peak[fired].double())
    assert (spikes[~fired] < 0).all()
    assert torch.equal(-spikes[~fired], peak[~fired].double().clamp(min=1))
    (gradient,) = torch.autograd.grad(spikes.sum(), net.fc.weight)
    assert gradient.isfinite().all()
    assert gradient.any()


@over_times
def test_crossing_is_the_first_time_at_the_threshold(whole):
    net, times = neuron(scale=0.6), patterns(60, whole=whole)
    times[0, 1:] = -1
    crossing = net(times, "crossing")
    step = 2e-3
    fine = torch.arange(0, 29 + step, step, dtype=torch.float64)
    above = written_out(net, times, fine).detach() >= 1
    first = torch.where(above.any(-1), above.double().argmax(-1) * step, -1.0)
    fired = crossing >= 0
    assert torch.equal(fired, first >= 0)
    assert fired.any()
    assert not fired.all()
    assert ((first - crossing)[fired] >= -1e-9).all()
    assert ((first - crossing)[fired] <= step).all()
    sample, output = fired.nonzero(as_tuple=True)
    at = torch.stack(
        [
            written_out(net, times[n : n + 1], crossing[n, o])[0, o, 0]
            for n, o in zip(sample, output, strict=True)
        ]
    )
    torch.testing.assert_close(at, torch.ones_like(at), rtol=0, atol=1e-9)
    assert (fired | (net(times, "v_max") < 1)).all()  # what is above on the grid has crossed before
    assert (crossing <= net(times, "spikes").clamp(min=crossing)).all()


def test_crossing_sees_a_maximum_between_time_steps():
    net = neuron(1, 1, 20)
    nn.init.constant_(net.fc.weight, 1.00001)
    times = torch.tensor([[0.0]])
    assert net(times, "v_max").item() < 1
    crossing = net(times, "crossing").item()
    assert 6 < crossing < net.kernel.peak_time


def test_shunting_ends_the_input_and_before_the_spike_changes_nothing():
    free, shunted = neuron(scale=0.7), neuron(scale=0.7, shunt=True)
    times = patterns(40)
    v, w = free(times, "v"), shunted(times, "v")
    above = v >= 1
    after = above.cumsum(-1) > 0
    start = torch.where(after.any(-1), after.double().argmax(-1), 30.0)
    before = torch.arange(30) <= start[..., None]
    assert_close("before", v[before], w[before])
    assert not torch.allclose(v, w)
    n, o = (after.sum(-1) > 5).nonzero()[0].tolist()
    kept = torch.where(times[n] <= start[n, o], times[n], -1.0)
    torch.testing.assert_close(w[n, o], written_out(free, kept[None])[0, o], rtol=1e-10, atol=1e-12)
    assert torch.equal(shunted(times, "crossing"), free(times, "crossing"))


@over_times
@pytest.mark.parametrize("shunt", [False, True])
def test_the_original_rule_is_the_gradient_of_its_cost(whole, shunt):
    net, times = neuron(scale=0.5, shunt=shunt), patterns(40, whole=whole)
    target = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    v_max = net(times)
    error = target.double() - (v_max >= 1).double()
    assert set(error.unique().tolist()) == {-1.0, 0.0, 1.0}
    cost = (error * (net.v_threshold - v_max)).sum()
    (gradient,) = torch.autograd.grad(cost, net.fc.weight)
    assert_gradient("rule", -gradient, tempotron_rule(net, times, target))


def test_the_original_rule_as_written():
    net, times = neuron(scale=0.5), patterns(40)
    label = torch.arange(40) % 3
    expected = torch.zeros(3, 7, dtype=torch.float64)
    v = written_out(net, times)
    for n, o, i in torch.cartesian_prod(torch.arange(40), torch.arange(3), torch.arange(7)).tolist():
        v_max, t_max = v[n, o].max(0)
        t, should, did = times[n, i], label[n] == o, v_max >= 1
        if should != did and 0 <= t < t_max:
            expected[o, i] += (1 if should else -1) * net.kernel(t_max - t)
    assert_gradient("rule", expected, tempotron_rule(net, times, label))


@pytest.mark.parametrize("learn", ["rule", "gradient"])
def test_it_learns_random_patterns(learn):
    generator = torch.Generator().manual_seed(3)
    times = torch.rand(40, 50, generator=generator) * 99
    target = (torch.arange(40) % 2)[:, None]
    torch.manual_seed(0)
    net = Tempotron(50, 1, 100)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)
    for _ in range(400):
        v_max = net(times)
        wrong = (v_max >= 1) != target
        if not wrong.any():
            break
        optimizer.zero_grad()
        if learn == "rule":
            net.fc.weight.grad = -tempotron_rule(net, times, target)
        else:
            (wrong * (1 - v_max) * (2 * target - 1)).sum().backward()
        optimizer.step()
    assert not wrong.any()


def test_tutorial_loss_by_hand():
    v_max = torch.tensor([[1.2, 1.5, 0.1], [0.4, 0.2, -3.0]], requires_grad=True)
    loss = Tempotron.mse_loss(v_max, 1.0, torch.tensor([0, 1]), 3)  # wrong: 1.5 and 0.2
    assert loss.item() == pytest.approx((0.5**2 + 0.8**2) / 2)
    loss.backward()
    assert_close("gradient", torch.tensor([[0, 0.5, 0], [0, -0.8, 0]]), v_max.grad)


def test_margin_loss_by_hand():
    v_max = torch.tensor([[1.2, 0.8, 0.1], [0.4, 1.9, -3.0]], requires_grad=True)
    loss = margin_loss(v_max, torch.tensor([0, 1]), 1.0, margin=0.5)
    assert loss.item() == pytest.approx((0.3**2 + 0.3**2) / 2)
    loss.backward()
    assert_close("gradient", torch.tensor([[-0.3, 0.3, 0], [0, 0, 0]]), v_max.grad)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (torch.ones(2, 5), ShapeError, r"`in_spikes` must be spike times \[N, 7\], got \[2, 5\]"),
        (torch.ones(7), ShapeError, r"got \[7\]. Flatten"),
        (torch.ones(2, 1, 7), ShapeError, r"flatten\(1\)"),
        (torch.tensor([[1.0] * 6 + [math.nan]]), ValueError, r"no NaN, got 1.*written as -1"),
        (torch.tensor([[1.0] * 6 + [30.0]]), ValueError, r"less than T = 30, got a spike at 30"),
        (torch.tensor([[1.0] * 6 + [math.inf]]), ValueError, r"less than T = 30, got a spike at inf"),
        (torch.tensor([[1.0] * 7, [-1.0] * 7]), ValueError, r"none in 1 of 2 \(the first is number 1\)"),
    ],
)
def test_bad_times_are_refused_with_a_cure(times, error, message):
    with pytest.raises(error, match=message):
        neuron()(times)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"in_features": 0}, "`in_features` must be at least 1"),
        ({"T": 2.5}, "`T` must be an integer"),
        ({"tau": -1.0}, "`tau` must be a finite number greater than 0"),
        ({"tau": "15"}, "`tau` must be a number, got '15'"),
        ({"tau_s": 15.0}, "`tau_s` must be less than `tau`"),
        ({"v_threshold": 0.0}, "`v_threshold` must be a finite number greater than 0"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Tempotron(**{"in_features": 3, "out_features": 2, "T": 10, **settings})


def test_bad_calls_are_refused_by_name():
    net, times = neuron(), patterns()
    with pytest.raises(ValueError, match=r"`ret_type` must be one of .*Did you mean 'v_max'"):
        net(times, "vmax")
    v_max = net(times)
    with pytest.raises(ValueError, match="`label` must be from 0 to 2"):
        margin_loss(v_max, torch.tensor([0, 1, 2, 3, 0]))
    with pytest.raises(ValueError, match="`label` must be classes as integers"):
        margin_loss(v_max, torch.rand(5))
    with pytest.raises(ShapeError, match=r"`label` \[N\], got \[5, 3\] and \[4\]"):
        margin_loss(v_max, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="`margin` must be a finite number of at least 0"):
        margin_loss(v_max, torch.zeros(5, dtype=torch.int64), margin=-1)
    with pytest.raises(ValueError, match="`num_classes` must be that of `v_max`, 3, got 10"):
        Tempotron.mse_loss(v_max, 1.0, torch.zeros(5, dtype=torch.int64), 10)
    with pytest.raises(ShapeError, match="`target` must be 0 or 1"):
        tempotron_rule(net, times, torch.full((5, 3), 2))


@pytest.mark.parametrize("name", ["fc.weight", "summation_layer.weight", "weight"])
@pytest.mark.parametrize("prefix", ["", "1."])
def test_weights_of_other_libraries_load(name, prefix):
    net = Tempotron(3, 2, 10)
    weight = torch.rand(2, 3)
    outer = net if not prefix else nn.Sequential(nn.Identity(), net)
    outer.load_state_dict({prefix + name: weight})
    assert torch.equal(net.fc.weight, weight)
    assert list(net.state_dict()) == ["fc.weight"]


def peak_memory(work):
    """How much the memory of this process grows while ``work`` runs, in bytes."""
    gc.collect()
    process = psutil.Process()
    before = highest = process.memory_info().rss
    done = threading.Event()

    def watch():
        nonlocal highest
        while not done.is_set():
            highest = max(highest, process.memory_info().rss)
            time.sleep(2e-4)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return highest - before


def test_memory_does_not_grow_with_inputs_times_steps():
    net = Tempotron(784 * 16, 10, 100)
    x = torch.rand(64, 1, 784, generator=torch.Generator().manual_seed(0))
    times = GaussianTuning(1, 16, 0.0, 1.0).encode(x, 100).flatten(1)
    assert times.shape == (64, 12_544)
    label = torch.arange(64) % 10
    margin_loss(net(times[:2]), label[:2]).backward()
    written_out_needs = 64 * 12_544 * 100 * 4  # bytes, for one of its several tensors
    assert peak_memory(lambda: margin_loss(net(times), label).backward()) < written_out_needs / 4


def test_half_precision_regions_do_not_blur_the_potential():
    net, times = neuron().float(), patterns().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert_close("v", net(times, "v"), net(times, "v").float())
        inside = net(times, "v")
    assert torch.equal(inside, net(times, "v"))


@pytest.mark.parametrize("returned", ["v_max", "crossing"])
def test_weights_that_are_not_finite_are_no_silence(returned):
    net = neuron()
    torch.nn.init.constant_(net.fc.weight, torch.nan)
    with pytest.raises(ValueError, match="`weight` must be finite"):
        net(patterns(), returned)


def test_several_weights_at_once():
    net, times = neuron(), patterns()
    weights = torch.stack([net.fc.weight, 2 * net.fc.weight]).detach()

    def respond(weight):
        return torch.func.functional_call(net, {"fc.weight": weight}, (times,))

    both = torch.func.vmap(respond)(weights)
    torch.testing.assert_close(both[1], respond(weights[1]))


def test_time_constants_that_are_nearly_alike_are_refused():
    with pytest.raises(ValueError, match="`tau_s` must differ from `tau` by a thousandth"):
        Tempotron(2, 1, 30, tau=15.0, tau_s=14.999)


def test_the_gradient_of_peak_times_is_that_of_a_softmax_of_potentials_times_steps():
    net = Tempotron(3, 2, T=20).double()
    nn.init.constant_(net.fc.weight, 0.6)
    times = torch.tensor([[0.0, 3.0, 7.0], [1.0, 2.0, -1.0]], dtype=torch.float64)
    (got,) = torch.autograd.grad(net(times, "spikes").sum(), net.fc.weight)
    share = (net(times, "v") * 20).softmax(-1)
    (wanted,) = torch.autograd.grad((share * torch.arange(20)).sum(), net.fc.weight)
    assert (net(times, "spikes") >= 0).all()
    torch.testing.assert_close(got, wanted)
