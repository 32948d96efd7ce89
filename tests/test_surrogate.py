"""Every surrogate: a step forwards, the slope of its own primitive backwards, and SpikingJelly's numbers."""

import copy
import inspect
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from compare import assert_same
from spikeloom import surrogate
from spikeloom.surrogate import SurrogateFunction, from_function

CURVES = {
    "Sigmoid": surrogate.Sigmoid(),
    "LogisticDensity": surrogate.LogisticDensity(a=0.7),
    "ATan": surrogate.ATan(),
    "Erf": surrogate.Erf(),
    "Gaussian": surrogate.Gaussian(variance=0.3),
    "PiecewiseExp": surrogate.PiecewiseExp(),
    "SoftSign": surrogate.SoftSign(),
    "SuperSpike": surrogate.SuperSpike(alpha=2.0),
    "QPseudoSpike": surrogate.QPseudoSpike(),
    "NonzeroSignLogAbs": surrogate.NonzeroSignLogAbs(alpha=3.0),
    "S2NN": surrogate.S2NN(),
    "SquarewaveFourierSeries": surrogate.SquarewaveFourierSeries(n=3, T_period=4.0),
    "Rect": surrogate.Rect(alpha=0.7),
    "Rectangular": surrogate.Rectangular(),
    "PiecewiseQuadratic": surrogate.PiecewiseQuadratic(),
    "Polynomial": surrogate.Polynomial(a=2.0),
    "Triangle": surrogate.Triangle(gamma=1.5),
    "Dspike": surrogate.Dspike(),
    "PiecewiseLeakyReLU": surrogate.PiecewiseLeakyReLU(),
    "LeakyKReLU": surrogate.LeakyKReLU(leak=0.1, k=2.0),
    "LogTailedReLU": surrogate.LogTailedReLU(alpha=0.1),
    "FakeNumericalGradient": surrogate.FakeNumericalGradient(),
    "DeterministicPass": surrogate.DeterministicPass(),
    "MultiLevelSpikeCount": surrogate.MultiLevelSpikeCount(max_spike_count=2),
}
BINARY = {name: curve for name, curve in CURVES.items() if name != "MultiLevelSpikeCount"}
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

over_curves = pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
over_binary = pytest.mark.parametrize("curve", BINARY.values(), ids=BINARY)


def settings(curve: SurrogateFunction) -> list:
    return [getattr(curve, name) for name in curve.parameter_names]


def gradient(function, x: torch.Tensor) -> torch.Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


def grid(dtype=torch.float64) -> torch.Tensor:
    """A dense grid that misses every kink (-1, -0.5, 0, ...) and has both signs."""
    return torch.linspace(-3.0137, 3.0219, 2003, dtype=dtype)


def test_the_table_holds_every_surrogate():
    classes = {name for name in surrogate.__all__ if inspect.isclass(getattr(surrogate, name))}
    assert set(CURVES) == classes - {"SurrogateFunction", "FunctionSurrogate"}


