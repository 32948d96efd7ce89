"""ReL-PSP layers against the closed form, against differences, and one backend against the other."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from compare import assert_close, assert_gradient, assert_same
from spikeloom import loom
from spikeloom.errors import BackendError, ShapeError
from spikeloom.timing import EarliestPool2d, ReLPSPConv2d, ReLPSPLinear, first_spike_cross_entropy

LAYERS = {
    "linear": (lambda **kw: ReLPSPLinear(23, 70, T=4, **kw), (9, 23)),
    "one neuron": (lambda **kw: ReLPSPLinear(63, 1, T=2.5, v_threshold=0.3, **kw), (1, 63)),
    "many neurons": (lambda **kw: ReLPSPLinear(5, 130, T=4, **kw), (33, 5)),
    "convolution": (lambda **kw: ReLPSPConv2d(3, 5, 3, T=4, **kw), (4, 3, 7, 6)),
    "wide convolution": (lambda **kw: ReLPSPConv2d(2, 70, (2, 3), T=4, padding=1, **kw), (2, 2, 4, 5)),
    "stride and padding": (
        lambda **kw: ReLPSPConv2d(2, 33, (3, 2), T=4, stride=2, padding=1, **kw),
        (3, 2, 8, 5),
    ),
}
over_layers = pytest.mark.parametrize("layer", LAYERS)
over_types = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def spikes(shape, end=2.0, grid=None, dtype=torch.float64, seed=0):
    """Times up to ``end``, a third of them none; on a grid there are ties, and spikes at 0."""
    generator = torch.Generator().manual_seed(seed)
    times = (torch.rand(shape, generator=generator, dtype=dtype) * 1.5 - 0.5) * end
    times = times if grid is None else (times * grid).round() / grid
    return torch.where(times < 0, -1.0, times)


def build(name, dtype=torch.float64, seed=0, **settings):
    made, shape = LAYERS[name]
    torch.manual_seed(seed)
    layer = made(**settings).to(dtype)
    layer.reset_parameters(active=0.6, spread=2.0)  # some fall and never fire
    if layer.bias is not None:
        nn.init.normal_(layer.bias, 0, 0.3)
    return layer, shape


def linear(**settings):
    return ReLPSPLinear(**{"in_features": 3, "out_features": 2, "T": 4, **settings})


def convolution(**settings):
    return ReLPSPConv2d(**{"in_channels": 3, "out_channels": 2, "kernel_size": 3, "T": 4, **settings})


def closed_form(times, weight, threshold, T):
    """The equations of the paper, one neuron and one causal set after the other."""
    out = torch.full((len(times), len(weight)), -1.0, dtype=times.dtype)
    for n, j in itertools.product(*map(range, out.shape)):
        arrivals = sorted({time for time in times[n].tolist() if time >= 0})
        for last, following in zip(arrivals, [*arrivals[1:], math.inf], strict=True):
            causal = (times[n] >= 0) & (times[n] <= last)
            slope = weight[j][causal].sum().item()
            if slope <= 0:
                continue
            time = (threshold + (weight[j] * times[n])[causal].sum().item()) / slope
            if last < time <= following:
                out[n, j] = time if time <= T else -1.0
                break
    return out


@pytest.mark.parametrize("grid", [None, 4], ids=["any times", "ties"])
@pytest.mark.parametrize("name", ["linear", "one neuron", "many neurons"])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_firing_times_are_those_of_the_closed_form(name, grid, backend):
    layer, shape = build(name, backend=backend)
    times = spikes(shape, grid=grid)
    expected = closed_form(times, layer.weight.detach(), layer.v_threshold, layer.T)
    got = layer(times).detach()
    assert_same("who fires", expected < 0, got < 0)
    assert got.numel() == 1 or 0.2 < (got >= 0).double().mean() < 1
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("grid", [None, 4], ids=["any times", "ties"])
@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@over_types
@over_layers
def test_backends_agree(layer, dtype, bias, grid):
    layer, shape = build(layer, dtype, bias=bias)
    times = spikes(shape, grid=grid, dtype=dtype)
    found = {}
    for backend in ("torch", "numba"):
        layer.backend = backend
        layer.zero_grad()
        inputs = times.clone().requires_grad_()
        out = layer(inputs)
        upstream = torch.randn(out.shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
        (out * upstream).sum().backward()
        found[backend] = out.detach(), inputs.grad, *(one.grad.clone() for one in layer.parameters())
    assert_same("times", found["torch"][0], found["numba"][0])
    for name, expected, got in zip(
        ("times", "weight", "bias"), *(one[1:] for one in found.values()), strict=False
    ):
        assert_gradient(name, expected, got)
    assert (found["torch"][1][times < 0] == 0).all()


@pytest.mark.parametrize("extrapolate", [False, True], ids=["silent", "extrapolated"])
@pytest.mark.parametrize("backend", ["torch", "numba"])
@over_layers
def test_gradients_are_those_of_differences(layer, backend, extrapolate):
    layer, shape = build(layer, backend=backend, bias=True, extrapolate=extrapolate, min_slope=1e-9)
    times = spikes((min(shape[0], 2), *shape[1:])).requires_grad_()

    def fire(weight, bias, times):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (times,))

    parameters = [one.detach().requires_grad_() for one in layer.parameters()]
    assert torch.autograd.gradcheck(fire, (*parameters, times), fast_mode=True)


def test_every_derivative_is_the_one_of_differences():
    layer = ReLPSPLinear(6, 4, T=4, bias=True, min_slope=1e-9).double()
    torch.manual_seed(0)
    layer.reset_parameters(spread=1.0)
    times = spikes((3, 6)).requires_grad_()
    assert torch.autograd.gradcheck(layer, (times,))

    def fire(weight):
        return torch.func.functional_call(layer, {"weight": weight}, (times.detach(),))

    assert torch.autograd.gradcheck(fire, (layer.weight.detach().requires_grad_(),))


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_by_hand(backend):
    layer = ReLPSPLinear(3, 1, T=10, backend=backend)
    nn.init.constant_(layer.weight, 0.5)
    with torch.no_grad():
        layer.weight[0, 2] = -2.0
    times = torch.tensor([[0.0, 1.0, 1.5], [0.0, 1.0, 1.4], [2.0, 2.0, -1.0]], requires_grad=True)
    out = layer(times)  # the inhibitory spike of the first sample comes as it fires, and is too late
    torch.testing.assert_close(out, torch.tensor([[1.5], [-1.0], [3.0]]))
    out.sum().backward()
    torch.testing.assert_close(times.grad, torch.tensor([[0.5, 0.5, 0], [0, 0, 0], [0.5, 0.5, 0]]))
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[-1.5 - 1, -0.5 - 1, 0]]))


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_spike_that_meets_the_crossing_is_not_among_its_causes(backend):
    generator = torch.Generator().manual_seed(0)
    layer = ReLPSPLinear(20, 4, T=100, v_threshold=6, backend=backend)
    weight = torch.randint(-2, 4, (4, 20), generator=generator)
    layer.load_state_dict({"weight": weight.float()})
    times = torch.randint(0, 8, (200, 20), generator=generator).float().requires_grad_()
    out = layer(times)  # of whole numbers, so that many crossings meet a spike
    for neuron in range(4):
        (gradient,) = torch.autograd.grad(out[:, neuron].sum(), times, retain_graph=True)
        time = out[:, neuron, None].detach()
        assert ((times == time).any(1)).sum() > 20
        assert_same("causes", (times < time) & (weight[neuron] != 0), gradient != 0)
        # All causes later by d: the spike is later by d.
        torch.testing.assert_close(gradient.sum(1), (time[:, 0] >= 0).float())


def test_convolution_is_the_linear_layer_in_each_window():
    layer, shape = build("stride and padding", bias=True)
    times = spikes(shape)
    padded = nn.functional.pad(times, [1] * 4, value=-1.0)
    dense = ReLPSPLinear(12, 33, T=4, bias=True).double()
    dense.load_state_dict({"weight": layer.weight.flatten(1), "bias": layer.bias})
    got = layer(times)
    for y, x in itertools.product(range(got.shape[2]), range(got.shape[3])):
        window = padded[:, :, 2 * y : 2 * y + 3, 2 * x : 2 * x + 2].flatten(1)
        assert_same("times", dense(window), got[:, :, y, x])


@over_layers
def test_samples_do_not_depend_on_the_batch(layer):
    layer, shape = build(layer, torch.float32)
    times = spikes(shape, dtype=torch.float32)
    one_by_one = torch.cat([layer(time[None]) for time in times])
    assert_same("times", one_by_one, layer(times))


@over_layers
def test_results_do_not_depend_on_the_number_of_threads(layer):
    layer, shape = build(layer, torch.float32, bias=True)
    times = spikes((70, *shape[1:]), dtype=torch.float32).requires_grad_()
    found, before = [], torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            out = layer(times)
            found.append(
                [out.detach(), *torch.autograd.grad(out.square().sum(), (times, *layer.parameters()))]
            )
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        assert_same("result", one, other)


def test_a_bias_is_a_spike_at_time_zero():
    layer, shape = build("linear", bias=True)
    times = spikes(shape)
    wider = ReLPSPLinear(24, 70, T=4).double()
    with torch.no_grad():
        wider.weight.copy_(torch.cat([layer.bias[:, None], layer.weight], 1))
    expected = wider(torch.cat([torch.zeros(len(times), 1, dtype=times.dtype), times], 1))
    assert_close("times", expected, layer(times))


def test_extrapolated_times_join_the_firing_times_without_a_jump():
    layer = ReLPSPLinear(1, 1, T=5, extrapolate=True)
    found = []
    for weight in (0.1, 0.2 - 1e-4, 0.2 + 1e-4, 1.0, -1.0):  # 0.2 reaches the threshold at T
        nn.init.constant_(layer.weight, weight)
        found.append(layer(torch.zeros(1, 1)).item())
    assert found == pytest.approx([7.5, 5.0025, 4.9975, 1.0, 35.0], abs=1e-4)


def test_small_slopes_are_clamped_in_gradients_only():
    layer = ReLPSPLinear(1, 1, T=100, min_slope=0.5)
    nn.init.constant_(layer.weight, 0.1)
    times = torch.zeros(1, 1, requires_grad=True)
    out = layer(times)
    out.backward()
    assert out.item() == pytest.approx(10)
    assert (times.grad.item(), layer.weight.grad.item()) == pytest.approx((0.1 / 0.5, -10 / 0.5))
    assert ReLPSPLinear(1, 1, T=8, v_threshold=2).min_slope == 0.25


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_silence_in_silence_out_without_nan(backend):
    for layer, shape in (build(name, torch.float32, backend=backend) for name in LAYERS):
        times = torch.full(shape, -1.0, requires_grad=True)
        out = layer(times)
        assert (out == -1).all()
        out.sum().backward()
        assert (times.grad == 0).all()
        assert (layer.weight.grad == 0).all()


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_huge_and_tiny_weights_stay_finite(backend):
    for scale in (1e37, 1e-37):
        layer, shape = build("linear", torch.float32, backend=backend)
        with torch.no_grad():
            layer.weight *= scale
        times = spikes(shape, grid=8, dtype=torch.float32).requires_grad_()
        out = layer(times)
        out.sum().backward()
        assert ((out == -1) | ((out >= 0) & (out <= layer.T))).all()
        for result in (times.grad, layer.weight.grad):
            assert result.isfinite().all()


def test_initial_neurons_fire():
    torch.manual_seed(0)
    times = torch.rand(20, 300)
    for layer in (ReLPSPLinear(300, 100, T=4), ReLPSPLinear(300, 10, T=20, v_threshold=3)):
        out = layer(times)
        assert (out >= 0).float().mean() > 0.98
        assert out.mean() < layer.T / 2
    layer.reset_parameters(active=0.2, spread=0.0, delay=2.0)
    assert_close("weight", torch.full((10, 300), 3 / 2 / 60), layer.weight.detach())


@pytest.mark.parametrize("extrapolate", [False, True], ids=["silent", "extrapolated"])
@pytest.mark.parametrize("rate", [0.0, 0.7], ids=["never", "seldom"])
@pytest.mark.parametrize("name", ["linear", "stride and padding"])
def test_neurons_that_never_or_seldom_fire_are_pulled_towards_it(name, rate, extrapolate):
    layer, shape = build(name, bias=True, extrapolate=extrapolate, wake=0.3, wake_rate=rate, backend="torch")
    with torch.no_grad():
        layer.weight[[2, 4]] -= 2.0
        layer.bias[[2, 4]] = 0.0
    times = spikes(shape)
    plain = build(name, bias=True, extrapolate=extrapolate)[0].eval()
    plain.load_state_dict(layer.state_dict())
    out = plain(times)
    fired = ((out >= 0) & (out <= layer.T)).movedim(1, 0).flatten(1)
    never = ~fired.any(1)
    assert never[[2, 4]].all()
    assert not never.all()
    lack = (1 - fired.double().mean(1) / rate).clamp(min=0) if rate else never
    assert rate == 0 or ((lack > 0) & (lack < 1)).any()
    lasting = torch.where(times < 0, 0.0, layer.T - times)
    end = plain._sum(lasting, plain.bias * layer.T).movedim(1, 0).flatten(1)  # [out, samples]
    pull = 0.3 * ((1 - end / layer.v_threshold).mean(1) * lack).sum()
    expected = torch.autograd.grad(out.sum() + pull, plain.parameters())
    for layer.backend in ("torch", "numba"):
        for given, one in zip(
            torch.autograd.grad(layer(times).sum(), layer.parameters()), expected, strict=True
        ):
            assert_gradient("pull", one, given)
    silent = torch.autograd.grad(layer.eval()(times).sum(), layer.weight)[0]  # the pull is for training only
    assert extrapolate or (silent[never] == 0).all()


def test_pulled_neurons_wake_up():
    torch.manual_seed(0)
    layer = ReLPSPLinear(20, 30, T=4, wake=0.01)
    nn.init.constant_(layer.weight, -0.1)
    times = spikes((16, 20), dtype=torch.float32)
    optimizer = torch.optim.Adam(layer.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        layer(times).sum().mul(0).backward()
        optimizer.step()
    assert (layer(times) >= 0).any(0).all()


def test_layers_stack_and_learn():
    torch.manual_seed(0)
    net = nn.Sequential(
        ReLPSPConv2d(1, 4, 3, T=4),
        EarliestPool2d(2),
        nn.Flatten(),
        ReLPSPLinear(16, 2, T=4, extrapolate=True),
    )
    times, label = spikes((32, 1, 6, 6), dtype=torch.float32), torch.arange(32) % 2
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = first_spike_cross_entropy(net(times), label, missing=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_empty_batches_and_other_dimensions():
    layer = ReLPSPLinear(3, 2, T=4)
    for shape in ((0, 3), (3,), (2, 5, 3), (2, 0, 3)):
        for layer.backend in ("torch", "numba"):
            times = torch.ones(shape, requires_grad=True)
            out = layer(times)
            assert out.shape == (*shape[:-1], 2)
            out.sum().backward()
            assert times.grad.shape == shape
    assert ReLPSPConv2d(1, 2, 3, T=4)(torch.ones(0, 1, 5, 5)).shape == (0, 2, 3, 3)


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor holds that is made."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for one in torch.utils._pytree.tree_leaves(out):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.untyped_storage().nbytes() // one.element_size())
        return out


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_nothing_of_the_size_samples_times_inputs_times_neurons_is_made(backend):
    torch.manual_seed(0)
    layer = ReLPSPLinear(600, 500, T=4, backend=backend)
    times = torch.rand(64, 600, requires_grad=True)
    with Largest() as largest:
        layer(times).sum().backward()
    assert 600 * 500 <= largest.numbers < 64 * 600 * 500 / 8


def test_a_spike_at_the_very_end_is_taken_by_the_next_layer():
    layer = ReLPSPLinear(1, 1, T=2.7)  # float32 rounds it up
    nn.init.constant_(layer.weight, 1 / 2.7)
    out = layer(torch.zeros(1, 1))
    assert out.item() == pytest.approx(2.7)
    assert layer(torch.full((1, 1), 2.7)).item() == -1


def both_backends(**settings):
    torch.manual_seed(0)
    return [linear(backend=backend, **settings) for backend in ("torch", "numba")]


def test_minus_infinity_is_no_spike():
    for layer in both_backends(wake=0.1, bias=True):
        times = torch.tensor([[0.5, -math.inf, 0.25]], requires_grad=True)
        out = layer(times)
        gradients = torch.autograd.grad(out.sum(), (times, *layer.parameters()))
        assert_same("times", layer(torch.tensor([[0.5, -1.0, 0.25]])), out)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert gradients[0][0, 1] == 0
        assert (gradients[1][:, 1] == 0).all()


def test_the_output_may_be_written_into():
    for layer in both_backends():
        times = torch.rand(5, 3)
        expected = torch.autograd.grad(2 * layer(times).sum(), layer.weight)[0]
        out = layer(times)
        out *= 2
        assert_same("weight", expected, torch.autograd.grad(out.sum(), layer.weight)[0])


def test_each_gradient_can_be_asked_for_alone():
    for layer in both_backends(bias=True, wake=0.1):
        times = torch.rand(5, 3)
        wanted = [times, *layer.parameters()]
        for one in wanted:
            one.requires_grad_()
        expected = torch.autograd.grad(layer(times).sum(), wanted)
        for one, gradient in zip(wanted, expected, strict=True):
            for other in wanted:
                other.requires_grad_(other is one)
            assert_same("gradient", gradient, torch.autograd.grad(layer(times).sum(), one)[0])


def test_layouts_of_images_and_weights_do_not_matter():
    layer = convolution(bias=True)
    times = torch.rand(2, 3, 6, 5)
    expected = layer(times)
    assert_same("channels last", expected, layer(times.contiguous(memory_format=torch.channels_last)))
    strided = times.transpose(2, 3).contiguous().transpose(2, 3)
    assert_same("strided", expected, layer(strided))
    assert_same("weights", expected, layer.to(memory_format=torch.channels_last)(times))
    expanded = times[:1, :1].expand(4, 3, 6, 5)
    assert_same("expanded", layer(expanded.contiguous()), layer(expanded))


def test_copies_and_pickles_fire_alike():
    for layer in (linear(bias=True), convolution(wake=0.1)):
        times = torch.rand(2, 3) if isinstance(layer, ReLPSPLinear) else torch.rand(2, 3, 5, 5)
        expected = layer(times)
        assert_same("copy", expected, copy.deepcopy(layer)(times))
        assert_same("pickle", expected, pickle.loads(pickle.dumps(layer))(times))


def test_other_types_of_times_and_bias_are_converted():
    for layer in both_backends(bias=True):
        nn.init.constant_(layer.bias, 0.25)
        expected = layer(torch.tensor([[0.0, 2.0, -1.0]]))
        assert_same("integers", expected, layer(torch.tensor([[0, 2, -1]])))
        assert_same("float64", expected, layer(torch.tensor([[0.0, 2.0, -1.0]], dtype=torch.float64)))
        layer.bias = nn.Parameter(layer.bias.detach().double())
        assert_same("bias", expected, layer(torch.tensor([[0.0, 2.0, -1.0]])))


@pytest.mark.parametrize("made", [linear, convolution])
def test_slopes_are_what_gradients_are_divided_by(made):
    torch.manual_seed(0)
    layer = made(bias=True, min_slope=1e-9)
    with torch.no_grad():
        layer.weight[0] *= -1
    times = torch.where(torch.rand(4, 3, 4, 4) < 0.5, -1.0, torch.rand(4, 3, 4, 4) * 4)
    times = times if made is convolution else times[:, :, 0, 0]
    out, slope = layer.fire(times)
    assert out.shape == slope.shape == layer(times).shape
    assert not slope.requires_grad
    assert_same("silent", out < 0, slope == 0)
    assert 0 < (out < 0).double().mean() < 1
    place = tuple((out >= 0).nonzero()[0])
    (gradient,) = torch.autograd.grad(out[place], layer.bias)
    torch.testing.assert_close(gradient[place[1]], -(out / slope)[place])


def test_gradients_that_cannot_be_had_are_refused():
    for layer in both_backends():
        times = torch.rand(2, 3, requires_grad=True)
        with pytest.raises(BackendError, match="cannot be differentiated again"):
            torch.autograd.grad(layer(times).sum(), times, create_graph=True)
        with pytest.raises(BackendError, match="one gradient at a time"):
            torch.autograd.grad(layer(times), times, torch.ones(5, 2, 2), is_grads_batched=True)
        for transformed in (torch.func.vmap(layer), torch.func.grad(lambda x: layer(x).sum())):  # noqa: B023
            with pytest.raises(BackendError, match=r"torch\.func"):
                transformed(times.detach())


def test_weights_that_would_be_read_wrongly_are_refused():
    for backend in ("torch", "numba"):
        for name, shape in (("weight", (2, 2)), ("weight", (3, 3)), ("bias", (1,)), ("bias", (3,))):
            layer = linear(bias=True, backend=backend)
            setattr(layer, name, nn.Parameter(torch.ones(shape)))
            with pytest.raises(
                ShapeError, match=rf"`{name}` must be .*, got {list(shape)}".replace("[", r"\[")
            ):
                layer(torch.ones(1, 3))
        for bad in (math.nan, math.inf, -math.inf):
            layer = linear(bias=True, backend=backend)
            nn.init.constant_(layer.bias, bad)
            with pytest.raises(ValueError, match=r"`bias` must be finite.*smaller learning rate"):
                layer(torch.ones(1, 3))


def test_half_precision_regions_do_not_blur_times():
    layer, shape = build("linear", torch.float32, extrapolate=True)
    times = spikes(shape, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same("times", layer(times), layer(times).float())
        inside = layer(times)
    assert_same("times", layer(times), inside)


def test_a_backend_asked_for_by_name_works_or_raises():
    layer, shape = build("linear", torch.bfloat16, backend="numba")
    times = spikes(shape).bfloat16()
    with pytest.raises(BackendError, match="cannot run with backend 'numba': its weights have the type"):
        layer(times)
    layer.backend = "auto"
    assert layer(times).dtype == torch.bfloat16
    with loom.backend("numba"), pytest.raises(BackendError):
        layer(times)
    with pytest.raises(ValueError, match="`backend` must be one of"):
        ReLPSPLinear(1, 1, T=1, backend="triton")


@pytest.mark.parametrize(
    ("made", "settings", "message"),
    [
        (linear, {"in_features": 0}, "`in_features` must be at least 1, got 0"),
        (linear, {"out_features": 2.0}, "`out_features` must be an integer, got 2.0"),
        (linear, {"T": 0}, "`T` must be a finite number greater than 0, got 0"),
        (linear, {"T": math.inf}, "`T` must be a finite number greater than 0, got inf"),
        (linear, {"v_threshold": -1}, "`v_threshold` must be a finite number greater than 0, got -1"),
        (linear, {"wake": -1}, "`wake` must be a finite number of at least 0, got -1"),
        (linear, {"wake_rate": 1.5}, "`wake_rate` must be a number from 0 to 1, got 1.5"),
        (linear, {"min_slope": 0}, "`min_slope` must be a finite number greater than 0, got 0"),
        (convolution, {"kernel_size": (3, 0)}, "`kernel_size` must be an integer of at least 1, or two"),
        (convolution, {"kernel_size": (3, 3, 3)}, "`kernel_size` must be an integer of at least 1, or two"),
        (convolution, {"stride": 0}, "`stride` must be at least 1, got 0"),
        (convolution, {"padding": -1}, "`padding` must be at least 0, got -1"),
    ],
)
def test_bad_settings_are_refused_by_name(made, settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        made(**settings)


def test_bad_input_is_refused_with_a_cure():
    with pytest.raises(ValueError, match=r"`times` must have no NaN, got 1. No spike is written as -1"):
        linear()(torch.tensor([[1.0, math.nan, 2.0]]))
    for late in (5.0, math.inf):
        with pytest.raises(ValueError, match=r"at most T = 4, got a spike at .*make T larger"):
            linear()(torch.tensor([[1.0, late, 2.0]]))
    with pytest.raises(ShapeError, match=r"`times` must be \[\*, 3\], got \[2, 4\]. Flatten images"):
        linear()(torch.ones(2, 4))
    for shape in ((3, 5, 5), (1, 2, 5, 5), (1, 3, 2, 5), (1, 3, 0, 5)):
        with pytest.raises(ShapeError, match=r"`times` must be \[N, 3, H, W\]"):
            convolution()(torch.ones(shape))
    with pytest.raises(ShapeError, match=r"`times` must be \[N, 3, H, W\]"):
        convolution(padding=2)(torch.ones(1, 3, 0, 5))
    with pytest.raises(ValueError, match="`active` must be a number greater than 0 and at most 1, got 0"):
        linear().reset_parameters(active=0)
    with pytest.raises(ValueError, match="`spread` must be a finite number of at least 0, got -1"):
        linear().reset_parameters(spread=-1)
    with pytest.raises(ValueError, match="`delay` must be a finite number greater than 0, got 0"):
        linear().reset_parameters(delay=0)
