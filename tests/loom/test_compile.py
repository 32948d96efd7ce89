"""Neurons in graphs of PyTorch's: ``torch.compile``, ``torch.export``, and the operator that both use."""

import copy
import functools
import json
import shutil
import subprocess
import sys
import textwrap
import types

import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient, assert_same
from loom.both import FUSED, inputs, make
from loom.scripts import script
from spikeloom import functional, layer, loom, surrogate
from spikeloom.errors import BackendError, RecomputedError, ShapeError
from spikeloom.loom import operator, program
from spikeloom.loom.select import find
from spikeloom.loom.weave import plans
from spikeloom.neuron import BaseNode, IFNode, LIFNode, NonSpikingIFNode, ParametricLIFNode

X = inputs("LIFNode", 6, 3, 5)
# Dynamo's own (torch 2.13): it looks at `.grad` of what is no leaf, and says that exports change a module.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*leaf Tensor.*:UserWarning", "ignore:While compiling.*:UserWarning"
)


@pytest.fixture(autouse=True)
def _forget_graphs():
    torch._dynamo.reset()


class Graphs:
    """A backend of ``torch.compile`` that runs graphs as they are, and notes how many operators each has."""

    def __init__(self):
        self.counts = []

    def __call__(self, graph, _inputs):
        self.counts.append(sum("woven" in str(one.target) for one in graph.graph.nodes))
        return graph.forward


def compiled(module, backend=None):
    graphs = Graphs()
    return torch.compile(module, fullgraph=True, backend=backend or graphs), graphs


def result(call, module, x=X):
    """Output and gradients, from reset memories."""
    functional.reset_net(module)
    module.zero_grad()
    leaf = torch.empty_strided(x.shape, x.stride()).copy_(x).requires_grad_()
    output = call(leaf)
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    functional.reset_net(module)
    return [output.detach(), leaf.grad, *(parameter.grad for parameter in module.parameters())]


def assert_result(expected, got, same=True):
    compare = assert_same if same else assert_gradient
    for place, (reference, value) in enumerate(zip(expected, got, strict=True)):
        if reference is not None or value is not None:
            (assert_same if place == 0 else compare)(f"result {place}", reference, value)


def reference(module):
    """A copy that runs on the reference loop."""
    module = copy.deepcopy(module)
    for child in module.modules():
        if isinstance(child, BaseNode):
            child.backend = "torch"
    return module


class Slow(BaseNode):
    """Not pointwise: the neurons inhibit each other."""

    def neuronal_charge(self, x):
        self.v = self.v * 0.5 + x - 0.1 * self.v.mean(-1, keepdim=True)


# torch.compile


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("kind", [LIFNode, ParametricLIFNode])
def test_a_compiled_neuron_has_the_bits_of_the_eager_one(backend, kind):
    node = kind(step_mode="m")
    call, _ = compiled(node, backend)
    assert_result(result(node, node), result(call, node))


def test_neurons_of_several_memories_and_parameters():
    names = ["ALIFNode", "CubaLIFNode", "GLIFNode", "NonSpikingLIFNode"]
    net = nn.ModuleDict({name: make(name) for name in names})
    xs = {name: inputs(name, 3, 2, 5) for name in names}
    call, graphs = compiled(lambda: {name: node(xs[name]) for name, node in net.items()})
    expected = {name: node(xs[name]) for name, node in net.items()}
    memories = {name: list(node.memories()) for name, node in net.items()}
    functional.reset_net(net)
    got = call()
    assert graphs.counts == [len(names)]
    for name in names:
        assert_same(name, expected[name], got[name])
        for one, other in zip(memories[name], net[name].memories(), strict=True):
            assert_same(name, one, other)


def test_a_network_trains_as_the_eager_one():
    torch.manual_seed(0)
    nets = [nn.Sequential(layer.Linear(5, 8), LIFNode(), layer.Linear(8, 2), ParametricLIFNode())]
    functional.set_step_mode(nets[0], "m")
    nets.append(copy.deepcopy(nets[0]))
    calls = [nets[0], compiled(nets[1], "aot_eager")[0]]
    for net, call in zip(nets, calls, strict=True):
        optimizer = torch.optim.SGD(net.parameters(), 0.5)
        for seed in range(4):
            optimizer.zero_grad()
            (call(inputs("LIFNode", 6, 3, 5, seed=seed)).mean(0) - 0.5).square().sum().backward()
            optimizer.step()
            functional.reset_net(net)
    for (name, expected), got in zip(nets[0].named_parameters(), nets[1].parameters(), strict=True):
        assert_close(name, expected.detach(), got.detach())