@over_curves
def test_derivative_is_that_of_the_primitive(curve):
    x = grid()
    expected = gradient(lambda x: curve.primitive_function(x, *settings(curve)), x)
    torch.testing.assert_close(curve.derivative(x, *settings(curve)), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient(curve, x), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(curve.backward(torch.full_like(x, 2.0), x, *settings(curve)), 2 * expected)


KINKED = [
    "PiecewiseExp",
    "SoftSign",
    "SuperSpike",
    "QPseudoSpike",
    "NonzeroSignLogAbs",
    "FakeNumericalGradient",
]


@pytest.mark.parametrize("name", [*KINKED, "Sigmoid", "S2NN"])
def test_the_primitive_is_differentiable_at_the_threshold(name):
    curve = copy.deepcopy(CURVES[name])
    at_spike = gradient(curve, torch.zeros(1))
    curve.set_spiking_mode(False)
    torch.testing.assert_close(gradient(curve, torch.zeros(1)), at_spike)


def test_a_spike_count_lets_the_gradient_through_in_its_window_only():
    """The window is a choice: outside [0, n] the staircase is flat, and so is any curve near it."""
    curve = surrogate.MultiLevelSpikeCount(4, grad_window=(-0.5, 3.0))
    x = torch.tensor([-1.0, -0.5, -0.1, 0.5, 0.6, 1.5, 2.5, 3.0, 3.5, 5.0])  # measured as below
    assert curve(x).tolist() == [0, 0, 0, 0, 1, 2, 2, 3, 4, 4]
    assert gradient(curve, x).tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("count", [np.int64(3), torch.tensor(3)], ids=["numpy", "tensor"])
def test_whole_numbers_of_other_libraries(count):
    x = torch.tensor([-0.3, 0.2, 2.6])
    for curve in (surrogate.MultiLevelSpikeCount, surrogate.SquarewaveFourierSeries):
        assert repr(curve(count)) == repr(curve(3))
        assert_same("primitive", curve(3, spiking=False)(x), curve(count, spiking=False)(x))


@pytest.mark.parametrize("name", ["ATan", "Sigmoid", "Dspike"])
def test_without_gradients_nothing_is_recorded(name, monkeypatch):
    curve, x = getattr(surrogate, name)(), torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    expected = curve(x).detach()
    monkeypatch.setattr(surrogate.base._Spike, "apply", None)
    with torch.no_grad():
        assert torch.equal(curve(x), expected)


@over_binary
@pytest.mark.parametrize("dtype", FLOATS)
def test_forward_is_heaviside_and_keeps_the_type(curve, dtype):
    x = grid(dtype)
    spike = curve(x)
    assert spike.dtype == gradient(curve, x).dtype == dtype
    assert torch.equal(spike, (x >= 0).to(dtype))
    assert curve(torch.tensor([0.0, -0.0], dtype=dtype)).tolist() == [1, 1]
    assert curve(torch.tensor(0.5, dtype=dtype)).shape == ()
    assert curve.primitive_function(x, *settings(curve)).dtype == dtype


@over_curves
def test_spiking_mode_switches_to_the_primitive(curve):
    curve = copy.deepcopy(curve)
    x = grid()
    curve.set_spiking_mode(False)
    assert torch.equal(curve(x), curve.primitive_function(x, *settings(curve)))
    assert not torch.equal(curve(x), curve.spiking_function(x, *settings(curve)))
    curve.set_spiking_mode(True)
    assert torch.equal(curve(x), curve.spiking_function(x, *settings(curve)))


@over_curves
@pytest.mark.parametrize("dtype", FLOATS)
def test_extreme_values(curve, dtype):
    """NaN propagates, infinity counts as a large number, and nothing overflows into a gradient of NaN."""
    top = torch.finfo(dtype).max
    x = torch.tensor([torch.inf, top, -top, -torch.inf, torch.nan], dtype=dtype)
    most = getattr(curve, "max_spike_count", 1)
    assert curve(x)[:4].tolist() == [most, most, 0, 0]
    assert curve(x)[4].isnan()
    slope = gradient(curve, x)
    assert slope[:4].isfinite().all()
    if not isinstance(curve, surrogate.SquarewaveFourierSeries):  # it has no limit
        limit = curve.derivative(
            torch.tensor([1e30, 1e30, -1e30, -1e30], dtype=torch.float64), *settings(curve)
        )
        torch.testing.assert_close(slope[:4].double(), limit, rtol=1e-2, atol=1e-3)
    assert not curve.primitive_function(x[:4], *settings(curve)).isnan().any()
    assert curve.primitive_function(x[4:], *settings(curve)).isnan().all()


@pytest.mark.parametrize(
    "curve", [surrogate.LeakyKReLU(), surrogate.LogTailedReLU(), surrogate.PiecewiseLeakyReLU(c=0.0)]
)
def test_a_slope_of_0_times_infinity_is_0(curve):
    curve.set_spiking_mode(False)
    assert curve(torch.tensor([-torch.inf])).tolist() == [0]


@pytest.mark.parametrize(
    "curve", [*CURVES.values(), from_function(torch.sigmoid)], ids=[*CURVES, "from_function"]
)
def test_smaller_types_agree_with_float64(curve):
    x = grid()[::7]
    for dtype, tolerance in [(torch.float32, 1e-5), (torch.float16, 2e-2), (torch.bfloat16, 1e-1)]:
        got = gradient(curve, x.to(dtype)).double()
        torch.testing.assert_close(got, gradient(curve, x.to(dtype).double()), rtol=tolerance, atol=tolerance)


# Measured from SpikingJelly 2.0.0 in float64, as x.grad after f(x).sum().backward(), rounded to 6 digits.
MEASURED_AT = [-2.5, -1.0, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 1.0, 2.5]
MEASURED = [
    (surrogate.Sigmoid(), [0.000182, 0.070651, 0.419974, 0.786448, 0.961043, 1.0]),
    (surrogate.Sigmoid(2), [0.013296, 0.209987, 0.393224, 0.470007, 0.495033, 0.5]),
    (surrogate.ATan(), [0.015953, 0.092, 0.2884, 0.618486, 0.91017, 1.0]),
    (surrogate.ATan(3.0), [0.01073, 0.064637, 0.22895, 0.628164, 1.22743, 1.5]),
    (surrogate.PiecewiseQuadratic(), [0.0, 0.0, 0.5, 0.75, 0.9, 1.0]),
    (surrogate.PiecewiseQuadratic(2.0), [0.0, 0.0, 0.0, 1.0, 1.6, 2.0]),
    (surrogate.PiecewiseExp(), [0.041042, 0.18394, 0.303265, 0.3894, 0.452419, 0.5]),
    (surrogate.PiecewiseExp(2.0), [0.006738, 0.135335, 0.367879, 0.606531, 0.818731, 1.0]),
    (surrogate.SoftSign(), [0.027778, 0.111111, 0.25, 0.444444, 0.694444, 1.0]),
    (surrogate.SoftSign(3.0), [0.020761, 0.09375, 0.24, 0.489796, 0.887574, 1.5]),
    (surrogate.SuperSpike(), [0.081633, 0.25, 0.444444, 0.64, 0.826446, 1.0]),
    (surrogate.SuperSpike(3.0), [0.244898, 0.75, 1.333333, 1.92, 2.479339, 3.0]),
    (surrogate.NonzeroSignLogAbs(), [0.285714, 0.5, 0.666667, 0.8, 0.909091, 1.0]),
    (surrogate.NonzeroSignLogAbs(3.0), [0.352941, 0.75, 1.2, 1.714286, 2.307692, 3.0]),
    (surrogate.Erf(), [0.0, 0.020667, 0.415107, 0.878783, 1.084135, 1.128379]),
    (surrogate.Erf(1.0), [0.001089, 0.207554, 0.439391, 0.530007, 0.558576, 0.56419]),
    (surrogate.PiecewiseLeakyReLU(), [0.01, 0.01, 0.5, 0.5, 0.5, 0.5]),
    (surrogate.PiecewiseLeakyReLU(w=2.0, c=0.1), [0.1, 0.25, 0.25, 0.25, 0.25, 0.25]),
    (surrogate.SquarewaveFourierSeries(), [-0.191342, 0.353553, 0.46194, 0.490393, 0.498459, 0.5]),
    (surrogate.SquarewaveFourierSeries(3, 4), [0.0, 0.0, 0.0, 1.306563, 1.878695, 2.0]),
    (surrogate.QPseudoSpike(), [0.027778, 0.111111, 0.25, 0.444444, 0.694444, 1.0]),
    (surrogate.QPseudoSpike(3.0), [0.023324, 0.125, 0.296296, 0.512, 0.751315, 1.0]),
    (surrogate.FakeNumericalGradient(), [0.3] * 6),
    (surrogate.FakeNumericalGradient(0.5), [0.4, 0.5, 0.5, 0.5, 0.5, 0.5]),
    (surrogate.DeterministicPass(), [1.0] * 6),
    (surrogate.Rect(), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
    (surrogate.Rect(2.0), [0.0, 0.0, 0.0, 0.0, 2.0, 2.0]),
    (
        surrogate.S2NN(),
        [0.000182, 0.070651, 0.419974, 0.786448, 0.961043, 1.0, 0.909091, 0.8, 0.666667, 0.5, 0.285714],
    ),
    (
        surrogate.S2NN(2.0, 0.5),
        [0.013296, 0.209987, 0.393224, 0.470007, 0.495033, 0.5, 0.454545, 0.4, 0.333333, 0.25, 0.142857],
    ),
    (surrogate.LeakyKReLU(), [0.0] * 5 + [1.0] * 6),
    (surrogate.LeakyKReLU(leak=0.1, k=2.0), [0.1] * 5 + [2.0] * 6),
    (surrogate.LogTailedReLU(), [0.0] * 6 + [1.0] * 4 + [0.4]),
    (surrogate.LogTailedReLU(0.1), [0.1] * 6 + [1.0] * 4 + [0.4]),
    (surrogate.MultiLevelSpikeCount(2), [0.0] * 5 + [1.0] * 5 + [0.0]),
]


@pytest.mark.parametrize(("curve", "measured"), MEASURED, ids=[str(curve) for curve, _ in MEASURED])
def test_gradients_are_those_of_spikingjelly(curve, measured):
    if len(measured) == 6:  # even in x
        measured = measured + measured[-2::-1]
    expected = torch.tensor(measured, dtype=torch.float64)
    got = gradient(curve, torch.tensor(MEASURED_AT, dtype=torch.float64))
    torch.testing.assert_close(got, expected, rtol=0, atol=6e-7)


# Measured likewise with spiking=False, where SpikingJelly has a primitive; S2NN's is off by 1e-5 by design.
PRIMITIVES = [
    (surrogate.Sigmoid(), [4.5e-05, 0.017986, 0.119203, 0.268941, 0.401312, 0.5, 0.598688]),
    (surrogate.ATan(), [0.040312, 0.098093, 0.180454, 0.288078, 0.403108, 0.5, 0.596892]),
    (surrogate.PiecewiseQuadratic(2.0), [0.0, 0.0, 0.0, 0.125, 0.32, 0.5, 0.68]),
    (surrogate.PiecewiseExp(), [0.041042, 0.18394, 0.303265, 0.3894, 0.452419, 0.5, 0.547581]),
    (surrogate.SoftSign(3.0), [0.058824, 0.125, 0.2, 0.285714, 0.384615, 0.5, 0.615385]),
    (
        surrogate.NonzeroSignLogAbs(3.0),
        [-2.140066, -1.386294, -0.916291, -0.559616, -0.262364, 0.0, 0.262364],
    ),
    (surrogate.Erf(1.0), [0.000203, 0.07865, 0.23975, 0.361837, 0.443769, 0.5, 0.556231]),
    (surrogate.PiecewiseLeakyReLU(w=2.0, c=0.1), [-0.05, 0.25, 0.375, 0.4375, 0.475, 0.5, 0.525]),
    (
        surrogate.SquarewaveFourierSeries(3, 4),
        [1.100211, 0.075587, -0.100211, 0.060323, 0.304071, 0.5, 0.695929],
    ),
    (surrogate.QPseudoSpike(3.0), [0.040816, 0.125, 0.222222, 0.32, 0.413223, 0.5, 0.586777]),
    (surrogate.Rect(2.0), [0.0, 0.0, 0.0, 0.0, 0.3, 0.5, 0.7]),
    (surrogate.S2NN(2.0, 0.5), [0.006693, 0.119203, 0.268941, 0.377541, 0.450166, 0.500005, 0.54766]),
    (surrogate.LeakyKReLU(leak=0.1, k=2.0), [-0.25, -0.1, -0.05, -0.025, -0.01, 0.0, 0.2]),
    (surrogate.LogTailedReLU(0.1), [-0.25, -0.1, -0.05, -0.025, -0.01, 0.0, 0.1]),
]


@pytest.mark.parametrize(("curve", "measured"), PRIMITIVES, ids=[str(curve) for curve, _ in PRIMITIVES])
def test_primitives_are_those_of_spikingjelly(curve, measured):
    got = curve.primitive_function(torch.tensor(MEASURED_AT[:7], dtype=torch.float64), *settings(curve))
    tolerance = 1.1e-5 if isinstance(curve, surrogate.S2NN) else 6e-7
    torch.testing.assert_close(got, torch.tensor(measured, dtype=torch.float64), rtol=0, atol=tolerance)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    "make",
    [
        surrogate.Rectangular,
        surrogate.Polynomial,
        surrogate.LogisticDensity,
        surrogate.Gaussian,
        surrogate.Triangle,
        surrogate.Dspike,
        surrogate.Rect,
    ],
)
def test_densities_integrate_to_1(make, scale):
    """STBP's four curves by their paper (D.2), and the others that claim an area of 1."""
    x = torch.linspace(-80, 80, 1_600_002, dtype=torch.float64)
    area = torch.trapezoid(make(scale).derivative(x, scale), x)
    torch.testing.assert_close(area, torch.ones_like(area), rtol=0, atol=3e-4)


def test_stbp_curves_by_hand():
    x = torch.tensor([0.0, 1.0], dtype=torch.float64)
    cases = [
        (surrogate.Rectangular(width=4.0), [0.25, 0.25]),
        (surrogate.Polynomial(a=1.0), [0.5, 0.25]),
        (surrogate.LogisticDensity(a=1.0), [0.25, math.e / (1 + math.e) ** 2]),
        (
            surrogate.Gaussian(variance=1.0),
            [1 / math.sqrt(2 * math.pi), math.exp(-0.5) / math.sqrt(2 * math.pi)],
        ),
    ]
    for curve, expected in cases:
        assert gradient(curve, x).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("temperature", "peak"), [(0.1, 1.001), (1.0, 1.082), (3.0, 1.657), (10.0, 5.0)])
