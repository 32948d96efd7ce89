"""Plans: what a step becomes, that it means the same, and that equal plans are one loop."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from compare import assert_close, assert_gradient, assert_same
from loom.both import FUSED, assert_agree, assert_interpreted, inputs, make, run, values
from spikeloom import loom, surrogate
from spikeloom.loom.interpret import interpret
from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.select import find
from spikeloom.loom.weave import plans
from spikeloom.neuron import BaseNode, LIFNode


@pytest.mark.parametrize("name", FUSED)
def test_a_plan_means_its_step(name):
    node = make(name)
    node.step_mode = "s"
    x = inputs(name, 40, 5)
    assert_interpreted(node, x, [value * 0.5 for value in values(len(node._memories), 40, 5)])


class Charge(BaseNode):
    def __init__(self, function, **settings):
        super().__init__(step_mode="m", **settings)
        self.function = function

    def neuronal_charge(self, x):
        self.function(self, x)


def add_in_place(node, x):
    node.v += x


def scale_in_place(node, x):
    node.v.mul_(0.5)
    node.v.add_(x)


def set_where_in_place(node, x):
    node.v = node.v + x
    node.v.clamp_(-1.0, 2.0)
    node.v.neg_().neg_()


def change_the_input_in_place(node, x):
    x = x.clone()
    x *= 0.5
    node.v = node.v + x


def fill_a_new_one(node, x):
    node.v = node.v + x.new_full(x.shape, 0.125) + x


@pytest.mark.parametrize(
    "function",
    [add_in_place, scale_in_place, set_where_in_place, change_the_input_in_place, fill_a_new_one],
)
def test_steps_in_place_are_woven(function):
    node = Charge(function)
    assert "is woven" in loom.explain(node, dims=1)
    x = inputs("LIFNode", 6, 63)
    for start in (None, {"v": torch.rand(63) * 0.5}):
        fresh = Charge(function, backend="numba")
        for name, value in (start or {}).items():
            setattr(fresh, name, value.clone())
        reference = Charge(function, backend="torch")
        for name, value in (start or {}).items():
            setattr(reference, name, value.clone())
        leaf, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        got, expected = fresh(leaf), reference(other)
        assert_same("output", expected.detach(), got.detach())
        assert_same("v", reference.v.detach(), fresh.v.detach())
        (expected.sum() + reference.v.sum()).backward()
        (got.sum() + fresh.v.sum()).backward()
        assert_gradient("x", other.grad, leaf.grad)


def test_nothing_dead_is_kept():
    def wasteful(node, x):
        _ = (x.exp() + node.v.tanh()).sigmoid() * 3
        node.v = node.v + x

    step, *_ = plans(Charge(wasteful), (7,), torch.float32)
    names = {instruction.operation for instruction in step.forward.instructions}
    assert not names & {"exp", "tanh", "sigmoid"}
    for plan in (step.forward, step.backward):
        read = {argument for one in plan.instructions for argument in one.arguments} | set(plan.outputs)
        assert all(one.result in read for one in plan.instructions)
        assert all(one.operation in OPERATIONS for one in plan.instructions)
    assert "sigmoid" not in str(step.forward)


@pytest.mark.parametrize(
    ("function", "operations"),
    [
        (lambda x: x - 0, []),
        (lambda x: x - 0.0, []),
        (lambda x: x * 1, []),
        (lambda x: 1.0 * x, []),
        (lambda x: x / 1.0, []),
        (lambda x: x - -0.0, ["sub"]),  # it makes the negative of 0 positive, and so does the next
        (lambda x: x + 0.0, ["add"]),
        (lambda x: x * 0.0, ["mul"]),
        (lambda x: 0.0 - x, ["sub"]),
        (lambda x: x * -1, ["mul"]),
        (lambda x: x / x, ["div"]),
        (lambda x: torch.div(x, 1, rounding_mode="trunc"), ["div", "trunc"]),
        (lambda x: torch.sub(x, 0, alpha=2), ["sub_scaled"]),
    ],
)
def test_only_what_changes_nothing_is_left_out(function, operations):
    class Shown(Charge):
        def neuronal_fire(self):
            return self.v

        def neuronal_reset(self, spike):
            pass

    def charge(node, x):
        node.v = function(x)

    step, *_ = plans(Shown(charge), (7,), torch.float32)
    assert [one.operation for one in step.forward.instructions] == operations
    x = torch.tensor([[0.0, -0.0, 2.5, -torch.inf, torch.inf, torch.nan]])
    shown = {name: Shown(charge, backend=name)(x) for name in ("torch", "numba")}
    assert_same("output", shown["torch"], shown["numba"])
    assert torch.equal(shown["torch"].signbit(), shown["numba"].signbit())


def test_literals_are_arguments():
    """Another number compiles nothing: one emitted module, other literals."""
    nodes = [
        LIFNode(tau=2.0, v_reset=-0.2),
        LIFNode(tau=3.7, v_reset=-0.2),
        LIFNode(tau=3.7, v_threshold=0.3, v_reset=-0.1),
        LIFNode(tau=2.0, v_reset=-0.2, surrogate_function=surrogate.Sigmoid(alpha=1.5)),
    ]
    loops = [find(node, (7, 7), torch.float32) for node in nodes]
    assert len({one.module.__name__ for one in loops}) == 1
    assert len({(one.step.forward, one.step.backward) for one in loops}) == 1
    literals = [one.literals[torch.float64][0].tolist() for one in loops]
    assert 2.0 in literals[0]
    assert 3.7 in literals[1]
    assert {2.0, 3.7} & set(literals[1]) == {3.7}
    x = inputs("LIFNode", 6, 8, 5)
    first, second = (
        run(node, "numba", x) for node in (LIFNode(2.0, step_mode="m"), LIFNode(3.7, step_mode="m"))
    )
    assert not torch.equal(first["v"], second["v"])
    kinds = {
        dtype: find(nodes[0], (7, 7, 7), dtype).module.__name__ for dtype in (torch.float32, torch.float64)
    }
    assert len(set(kinds.values())) == 1  # dimensions and types share the source too


def test_compiled_once_for_all_literals():
    module = find(LIFNode(tau=2.0), (7,), torch.float32).module
    for tau in (2.0, 3.7, 5.0):
        run(LIFNode(tau, step_mode="m"), "numba", inputs("LIFNode", 6, 63))
    before = dict(module.natives)
    assert {("forward_row", torch.float32), ("backward_row", torch.float32)} <= set(before)
    run(LIFNode(9.0, v_threshold=0.7, step_mode="m"), "numba", inputs("LIFNode", 70, 500))
    run(LIFNode(9.0, v_threshold=0.7, step_mode="m"), "numba", inputs("LIFNode", 3, 5, 4, 2))
    assert module.natives == before


def test_plans_print():
    step, forward, *_ = plans(LIFNode(tau=2.0), (7,), torch.float32)
    lines = str(step.forward).splitlines()
    assert lines[0] == "inputs v0, v1"
    assert lines[1].startswith("  v2 = ")
    assert lines[-1].startswith("outputs v")
    assert len(lines) == len(step.forward.instructions) + 2
    assert 2.0 in forward
    assert repr(plans(LIFNode(tau=2.0), (7,), torch.float32)[0]) == repr(step)


SOURCES = """
import torch
from loom.both import FUSED, make
from spikeloom.loom.numba_loop import emit
from spikeloom.loom.weave import plans