@pytest.mark.skipif(shutil.which("g++") is None, reason="TorchInductor needs a C++ compiler")
def test_inductor():
    net = nn.Sequential(layer.Linear(5, 4, step_mode="m"), LIFNode(step_mode="m"))
    call, _ = compiled(net, "inductor")
    expected, got = result(net, net), result(call, net)
    assert_same("output", expected[0], got[0])
    for one, other in zip(expected[1:], got[1:], strict=True):
        assert_gradient("gradient", one, other)


@pytest.mark.parametrize("strided", ["channels last", "expanded", "transposed"])
def test_strides(strided):
    x = inputs("LIFNode", 4, 2, 3, 5, 6)
    if strided == "channels last":
        x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    elif strided == "expanded":
        x = x[:, :1].expand(4, 2, 3, 5, 6)
    else:
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    node = LIFNode(step_mode="m")
    node.v_threshold = nn.Parameter(torch.full((3, 1, 1), 0.9))
    for backend in ("eager", "aot_eager"):
        call, _ = compiled(node, backend)
        with torch.no_grad():
            eager, got = node(x), None
            node.reset()
            got = call(x)
            node.reset()
        assert_same("output", eager, got)
        assert eager.stride() == got.stride()
        assert_result(result(node, node, x.contiguous()), result(call, node, x.contiguous()))


def test_memories_are_carried_from_call_to_call():
    node, other = LIFNode(step_mode="m"), LIFNode(step_mode="m")
    call, graphs = compiled(node)
    for run in range(5):
        if run == 3:
            node.reset(), other.reset()
        x = inputs("LIFNode", 6, 3, 5, seed=run)
        assert_same(f"output {run}", other(x), call(x))
        assert_same(f"memory {run}", other.v, node.v)
    assert set(graphs.counts) == {1}
    assert len(graphs.counts) == 2  # from a number, and from a tensor


def test_gradients_through_carried_memories():
    nodes = [LIFNode(step_mode="m"), LIFNode(step_mode="m")]
    found = []
    for call in (nodes[0], compiled(nodes[1], "aot_eager")[0]):
        leaf = X.clone().requires_grad_()
        call(leaf)
        call(leaf.flip(0)).sum().backward()
        found.append(leaf.grad)
    assert_same("gradient", *found)


@pytest.mark.parametrize("start", [0.3, torch.linspace(-1, 0.9, 5), torch.tensor(0.2)])
def test_starts(start):
    nodes = [LIFNode(step_mode="m"), LIFNode(step_mode="m")]
    call, _ = compiled(nodes[1], "aot_eager")
    found = []
    for node, run in zip(nodes, [nodes[0], call], strict=True):
        value = start.clone().requires_grad_() if isinstance(start, torch.Tensor) else start
        node.v = value
        output = run(X)
        if isinstance(value, torch.Tensor):
            (output.sum() + node.v.sum()).backward()
            found.append(value.grad)
        found.append(output.detach())
    half = len(found) // 2
    for expected, got in zip(found[:half], found[half:], strict=True):
        assert_same("start", expected, got)


def test_a_neuron_that_is_called_twice_in_a_graph():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.node = LIFNode(step_mode="m")

        def forward(self, x):
            first = self.node(x)
            return first + self.node(x), self.node.v

    net = Twice()
    call, graphs = compiled(net)
    expected = net(X)
    functional.reset_net(net)
    for one, other in zip(expected, call(X), strict=True):
        assert_same("twice", one, other)
    assert graphs.counts == [2]


def test_a_forgotten_reset_ends_in_pytorchs_words_and_has_the_same_cures():
    """As the pages on memories and on loops of one's own say."""
    net = nn.Sequential(nn.Linear(3, 4), LIFNode(step_mode="m"))
    call, _ = compiled(net)
    x = torch.rand(5, 2, 3)
    call(x).sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        call(x).sum().backward()
    for cure in (functional.reset_net, functional.detach_net):
        cure(net)
        call(x).sum().backward()


def test_stored_potentials():
    node = LIFNode(step_mode="m", store_v_seq=True)
    call, graphs = compiled(node)
    node(X)
    expected = node.v_seq
    node.reset()
    call(X)
    assert_same("v_seq", expected, node.v_seq)
    assert graphs.counts == [1]


