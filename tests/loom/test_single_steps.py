"""Single time steps, compiled where it pays: as step by step on the reference, in all that they give back."""

import copy

import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient, assert_same
from loom.both import FUSED, inputs, is_exact, make
from spikeloom import functional, layer, neuron
from spikeloom.errors import ForgottenResetError
from spikeloom.loom import select, single

SHAPE = (7, 5)


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Compile steps of any size."""
    monkeypatch.setattr(single, "PAYS", 0)


@pytest.fixture
def compiled(monkeypatch):
    """How often a compiled step ran."""
    count = []
    carry_out = select._carry_out

    def counting(*args):
        count.append(args)
        return carry_out(*args)

    monkeypatch.setattr(select, "_carry_out", counting)
    return count


def steps(node, x, backend):
    """Outputs, memories and gradients of the steps of ``x``."""
    node = copy.deepcopy(node)
    node.backend, node.step_mode = backend, "s"
    leaves = x.detach().clone().requires_grad_()
    output = torch.stack([node(step) for step in leaves])
    memories = {name: value for name, value in node.named_memories() if isinstance(value, torch.Tensor)}
    total = sum(
        (one * torch.linspace(-1, 1, one.numel()).view(one.shape)).sum()
        for one in (output, *memories.values())
    )
    wanted = [leaves, *(one for one in node.parameters() if one.requires_grad)]
    gradients = torch.autograd.grad(total, wanted, allow_unused=True)
    return output.detach(), {name: one.detach() for name, one in memories.items()}, gradients


@pytest.mark.parametrize("name", FUSED)
def test_every_neuron(name, compiled):
    x = inputs(name, 6, *SHAPE, dtype=torch.float64)
    node = make(name).double()
    if getattr(node, "decode", None):
        pytest.skip("it reduces sequences")
    output, memories, gradients = steps(node, x, "torch")
    assert not compiled
    got = steps(node, x, "numba")
    assert len(compiled) == 6
    compare = assert_same if is_exact(node, 2, torch.float64) else assert_close
    compare("output", output, got[0])
    for key, value in memories.items():
        compare(key, value, got[1][key])
    for one, other in zip(gradients, got[2], strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert_gradient("gradient", one, other)


def test_small_steps_are_left_to_the_reference(monkeypatch, compiled):
    monkeypatch.setattr(single, "PAYS", 36)
    node = neuron.LIFNode(backend="numba")
    node(torch.rand(SHAPE))
    assert not compiled
    node.reset()
    node(torch.rand(6, 6))
    assert len(compiled) == 1


class Own(neuron.LIFNode):
    """A neuron of a user's."""


OWN_SURROGATE = {"surrogate_function": lambda x: (x >= 0).to(x)}


@pytest.mark.parametrize(
    ("make", "gradients", "expected"),
    [
        (neuron.LIFNode, False, True),
        (neuron.LIFNode, True, False),
        (Own, False, False),
        (lambda: neuron.LIFNode(**OWN_SURROGATE), False, False),
        (lambda: Own(backend="numba"), True, True),
        (lambda: neuron.LIFNode(backend="torch"), False, False),
    ],
)
def test_by_itself_only_what_nobody_notices_is_compiled(compiled, make, gradients, expected):
    node = make()
    with torch.set_grad_enabled(gradients):
        for _ in range(3):
            node(torch.rand(SHAPE))
    assert bool(compiled) == expected


def test_a_neuron_that_is_another_one_at_each_step_is_left_to_the_reference(compiled):
    node = neuron.LIFNode()
    with torch.no_grad():
        for step in range(20):
            node.rate = float(step)  # as a hook may note it
            node(torch.rand(SHAPE))
    assert len(compiled) <= single.PATIENCE + 1


