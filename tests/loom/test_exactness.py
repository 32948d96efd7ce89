"""What an exact plan promises: the bits of ATen, operation by operation and neuron by neuron."""

import importlib.util
import itertools
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from compare import assert_same
from loom.both import FUSED, inputs, is_exact, make, run
from spikeloom.loom.numba_loop import _HEADER
from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.weave import plans
from spikeloom.neuron import BaseNode

SPECIAL = [
    *(
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        3.0,
        0.1,
        -0.3,
        7.25,
        1e-3,
        88.0,
        -87.5,
        104.0,
        -104.0,
    ),
    *(float("inf"), float("-inf"), float("nan")),
    *(
        1e-45,
        -1e-45,
        1e-40,
        -1e-40,
        1.17549435e-38,
        3.4e38,
        -3.4e38,
        1e20,
        -1e20,
        1e-20,
        8388607.5,
        16777217.0,
    ),
    *(0.49999997, 0.50000006, 1.0000001, 0.99999994, 2147483648.0, -2147483648.0, 4294967296.0),
]
INEXACT = {
    "add_scaled",
    "sub_scaled",
    "sqrt",
    "exp",
    "sigmoid",
    "tanh",
    "log",
    "log1p",
    "expm1",
    "sin",
    "cos",
    "atan",
    "erf",
    "rsqrt",
    "pow",
}
TRUTHS = {"and", "or", "xor", "not"}


def arity(operation: str) -> int:
    return 1 + max(number for number in range(3) if f"{{{number}}}" in OPERATIONS[operation].template)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Every operation as a loop of its own, in one module: ``loops[name](constants, inputs, output)``."""
    lines = [_HEADER, 'from numba import njit\n\njit = njit(nogil=True, error_model="numpy")\n']
    for name, operation in OPERATIONS.items():
        count, symbols = arity(name), [f"v{number}" for number in range(arity(name))]
        lines.append(f"@jit\ndef run_{name}(c, {', '.join(f'a{number}' for number in range(count))}, out):")
        lines.append("    one, zero = c[0], c[1]\n    for i in range(out.shape[0]):")
        lines += [f"        v{number} = a{number}[i]" for number in range(count)]
        truths = symbols if name in TRUTHS else symbols[:1] if name in ("where", "to_float") else []
        lines += [f"        {symbol} = {symbol} != zero" for symbol in truths]
        expression = operation.template.format(*symbols)
        expression = f"(one if {expression} else zero)" if operation.boolean else expression
        lines.append(f"        out[i] = {expression}\n")
    path = tmp_path_factory.mktemp("operations") / "operations_one_by_one.py"
    path.write_text("\n".join(lines))
    spec = importlib.util.spec_from_file_location("operations_one_by_one", path)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["operations_one_by_one"] = module
    spec.loader.exec_module(module)
    return module


def loop(module, name: str, *arguments: Tensor) -> Tensor:
    out = torch.full_like(arguments[0], 123.0)
    constants = torch.tensor([1.0, 0.0], dtype=out.dtype)
    getattr(module, f"run_{name}")(constants.numpy(), *(value.numpy() for value in arguments), out.numpy())
    return out


def aten(name: str, *arguments: Tensor) -> Tensor:
    truths = len(arguments) if name in TRUTHS else 1 if name in ("where", "to_float") else 0
    values = [value != 0 if place < truths else value for place, value in enumerate(arguments)]
    return OPERATIONS[name].compute(*values).to(arguments[0].dtype)


def operands(name: str, dtype=torch.float32) -> list[Tensor]:
    """All combinations of special values, and random ones."""
    count = arity(name)
    columns = zip(*itertools.product(SPECIAL, repeat=count), strict=True)
    combined = [torch.tensor(column, dtype=dtype) for column in columns]
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1e-30, 1e-3, 1.0, 1.0, 30.0, 1e10], dtype=dtype)
    drawn = []
    for _ in range(count):
        scale = scales[torch.randint(6, (20_000,), generator=generator)]
        drawn.append(torch.randn(20_000, generator=generator).to(dtype) * scale)
    return [torch.cat(pair) for pair in zip(combined, drawn, strict=True)]


def bits(value: Tensor) -> Tensor:
    value = torch.where(value.isnan(), torch.nan, value)  # any NaN is as good as another
    return value.view(torch.int32 if value.dtype == torch.float32 else torch.int64)


def test_which_operations_are_exact():
    assert {name for name, operation in OPERATIONS.items() if not operation.exact} == INEXACT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - INEXACT))
def test_an_exact_operation_has_the_bits_of_aten(compiled, name, dtype):
    """Signs of zeros included, but where ATen's own depends on the place: at a minimum of two zeros."""
    arguments = operands(name, dtype)
    expected, got = aten(name, *arguments), loop(compiled, name, *arguments)
    different = bits(expected) != bits(got)
    if name in ("minimum", "maximum"):
        different &= (expected != 0) | (got != 0)
    if different.any():
        shown = [tuple(value[different][:4].tolist()) for value in (*arguments, expected, got)]
        raise AssertionError(f"{name}: {int(different.sum())} of {len(expected)} differ: {shown}")