def test_sizes_that_vary():
    node = LIFNode(step_mode="m")
    graphs = Graphs()
    call = torch.compile(node, fullgraph=True, backend=graphs, dynamic=True)
    for shape in [(6, 3, 5), (6, 4, 5), (9, 4, 5), (2, 7, 3), (64, 2, 9)]:
        x = inputs("LIFNode", *shape)
        assert_result(result(node, node, x), result(call, node, x))
    assert graphs.counts == [1]


def test_types_of_input():
    node = LIFNode(step_mode="m")
    call, graphs = compiled(node)
    for x in (X.double(), X.half(), (X > 1).long(), X > 1):
        expected = node(x)
        node.reset()
        assert_same(str(x.dtype), expected, call(x))
        node.reset()
    assert graphs.counts == [1] * 4


# Never stale


def setter(**values):
    def change(node):
        for name, value in values.items():
            setattr(node, name, value)

    return change


def alpha(value):
    return lambda node: setattr(node.surrogate_function, "alpha", value)


class Held(BaseNode):
    """Numbers in objects, containers, the class and closures."""

    gain = 1.0

    def __init__(self):
        super().__init__(step_mode="m")
        self.settings, self.several, self.named = types.SimpleNamespace(decay=0.9), [0.5], {"bias": 0.1}
        self.scaled = functools.partial(torch.mul, other=0.9)

    def neuronal_charge(self, x):
        charge = self.gain * self.several[0] * self.scaled(x)
        self.v = self.v * self.settings.decay + charge + self.named["bias"]


def doubled(self, x):
    self.v = self.v + 2 * x


def closed_over():
    times = 2

    class Closed(BaseNode):
        def neuronal_charge(self, x):
            self.v = self.v + x * times

    def change_to(value):
        def change(_node):
            nonlocal times
            times = value

        return change

    return Closed, [change_to(value) for value in (3, 4, 1)]


