"""What a step reads, or changes, beside its neuron: no loop may go on with what is no longer so."""

import functools
import logging
import random
import types
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import event, loom, neuron, surrogate
from spikeloom.errors import BackendError
from spikeloom.loom import select
from spikeloom.neuron import BaseNode, IFNode, LIFNode

X = 1.5 * torch.rand(20, 2, 4, generator=torch.Generator().manual_seed(0))
GAIN = 1.0
ALPHA = 2.0


def outcome(node, backend, x=X):
    """Output and gradients of the input and of parameters."""
    node.backend, node.step_mode = backend, "m"
    node.reset()
    leaf = x.clone().requires_grad_()
    output = node(leaf)
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    return [output.detach(), leaf.grad, *(parameter.grad for parameter in node.parameters())]


def assert_right(make, prepare=lambda node: None):
    """The reference's outcome, and what ``explain`` says."""
    results = []
    for backend in ("torch", "auto"):
        node = make()
        prepare(node)
        results.append(outcome(node, backend))
    for reference, got in zip(*results, strict=True):
        assert (reference is None) == (got is None)
        if reference is not None:
            torch.testing.assert_close(got, reference, rtol=1e-4, atol=1e-4)
    return loom.explain(make(), dims=2)


def charging(function):
    """A class of neurons with this charge."""
    return type("Charging", (BaseNode,), {"neuronal_charge": function})


class Gain(nn.Module):
    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        return x * self.gain


class Two(BaseNode):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def neuronal_charge(self, x):
        self.v = self.first(self.v) + self.second(x)


def tied():
    gain = Gain(0.5)
    return Two(gain, gain)


def test_a_module_that_is_there_twice_is_not_two():
    for _ in range(2):
        assert "is woven" in assert_right(tied)
        assert "is woven" in assert_right(lambda: Two(Gain(0.5), Gain(3.0)))


def test_what_was_assigned_to_v_seq_is_no_operand():
    def assign(node):
        node.v_seq = torch.zeros(4)

    assert_right(LIFNode)
    assert_right(LIFNode, assign)


def test_loops_for_another_number_of_tensors_are_not_run():
    node = LIFNode(step_mode="m")
    loops = select.find(node, (4,), torch.float32)
    with pytest.raises(BackendError, match="found for a neuron of 1 and 1"):
        loops(X, [0.0], [torch.zeros(4)], [False])


def test_a_start_of_its_own():
    class Started(BaseNode):
        def expand_memories(self, x):
            if not isinstance(self.v, torch.Tensor):
                self.v = torch.full_like(x, 0.9)

        def neuronal_charge(self, x):
            self.v = 0.9 * self.v + x

    assert "it overrides expand_memories" in assert_right(Started)


class Weighted(BaseNode):
    def __init__(self, charge):
        super().__init__()
        self.w, self.charge = nn.Parameter(torch.tensor(0.3)), charge

    def neuronal_charge(self, x):
        self.v = self.charge(self, x)


def test_a_parameter_is_one_in_a_trace():
    def charge(node, x):
        return node.v * (node.w.sigmoid() if isinstance(node.w, nn.Parameter) else node.w) + x

    assert "is woven" in assert_right(lambda: Weighted(charge))


@pytest.mark.parametrize(
    "is_one", [lambda w: w.numel() == 1, lambda w: w.dim() == 0, lambda w: w.shape == ()]
)
def test_the_shape_of_a_tensor(is_one):
    def charge(node, x):
        return node.v * (node.w.sigmoid() if is_one(node.w) else node.w) + x

    assert "asks for the shape of a tensor of its neuron" in assert_right(lambda: Weighted(charge))


@pytest.mark.parametrize("asks", [lambda x: torch.is_grad_enabled(), lambda x: x.requires_grad])
def test_whether_gradients_are_asked_for(asks):
    def charge(self, x):
        self.v = self.v * (0.3 if asks(x) else 1.0) + x

    assert "where gradients are asked for" in assert_right(charging(charge))


def test_variables_that_change(monkeypatch):
    def charge(self, x):
        self.v = self.v + GAIN * x

    made = charging(charge)
    made.__module__ = charge.__module__ = __name__
    for gain in (1.0, 0.1, 1.0):
        monkeypatch.setitem(globals(), "GAIN", gain)
        assert "is woven" in assert_right(made)


def sharp(h):
    return surrogate.ATan(alpha=ALPHA)(h)


def test_variables_of_a_function_on_the_neuron(monkeypatch):
    for alpha in (2.0, 8.0):
        monkeypatch.setitem(globals(), "ALPHA", alpha)
        assert_right(lambda: LIFNode(surrogate_function=sharp))