def test_dspike(temperature, peak):
    """Peak values as published; 0, 1/2 and 1 at -1/2, 0 and 1/2 for every temperature; no slope outside."""
    curve = surrogate.Dspike(temperature)
    x = torch.tensor([-0.51, -0.5, 0.0, 0.5, 0.51], dtype=torch.float64)
    slope = gradient(curve, x)
    assert slope[2].item() == pytest.approx(peak, abs=1e-3)
    assert slope[0] == slope[4] == 0 < slope[1] == slope[3]
    curve.set_spiking_mode(False)
    torch.testing.assert_close(
        curve(x), torch.tensor([0, 0, 0.5, 1, 1], dtype=torch.float64), atol=1e-12, rtol=0
    )


SMOOTH = [
    surrogate.Sigmoid(1.0),
    surrogate.ATan(),
    surrogate.Erf(1.0),
    surrogate.Gaussian(),
    surrogate.LogisticDensity(),
]


@pytest.mark.parametrize(
    "curve", [*SMOOTH, surrogate.SquarewaveFourierSeries(), from_function(torch.tanh)], ids=str
)
def test_second_derivatives(curve):
    curve = copy.deepcopy(curve)
    x = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64, requires_grad=True)
    second = torch.autograd.functional.jacobian(lambda x: gradient_graph(curve, x), x)
    curve.set_spiking_mode(False)
    assert torch.autograd.gradcheck(curve, x)
    assert torch.autograd.gradgradcheck(curve, x)
    torch.testing.assert_close(
        second, torch.autograd.functional.jacobian(lambda x: gradient_graph(curve, x), x)
    )


