"""Triton's kernels and the reference agree: on a CUDA device, or under Triton's interpreter.

The interpreter has to be asked for before Triton is imported (TRITON_INTERPRET=1), so test_triton.py runs
this file in a process of its own. On a machine with a GPU: ``pytest tests/loom/test_triton_kernels.py``.
"""

import importlib.util

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from loom import both
from loom.both import FUSED, inputs, make
from loom.test_exactness import INEXACT, SPECIAL, TRUTHS, arity, aten, bits, operands
from spikeloom import functional, layer, surrogate
from spikeloom.errors import BackendError
from spikeloom.loom import backends, select
from spikeloom.loom.backends import interprets
from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.plan import Instruction, Literal, Plan, Value
from spikeloom.loom.running import Call
from spikeloom.loom.step import Step, Woven
from spikeloom.neuron import BaseNode, IFNode, LIFNode, ParametricLIFNode

INSTALLED = importlib.util.find_spec("triton") is not None
pytestmark = [
    pytest.mark.skipif(
        not INSTALLED or not (interprets() or torch.cuda.is_available()),
        reason="needs Triton, and a CUDA device or TRITON_INTERPRET=1 (as test_triton.py sets it)",
    ),
    # The interpreter computes with NumPy, which warns of infinities; of neurons past the last one, too.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
DEVICE = "cpu" if interprets() else "cuda"
every_neuron = pytest.mark.parametrize("name", FUSED)


def assert_agree(node, x, **options):
    starts = {
        name: value.to(DEVICE) if isinstance(value, torch.Tensor) else value
        for name, value in options.pop("starts", {}).items()
    }
    return both.assert_agree(node.to(DEVICE), x.to(DEVICE), backend="triton", starts=starts, **options)


@every_neuron
def test_every_neuron(name):
    """Six steps: a whole chunk, and two after it."""
    node = make(name)
    starts = {memory: torch.rand(7, 5) * 0.5 for memory in node._memories}
    reference = assert_agree(node, inputs(name, 6, 7, 5), starts=starts)
    assert reference["gradient of x"].abs().sum() > 0
    assert_agree(node, inputs(name, 3, 7, 5))


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 17])
@pytest.mark.parametrize("size", [1, 63, 500])
def test_sizes(num_steps, size):
    """Programs have 128 neurons or more; chunks, two to four steps."""
    assert_agree(make("ParametricLIFNode"), inputs("LIFNode", num_steps, size))


@pytest.mark.parametrize("name", ["LIFNode", "ParametricLIFNode", "IzhikevichNode", "EIFNode"])
def test_double(name):
    node = make(name).double()
    starts = {memory: torch.rand(7, 5, dtype=torch.float64) for memory in node._memories}
    x = inputs(name, 6, 7, 5, dtype=torch.float64)
    assert {value.dtype for value in assert_agree(node, x).values()} == {torch.float64}
    assert_agree(node, x, starts=starts)