def test_closures_classes_and_bases_that_change():
    box = {"gain": 1.0}

    class Mixin:
        leak = 1.0

    class Mixed(BaseNode, Mixin):
        gains = {"x": 1.0}  # noqa: RUF012

        def neuronal_charge(self, x):
            self.v = self.v * self.leak + x * box["gain"] * Mixed.gains["x"]

    assert "is woven" in assert_right(Mixed)
    for change in (
        lambda: box.update(gain=0.4),
        lambda: setattr(Mixin, "leak", 0.5),
        lambda: Mixed.gains.update(x=3.0),
    ):
        change()
        assert "is woven" in assert_right(Mixed)


def test_a_counter_in_a_closure():
    def made():
        count, total = {"steps": 0}, 0

        class Counting(BaseNode):
            def neuronal_charge(self, x):
                nonlocal total
                total += 1
                count["steps"] += 1
                self.v = self.v + (x if count["steps"] + total <= 20 else 0 * x)

        return Counting(), lambda: (count["steps"], total)

    outcomes = []
    for backend in ("torch", "auto"):
        node, counted = made()
        outcomes.append(outcome(node, backend))
        assert counted() == (20, 20)
    assert_same("spikes", outcomes[0][0], outcomes[1][0])


def test_hooks_within_a_neuron():
    class Inner(BaseNode):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Identity(), nn.ReLU())

        def neuronal_charge(self, x):
            self.v = 0.5 * self.v + self.net(x)

    def hook(node):
        node.net[0].register_forward_hook(lambda module, args, output: 3 * output)

    assert_right(Inner)
    assert_right(Inner, hook)
    slope = IFNode()
    slope.surrogate_function.register_full_backward_hook(lambda module, grad_in, grad_out: (2 * grad_in[0],))
    twice = outcome(slope, "auto")[1]
    assert_close("gradient", outcome(slope, "torch")[1], twice)
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: None)
    try:
        node = Inner()
        node.step_mode = "m"
        with pytest.raises(BackendError, match="hooks for all modules"):
            outcome(node, "numba")
    finally:
        handle.remove()


@pytest.mark.parametrize(
    "largest",
    [lambda v: max(map(max, v.tolist())), lambda v: float(np.max(v.detach().numpy()))],
    ids=["tolist", "numpy"],
)
def test_values_that_are_read_past_pytorch(largest):
    def charge(self, x):
        self.v = self.v + x
        if largest(self.v) > 2:
            self.v = self.v * 0.1

    assert "looks at the values of a tensor" in assert_right(charging(charge))


def test_gradients_that_a_step_watches():
    seen = []

    def charge(self, x):
        if isinstance(self.v, torch.Tensor) and self.v.requires_grad:
            self.v.register_hook(seen.append)
        self.v = 0.9 * self.v + x

    assert "watches a gradient (register_hook)" in assert_right(charging(charge))
    assert seen


def test_a_rare_chance_is_noticed_and_nothing_is_drawn():
    def charge(self, x):
        self.v = 0.9 * self.v + x
        if random.random() < 0.01:
            self.v = 0 * self.v

    random.seed(5)
    account = loom.explain(charging(charge)())
    assert "depends on chance" in account
    drawn = random.random()
    random.seed(5)
    assert random.random() == drawn


def test_a_trace_leaves_a_neuron_that_it_reaches_otherwise_as_it_is():
    node = IFNode(v_threshold=100.0, step_mode="m")

    def charge(x):
        node.v = node.v + x

    node.neuronal_charge = charge
    node(torch.ones(3, 2))
    assert_same("v", torch.full([2], 3.0), node.v)
    node.reset()
    loom.explain(node)
    assert node.v == 0.0


def test_a_step_without_input_reads_half():
    def charge(self, x):
        self.v = 0.5 * self.v + 0.6

    node = charging(charge)(step_mode="m", backend="numba")
    output = node(X.bfloat16())
    assert output.dtype == torch.bfloat16
    node.reset()
    assert_same("output", node(X), output.float())


def test_a_memory_that_the_step_detaches_needs_no_reset():
    class Online(BaseNode):
        def neuronal_charge(self, x):
            self.v = 0.9 * self.v + x

        def neuronal_reset(self, spike):
            super().neuronal_reset(spike)
            self.v = self.v.detach()

    gradients = []
    for backend in ("torch", "numba"):
        node = Online(step_mode="m", backend=backend)
        for _ in range(2):
            leaf = X.clone().requires_grad_()
            node(leaf).sum().backward()
        gradients.append(leaf.grad)
    assert_close("gradient", *gradients)