def gradient_graph(function, x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(function(x).sum(), x, create_graph=True)[0]


def learnable_cases():
    for curve in CURVES.values():
        for name in curve.parameter_names:
            if isinstance(getattr(curve, name), float) and not name.startswith("grad_"):
                yield pytest.param(
                    type(curve), name, getattr(curve, name), id=f"{type(curve).__name__}-{name}"
                )


@pytest.mark.parametrize(("make", "name", "value"), [*learnable_cases()])
def test_a_parameter_can_be_learned(make, name, value):
    """It gets the gradient of the primitive with respect to it; the one with respect to x is as without."""
    x = grid()[::50]
    weight = torch.linspace(-1, 2, len(x), dtype=torch.float64)
    parameter = nn.Parameter(torch.tensor(value, dtype=torch.float64))
    curve = make(**{name: parameter})
    assert dict(curve.named_parameters()) == {name: parameter}

    inputs = x.clone().requires_grad_()
    spike = curve(inputs)
    assert torch.equal(spike, (x >= 0).double())
    (spike * weight).sum().backward()
    torch.testing.assert_close(inputs.grad, weight * gradient(make(**{name: value}), x))

    step = 1e-6
    higher, lower = (make(**{name: value + shift}, spiking=False)(x) for shift in (step, -step))
    numeric = (weight * (higher - lower)).sum() / (2 * step)
    torch.testing.assert_close(parameter.grad, numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("curve", [surrogate.Sigmoid(), surrogate.LogisticDensity(a=0.25)])
def test_the_logistic_slope_is_as_good_as_its_half_type(curve, dtype):
    """On both sides: where the curve is near 1, a half holds few numbers, and at 1 the slope would be 0."""
    x = torch.linspace(-2, 2, 1001).to(dtype)
    got, reference = gradient(curve, x).double(), gradient(curve, -x.double().abs())
    assert ((got - reference).abs() / reference).max() < torch.finfo(dtype).eps
    assert torch.equal(gradient(curve, x), gradient(curve, -x))
    assert gradient(curve, torch.tensor([torch.inf, -torch.inf], dtype=dtype)).tolist() == [0.0, 0.0]


def test_a_parameter_can_be_learned_per_channel_and_in_half():
    alpha = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    curve = surrogate.ATan(alpha)
    x = torch.randn(5, 3, dtype=torch.float16, requires_grad=True)
    curve(x).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float16
    assert alpha.grad is not None
    assert alpha.grad.shape == (3,)
    frozen = surrogate.ATan(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(gradient(frozen, x), x.grad)
    assert list(frozen.state_dict()) == ["alpha"]


class Net(nn.Module):
    def __init__(self, curve: SurrogateFunction):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.surrogate_function = curve


@pytest.mark.parametrize("curve", [surrogate.ATan(), surrogate.S2NN()], ids=str)
def test_old_checkpoints_with_buffers_load(curve):
    net = Net(curve)
    old = dict(net.state_dict()) | {
        f"surrogate_function.{name}": torch.tensor(7.0) for name in curve.parameter_names
    }
    before = dict(old)
    net.load_state_dict(old, strict=True)
    assert old.keys() == before.keys()
    assert settings(curve) == settings(type(curve)())
    curve.load_state_dict({name: torch.tensor(7.0) for name in curve.parameter_names})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        net.load_state_dict(old | {"surrogate_function.beta2": torch.tensor(1.0)})


def test_a_learned_parameter_is_saved_and_loaded():
    net = Net(surrogate.ATan(nn.Parameter(torch.tensor(3.0))))
    other = Net(surrogate.ATan(nn.Parameter(torch.tensor(2.0))))
    other.load_state_dict(net.state_dict())
    assert other.surrogate_function.alpha.item() == 3.0
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict(other.layer.state_dict(prefix="layer."))


def test_repr():
    assert repr(surrogate.ATan()) == "ATan(alpha=2.0)"
    assert repr(surrogate.S2NN(spiking=False)) == "S2NN(alpha=4.0, beta=1.0, spiking=False)"
    assert repr(surrogate.DeterministicPass()) == "DeterministicPass()"
    assert repr(surrogate.ATan(nn.Parameter(torch.tensor(2.0)))) == "ATan(alpha=2 (learned))"
    assert repr(surrogate.ATan(torch.ones(3))) == "ATan(alpha=tensor[3])"
    assert (
        repr(from_function(torch.sigmoid, cauchy))
        == "FunctionSurrogate(primitive=sigmoid, derivative=cauchy)"
    )


def cauchy(x: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + x * x)


@pytest.mark.parametrize(
    "curve",
    [
        *CURVES.values(),
        from_function(torch.atan, cauchy),
        from_function(torch.atan),
        from_function(nn.Sigmoid()),
    ],
    ids=str,
)
def test_copies(curve):
    x = grid()
    for other in (copy.deepcopy(curve), pickle.loads(pickle.dumps(curve))):
        assert repr(other) == repr(curve)
        assert torch.equal(gradient(other, x), gradient(curve, x))


def test_from_function():
    x = grid()
    torch.testing.assert_close(gradient(from_function(torch.atan), x), cauchy(x))
    assert torch.equal(gradient(from_function(torch.atan, lambda x: 3 * cauchy(x)), x), 3 * cauchy(x))
    assert torch.equal(from_function(torch.atan, spiking=False)(x), torch.atan(x))
    curve = from_function(torch.atan)
    assert torch.equal(curve.spiking_function(x), (x >= 0).double())
    torch.testing.assert_close(curve.backward(torch.ones_like(x), x), cauchy(x))
    with pytest.raises(TypeError, match="`primitive` must be a function of x, got 2"):
        from_function(2)
    with pytest.raises(TypeError, match="`derivative` must be"):
        from_function(torch.atan, 2)


@pytest.mark.parametrize(
    ("curve", "at"), [(surrogate.LogTailedReLU(), 1.0), (surrogate.FakeNumericalGradient(0.5), 2.0)]
)
def test_where_two_pieces_of_a_primitive_meet_it_has_one_slope(curve, at):
    x = torch.tensor([at], requires_grad=True)
    (slope,) = torch.autograd.grad(curve.primitive_function(x, *settings(curve)), x)
    assert torch.equal(slope, curve.derivative(x.detach(), *settings(curve)))


def test_from_function_learns_what_its_primitive_uses():
    curve = from_function(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid()))
    x = torch.randn(4, 1, requires_grad=True)
    curve(x).sum().backward()
    assert all(parameter.grad is not None for parameter in curve.parameters())
    assert x.grad is not None


def test_a_subclass_needs_no_derivative():
    class Cubic(SurrogateFunction):
        def __init__(self, a=1.0):
            super().__init__(a=a)

        @staticmethod
        def primitive_function(x, a):
            return a * x**3

    x = grid()
    torch.testing.assert_close(gradient(Cubic(2.0), x), 6 * x * x)
    torch.testing.assert_close(Cubic.backward(torch.ones_like(x), x, 2.0), 6 * x * x)
    assert Cubic.spiking_function(x, 2.0).sum() == (x >= 0).sum()


@pytest.mark.parametrize("name", ["Sigmoid", "S2NN", "Dspike", "MultiLevelSpikeCount"])
def test_the_backward_pass_can_be_traced(name):
    """What the loom does: both passes of a step as one graph, valid for other inputs."""
    curve = CURVES[name]

    def step(x, gradient_of_spike):
        spike = curve(x)
        return spike, torch.autograd.grad(spike, x, gradient_of_spike)[0]

    x, weight = torch.randn(2, 8).requires_grad_(), torch.randn(2, 8)
    graph = make_fx(step)(torch.zeros(2, 8, requires_grad=True), torch.ones(2, 8))
    for got, expected in zip(graph(x, weight), step(x, weight), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated.*:DeprecationWarning"
)  # Dynamo instantiates it
@pytest.mark.parametrize("curve", [surrogate.ATan(), surrogate.S2NN(), from_function(torch.sigmoid)], ids=str)
def test_it_compiles_in_one_graph(curve):
    compiled = torch.compile(curve, fullgraph=True, backend="aot_eager")
    x = torch.randn(7)
    assert torch.equal(compiled(x), curve(x))
    torch.testing.assert_close(gradient(compiled, x), gradient(curve, x))


def test_function_transforms():
    x = torch.randn(5)
    curve = surrogate.ATan()
    expected = gradient(curve, x)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(curve))(x), expected)
    torch.testing.assert_close(torch.func.grad(lambda x: torch.func.vmap(curve)(x).sum())(x), expected)
    alpha = nn.Parameter(torch.tensor(2.0))
    learned = surrogate.ATan(alpha)
    learned(x).sum().backward()
    by_alpha = torch.func.grad(lambda alpha: torch.func.functional_call(learned, {"alpha": alpha}, x).sum())
    torch.testing.assert_close(by_alpha(alpha.detach()), alpha.grad)