def test_tensors_that_no_step_reads_are_no_part_of_the_graph():
    for step_mode, shape in (("m", (4, *SHAPE)), ("s", SHAPE)):
        node = neuron.LIFNode(step_mode=step_mode, backend="numba")
        node.register_forward_hook(lambda module, _, output: setattr(module, "last", output))
        node.scale = nn.Parameter(torch.ones(5))
        node.register_buffer("count", torch.zeros(SHAPE))
        first = nn.Linear(5, 5)
        for _ in range(3):  # the last output's graph is gone
            output = sum(node(first(torch.rand(shape))) for _ in range(2))
            node.count.add_(1.0)
            output.sum().backward()
            node.reset()
        assert node.scale.grad is None
        assert not node(torch.rand(shape)).requires_grad


def test_what_a_step_promises(compiled):
    node = neuron.LIFNode(store_v_seq=True, backend="numba")
    x = torch.full(SHAPE, 1.5)
    counter = node(x)
    counter += node(x)  # the output is the caller's own
    assert len(compiled) == 2
    assert counter.unique().tolist() == [1.0]
    assert node.v_seq[:, 0, 0].tolist() == [0.75, 0.0]
    node.v *= 2.0  # and so is the potential
    with torch.no_grad():
        assert not node(x.requires_grad_()).requires_grad
    node.reset()
    assert node.v == 0.0
    half = node(x.detach().half())
    assert half.dtype == torch.float16
    assert node.v.dtype == torch.float32
    assert node(x.detach().half()[:0].new_zeros(SHAPE)).shape == SHAPE


def test_a_forgotten_reset_explains_itself(compiled):
    node, x = neuron.LIFNode(backend="numba"), torch.rand(SHAPE, requires_grad=True)
    node(x).sum().backward()
    with pytest.raises(ForgottenResetError, match="its memory 'v' belongs to a sequence whose backward pass"):
        node(x)
    functional.detach_net(node)
    node(x).sum().backward()
    assert len(compiled) == 2


def test_a_recurrent_container(compiled):
    torch.manual_seed(0)
    net = layer.LinearRecurrentContainer(neuron.LIFNode(), 5, 5)
    x = torch.rand(6, *SHAPE) * 3
    outputs, gradients = [], []
    for backend in ("torch", "numba"):
        net.sub_module.backend = backend
        output = torch.stack([net(one) for one in x])
        outputs.append(output.detach())
        gradients.append(torch.autograd.grad(output.sum(), net.rc.weight)[0])
        functional.reset_net(net)
    assert len(compiled) == 6
    assert_close("output", *outputs)
    assert_gradient("weights", *gradients)


class Mine(neuron.LIFNode):
    """Has a step of its own."""

    def single_step_forward(self, x):
        return super().single_step_forward(x) * 2.0


def test_a_step_that_cannot_be_compiled_is_the_reference_without_a_word(compiled, caplog):
    node = Mine(backend="numba")
    assert node(torch.full(SHAPE, 3.0)).unique().tolist() == [2.0]
    assert neuron.LIFNode(backend="numba")(torch.full(SHAPE, 3.0)).unique().tolist() == [1.0]
    assert len(compiled) == 1
    assert not caplog.records


def test_in_a_graph_of_pytorch_a_step_is_the_reference(compiled):
    torch.compiler.reset()  # of the graphs that other tests made of these layers
    net = nn.Sequential(nn.Linear(5, 5), neuron.LIFNode(backend="numba"))
    x = torch.rand(SHAPE)
    wanted = net(x)
    functional.reset_net(net)
    before = len(compiled)
    got = torch.compile(net, backend="eager")(x)
    assert len(compiled) == before
    assert_close("output", wanted, got)


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_transformation_of_what_follows_the_neuron(step_mode):
    class New(neuron.LIFNode):
        """Woven by nobody yet."""

    x = torch.rand(4, *SHAPE) if step_mode == "m" else torch.rand(SHAPE)
    weights = torch.rand(3, 5)
    results = []
    for backend in ("torch", "auto", "auto"):
        node = New(step_mode=step_mode, backend=backend)

        def weighed(w, node=node):
            node.reset()
            return (node(x) * w).sum()

        results.append(torch.func.vmap(weighed)(weights))
        node.reset()
        node(x)  # the transformation left nothing behind
    assert_close("first", results[0], results[1])
    assert_close("again", results[0], results[2])
    assert not isinstance(select.find(New(), SHAPE, torch.float32), str)