def test_what_gets_no_gradient_has_none():
    class Detached(BaseNode):
        def __init__(self):
            super().__init__()
            self.u, self.unused = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))

        def neuronal_charge(self, x):
            self.v = 0.5 * self.v + x * self.u.detach()

    assert "is woven" in assert_right(Detached)


def test_tensors_that_no_step_reads_do_not_matter():
    node = LIFNode(step_mode="m", backend="numba")
    node.register_forward_hook(lambda module, args, output: setattr(module, "last", output))
    node.register_buffer("counts", torch.zeros(7, dtype=torch.float64))
    for _ in range(2):
        assert node(X).shape == X.shape
        node.reset()


def test_reasons_of_a_call_are_told(caplog):
    node = LIFNode(v_threshold=torch.ones(4, dtype=torch.float64), step_mode="m")
    select._told.clear()
    with caplog.at_level(logging.INFO, "spikeloom.loom"):
        node(X)
    assert "its 'v_threshold' is a torch.float64" in caplog.text


@pytest.mark.parametrize("power", [lambda x: 2**x, lambda x: x ** torch.tensor(1.5), lambda x: x**2.0])
def test_powers(power):
    def charge(self, x):
        self.v = 0.5 * self.v + power(x)

    assert_right(charging(charge))


def test_a_charge_that_returns_its_result():
    def charge(self, x):
        return self.v + x

    for backend in ("torch", "auto"):
        node = charging(charge)(step_mode="m", backend=backend)
        with pytest.raises(TypeError, match=r"must set self\.v, but returns"):
            node(X)


def test_writing_to_the_input():
    def charge(self, x):
        self.v = self.v + x.mul_(0.5)

    assert "writes to a tensor that is not a memory" in loom.explain(charging(charge)())


def test_two_names_of_a_memory_that_is_written_in_place():
    class Aliased(BaseNode):
        def __init__(self, in_place):
            super().__init__()
            self.register_memory("last", 0.0)
            self.in_place = in_place

        def neuronal_charge(self, x):
            self.v = self.v + 0.25 * self.last
            self.v = self.v.add_(x) if self.in_place else self.v + x

        def neuronal_reset(self, spike):
            self.v = self.v * (1 - spike)
            self.last = self.v

    class Written(Aliased):
        def neuronal_charge(self, x):
            self.v.add_(x + 0.25 * self.last)

        def neuronal_reset(self, spike):
            self.last = self.v

    for in_place in (False, True):
        assert "is woven" in loom.explain(Aliased(in_place))
    with torch.no_grad():
        outputs = [run_without(Written(False), name) for name in ("torch", "auto")]
    assert_same("spikes", *outputs)
    assert "two memories are one tensor" in loom.explain(Written(False))


def run_without(node, backend):
    """The output, without gradients."""
    node.step_mode, node.backend = "m", backend
    return node(X)


def test_of_an_object_elsewhere_only_what_is_read_matters():
    settings = types.SimpleNamespace(gain=1.0, step=0, **{f"other{n}": n for n in range(30)})

    class Reading(BaseNode):
        def neuronal_charge(self, x):
            self.v = self.v + settings.gain * x

    loops = select.find(Reading(), (4,), torch.float32)
    settings.step += 1
    assert select.find(Reading(), (4,), torch.float32) is loops
    settings.gain = 0.5
    assert select.find(Reading(), (4,), torch.float32) is not loops
    assert_right(Reading)


@pytest.mark.parametrize("make", [dict, deque, np.array], ids=lambda kind: kind.__name__)
def test_a_long_container_elsewhere_may_change(make):
    numbers = [0.5] * 20
    settings = dict(enumerate(numbers)) if make is dict else make(numbers)

    class Reading(BaseNode):
        def neuronal_charge(self, x):
            self.v = self.v + float(settings[17]) * x

    node = Reading(v_threshold=9.0, step_mode="m", backend="numba")
    for gain in (0.5, 0.25):
        settings[17] = gain
        node.reset()
        node(torch.ones(2, 3))
        assert node.v.tolist() == [2 * gain] * 3


def test_a_neuron_that_no_longer_changes_what_it_holds_is_woven():
    class Counting(IFNode):
        counts, total = True, 0

        def neuronal_charge(self, x):
            super().neuronal_charge(x)
            if self.counts:
                self.total = self.total + 1

    node = Counting(step_mode="m")
    node(X)
    assert node.total == len(X)
    node.reset()
    node.counts, node.backend = False, "numba"
    assert_same("spikes", IFNode(step_mode="m")(X), node(X))
    node.counts = True
    with pytest.raises(BackendError, match="changes the attribute 'total'"):
        node(X)