@pytest.mark.parametrize("clamp", [torch.clamp_min, torch.clamp_max], ids=lambda clamp: clamp.__name__)
def test_a_limit_that_is_nan_comes_out(clamp):
    class Limited(BaseNode):
        def __init__(self):
            super().__init__(v_threshold=9.0, step_mode="m")
            self.register_memory("limit", 0.0)

        def neuronal_charge(self, x):
            self.limit = 0.5 * self.limit + 0.5 * x
            self.v = clamp(0.5 * self.v + 0.3, self.limit)

    x, results = torch.tensor([[0.1, torch.nan, 2.0], [0.3, 0.2, 0.1]]), []
    for backend in ("torch", "numba"):
        node = Limited()
        node.backend = backend
        node(x)
        results.append(node.v)
    assert results[0].isnan().any()
    assert_same("potential", *results)


def units(expected: Tensor, got: Tensor) -> Tensor:
    """Distance in units in the last place; NaN and infinities must be where they are."""
    strange = ~expected.isfinite() | ~got.isfinite()
    assert torch.equal(bits(expected[strange]), bits(got[strange]))
    integer = torch.int32 if expected.dtype == torch.float32 else torch.int64

    def order(value):
        raw = value.view(integer).long()
        least = -(2**31) if integer == torch.int32 else -(2**63)
        return torch.where(raw < 0, least - raw, raw)

    return (order(expected) - order(got)).abs()[~strange]


# The largest distance from the true value, in units in the last place of float32; ATen is within 1 or 2.
WORST = {
    "exp": 2,
    "sigmoid": 2,
    "tanh": 3,
    "log": 2,
    "log1p": 2,
    "expm1": 2,
    "sin": 2,
    "cos": 2,
    "atan": 2,
    "erf": 2,
}


@pytest.mark.parametrize("name", sorted(WORST))
def test_an_inexact_operation_is_within_units_of_the_truth(compiled, name):
    """Against float64, over all that float32 can hold: every 1,999th bit pattern, and special values."""
    patterns = torch.arange(-(2**31), 2**31, 1999, dtype=torch.int64).to(torch.int32)
    x = torch.cat([patterns.view(torch.float32), torch.linspace(-110, 95, 200_001), torch.tensor(SPECIAL)])
    if name in ("sin", "cos"):
        x = x[x.abs() < 1e6]
    expected = OPERATIONS[name].compute(x.double()).float()
    got = loop(compiled, name, x)
    distance = units(expected, got)
    strange = ~expected.isfinite() | ~got.isfinite()
    tiny = expected.abs() < 2**-125  # denormals, which may be taken for 0
    assert (expected - got)[tiny].abs().max() <= 2**-125 if tiny.any() else True
    distance[tiny[~strange]] = 0
    worst = distance.argmax()
    assert distance.max() <= WORST[name], f"{distance.max()} units at {x[~strange][worst].item()!r}"


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh"])
def test_they_are_within_two_units_of_aten_in_the_ordinary_range(compiled, name):
    x = torch.cat([torch.linspace(-20, 20, 1_000_001), torch.linspace(-1, 1, 500_001)])
    expected = OPERATIONS[name].compute(x)
    assert units(expected, loop(compiled, name, x)).max() <= 2


def test_the_sigmoid_is_within_two_units_of_aten_everywhere(compiled):
    """Every 499th number between 1e-8 and 105 in size: to where the result is denormal, and then 0."""
    first, last = torch.tensor([1e-8, 105.0]).view(torch.int32).tolist()
    size = torch.arange(first, last, 499, dtype=torch.int32).view(torch.float32)
    edge = torch.linspace(-89, -87, 200_001)  # 0 begins at -88.72284, denormal results at -87.34
    for x in (size, -size, edge):
        assert units(OPERATIONS["sigmoid"].compute(x), loop(compiled, "sigmoid", x)).max() <= 2


WITHOUT_FUSING = """
import torch
from numba import njit
from spikeloom.loom import numba_math

@njit(error_model="numpy")
def run(x, out):
    for i in range(len(x)):
        out[i] = numba_math.sigmoid(x[i])

x = torch.linspace(-20, 20, 1_000_001)
out = torch.empty_like(x)
run(x.numpy(), out.numpy())
distance = (out.view(torch.int32) - torch.sigmoid(x).view(torch.int32)).abs().max()
print(numba_math._FUSED, distance.item() <= 2)
"""