for name in FUSED:
    first, again = (emit(plans(make(name), (7, 7), torch.float32)[0]) for _ in range(2))
    assert first == again, name
    print(first)
"""


def test_the_same_step_is_the_same_source():
    """Order of dictionaries and sets does not decide: caches would miss in the next process."""
    printed = []
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run([sys.executable, "-c", SOURCES], env=env, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        printed.append(run.stdout)
    assert printed[0] == printed[1]
    assert printed[0].count("def ") > 2 * len(FUSED)


LEAVES = ["x", "v", "w", "p", "q", "0.3", "-1.5", "2.0"]
UNARY = {
    "neg": lambda a: -a,
    "abs": abs,
    "square": lambda a: a**2,
    "cube": lambda a: (a * 0.5) ** 3,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exp": lambda a: torch.exp(-a.abs()),
    "clamp": lambda a: a.clamp(-0.7, 1.3),
    "clamp low": lambda a: a.clamp(min=-0.2),
    "sqrt": lambda a: torch.sqrt(a.abs() + 0.1),
    "reciprocal": lambda a: 1.0 / (a.abs() + 0.5),
    "sign": torch.sign,
    "detach": torch.detach,
    "positive": lambda a: (a > 0).to(a.dtype),
    "in place": lambda a: (a * 1.0).mul_(0.5).add_(0.1),
    "atan": torch.atan,
    "scaled": lambda a: a * 0.7 + 0.2,
}
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (b.abs() + 0.5),
    "where": lambda a, b: torch.where(a > b, a * 0.5, b),
    "less": lambda a, b: (a < b).to(a.dtype),
    "both": lambda a, b: ((a > 0) & (b > 0)).to(a.dtype),
    "either": lambda a, b: ((a > 0) | ~(b > 0)).to(a.dtype),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mixed": lambda a, b: a + 0.5 * b - a * b * 0.25,
}
EXACT = {"neg", "abs", "square", "relu", "clamp", "clamp low", "sign", "detach", "positive", "scaled"}
EXPRESSIONS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), inner),
        st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
    ),
    max_leaves=7,
)


def evaluate(expression, names, x):
    if isinstance(expression, str):
        return names[expression] if expression in names else torch.full_like(x, float(expression))
    function, *arguments = expression
    table = UNARY if len(arguments) == 1 else BINARY
    return table[function](*(evaluate(argument, names, x) for argument in arguments))


class MadeUp(BaseNode):
    """A neuron with two memories, a learned number and a buffer, and two expressions of all."""

    def __init__(self, charge, follow, **settings):
        super().__init__(step_mode="s", **settings)
        self.charge, self.follow = charge, follow
        self.p = nn.Parameter(torch.tensor(0.6))
        self.register_buffer("q", torch.linspace(-1, 1, 9))
        self.register_memory("w", 0.1)

    def names(self, x):
        nothing = torch.zeros_like(x)
        return {"x": x, "v": self.v, "w": self.w, "p": self.p + nothing, "q": self.q + nothing}

    def neuronal_charge(self, x):
        self.v = self.v * 0.5 + evaluate(self.charge, self.names(x), x)

    def neuronal_reset(self, spike):
        self.w = self.w * 0.5 + evaluate(self.follow, self.names(spike), spike)
        super().neuronal_reset(spike)


SETTINGS = st.fixed_dictionaries(
    {
        "v_reset": st.sampled_from([None, 0.0, -0.3]),
        "detach_reset": st.booleans(),
        "v_threshold": st.sampled_from([1.0, 0.4]),
    }
)


@settings(max_examples=300, suppress_health_check=list(HealthCheck), derandomize=True)
@given(EXPRESSIONS, EXPRESSIONS, SETTINGS)
def test_any_pointwise_neuron_is_planned(charge, follow, options):
    node = MadeUp(charge, follow, **options).double()
    x, *memories = values(3, 11, 9, dtype=torch.float64)
    assert_interpreted_close(node, x, memories)
    node.float()
    step, forward, *_ = plans(node, (7, 7), torch.float32)
    results = interpret(step.forward, forward, spread(node, x.float(), memories))
    node.v, node.w = (value.float() for value in memories)
    with torch.no_grad():
        reference = [node(x.float()), *node.memories()]
    for place, (expected, got) in enumerate(zip(reference, results, strict=True)):
        (assert_same if step.forward.exact else assert_close)(f"output {place}", expected, got)


def spread(node, x, memories):
    operands = [node.p, node.q]
    return [
        x,
        *(m.to(x.dtype) for m in memories),
        *(o.detach().to(x.dtype).expand(x.shape).clone() for o in operands),
    ]


def assert_interpreted_close(node, x, memories):
    """As `assert_interpreted`, in float64, so that rounding decides nothing."""
    step, forward, backward, learned, *_ = plans(node, (7, 7), torch.float64)
    assert learned == (True, False)
    leaves = [value.clone().requires_grad_() for value in (x, *memories)]
    node.reset()
    node.v, node.w = leaves[1:]
    results = [node(leaves[0]), node.v, node.w]
    given = spread(node, x, memories)
    for place, (reference, got) in enumerate(
        zip(results, interpret(step.forward, forward, given), strict=True)
    ):
        assert_close(f"output {place}", reference.detach(), got)
    arriving = values(3, *x.shape, dtype=torch.float64, seed=5)
    pairs = [(r, g) for r, g in zip(results, arriving, strict=True) if r.requires_grad]
    if pairs:
        torch.autograd.backward(*zip(*pairs, strict=True))
    got = interpret(step.backward, backward, [*given, *arriving])
    for place, (leaf, value) in enumerate(zip([*leaves, node.p], got, strict=True)):
        reference = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        value, bound = value.sum_to_size(leaf.shape), value.abs().sum()
        error = (reference - value).abs().max()
        assert error <= 1e-12 * (reference.abs().max() + (bound if leaf is node.p else 0)), (
            f"gradient {place}"
        )
    node.reset()


@settings(
    max_examples=20,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.generate],  # a smaller example would cost a compilation for each that is tried
)
@given(EXPRESSIONS, EXPRESSIONS, SETTINGS)
def test_any_pointwise_neuron_is_compiled(charge, follow, options):
    """In float64, so that rounding flips no spike, over several steps and chunks of a block."""
    node = MadeUp(charge, follow, **options).double()
    node.step_mode = "m"
    x = values(1, 7, 5, 9, dtype=torch.float64)[0]
    assert "is woven" in loom.explain(node, 2, torch.float64)
    reference, got = run(node, "torch", x), run(node, "numba", x)
    for name, value in reference.items():
        if not value.isfinite().all():
            continue
        error = (value - got[name]).abs().max()
        assert error <= 1e-10 * max(value.abs().max(), 1.0), f"{name}: {error}"


def test_memories_that_are_set_to_numbers():
    def charge(node, x):
        node.v = x * 1.0

    class Forgetful(Charge):
        def neuronal_reset(self, spike):
            self.v = torch.zeros_like(spike)

    assert_agree(Forgetful(charge), inputs("LIFNode", 5, 63))
