"""What plain neurons and families promise alike: step modes, reset, copies, types, gradients, pointwise."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from compare import assert_close, assert_gradient, assert_same
from neuron.nodes import NODES
from spikeloom import neuron, surrogate

WIDE = {"surrogate_function": surrogate.Sigmoid(alpha=0.1)}  # for potentials in millivolts
FAMILIES = {
    "alif": neuron.ALIFNode,
    "alif hard": lambda: neuron.ALIFNode(tau=5.0, beta=0.5, v_reset=-0.1, decay_input=False),
    "alif learned": lambda: neuron.ALIFNode(
        *(nn.Parameter(torch.tensor(value)) for value in (5.0, 50.0, 0.5))
    ),
    "adlif": lambda: neuron.AdaptiveLIFNode(shape=5),
    "adlif scalars": lambda: neuron.AdaptiveLIFNode(0.8, 0.9, 0.5, 0.5, detach_reset=True),
    "qif": neuron.QIFNode,
    "qif learned": lambda: neuron.QIFNode(v_c=nn.Parameter(torch.tensor(0.8)), detach_reset=True),
    "eif": neuron.EIFNode,
    "eif soft": lambda: neuron.EIFNode(delta_T=nn.Parameter(torch.full([5], 0.5)), v_reset=None),
    "adex": neuron.AdExNode,
    "adex adapting": lambda: neuron.AdExNode(tau_w=20.0, a=1.0, b=0.5, v_reset=None),
    "izhikevich": lambda: neuron.IzhikevichNode(a=0.3, b=0.5, w_rest=0.1),
    "izhikevich mV": lambda: neuron.BiologicalIzhikevichNode(d=nn.Parameter(torch.tensor(8.0)), **WIDE),
    "cuba": neuron.CubaLIFNode,
    "cuba soft": lambda: neuron.CubaLIFNode(v_decay=nn.Parameter(torch.tensor(0.75)), v_reset=None),
    "alpha": neuron.AlphaNode,
    "alpha soft": lambda: neuron.AlphaNode(nn.Parameter(torch.tensor(0.9)), 0.5, v_reset=None),
    "klif": neuron.KLIFNode,
    "klif scaled": lambda: neuron.KLIFNode(scale_reset=True, v_reset=None, decay_input=False),
    "glif": neuron.GLIFNode,
    "glif per neuron": lambda: neuron.GLIFNode(shape=5, linear_decay=0.0, detach_reset=True),
    "clif": neuron.CLIFNode,
    "clif detached": lambda: neuron.CLIFNode(tau=3.0, detach_reset=True),
    "resonate": neuron.ResonateAndFireNode,
    "resonate learned": lambda: neuron.ResonateAndFireNode(omega=nn.Parameter(torch.tensor(0.5))),
    "balanced": neuron.BalancedResonateAndFireNode,
    "balanced learned": lambda: neuron.BalancedResonateAndFireNode(
        omega=nn.Parameter(torch.tensor([5.0, 6.0, 7.0, 8.0, 9.0])), detach_reset=True
    ),
    "symplectic": neuron.SEAdLIFNode,
    "symplectic learned": lambda: neuron.SEAdLIFNode(
        *(nn.Parameter(torch.tensor(value)) for value in (10.0, 100.0, 40.0, 80.0)), v_reset=None
    ),
    "refractory": neuron.RefractoryLIFNode,
    "refractory soft": lambda: neuron.RefractoryLIFNode(1, v_reset=None),
    "homeostatic": lambda: neuron.HomeostaticLIFNode(5, theta_plus=0.3, tau_theta=20.0, tau=5.0),
    "integer": neuron.ILIFNode,
    "ternary": neuron.TernaryLIFNode,
    "ternary soft": lambda: neuron.TernaryLIFNode(v_reset=None, decay_input=False),
}
# Steps of these round once per operation, so that any backend can give the same bits.
SINGLE_ROUNDING = [
    "alif",
    "alif hard",
    "adlif",
    "adlif scalars",
    "qif",
    "qif learned",
    "izhikevich",
    "izhikevich mV",
    "cuba",
    "cuba soft",
    "alpha",
    "klif",
    "klif scaled",
    "resonate",
    "balanced",
    "symplectic",
    "refractory",
    "refractory soft",
    "homeostatic",
    "integer",
    "ternary",
    "ternary soft",
]
SINGLE_ROUNDING_OPERATIONS = {
    *("add", "sub", "rsub", "mul", "div", "neg", "abs", "relu", "clamp", "clamp_min", "clamp_max"),
    *("maximum", "minimum", "where", "round", "ge", "gt", "le", "lt", "eq", "isnan"),
}
# Neither arithmetic nor a change of shape: a new tensor, or another type.
NO_ARITHMETIC = {"_to_copy", "detach", "full_like", "zeros_like", "ones_like", "scalar_tensor", "clone"}

# A square whose recovery follows its unbounded upswing leaves the numbers within some steps, as the equations
# say: beyond these inputs.
LARGEST_INPUT = {"izhikevich": 10.0, "izhikevich mV": 1e4}
SCALE = {"alif": 30, "izhikevich mV": 30, "symplectic": 60, "balanced": 300}  # of inputs that make it fire

everyone = pytest.mark.parametrize("family", FAMILIES)
plain_too = pytest.mark.parametrize("family", [*NODES, *FAMILIES])


def make(family):
    """A plain neuron as it comes, so that a sequence is compiled; others on the reference loop."""
    if family in NODES:
        return NODES[family]()
    torch.manual_seed(0)  # for the constants that start at random
    node = FAMILIES[family]()
    node.backend = "torch"
    return node


def inputs(family, *shape):
    scale = SCALE.get(family.removesuffix(" learned"), 3)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * scale


def run(node, x_seq, step_mode):
    node.step_mode = step_mode
    return node(x_seq) if step_mode == "m" else torch.stack([node(x) for x in x_seq])


@plain_too
def test_both_step_modes_agree_in_outputs_memories_and_gradients(family):
    results = []
    for step_mode in ("s", "m"):
        node, x = make(family), inputs(family, 12, 3, 5).requires_grad_()
        out = run(node, x, step_mode)
        memories = dict(node.named_memories())
        loss = out.mul(torch.arange(1.0, 13.0).view(12, 1, 1)).sum()
        loss = loss + sum(value.sum() for value in memories.values() if value.requires_grad)
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in node.named_parameters()}
        results.append({"out": out.detach(), "x": x.grad} | gradients | memories)
    assert results[0]["out"].abs().sum() > 0
    for name, reference in results[0].items():
        if family in FAMILIES or name == "out":
            compare = assert_same
        else:
            compare = assert_close if name == "v" else assert_gradient
        compare(name, reference.detach(), results[1][name].detach())


@everyone
def test_every_parameter_gets_a_gradient(family):
    node = make(family)
    run(node, inputs(family, 12, 3, 5).requires_grad_(), "m").sum().backward()
    for name, parameter in node.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@plain_too
def test_reset_restores_the_start(family):
    node, x_seq = make(family).eval(), inputs(family, 12, 5)  # in training, homeostasis outlasts a reset
    start = dict(node.named_memories())
    assert len(start) == len(set(start))
    first = run(node, x_seq, "m")
    assert all(isinstance(value, torch.Tensor) for value in node.memories())
    node.reset()
    assert dict(node.named_memories()) == start
    assert_same("after reset", first, run(node, x_seq, "m"))


@everyone
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda node: pickle.loads(pickle.dumps(node))])
def test_a_copy_made_after_a_forward_pass_goes_on_alike(family, copied):
    node, x_seq = make(family), inputs(family, 12, 5)
    run(node, x_seq[:7], "m")
    other = copied(node)
    assert_same("the rest", run(node, x_seq[7:], "m"), run(other, x_seq[7:], "m"))


@everyone
def test_half_input_is_remembered_in_float32(family):
    node = make(family)
    assert run(node, inputs(family, 4, 5).bfloat16(), "m").dtype == torch.bfloat16
    assert {value.dtype for value in node.memories()} == {torch.float32}


@everyone
def test_double_input_is_remembered_in_double(family):
    node = make(family)
    assert run(node, inputs(family, 4, 5).double(), "m").dtype == torch.float64
    assert {value.dtype for value in node.memories()} == {torch.float64}


@plain_too
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_empty_batches_work(family, step_mode):
    assert run(make(family), torch.zeros(3, 0, 5), step_mode).shape == (3, 0, 5)


@plain_too
def test_batch_order_does_not_matter(family):
    x_seq, order = inputs(family, 10, 8, 5), torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    assert_same("permuted", run(make(family), x_seq, "m")[:, order], run(make(family), x_seq[:, order], "m"))


@plain_too
@pytest.mark.parametrize("gradients", [True, False])
def test_outputs_may_be_accumulated_in_place(family, gradients):
    """``counter = net(x); counter += net(x)``, as tutorials write."""
    x_seq = inputs(family, 5, 4, 5)
    expected = run(make(family), x_seq, "m").sum(0)
    node, x = make(family), x_seq.clone().requires_grad_(gradients)
    node.step_mode = "s"
    with torch.set_grad_enabled(gradients):
        counter = node(x[0])
        for step in x[1:]:
            counter += node(step)
    assert_close("counter", expected.detach(), counter.detach())
    if gradients:
        counter.sum().backward()
        assert x.grad.abs().sum() > 0


@everyone
@pytest.mark.parametrize("size", [10.0, 1e2, 1e4, 1e6])
def test_gradients_of_large_inputs_are_finite(family, size):
    if size > LARGEST_INPUT.get(family, size):
        pytest.skip("the equations themselves overflow")
    node = make(family)
    x = (torch.randn(12, 40, 5, generator=torch.Generator().manual_seed(2)) * size).requires_grad_()
    out = run(node, x, "m")
    out.sum().backward()
    for name, value in {"out": out, "x": x.grad}.items():
        assert value.isfinite().all(), name
    for name, parameter in node.named_parameters():
        assert parameter.grad.isfinite().all(), name
    for name, value in node.named_memories():
        assert value.isfinite().all(), name


class Recorded(TorchDispatchMode):
    """Collects the operations that run within it, on tensors of any size and on parameters alike."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations.append(func)
        return func(*args, **(kwargs or {}))


def operations_of_a_step(family):
    node, x = make(family), inputs(family, 3, 5)
    node(x)
    with torch.no_grad(), Recorded() as recorded:
        node(x)
    return {func for func in recorded.operations if func._schema.name[6:] not in NO_ARITHMETIC}


@everyone
def test_a_step_is_pointwise(family):
    strange = {func for func in operations_of_a_step(family) if torch.Tag.pointwise not in func.tags}
    assert not strange


@everyone
def test_which_steps_round_once_per_operation(family):
    names = {func._schema.name.removeprefix("aten::") for func in operations_of_a_step(family)}
    assert (not names - SINGLE_ROUNDING_OPERATIONS) == (family in SINGLE_ROUNDING), names


@everyone
def test_repr_names_the_class(family):
    node = make(family)
    assert repr(node).startswith(type(node).__name__)