@over_curves
def test_the_spikes_can_be_changed_in_place(curve):
    x = torch.randn(3, requires_grad=True)
    spike = curve(x)
    spike += curve(x)
    spike.sum().backward()
    torch.testing.assert_close(x.grad, 2 * gradient(curve, x))


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (surrogate.ATan, {"alpha": 0}, "`alpha` must be a finite number greater than 0, got 0"),
        (surrogate.Sigmoid, {"alpha": -1.0}, "`alpha` must be"),
        (surrogate.Erf, {"alpha": torch.nan}, "`alpha` must be"),
        (surrogate.ATan, {"alpha": torch.tensor([1.0, -1.0])}, r"`alpha` must be .* everywhere"),
        (surrogate.QPseudoSpike, {"alpha": 1.0}, "greater than 1"),
        (surrogate.Gaussian, {"variance": torch.inf}, "`variance` must be a finite number"),
        (surrogate.S2NN, {"beta": 0.0}, "`beta`"),
        (surrogate.PiecewiseLeakyReLU, {"w": 0.0}, "`w`"),
        (surrogate.LeakyKReLU, {"leak": torch.inf}, "`leak` must be a finite number, got inf"),
        (surrogate.SquarewaveFourierSeries, {"n": 1}, "`n` must be at least 2, got 1"),
        (surrogate.SquarewaveFourierSeries, {"T_period": -8}, "`T_period`"),
        (
            surrogate.MultiLevelSpikeCount,
            {"max_spike_count": 0},
            "`max_spike_count` must be at least 1, got 0",
        ),
        (
            surrogate.MultiLevelSpikeCount,
            {"max_spike_count": 2, "grad_window": 1.0},
            "`grad_window` must be two",
        ),
    ],
)
def test_wrong_values_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("value", ["2", None, True, torch.tensor(2)])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="`alpha` must be a number"):
        surrogate.ATan(alpha=value)