def test_the_sigmoid_of_a_processor_without_fused_multiply_add():
    features = os.environ | {"NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FUSING], env=features, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["False", "True"], done.stderr


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "log", "erf"])
def test_double_is_computed_in_double(compiled, name):
    x = torch.linspace(-30, 30, 100_001, dtype=torch.float64)
    assert units(OPERATIONS[name].compute(x), loop(compiled, name, x)).max() <= 4


def test_the_power_is_that_of_aten(compiled):
    x = torch.rand(10_000) * 10
    for exponent in (0.5, 1.0, -1.0, -0.5, 1.7, -2.0, 0.0, 4.0):
        expected, got = x**exponent, loop(compiled, "pow", x, torch.full_like(x, exponent))
        assert units(expected, got).max() <= 2, exponent


EXACT = {
    *(
        "IFNode",
        "LIFNode",
        "ALIFNode",
        "AdaptiveLIFNode",
        "AlphaNode",
        "BalancedResonateAndFireNode",
        "BiologicalIzhikevichNode",
        "CubaLIFNode",
        "HomeostaticLIFNode",
    ),
    *("ILIFNode", "IzhikevichNode", "KLIFNode", "QIFNode", "RefractoryLIFNode", "ResonateAndFireNode"),
    *(
        "SEAdLIFNode",
        "SimpleIFNode",
        "SimpleLIFNode",
        "TernaryLIFNode",
        "NonSpikingIFNode",
        "NonSpikingLIFNode",
    ),
    *("MultiStepIFNode", "MultiStepLIFNode"),
}


def test_which_neurons_are_exact():
    assert {name for name in FUSED if is_exact(make(name), 2)} == EXACT


@pytest.mark.parametrize("name", sorted(EXACT))
def test_an_exact_neuron_has_the_bits_of_the_reference_in_a_million_steps(name):
    x = inputs(name, 20, 10_000, 5)
    with torch.no_grad():
        results = []
        for backend in ("torch", "numba"):
            node = (
                make(name, backend=backend) if name[:6] not in ("Simple", "NonSpi", "MultiS") else make(name)
            )
            node.backend = backend
            results.append((node(x), [value.clone() for value in node.memories()]))
    assert torch.equal(results[0][0], results[1][0])
    for reference, got in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(bits(reference + 0.0), bits(got + 0.0))
    assert results[0][0].float().std() > 0


@pytest.mark.parametrize("name", sorted(set(FUSED) - EXACT))
def test_other_neurons_agree_step_by_step(name):
    """Each step from the reference's state: spikes differ only where the potential is at the threshold."""
    node, fast = make(name), make(name)
    node.backend, fast.backend = "torch", "numba"
    x_seq = inputs(name, 12, 4000, 5, seed=7)
    wrong = 0
    with torch.no_grad():
        for x in x_seq:
            for memory, value in node.named_memories():
                setattr(fast, memory, value.clone() if isinstance(value, Tensor) else value)
            reference, got = node(x[None]), fast(x[None])
            same = (reference == got)[0]
            wrong += int((~same).sum())
            for memory, value in node.named_memories():
                other = getattr(fast, memory)
                scale = torch.maximum(value.abs(), x.abs()).clamp(min=1.0)
                error = ((value - other).abs() / scale / 2**-23)[same]
                assert error.max() <= 4, f"{memory}: {error.max()} units"
    assert wrong <= 5  # of 240,000


def test_special_inputs_end_as_in_the_reference():
    x = torch.tensor(SPECIAL).repeat(5, 1)
    for name in ("IFNode", "LIFNode", "KLIFNode", "RefractoryLIFNode", "ILIFNode", "TernaryLIFNode"):
        node = make(name)
        results = [run(node, backend, x) for backend in ("torch", "numba")]
        for key in ("output", "v"):
            reference, got = (
                torch.where(result[key].abs() < 2**-120, 0.0, result[key]) for result in results
            )
            assert_same(f"{name} {key}", reference, got)


def test_denormal_numbers_count_as_nothing():
    """They would cost 16 times the time. Others have the bits of the reference."""
    x = torch.cat([torch.full((8, 100), 1e-41), torch.full((8, 100), 1e-30)], 1)
    node = make("NonSpikingLIFNode")
    reference, got = run(node, "torch", x), run(node, "numba", x)
    for key in ("output", "v"):
        assert (reference[key] - got[key]).abs().max() <= 2**-126
        assert_same(key, reference[key][..., 100:], got[key][..., 100:])
    assert (torch.full((1,), 1e-41) * 0.5).item() > 0  # elsewhere they are what they were


@pytest.mark.parametrize("how", ["add", "sub", "rsub"])
def test_a_plan_with_a_fused_multiply_add_of_aten_is_not_called_exact(how):
    class Scaled(BaseNode):
        def neuronal_charge(self, x):
            self.v = getattr(torch, how)(self.v, x, alpha=0.3)

    step, *_ = plans(Scaled(), (7,), torch.float32)
    assert not step.forward.exact