class Strange(IFNode):
    """A buffer that no step reads, of another type and of another shape than a step."""

    def __init__(self):
        super().__init__(step_mode="m")
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("table", torch.zeros(100))


def test_tensors_that_no_step_reads_do_not_matter_to_others_who_ask():
    assert "is woven" in loom.explain(Strange())
    net = nn.Sequential(Strange())
    runner = event.Runner(net, (4,))
    with torch.no_grad():
        assert torch.equal(runner(X), net(X))
    net[0].reset()
    exported = torch.export.export(net, (X,))
    assert "spikeloom.woven" in exported.graph_module.code
    assert torch.equal(exported.module()(X), net(X))


def test_explain_of_neurons_that_run_the_loop_themselves():
    assert "is woven" in loom.explain(neuron.NonSpikingIFNode())


def test_a_class_that_was_made_without_the_name_of_a_module():
    variables = {}
    code = """
from spikeloom import neuron
factor = 1.0
class Scaled(neuron.BaseNode):
    shift = 0.0
    def neuronal_charge(self, x):
        self.v = self.v + x * factor + self.shift
"""
    exec(code, variables)
    kind = variables["Scaled"]
    assert kind.__module__ == "builtins"
    node = kind(v_threshold=9.0, step_mode="m", backend="numba")
    for factor, shift in ((1.0, 0.0), (2.0, 0.0), (2.0, 0.5)):
        variables["factor"], kind.shift = factor, shift
        node.reset()
        node(torch.ones(3, 1))
        assert node.v.item() == 3 * (factor + shift)


class Space:
    gain = 0.5


class Heir(Space):
    pass


def change_within(settings):
    settings["model"]["neuron"]["gain"] = 0.25


def of_a_function():
    """Nothing but a name to hang a setting on."""


@pytest.mark.parametrize(
    "what", ["nested", "a class", "its base", "a function", "a partial", "its own, deeper"]
)
def test_settings_wherever_scripts_keep_them(monkeypatch, what):
    nested = {"model": {"neuron": {"gain": 0.5}}}
    own = {"a": {"b": {"c": {"d": {"gain": 0.5}}}}}
    of_a_function.gain = 0.5
    reads = {
        "nested": (lambda node, x: nested["model"]["neuron"]["gain"] * x, lambda: change_within(nested)),
        "a class": (lambda node, x: Space.gain * x, lambda: monkeypatch.setattr(Space, "gain", 0.25)),
        "its base": (lambda node, x: Heir.gain * x, lambda: monkeypatch.setattr(Space, "gain", 0.25)),
        "a function": (lambda node, x: of_a_function.gain * x, lambda: setattr(of_a_function, "gain", 0.25)),
        "a partial": (lambda node, x: node.partial(x), lambda: change_within(nested)),
        "its own, deeper": (
            lambda node, x: node.own["a"]["b"]["c"]["d"]["gain"] * x,
            lambda: own["a"]["b"]["c"]["d"].update(gain=0.25),
        ),
    }
    read, change = reads[what]

    class Reading(BaseNode):
        def neuronal_charge(self, x):
            self.v = self.v + read(self, x)

    def scaled(x, settings):
        return settings["model"]["neuron"]["gain"] * x

    def made():
        node = Reading(v_threshold=9.0, step_mode="m", backend="numba")
        node.partial, node.own = functools.partial(scaled, settings=nested), own
        node(torch.ones(2, 3))
        return node

    node = made()
    assert node.v.tolist() == [1.0] * 3
    change()
    node.reset()
    node(torch.ones(2, 3))
    assert node.v.tolist() == [0.5] * 3
    assert made().v.tolist() == [0.5] * 3


def test_objects_that_answer_to_every_name():
    class AttrDict(dict):
        def __getattr__(self, name):
            return self[name]  # a KeyError, where others raise an AttributeError

    class Scaled(neuron.BaseNode):
        kept = AttrDict(gain=2.0)

        def neuronal_charge(self, x):
            self.v = self.v + x * self.settings.gain * self.kept.gain

    node, x = Scaled(step_mode="m"), torch.full((2, 4), 0.1)
    node.settings = AttrDict(gain=2.0)
    node(x)
    assert_close("potential", torch.full((4,), 0.8), node.v)