CHANGES = {
    "time constant": (LIFNode, [setter(tau=tau) for tau in (3.0, 4.0, 5.0)]),
    "slope": (LIFNode, [alpha(value) for value in (3.0, 2.0, 1.5)]),
    "surrogate": (LIFNode, [setter(surrogate_function=surrogate.ATan(value)) for value in (2.0, 5.0)]),
    "potential after a spike": (LIFNode, [setter(v_reset=value) for value in (None, 0.2, 0.1)]),
    "reset and gradient": (LIFNode, [setter(detach_reset=True), setter(detach_reset=False)]),
    "threshold": (
        LIFNode,
        [setter(v_threshold=value) for value in (0.5, 0.7, nn.Parameter(torch.linspace(0.5, 2, 5)))],
    ),
    "method": (LIFNode, [lambda node: setattr(node, "neuronal_charge", types.MethodType(doubled, node))]),
    "frozen": (ParametricLIFNode, [lambda node: node.requires_grad_(False)]),
    "object": (Held, [lambda node, k=k: setattr(node.settings, "decay", k) for k in (0.5, 0.4, 0.3)]),
    "list": (Held, [lambda node, k=k: node.several.__setitem__(0, k) for k in (0.8, 0.4, 0.3)]),
    "dictionary": (Held, [lambda node, k=k: node.named.update(bias=k) for k in (0.5, 0.4, 0.3)]),
    "closure": closed_over(),
    "function": (
        Held,
        [
            lambda node, k=k: setattr(node, "scaled", functools.partial(torch.mul, other=k))
            for k in (1.5, 0.4, 1.0)
        ],
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_changes_take_effect(what):
    kind, changes = CHANGES[what]
    node = kind() if kind is Held else kind(step_mode="m")
    call, graphs = compiled(node)
    before = result(call, node)
    for change in changes:
        change(node)
        other = reference(node)
        got = result(call, node)
        assert_result(result(other, other), got, same=False)
        assert (
            any(
                not torch.equal(a, b)
                for a, b in zip(before, got, strict=False)
                if a is not None and b is not None
            )
            or what == "frozen"
        )
        before = got
    assert graphs.counts[0] == 1
    assert len(graphs.counts) > 1


def test_a_changed_class_takes_effect(monkeypatch):
    node = Held()
    call, _ = compiled(node)
    for gain in (1.0, 0.7, 0.5, 1.5):
        monkeypatch.setattr(Held, "gain", gain)
        other = reference(node)
        assert_result(result(other, other), result(call, node), same=False)


def test_a_number_that_goes_on_changing_gets_the_reference_and_no_more_graphs():
    node = LIFNode(step_mode="m")
    call, graphs = compiled(node)
    for step in range(12):
        alpha(2.0 + step / 7)(node)
        other = reference(node)
        assert_result(result(other, other), result(call, node), same=False)
    assert graphs.counts[0] == 1
    assert graphs.counts[-1] == 0
    assert len(graphs.counts) < 8  # PyTorch's limit


def test_what_the_graph_itself_changes():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.node = LIFNode(step_mode="m")

        def forward(self, x):
            self.node.tau = 5.0
            return self.node(x)

    net = Changing()
    call, _ = compiled(net)
    got = result(call, net)
    assert_result(result(reference(net), net), got, same=False)


def test_backends_of_neuron_and_block():
    node = LIFNode(step_mode="m")
    call, graphs = compiled(node)
    counts = []
    for name in ("auto", "torch", "auto", "numba", "torch"):
        with loom.backend(name):
            call(X)
        node.reset()
        counts.append(graphs.counts[:])
    assert counts == [[1], [1, 0], [1, 0], [1, 0, 1], [1, 0, 1]]
    node.backend = "torch"
    call(X)
    assert graphs.counts == [1, 0, 1, 0]


def test_a_block_within_the_graph():
    node = LIFNode(step_mode="m")

    def both(x):
        with loom.backend("torch"):
            first = node(x)
        functional.reset_net(node)
        return first, node(x)

    call, graphs = compiled(both)
    assert_same("output", *call(X))
    assert graphs.counts == [1]


# Fallbacks


def test_what_is_not_pointwise_stays_in_the_graph():
    node = Slow(step_mode="m")
    call, graphs = compiled(node)
    assert_result(result(node, node), result(call, node), same=False)
    assert graphs.counts == [0]


def test_a_step_that_asks_for_its_size():
    class Sized(BaseNode):
        def neuronal_charge(self, x):
            self.v = self.v + (x * 2 if x.shape[-1] == 5 else x)

    node = Sized(step_mode="m")
    call = torch.compile(node, fullgraph=True, backend="eager", dynamic=True)
    for size in (4, 5, 6):
        x = inputs("LIFNode", 6, 3, size)
        other = reference(node)
        assert_result(result(other, other, x), result(call, node, x), same=False)


def test_a_backend_that_was_asked_for_raises():
    node = Slow(step_mode="m", backend="numba")
    with pytest.raises(Exception, match=r"Slow cannot run with backend 'numba'.*mean is not pointwise"):
        compiled(node)[0](X)


def test_hooks_within_a_neuron():
    node = LIFNode(step_mode="m")
    node.surrogate_function.register_forward_hook(lambda _module, _args, output: output * 0.5)
    call, graphs = compiled(node)
    assert_result(result(node, node), result(call, node), same=False)
    assert graphs.counts == [0]


def test_transforms_within_a_graph():
    node = LIFNode(step_mode="m")

    def mapped(x):
        functional.reset_net(node)
        output = torch.func.vmap(node, in_dims=1, out_dims=1)(x)
        functional.reset_net(node)
        return output

    call, graphs = compiled(mapped)
    assert_same("output", mapped(X), call(X))
    assert graphs.counts == [0]


def test_another_shape_without_a_reset():
    node = LIFNode(step_mode="m")
    call, _ = compiled(node)
    call(X)
    with pytest.raises(Exception, match=r"LIFNode.*remembers inputs of shape \[3, 5\]"):
        call(inputs("LIFNode", 6, 1, 5))


# torch.export


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_network_starts_from_reset_each_time(strict):
    net = nn.Sequential(layer.Linear(5, 4, step_mode="m"), LIFNode(step_mode="m"), IFNode(step_mode="m"))
    sizes = ({0: torch.export.Dim("T", min=1, max=100), 1: torch.export.Dim("N", min=1, max=100)},)
    exported = torch.export.export(net, (X,), dynamic_shapes=sizes, strict=strict)
    for child in net[1:]:
        assert child.v == 0.0
        assert child._step_shape is None
    run = exported.module()
    assert sum("woven" in str(one.target) for one in exported.graph.nodes) == 2
    for shape in [(6, 3, 5), (9, 4, 5)]:
        x = inputs("LIFNode", *shape)
        for _ in range(2):
            assert_result(result(net, net, x), _exported_result(run, x))
    assert net[1].v == 0.0


def _exported_result(run, x):
    run.zero_grad()
    leaf = x.clone().requires_grad_()
    output = run(leaf)
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    return [output.detach(), leaf.grad, *(parameter.grad for parameter in run.parameters())]


def test_an_export_tells_nothing_that_is_not_so(recwarn):
    node = LIFNode(step_mode="m", store_v_seq=True)
    torch.export.export(nn.Sequential(IFNode(step_mode="m"), node), (X,))
    assert not [
        one for one in recwarn if "was assigned" in str(one.message) or "were assigned" in str(one.message)
    ]


def test_an_export_of_neurons_that_are_not_woven():
    net = nn.Sequential(Slow(step_mode="m"), LIFNode(step_mode="m", backend="torch"))
    exported = torch.export.export(net, (X,))
    assert not any("woven" in str(one.target) for one in exported.graph.nodes)
    assert_same("output", net(X), exported.module()(X))


def test_exports_that_would_lose_memories_are_refused():
    node = LIFNode(step_mode="m")
    node(X)
    with pytest.raises(RecomputedError, match="its memories would be lost"):
        torch.export.export(nn.Sequential(node), (X,))
    with pytest.raises(RecomputedError, match="its memories would be lost"):
        torch.export.export(nn.Sequential(LIFNode()), (X,))


def test_an_exported_network_runs_elsewhere(tmp_path):
    class Unknown(BaseNode):  # a class that the other process does not have
        def neuronal_charge(self, x):
            self.v = self.v * 0.8 + x

    net = nn.Sequential(layer.Linear(5, 4, step_mode="m"), Unknown(step_mode="m"))
    torch.export.save(torch.export.export(net, (X,)), tmp_path / "net.pt2")
    torch.save({"x": X, "result": result(net, net)}, tmp_path / "expected.pt")
    code = f"""
    run = torch.export.load({str(tmp_path / "net.pt2")!r}).module()
    saved = torch.load({str(tmp_path / "expected.pt")!r})
    leaf = saved["x"].requires_grad_()
    output = run(leaf)
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    found = [output.detach(), leaf.grad, *(parameter.grad for parameter in run.parameters())]
    print(same(found[:1], saved["result"][:1]), close(found, saved["result"]))
    """
    assert script("warnings.simplefilter('ignore')\n" + textwrap.dedent(code)) == "True True"


def test_a_parameter_that_was_frozen_for_the_export_does_not_lose_its_gradient_silently():
    node = ParametricLIFNode(step_mode="m").requires_grad_(False)
    run = torch.export.export(nn.Sequential(node), (X,)).module().requires_grad_(True)
    with pytest.raises(BackendError, match="needs a gradient, but did not when the graph was made"):
        run(X).sum().backward()


# The operator


def text_of(node, dims=2, keep=None, dtype=torch.float32):
    woven = plans(node, (7,) * dims, dtype)
    return program.to_text(woven, keep or (False,) * woven.step.num_memories)


def test_opcheck():
    for node, keep in ((LIFNode(step_mode="m"), (False,)), (ParametricLIFNode(step_mode="m"), (True,))):
        sources = [torch.rand(5, requires_grad=True)]
        sources += [parameter.detach().clone().requires_grad_() for parameter in node.parameters()]
        leaf = inputs("LIFNode", 4, 3, 2, 5)
        for x in (
            leaf.clone(),
            leaf.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2),
            leaf.transpose(0, 1),
        ):
            arguments = (text_of(node, 3, keep), x.detach().requires_grad_(), sources)
            torch.library.opcheck(torch.ops.spikeloom.woven.default, arguments)
            results = torch.ops.spikeloom.woven(*arguments)
            arrived = [True] + [False] * (len(results) - 2) + [True]
            gradients = [torch.rand_like(one) for one, wanted in zip(results, arrived, strict=True) if wanted]
            detached = [source.detach() for source in sources]
            wanted = [False] + [True] * (len(sources) - 1)
            arguments = (arguments[0], x.detach(), detached, gradients, arrived, wanted)
            torch.library.opcheck(torch.ops.spikeloom.woven_backward.default, arguments)


@pytest.mark.parametrize("name", ["LIFNode", "ParametricLIFNode", "IzhikevichNode"])
def test_devices_without_a_kernel_interpret_the_plan(name, monkeypatch):
    node = make(name)
    keep = (True,) + (False,) * (len(node._memories) - 1)
    text, x = text_of(node, 2, keep), inputs(name, 5, 3, 4)
    generator = torch.Generator().manual_seed(1)
    starts = [torch.rand(4, generator=generator) for _ in node._memories]
    sources = [*starts, *(parameter.detach() for parameter in node.parameters())]
    expected = operator._woven(text, x, sources)
    monkeypatch.setattr(operator, "_TARGETS", {})
    got = operator._woven(text, x, sources)
    for one, other in zip(expected, got, strict=True):
        assert_same(name, one, other)
    gradients = [torch.rand(one.shape, generator=generator) for one in expected]
    arguments = (text, x, sources, gradients, [True] * len(gradients), [True] * len(sources))
    got = operator._woven_backward(*arguments)
    monkeypatch.undo()
    for one, other in zip(operator._woven_backward(*arguments), got, strict=True):
        assert_gradient(name, one, other)
        assert one.stride() == other.stride()


def test_it_cannot_be_differentiated_twice():
    x = X.clone().requires_grad_()
    output = torch.ops.spikeloom.woven(text_of(LIFNode(step_mode="m")), x, [torch.zeros(())])[0]
    (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    with pytest.raises(BackendError, match="cannot be differentiated twice"):
        gradient.square().sum().backward()


def test_programs_are_written_and_read():
    for name in FUSED:
        node = make(name)
        if not isinstance(find(node, (7, 7), torch.float32), str):
            text = text_of(node)
            assert program.to_text(*program.from_text(text)) == text
    node = LIFNode(v_threshold=float("inf"), v_reset=-0.0, step_mode="m")
    read, _ = program.from_text(text_of(node))
    assert float("inf") in read.forward_literals
    assert any(str(literal) == "-0.0" for literal in read.forward_literals)


TAMPERED = {
    "no JSON": lambda found: "no JSON",
    "another version": lambda found: found | {"version": 99},
    "code as an operation": lambda found: _instruction(found, 1, "__import__('os')"),
    "code as a value": lambda found: _instruction(found, 0, "v9] = 1; import os; x[0"),
    "a value that is not there": lambda found: _instruction(found, 2, "v99"),
    "a literal that is not there": lambda found: _instruction(found, 2, "c99"),
    "no arguments": lambda found: _instruction(found, slice(2, None), []),
    "an input as result": lambda found: _instruction(found, 0, "v0"),
    "too many memories": lambda found: found | {"memories": 10**9},
    "memories that it does not have": lambda found: found | {"memories": 2, "keep": [False, False]},
    "what is kept": lambda found: found | {"keep": ["x"]},
}


def _instruction(found, place, value):
    found["forward"]["instructions"][0][place] = value
    return found


@pytest.mark.parametrize("what", TAMPERED)
def test_a_program_is_not_trusted(what):
    text = text_of(LIFNode(step_mode="m"))
    changed = TAMPERED[what](json.loads(text))
    with pytest.raises(BackendError, match="saved neuron"):
        program.from_text(changed if isinstance(changed, str) else json.dumps(changed))


def test_the_number_of_sources_is_checked():
    with pytest.raises(BackendError, match="got 3 memories and operands"):
        torch.ops.spikeloom.woven(text_of(LIFNode(step_mode="m")), X, [torch.zeros(())] * 3)


def test_registering_is_cheap():
    heavy = ("torch._dynamo", "sympy", "numba", "spikeloom.loom.loops")
    code = f"import spikeloom.neuron, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("gradients", [True, False])
def test_errors_explain_themselves_in_a_compiled_network(gradients):
    torch.compiler.reset()
    net = torch.compile(nn.Sequential(nn.Linear(3, 4), LIFNode(step_mode="m")), backend="eager")
    with torch.set_grad_enabled(gradients):
        net(torch.rand(5, 8, 3))
        with pytest.raises(
            ShapeError, match=r"LIFNode '1' remembers .* got \[1, 4\]. Call functional.reset_net"
        ):
            net(torch.rand(5, 1, 3))


@pytest.mark.parametrize("kind", [LIFNode, NonSpikingIFNode, layer.SynapseFilter])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_single_steps_are_one_graph_and_their_outputs_the_callers(kind, requires_grad):
    module, plain = kind(), kind()
    call = torch.compile(module, fullgraph=True, backend="aot_eager")
    steps = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(0)) * 2
    steps.requires_grad_(requires_grad)
    total, expected = call(steps[0]), plain(steps[0])
    for step in steps[1:]:
        total += call(step)  # an output may be a memory, which this must not change
        expected = expected + plain(step)
    assert_close("sum over time", expected, total)
    assert expected.any()