def test_curves_as_functions():
    x = torch.linspace(-2, 2, 9, requires_grad=True)
    for name, one in vars(surrogate).items():
        if isinstance(one, surrogate.functions.Applied):
            assert name.replace("_", "") == one.curve.__name__.lower()
            values = settings(one.curve())
            for spikes in (one.apply(x), one.apply(x, *values)):
                assert torch.equal(spikes, one.curve()(x))
    (slope,) = torch.autograd.grad(surrogate.atan.apply(x, 3.0).sum(), x)
    assert torch.equal(slope, gradient(surrogate.ATan(3.0), x.detach()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_fast_step_is_the_plain_one(dtype):
    """In numbers, memory format, and where somebody watches."""
    tiny = torch.finfo(dtype).tiny
    values = [torch.nan, torch.inf, -torch.inf, 0.0, -0.0, tiny, -tiny, 3.0, -3.0]
    x = torch.tensor(values * 4, dtype=dtype, requires_grad=True).view(1, 4, 3, 3)
    x = x.to(memory_format=torch.channels_last)
    plain = torch.where(x.isnan(), x, (x >= 0).to(x.dtype)).detach()
    spikes = surrogate.heaviside(x)
    assert_same("numbers", plain, spikes)
    assert spikes.stride() == x.stride()
    assert not spikes.requires_grad
    assert not torch.signbit(spikes.nan_to_num()).any()
    assert_same("vmap", plain, torch.func.vmap(surrogate.heaviside)(x).detach())