def test_numbers_that_float32_does_not_have_are_exact_in_double():
    node = LIFNode(tau=3.7, v_threshold=0.1, v_reset=-0.3, step_mode="m")
    assert_agree(node, inputs("LIFNode", 9, 20, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_input_is_computed_in_float32(dtype, monkeypatch):
    from spikeloom.loom.triton_run import TritonLoops

    given, forward = [], TritonLoops.forward
    monkeypatch.setattr(
        TritonLoops,
        "forward",
        lambda loops, call, *rest: given.append(call.x.dtype) or forward(loops, call, *rest),
    )
    for name in ("LIFNode", "IzhikevichNode", "ParametricLIFNode"):
        x = inputs(name, 6, 7, 5).to(DEVICE, dtype)
        assert_agree(make(name), x)
        assert set(given) == {dtype}  # it is no float32 copy that the kernels read
        # The interpreter does not round to bfloat16.
        both.assert_half_is_read(
            make(name).to(DEVICE), x, "triton", assert_close if interprets() else assert_same
        )
        given.clear()


@pytest.mark.parametrize("weigh", ["random", "sum", "strided", "memories"])
def test_gradients_of_any_layout_arrive(weigh):
    node = LIFNode(tau=3.0, step_mode="m", store_v_seq=True)
    assert_agree(node, inputs("LIFNode", 6, 4, 5), weigh=weigh, starts={"v": torch.rand(4, 5)})
    channels_last = inputs("LIFNode", 5, 4, 5, 3, 2).permute(0, 1, 4, 2, 3)
    assert_agree(node, channels_last, weigh=weigh)


LAYOUTS = {
    "channels last": lambda x: x.permute(0, 1, 4, 2, 3),
    "steps transposed": lambda x: x.permute(0, 4, 3, 2, 1),
    "batch first": lambda x: x.transpose(0, 1),
    "every other step": lambda x: x[::2],
    "every other channel": lambda x: x[..., ::2],
    "the same at all steps": lambda x: x[0].expand(4, *x.shape[1:]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    view, x = LAYOUTS[layout], inputs("LIFNode", 6, 3, 5, 2, 4)
    starts = {"v": torch.rand(view(x).shape[1:])}
    assert_agree(LIFNode(tau=3.0, step_mode="m", store_v_seq=True), x, view=view, starts=starts)


def test_steps_without_dimensions():
    assert_agree(make("ParametricLIFNode"), inputs("LIFNode", 6))


def test_parameters_of_any_shape():
    x = inputs("LIFNode", 6, 3, 4, 5, 2, seed=2)
    for shape in [(), (1,), (4, 1, 1), (1, 4, 1, 1), (4, 5, 2), (3, 4, 5, 2)]:
        tau = nn.Parameter(torch.linspace(1.5, 4.0, max(1, torch.Size(shape).numel())).reshape(shape))
        node = LIFNode(tau, v_threshold=nn.Parameter(torch.full(shape, 0.8)), v_reset=None, step_mode="m")
        assert_agree(node, x)
        assert_agree(node, x.permute(0, 1, 3, 4, 2), view=lambda x: x.permute(0, 1, 4, 2, 3))


def test_buffers_and_memories_that_broadcast():
    x = inputs("LIFNode", 6, 3, 4, 2)
    for start in (torch.tensor(0.3), torch.rand(4, 1), torch.rand(1, 1, 2), 0.4, -1):
        assert_agree(LIFNode(tau=3.0, v_threshold=torch.rand(2) + 0.2, step_mode="m"), x, starts={"v": start})


@every_neuron
def test_empty_batches(name):
    assert assert_agree(make(name), torch.zeros(3, 0, 5))["output"].shape == (3, 0, 5)


def test_a_sequence_in_two_calls_is_the_sequence():
    x, node = inputs("IzhikevichNode", 11, 8).to(DEVICE), make("IzhikevichNode", backend="triton")
    whole = node(x)
    node.reset()
    assert_same("output", whole, torch.cat([node(x[:7]), node(x[7:])]))


def test_backward_twice_with_a_kept_graph():
    node = ParametricLIFNode(step_mode="m", backend="triton").to(DEVICE)
    leaf = inputs("LIFNode", 9, 8).to(DEVICE).requires_grad_()
    loss = (node(leaf) * inputs("LIFNode", 9, 8, seed=5).to(DEVICE)).sum()
    loss.backward(retain_graph=True)
    once, learned = leaf.grad.clone(), node.w.grad.clone()
    loss.backward()
    assert_same("x", 2 * once, leaf.grad)
    assert_same("w", 2 * learned, node.w.grad)


def test_without_notes_the_backward_pass_makes_them():
    """As the registered operator does, which has nowhere to keep them."""
    node, x = make("ParametricLIFNode").to(DEVICE), inputs("LIFNode", 14, 9).to(DEVICE)
    loops = select.find(node, (9,), torch.float32, "triton")
    call, gradient = Call(x, [0.2, node.w], [False]), torch.randn(14, 9).to(DEVICE)
    _, notes = loops.forward(call, noted=True)
    assert notes.shape == (1, 14 // 4 + 2 - 1, 9)
    given = (call, [gradient, None], [False, True])
    for with_notes, without in zip(loops.backward(*given, notes=notes), loops.backward(*given), strict=True):
        if with_notes is not None:
            assert_same("gradient", with_notes, without)


def test_whoever_keeps_the_input_may_change_its_layout():
    node = LIFNode(tau=3.0, step_mode="m", backend="triton")
    leaf = inputs("LIFNode", 9, 2, 3, 4, 5).to(DEVICE).permute(0, 1, 4, 2, 3).requires_grad_()
    gradients = []
    for pack in (lambda tensor: tensor, lambda tensor: tensor.contiguous()):
        node.reset()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = node(leaf)
        gradients.append(torch.autograd.grad(output, leaf, torch.ones_like(output))[0])
    assert_same("gradient", *gradients)


def test_nothing_is_read_before_it_is_written():
    torch.use_deterministic_algorithms(True)  # which fills what torch.empty gives with NaN
    try:
        for name in ("LIFNode", "ParametricLIFNode", "IzhikevichNode"):
            node = make(name) if name == "IzhikevichNode" else make(name, store_v_seq=True)
            for value in assert_agree(node, inputs(name, 7, 130)).values():
                assert value.isfinite().all()
    finally:
        torch.use_deterministic_algorithms(False)


def test_special_inputs_end_as_in_the_reference():
    x = torch.tensor(SPECIAL, device=DEVICE).repeat(5, 1)
    for name in ("IFNode", "LIFNode", "RefractoryLIFNode", "ILIFNode", "TernaryLIFNode"):
        results = [both.run(make(name).to(DEVICE), backend, x) for backend in ("torch", "triton")]
        for key in ("output", "v"):
            assert_same(f"{name} {key}", *(result[key] for result in results))


def test_pooling_comes_after_the_kernel():
    image = torch.rand(5, 2, 3, 4, 6, device=DEVICE) * 3
    pooled = layer.PooledNode(LIFNode(tau=3.0, backend="triton"), 2)
    functional.set_step_mode(pooled, "m")
    alone = LIFNode(tau=3.0, step_mode="m", backend="torch")
    assert_same("output", pooled[1](alone(image)), pooled(image))


def test_learned_surrogates():
    for alpha in (torch.tensor(2.0), torch.rand(5) + 1.0):
        node = IFNode(surrogate_function=surrogate.ATan(nn.Parameter(alpha)), step_mode="m")
        reference = assert_agree(node, inputs("LIFNode", 6, 3, 5))
        assert reference["gradient of surrogate_function.alpha"].abs().sum() > 0


def test_a_memory_that_does_not_depend_on_the_neuron():
    class Counting(BaseNode):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.register_memory("count", 0.0)

        def neuronal_charge(self, x):
            self.v = self.v + x
            self.count = torch.ones_like(x)

    assert_agree(Counting(step_mode="m"), inputs("LIFNode", 6, 9))


def test_what_auto_takes():
    node = LIFNode(tau=3.0, step_mode="m")
    target = backends.target_of("auto", DEVICE)
    assert target == ("numba" if DEVICE == "cpu" else "triton")
    node.backend = "numba"
    if DEVICE == "cuda":
        with pytest.raises(BackendError, match="its input is on cuda; Triton compiles for that"):
            node(torch.ones(2, 3, device=DEVICE))


def single(name):
    """A step that carries out one operation on its input and on what else it takes."""
    count = arity(name)
    instructions, arguments = [], [Value(place) for place in range(count)]
    truths = count if name in TRUTHS else 1 if name in ("where", "to_float") else 0
    for place in range(truths):
        instructions.append(Instruction(Value(count + place), "to_bool", (Value(place),)))
        arguments[place] = Value(count + place)
    result = Value(count + truths)
    instructions.append(Instruction(result, name, tuple(arguments)))
    if OPERATIONS[name].boolean:
        instructions.append(Instruction(Value(result.number + 1), "to_float", (result,)))
        result = Value(result.number + 1)
    silent = Plan(count + 1, (), (Literal(0),))
    return Step(Plan(count, tuple(instructions), (result,)), silent, 0, count - 1)


def examples(name, dtype):
    """Special values, all combinations of two, and some random ones; the interpreter is slow."""
    values = operands(name, dtype)
    num_special = len(SPECIAL) ** len(values)
    chosen = [*range(0, num_special, 1 + num_special // 4000), *range(len(values[0]) - 500, len(values[0]))]
    return [value[chosen] for value in values]


def carried_out(name, *arguments):
    from spikeloom.loom.triton_run import TritonLoops

    loops = TritonLoops(Woven(single(name), (), (0.0,), (False,) * (len(arguments) - 1)))
    first, *rest = (argument.to(DEVICE) for argument in arguments)
    return loops.forward(Call(first[None], rest, []))[0][0][0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - INEXACT))
def test_an_exact_operation_has_the_bits_of_aten(name, dtype):
    arguments = examples(name, dtype)
    expected = aten(name, *(argument.to(DEVICE) for argument in arguments)).cpu()
    got = carried_out(name, *arguments).cpu()
    different = bits(expected) != bits(got)
    if name in ("minimum", "maximum"):  # of two zeros
        different &= (expected != 0) | (got != 0)
    assert not different.any(), [value[different][:4].tolist() for value in (*arguments, expected, got)]


@pytest.mark.parametrize("name", sorted(INEXACT))
def test_an_inexact_operation_is_near_aten(name):
    arguments = [torch.linspace(0.1, 20.0, 1000).roll(place * 37) for place in range(arity(name))]
    if name == "pow":
        arguments[1] = arguments[1] / 10
    expected = aten(name, *(argument.to(DEVICE) for argument in arguments))
    assert_close(name, expected, carried_out(name, *arguments))
