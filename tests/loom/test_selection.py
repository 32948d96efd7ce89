"""Which backend runs, why, and that no change of a neuron goes unseen."""

import collections
import dataclasses
import itertools
import os
import random
import threading
import types
import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compare import assert_close, assert_gradient, assert_same
from loom.both import assert_agree, assert_interpreted, inputs, run, values
from loom.scripts import script
from spikeloom import loom, monitor, neuron, surrogate
from spikeloom.errors import BackendError
from spikeloom.loom import select
from spikeloom.loom.plan import CannotWeave
from spikeloom.loom.weave import plans
from spikeloom.neuron import PSN, BaseNode, IFNode, LIFNode, ParametricLIFNode


def seen(node: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Output and gradient of the input from the reset state, through the neuron itself."""
    node.reset()
    leaf = x.clone().requires_grad_()
    output = node(leaf)
    if output.requires_grad:
        output.backward(torch.arange(1.0, x.numel() + 1).reshape(x.shape).to(x.dtype))
    return output.detach(), torch.zeros_like(x) if leaf.grad is None else leaf.grad


def assert_fresh(node, x, change=lambda: None, differs=True):
    """After ``change`` the compiled neuron gives what the reference gives; ``differs``: not what it gave."""
    node.backend = "numba"
    before = seen(node, x)
    change()
    got = seen(node, x)
    node.backend = "torch"
    reference = seen(node, x)
    assert_same("output", reference[0], got[0])
    assert_gradient("x", reference[1], got[1])
    same = torch.equal(before[0], got[0]) and torch.equal(before[1], got[1])
    assert same != differs


def right(node: nn.Module, x: Tensor, backend: str = "auto") -> str:
    """``auto`` gives what the reference gives; the account of why, or of what was woven."""
    node.step_mode = "m"
    reference, got = run(node, "torch", x), run(node, backend, x)
    loops = select.find(node, tuple(x.shape[1:]), x.dtype)
    exact = isinstance(loops, str) or loops.step.forward.exact
    for name, value in reference.items():
        if name.startswith("gradient"):
            assert_gradient(name, value, got[name])
        else:
            (assert_same if exact or name == "output" else assert_close)(name, value, got[name])
    return loom.explain(node, dims=x.dim() - 1)


X = inputs("LIFNode", 6, 40)


CHANGES = {
    "tau": lambda node: setattr(node, "tau", 5.0),
    "threshold": lambda node: setattr(node, "v_threshold", 0.5),
    "reset value": lambda node: setattr(node, "v_reset", -0.7),
    "soft reset": lambda node: setattr(node, "v_reset", None),
    "detached reset": lambda node: setattr(node, "detach_reset", True),
    "another leak": lambda node: setattr(node, "decay_input", False),
    "surrogate": lambda node: setattr(node, "surrogate_function", surrogate.ATan()),
    "alpha": lambda node: setattr(node.surrogate_function, "alpha", 1.0),
    "smooth": lambda node: node.surrogate_function.set_spiking_mode(False),
    "a tensor for a number": lambda node: setattr(node, "tau", torch.tensor(4.0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_attribute_takes_effect(change):
    node = LIFNode(tau=2.0, step_mode="m")
    if change == "smooth":
        node = node.double()
        x = X.double()
        node.backend = "numba"
        seen(node, x)
        CHANGES[change](node)
        assert_agree(node, x)
        return
    assert_fresh(node, X, lambda: CHANGES[change](node))


def test_soft_reset_and_back():
    node = LIFNode(tau=2.0, v_reset=None, step_mode="m")
    assert_fresh(node, X, lambda: setattr(node, "v_reset", 0.3))
    assert_fresh(node, X, lambda: setattr(node, "v_reset", None))


class Configured(BaseNode):
    """A step with all kinds of settings."""

    rate = 1.0

    def __init__(self, **settings):
        super().__init__(step_mode="m", **settings)
        self.flags = {"gain": 1.0, "names": ["on"]}
        self.steps = [1.0, 2.0]
        self.config = types.SimpleNamespace(gain=1.0)

    def gain(self):
        return self.rate * self.flags["gain"] * self.steps[0] * self.config.gain

    def neuronal_charge(self, x):
        self.v = self.v + x * (self.gain() * (2.0 if self.training else 1.0))


class Doubled:
    """A surrogate that is a plain object, no module."""

    def __init__(self, alpha):
        self.alpha = alpha

    def __call__(self, x):
        return surrogate.ATan(self.alpha)(x)


def test_a_changed_container_takes_effect():
    node = Configured()
    assert_fresh(node, X, lambda: node.flags.update(gain=0.5))
    assert_fresh(node, X, lambda: node.steps.__setitem__(0, 3.0))


def test_the_training_flag_takes_effect():
    node = Configured()
    assert_fresh(node, X, node.eval)
    assert_fresh(node, X, node.train)


def test_a_changed_object_takes_effect():
    """A settings object of the user's own, as from a config file."""
    node = Configured()
    assert_fresh(node, X, lambda: setattr(node.config, "gain", 0.5))


def test_a_changed_plain_surrogate_takes_effect():
    node = Configured(surrogate_function=Doubled(1.0))
    assert_fresh(node, X, lambda: setattr(node.surrogate_function, "alpha", 5.0))


def test_a_changed_class_attribute_takes_effect(monkeypatch):
    node = Configured()
    assert_fresh(node, X, lambda: monkeypatch.setattr(Configured, "rate", 0.5))


@pytest.mark.parametrize("name", ["neuronal_charge", "gain"])
def test_a_patched_method_takes_effect(monkeypatch, name):
    def charge(self, x):
        self.v = self.v + 0.3 * x

    node = Configured()
    other = {"neuronal_charge": charge, "gain": lambda self: 0.2}[name]
    assert_fresh(node, X, lambda: monkeypatch.setattr(Configured, name, other))


def test_a_patched_surrogate_takes_effect(monkeypatch):
    node = Configured(surrogate_function=surrogate.Rect())
    patch = staticmethod(lambda x, alpha: torch.ones_like(x))
    assert_fresh(node, X, lambda: monkeypatch.setattr(surrogate.Rect, "derivative", patch))


def test_a_method_bound_to_the_neuron_itself():
    """Assigned to the instance, it is bound to the live neuron, which a trace must not touch."""
    node = IFNode(step_mode="m")

    def charge(self, x):
        self.v = self.v + 0.5 * x

    node.neuronal_charge = types.MethodType(charge, node)
    got = node(X)
    assert type(node.v) is Tensor
    assert_same("output", IFNode(step_mode="m", backend="torch")(0.5 * X), got)


def test_a_replaced_parameter_and_a_frozen_one():
    node = ParametricLIFNode(step_mode="m", backend="numba")
    seen(node, X)
    node.w = nn.Parameter(torch.tensor(0.9))
    reference = assert_agree(node, X)
    assert reference["gradient of w"] != 0
    node.w.requires_grad_(False)
    assert_agree(node, X)
    node.w.requires_grad_(True)
    assert_agree(node, X)
    with torch.no_grad():
        node.w.fill_(-1.0)
    assert_agree(node, X)
    node.w.data = torch.full((40,), 0.5)
    assert_agree(node, X)


def test_a_hook_on_a_surrogate_takes_effect():
    """It acts on every step, or would have to be refused; it must not see the tensors of a trace."""
    node, types_seen = IFNode(step_mode="m"), []
    node(X)
    node.reset()
    node.surrogate_function.register_forward_hook(lambda module, args, out: types_seen.append(type(out)))
    node(X)
    assert types_seen == [Tensor] * len(X)


class Leaky(BaseNode):
    """One leak, from wherever the function gets it."""

    def __init__(self, leak, **settings):
        super().__init__(step_mode="m", **settings)
        self.leak = leak

    def neuronal_charge(self, x):
        self.v = self.v * self.leak() + x


def test_a_tensor_that_is_not_the_neurons_own_is_not_frozen():
    """In a closure or a list it cannot be followed: its changes, and its gradient, must not be lost."""
    for value in (torch.tensor(0.5), torch.tensor([0.5])):
        parameter = nn.Parameter(value.clone())
        results = []
        for backend in ("torch", "auto"):
            node = Leaky(lambda parameter=parameter: parameter, backend=backend)
            first, _ = seen(node, X)
            with torch.no_grad():
                parameter.fill_(0.9)
            second, _ = seen(node, X)
            results.append((first, second, parameter.grad))
            parameter.grad = None
            with torch.no_grad():
                parameter.fill_(0.5)
        for reference, got in zip(*results, strict=True):
            assert got is not None
            assert_gradient("closure", reference, got)


def test_a_tensor_in_a_list_is_not_frozen():
    node = Configured()
    node.steps = [torch.tensor(1.0)]
    node.backend = "auto"
    seen(node, X)
    node.steps[0].fill_(0.3)
    got = seen(node, X)
    node.backend = "torch"
    assert_same("output", seen(node, X)[0], got[0])


def test_attributes_that_refer_to_each_other():
    """A logger refers to its manager, which refers to it; a trainer's parts refer to the trainer."""
    import logging

    node = Configured()
    node.log = logging.getLogger("spikeloom.test")
    node.log.info("first")
    node.config.owner = node.config
    node.steps.append(node.steps)
    reference = Configured(backend="torch")
    assert_same("output", reference(X), node(X))


def test_minus_zero_is_not_zero():
    node = LIFNode(v_reset=0.0, step_mode="m", backend="numba")
    x = torch.full((1, 4), 5.0)
    node(x)
    node.reset()
    node.v_reset = -0.0
    node.set_reset_value("v", 0.0)
    node(x)
    reference = LIFNode(v_reset=-0.0, step_mode="m", backend="torch")
    reference(x)
    assert torch.equal(node.v.signbit(), reference.v.signbit())


class Recurrent(BaseNode):
    def __init__(self):
        super().__init__(step_mode="m")
        torch.manual_seed(0)
        self.weights = nn.Linear(40, 40)
        self.register_memory("spike", 0.0)

    def neuronal_charge(self, x):
        self.v = 0.5 * self.v + x + self.weights(self.spike)

    def neuronal_reset(self, spike):
        super().neuronal_reset(spike)
        self.spike = spike


class Charge(BaseNode):
    """A neuron whose charge is the function that it is made with."""

    def __init__(self, function, **settings):
        super().__init__(step_mode="m", **settings)
        self.function = function

    def neuronal_charge(self, x):
        self.v = self.function(self, self.v, x)


FALLBACKS = {
    "item": (lambda node, v, x: v + x * (1.0 if x.sum().item() > 100 else 0.5), "sum|values"),
    "control flow": (lambda node, v, x: v + x if (x > -100).all() else v, "all|values"),
    "sum": (lambda node, v, x: v + x - x.sum(-1, keepdim=True) * 0.01, "changes the shape"),
    "mean": (lambda node, v, x: v + x - x.mean(), "mean|shape"),
    "size": (lambda node, v, x: v + x / x.shape[-1], "depends on the input's shape"),
    "numel": (lambda node, v, x: v + x * (1.0 / x.numel()), "depends on the input's shape"),
    "roll": (lambda node, v, x: v + x.roll(1, -1), "roll"),
    "flip": (lambda node, v, x: v + x.flip(-1), "flip"),
    "cumsum": (lambda node, v, x: v + x.cumsum(-1) * 0.1, "cumsum"),
    "softmax": (lambda node, v, x: v + x.softmax(-1), "softmax"),
    "sort": (lambda node, v, x: v + x.sort(-1).values, "sort"),
    "integers": (lambda node, v, x: v + x * (v.long() % 2).to(x.dtype), "int64|remainder"),
    "unknown": (lambda node, v, x: v + torch.special.i0(x), "i0"),
    "bitwise": (lambda node, v, x: v + (x > 0).to(torch.int32).bitwise_left_shift(1).to(x.dtype), "int32"),
}


@pytest.mark.parametrize("what", FALLBACKS)
def test_what_is_not_pointwise_runs_on_the_reference(what):
    function, reason = FALLBACKS[what]
    node = Charge(function)
    account = right(node, X)
    assert "runs on the reference loop" in account
    with pytest.raises(BackendError, match=reason):
        run(node, "numba", X)


def test_recurrent_weights():
    account = right(Recurrent(), X)
    assert "runs on the reference loop" in account
    with pytest.raises(BackendError, match="Recurrent cannot run with backend 'numba'"):
        run(Recurrent(), "numba", X)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_square_steps_hide_nothing(size):
    """Shapes are traced at sizes 2 and 3 in all dimensions."""
    x = inputs("LIFNode", 5, size, size)
    for function in (
        lambda node, v, x: v + x.t(),
        lambda node, v, x: v + x @ x,
        lambda node, v, x: v + x.reshape(-1).flip(0).reshape(x.shape),
        lambda node, v, x: v + x[0],
        lambda node, v, x: v + x.diagonal(),
    ):
        right(Charge(function), x)
    right(Recurrent(), inputs("LIFNode", 5, 40, 40))


def test_random_steps():
    node = Charge(lambda node, v, x: v + x + torch.rand_like(x))
    with pytest.raises(BackendError, match="rand"):
        run(node, "numba", X)
    results = []
    for backend in ("torch", "auto"):
        node.backend = backend
        node.reset()
        torch.manual_seed(0)
        results.append(node(X))
    assert_same("output", *results)


def test_python_randomness():
    import random

    node = Charge(lambda node, v, x: v + x * random.random())
    with pytest.raises(BackendError, match="chance"):
        run(node, "numba", X)


def count(node, v, x):
    node.counter = node.counter + 1
    return v + x * (1.0 if node.counter % 2 else 0.2)


def append(node, v, x):
    node.history.append(x)
    return v + x


def tally(node, v, x):
    node.stats["steps"] += 1
    return v + x * (1.0 if node.stats["steps"] % 2 else 0.2)


def test_a_step_that_changes_an_attribute():
    node = Charge(count)
    node.counter = 0
    account = right(node, X)
    assert "changes the attribute 'counter'" in account
    node(X)
    assert node.counter == len(X)


def test_a_step_that_appends_to_a_list():
    node = Charge(append)
    node.history = []
    node(X)
    assert [type(value) for value in node.history] == [Tensor] * len(X)
    assert_same("history", X, torch.stack(node.history))


def test_a_step_that_changes_a_dictionary():
    node = Charge(tally)
    node.stats = {"steps": 0}
    got = node(X)
    assert node.stats["steps"] == len(X)
    other = Charge(tally, backend="torch")
    other.stats = {"steps": 0}
    assert_same("output", other(X), got)


def count_in_an_object(node, v, x):
    node.meter.count += 1
    return v + x * (1.0 if node.meter.count % 2 else 0.2)


@dataclasses.dataclass
class Book:
    """An object of a user's."""

    values: list
    count: int = 0


class Slotted:
    __slots__ = ("values",)

    def __init__(self):
        self.values = []


class Single:
    """There is only one of it."""

    def __init__(self):
        self.values = []

    def __deepcopy__(self, memo):
        return self


class Recording(nn.Module):
    """A module that keeps what it sees, in an attribute that is not registered."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return x


def logging_surrogate(held):
    return lambda x: (held.append(x), surrogate.ATan()(x))[1]


def counting_surrogate():
    count = 0

    def surrogate_function(x):
        nonlocal count
        count += 1
        return surrogate.ATan()(x * (1.0 if count % 2 else 0.5))

    surrogate_function.count = lambda: count
    return surrogate_function


# What a neuron holds at the start, what it does to it in a step with the new potential, and where the user
# finds it again.
HELD = {
    "a list in a list": (
        lambda: [[]],
        lambda held, v: held[0].append(v),
        lambda held: held[0],
    ),
    "a list in a dictionary": (
        lambda: {"history": []},
        lambda held, v: held["history"].append(v),
        lambda held: held["history"],
    ),
    "lists four deep": (
        lambda: [[[[[]]]]],
        lambda held, v: held[0][0][0][0].append(v),
        lambda held: held[0][0][0][0],
    ),
    "a list of a namespace": (
        lambda: types.SimpleNamespace(log=types.SimpleNamespace(values=[])),
        lambda held, v: held.log.values.append(v),
        lambda held: held.log.values,
    ),
    "a dataclass": (
        lambda: Book([]),
        lambda held, v: (held.values.append(v), setattr(held, "count", held.count + 1)),
        lambda held: [*held.values, held.count],
    ),
    "slots": (Slotted, lambda held, v: held.values.append(v), lambda held: held.values),
    "a tuple of lists": (lambda: ([], []), lambda held, v: held[1].append(v), lambda held: held[1]),
    "a deque": (
        lambda: collections.deque(maxlen=3),
        lambda held, v: held.append(v),
        list,
    ),
    "a default dictionary": (
        lambda: collections.defaultdict(list),
        lambda held, v: held["v"].append(v),
        lambda held: [*held, *held["v"]],
    ),
    "a counter": (
        collections.Counter,
        lambda held, v: held.update(["steps"]),
        lambda held: [held["steps"]],
    ),
    "an array": (
        lambda: [np.zeros(2)],
        lambda held, v: np.add(held[0], 1.0, out=held[0]),
        lambda held: held[0].tolist(),
    ),
    "an object that is its own copy": (
        Single,
        lambda held, v: held.values.append(v),
        lambda held: held.values,
    ),
    "a set": (
        lambda: [set()],
        lambda held, v: held[0].add(len(held[0])),
        lambda held: sorted(held[0]),
    ),
    "a random generator": (
        lambda: {"generator": random.Random(3)},
        lambda held, v: held["generator"].random() and None,
        lambda held: [held["generator"].random()],
    ),
    "a generator of NumPy's": (
        lambda: [np.random.default_rng(3)],
        lambda held, v: held[0].random() and None,
        lambda held: [held[0].random()],
    ),
    "a generator of PyTorch's": (
        lambda: [torch.Generator().manual_seed(3)],
        lambda held, v: held[0].manual_seed(held[0].initial_seed() + 1),
        lambda held: [held[0].initial_seed()],
    ),
    "an iterator": (
        lambda: [iter(range(100))],
        lambda held, v: next(held[0]),
        lambda held: [next(held[0])],
    ),
    "a generator function's": (
        lambda: [(number for number in range(100))],
        lambda held, v: next(held[0]),
        lambda held: [next(held[0])],
    ),
    "a bound method": (
        lambda: [].append,
        lambda held, v: held(v),
        lambda held: held.__self__,
    ),
    "a closure": (
        lambda: logging_surrogate([]),
        lambda held, v: held(v) is None,
        lambda held: held.__closure__[0].cell_contents,
    ),
    "a number in a closure": (
        counting_surrogate,
        lambda held, v: held(v) is None,
        lambda held: [held.count()],
    ),
    "a default value": (
        lambda: lambda v, seen=[]: seen.append(v),
        lambda held, v: held(v),
        lambda held: held.__defaults__[0],
    ),
    "a module in a list": (
        lambda: [Recording()],
        lambda held, v: held[0](v) is None,
        lambda held: held[0].seen,
    ),
    "a tensor in a list": (
        lambda: [torch.zeros(())],
        lambda held, v: held[0].add_(1.0) is None,
        lambda held: held,
    ),
    "a lock": (
        lambda: types.SimpleNamespace(lock=threading.Lock(), values=[]),
        lambda held, v: held.lock.acquire(False) and held.values.append(v),
        lambda held: [held.lock.locked(), *held.values],
    ),
    "a file": (
        lambda: [open(os.devnull, "w")],  # noqa: SIM115
        lambda held, v: held[0].write("step\n") and None,
        lambda held: [held[0].close()],
    ),
    "itself in a list": (
        lambda: (lambda held: held.append(held) or held)([[]]),
        lambda held, v: held[1][0].append(v),
        lambda held: held[0],
    ),
}


@pytest.mark.parametrize("where", ["an attribute", "a submodule", "the surrogate's closure"])
@pytest.mark.parametrize("what", HELD)
def test_a_step_that_changes_what_an_attribute_holds(what, where):
    """All is as with the reference, from the first call on: nothing of a trace is left behind."""
    make_held, change, found = HELD[what]
    results = []
    for backend in ("torch", "auto"):
        held = make_held()

        def charge(node, v, x, held=held):
            change(node.held if where == "an attribute" else node.inner.held, v + x)
            return v + x

        def fire(x, held=held):
            change(held, x)
            return surrogate.ATan()(x)

        node = Charge(charge, backend=backend)
        if where == "an attribute":
            node.held = held
        elif where == "a submodule":
            node.inner = nn.Identity()
            node.inner.held = held
        else:
            node = IFNode(step_mode="m", surrogate_function=fire, backend=backend)
        outputs = []
        for _ in range(3):
            node.reset()
            outputs.append(node(X))
        account = loom.explain(node, dims=1)
        results.append((outputs, list(found(held)), account))
    (references, kept, _), (outputs, got, account) = results
    for reference, output in zip(references, outputs, strict=True):
        assert_same("output", reference, output)
    assert len(kept) == len(got)
    for expected, value in zip(kept, got, strict=True):
        assert type(value) is type(expected)
        if isinstance(expected, Tensor):
            assert_same("held", expected.detach(), value.detach())
        elif not isinstance(expected, list):
            assert value == expected
    assert "runs on the reference loop: a step " in account


SEEN, TOTALS, NESTED, ARRAY = [], {"steps": 0}, {"deep": [types.SimpleNamespace(values=[])]}, np.zeros(2)
COUNT = 0


def note_globally(v):
    SEEN.append(v)


def count_globally(node, v, x):
    global COUNT
    COUNT += 1
    return v + x * (1.0 if COUNT % 2 else 0.2)


class Tallied(BaseNode):
    """Its attributes are those of the class."""

    seen: ClassVar = []
    count = 0

    def neuronal_charge(self, x):
        self.v = self.v + x
        Tallied.count += 1


class Noted(Tallied):
    def neuronal_charge(self, x):
        self.v = self.v + x
        self.seen.append(x)


OUTSIDE = {
    "a global list": (lambda node, v, x: (SEEN.append(x), v + x)[1], lambda: len(SEEN)),
    "by way of a function": (lambda node, v, x: (note_globally(x), v + x)[1], lambda: len(SEEN)),
    "a global dictionary": (
        lambda node, v, x: (TOTALS.update(steps=TOTALS["steps"] + 1), v + x)[1],
        lambda: TOTALS["steps"],
    ),
    "within global objects": (
        lambda node, v, x: (NESTED["deep"][0].values.append(x), v + x)[1],
        lambda: len(NESTED["deep"][0].values),
    ),
    "a global array": (lambda node, v, x: (np.add(ARRAY, 1, out=ARRAY), v + x)[1], lambda: ARRAY[0]),
    "a global number": (count_globally, lambda: COUNT),
    "a list of the class": (Noted, lambda: len(Tallied.seen)),
    "a number of the class": (Tallied, lambda: Tallied.count),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_step_that_changes_what_is_not_its_neurons(what):
    function, found = OUTSIDE[what]
    results = []
    for backend in ("torch", "auto"):
        if isinstance(function, type):
            node = function(step_mode="m", backend=backend)
        else:
            node = Charge(function, backend=backend)
        before = found()
        for _ in range(2):
            node.reset()
            results.append(node(X))
        assert found() - before == 2 * len(X)
    assert "a step changes" in loom.explain(node)
    assert found() - before == 2 * len(X)
    for reference, got in zip(results[:2], results[2:], strict=True):
        assert_same("output", reference, got)


def test_what_cannot_be_copied_may_be_carried_along():
    """A step that does not use it is woven; it is neither copied nor closed."""
    node = Charge(lambda node, v, x: v + x * node.gain)
    node.gain, node.lock, node.count = 0.5, threading.Lock(), itertools.count()
    with open(os.devnull, "w") as file:
        node.files = {"log": [file]}
        assert "is woven" in loom.explain(node)
        output = node(X)
        assert not file.closed
    assert next(node.count) == 0
    assert_same("output", Charge(lambda node, v, x: v + x * 0.5, backend="torch")(X), output)


def test_a_step_that_hides_its_use_of_what_cannot_be_copied():
    """The error that a trace raises must not become a branch of the plan."""

    def charge(node, v, x):
        try:
            return v + x * len(node.lock.__class__.__name__)
        except Exception:
            return v

    node = Charge(charge)
    node.lock = threading.Lock()
    assert "uses its 'lock', which cannot be copied" in loom.explain(node)
    reference = Charge(charge, backend="torch")
    reference.lock = node.lock
    assert_same("output", reference(X), node(X))


def test_an_object_whose_end_matters_is_not_copied():
    ended = []

    class Owner:
        def __del__(self):
            ended.append(self)

    node = Charge(lambda node, v, x: v + x)
    node.owner = [Owner()]
    node(X)
    assert "is woven" in loom.explain(node)
    assert not ended


def test_a_neuron_within_a_neuron_keeps_its_memory():
    results = []
    for backend in ("torch", "auto"):
        node = Charge(lambda node, v, x: v + node.inner(x), backend=backend)
        node.inner = LIFNode(tau=3.0)
        results.append(node(X))
    assert_same("output", *results)
    assert "changes the attribute 'inner.v'" in loom.explain(node)


def test_a_step_that_writes_to_a_buffer():
    results = []
    for backend in ("torch", "auto"):
        node = Charge(lambda node, v, x: v + x * node.gain.add_(0.1), backend=backend)
        node.register_buffer("gain", torch.zeros(()))
        results.append((node(X), node.gain))
    for reference, got in zip(*results, strict=True):
        assert_same("written", reference, got)
    assert "writes to a tensor that is not a memory" in loom.explain(node)


def test_writing_to_a_copy_of_a_parameter_is_no_obstacle():
    def charge(node, v, x):
        gain = node.gain.clone()
        gain.clamp_(0.0, 1.0)
        return v + x * gain

    node = Charge(charge)
    node.gain = nn.Parameter(torch.tensor(1.5))
    assert "is woven" in right(node, X)


def test_a_function_that_refers_to_its_neuron():
    """It finds the copy in a trace, whose memories are those of the step."""
    results = []
    for backend in ("torch", "auto"):
        node = Charge(lambda _, v, x: v + x, backend=backend)
        node.function = lambda _, v, x, owners=(node,): owners[0].v * 0.7 + x
        results.append(node(X))
    assert_same("output", *results)


def test_a_trace_draws_no_random_numbers():
    node = Charge(lambda node, v, x: v + x + torch.rand_like(x))
    torch.manual_seed(3)
    reference = torch.rand(1)
    torch.manual_seed(3)
    loom.explain(node)
    assert torch.equal(reference, torch.rand(1))


def test_a_neuron_that_changes_what_it_holds_is_traced_once(monkeypatch):
    from spikeloom.loom import trace

    calls, recorded = [], trace.Isolated
    monkeypatch.setattr(trace, "Isolated", lambda module: (calls.append(module), recorded(module))[1])
    node = Charge(append)
    node.history = []
    for _ in range(4):
        node.reset()
        node(X)
    assert len(calls) == 1
    assert len(node.history) == 4 * len(X)


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_a_step_that_asks_for_the_size(size):
    """The branch for another size than those of the trace."""
    functions = (
        lambda node, v, x: v + x * (0.5 if x.shape[-1] > 10 else 1.0),
        lambda node, v, x: v + x * (0.5 if len(x) == 1 else 1.0),
    )
    for function in functions:
        right(Charge(function), inputs("LIFNode", 6, size))


LARGE = {
    "numel": lambda node, v, x: v + x * (0.5 if x.numel() > 100_000 else 1.0),
    "width": lambda node, v, x: v + x * (0.5 if x.shape[-1] == 70_000 else 1.0),
    "another operation": lambda node, v, x: v + (x - x.mean() if x.numel() > 100_000 else x),
    "a value of the trace": lambda node, v, x: v + torch.zeros(x.shape) + x * (1 - 1e-9 * x.numel()),
}


@pytest.mark.parametrize("what", LARGE)
def test_a_step_that_asks_for_a_large_size(what):
    """One of which a trace would take time and memory."""
    x = inputs("LIFNode", 3, 2, 70_000)
    node = Charge(LARGE[what])
    reference, got = run(node, "torch", x), run(node, "auto", x)
    assert_same("output", reference["output"], got["output"])
    with pytest.raises(BackendError, match=r"depends on the input's shape|operation mean"):
        run(node, "numba", x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", [LIFNode, ParametricLIFNode, neuron.IzhikevichNode, neuron.AdExNode])
def test_a_size_that_does_not_matter_costs_nothing(kind, dtype):
    """A tensor of this size would take more memory than there is."""
    node = kind(surrogate_function=surrogate.ATan()) if kind is LIFNode else kind()
    large, *_ = plans(node, (1 << 16, 1 << 30), dtype)
    small, *_ = plans(node, (7, 7), dtype)
    assert large == small


def test_a_trace_leaves_the_random_states_alone():
    import random

    torch.manual_seed(3)
    random.seed(3)
    node = Charge(lambda node, v, x: v + x * 1.0625 + x.abs() * random.random() * 0)
    expected = torch.rand(1)
    torch.manual_seed(3)
    node(X)
    assert torch.equal(expected, torch.rand(1))


def test_state_in_a_plain_attribute_is_adopted_and_then_woven():
    class Adopted(BaseNode):
        def __init__(self):
            super().__init__(step_mode="m")
            self.trace = 0.0

        def neuronal_charge(self, x):
            self.trace = self.trace * 0.5 + x
            self.v = self.v + self.trace

    node = Adopted()
    with pytest.warns(UserWarning, match="changed its attribute 'trace' from 0.0 to ") as caught:
        first = node(X)
    assert len(caught) == 1
    node.reset()
    assert node.trace == 0.0
    assert_same("again", first, node(X))
    assert "woven" in loom.explain(node, dims=1)
    assert_agree(node, X)


class Overridden(LIFNode):
    def single_step_forward(self, x):
        return super().single_step_forward(x * 2)


class OverriddenSequence(LIFNode):
    def multi_step_forward(self, x_seq):
        return super().multi_step_forward(x_seq * 2)


class OverriddenWholly(LIFNode):
    def multi_step_forward(self, x_seq):
        return torch.stack([self.single_step_forward(x) * 3 for x in x_seq])


class OverriddenForward(LIFNode):
    def forward(self, x):
        return super().forward(x * 2) * 3


@pytest.mark.parametrize("kind", [Overridden, OverriddenSequence, OverriddenWholly, OverriddenForward])
def test_overridden_methods_take_effect(kind):
    node = kind(tau=3.0, step_mode="m")
    output = node(X)
    plain = LIFNode(tau=3.0, step_mode="m", backend="torch")
    expected = plain(X if kind is OverriddenWholly else X * 2)
    times = 1 if kind in (Overridden, OverriddenSequence) else 3
    assert_same("output", expected * times, output)
    if kind is Overridden:
        assert "it overrides single_step_forward" in loom.explain(node)
        with pytest.raises(BackendError, match="it overrides single_step_forward"):
            run(node, "numba", X)


def test_a_neuron_that_never_asks_the_loom_is_not_said_to_be_woven():
    assert "is woven" not in loom.explain(OverriddenWholly(tau=3.0, step_mode="m"))
    assert "is woven" not in loom.explain(PSN(3))


def test_integer_buffers():
    class Indexed(BaseNode):
        def __init__(self):
            super().__init__(step_mode="m")
            self.register_buffer("count", torch.tensor(3))

        def neuronal_charge(self, x):
            self.v = self.v + x * self.count

    assert "its 'count' is a torch.int64" in right(Indexed(), X)


def test_memories_of_other_kinds():
    class Counting(BaseNode):
        def __init__(self, start):
            super().__init__(step_mode="m")
            self.register_memory("time", start)

        def neuronal_charge(self, x):
            self.v = self.v + x * (self.time % 2)
            self.time = self.time + 1

    for start in (0, torch.tensor(0), torch.zeros(40, dtype=torch.int64)):
        node = Counting(start)
        results = []
        for backend in ("torch", "auto"):
            node.backend = backend
            node.reset()
            output = node(X)
            results.append((output, node.time))
        assert_same("output", results[0][0], results[1][0])
        assert_same("time", results[0][1], results[1][1])


TRAPS = {
    "decimals": lambda node, v, x: v + x.round(decimals=1),
    "a sum of truth values": lambda node, v, x: v + ((x > 0) + (x > 1)).to(x.dtype),
    "a product of truth values": lambda node, v, x: v + ((x > 0) * (x > 1)).to(x.dtype),
    "truth values and numbers": lambda node, v, x: v + (x > 0) * x + 0.25 * (x > 1),
    "in place on an alias": lambda node, v, x: in_place_on_alias(v + x),
    "in place on data": lambda node, v, x: in_place_on_data(v + x),
    "in place on a clone": lambda node, v, x: in_place_on_clone(v + x),
    "a float64 detour": lambda node, v, x: (v.double() * 0.3 + x.double() * 0.7).to(x.dtype),
    "rounding to half": lambda node, v, x: v + x.half().to(x.dtype),
    "floor division": lambda node, v, x: v + torch.div(x, 0.1, rounding_mode="floor") * 0.1,
    "floor operator": lambda node, v, x: v + (x.detach() // 0.3) * 0.1,
    "truncated division": lambda node, v, x: v + torch.div(x, 0.1, rounding_mode="trunc") * 0.1,
    "a scaled sum": lambda node, v, x: torch.add(v, x, alpha=0.3),
    "a scaled difference": lambda node, v, x: torch.sub(x, v, alpha=0.3),
    "a truth value written to": lambda node, v, x: v + (x > 0).copy_(x).to(x.dtype),
    "nan to num": lambda node, v, x: v + torch.nan_to_num(x),
    "filled": lambda node, v, x: (v + x).masked_fill(x < 0, 0.1),
    "maximum": lambda node, v, x: torch.maximum(v * 0.5 + x, v),
    "minimum": lambda node, v, x: torch.minimum(v * 0.5 + x, x),
    "clamp by tensors": lambda node, v, x: (v + x).clamp(min=v - 1, max=v + 1),
    "set to a number": lambda node, v, x: torch.full_like(x, 0.7) + x,
    "division by an integer": lambda node, v, x: v + x / 3,
    "integer powers": lambda node, v, x: v + x**2 * 0.1 + x**3 * 0.01 + x**4 * 0.001,
    "xor": lambda node, v, x: v + ((x > 0) ^ (v > 0)).to(x.dtype),
    "not": lambda node, v, x: v + (~(x > 0)).to(x.dtype),
    "fmod": lambda node, v, x: v + torch.fmod(x, 0.3),
    "lerp": lambda node, v, x: torch.lerp(v, x, 0.3),
    "addcmul": lambda node, v, x: torch.addcmul(v, x, x, value=0.1),
    "a tensor written in the step": lambda node, v, x: v + x * torch.tensor(2.0) + torch.zeros(x.shape),
}


def in_place_on_alias(v):
    v.detach().mul_(0.5)
    return v


def in_place_on_data(v):
    v.data.mul_(0.5)
    return v


def in_place_on_clone(v):
    v.clone().mul_(0.5)
    return v


@pytest.mark.parametrize("trap", TRAPS)
def test_operations_mean_what_they_mean_in_pytorch(trap):
    """A plan has the results of the reference, or there is none. Interpreted, because that is quick."""
    node = Charge(TRAPS[trap])
    node.step_mode = "s"
    x = inputs("LIFNode", 333)
    x = torch.cat([x, (x * 10).round() / 10])
    try:
        assert_interpreted(node, x, values(1, *x.shape))
    except CannotWeave:
        right(node, x.repeat(3, 1))


@pytest.mark.parametrize("trap", ["maximum", "minimum", "filled"])
def test_common_operations_are_woven(trap):
    assert "is woven" in right(Charge(TRAPS[trap]), X)


def test_float64_is_not_rounded_through_float32():
    node = Charge(lambda node, v, x: v + x.float().to(x.dtype))
    node.step_mode = "m"
    x = X.double() + 1e-9
    reference, got = run(node, "torch", x), run(node, "auto", x)
    assert_same("v", reference["v"], got["v"])


def test_a_number_beyond_float32():
    right(Charge(lambda node, v, x: v + torch.where(x > 1e39, x, x * 0.5)), X)


def test_a_huge_number_in_double():
    """It overflows in float32, which nobody asked for."""
    node = IFNode(v_threshold=1e300, step_mode="m", backend="numba")
    assert node(X.double()).sum() == 0


def uses_loom(monkeypatch, node, x=X):
    calls = []
    find = select.find

    def counted(*args):
        calls.append(args)
        return find(*args)

    monkeypatch.setattr(select, "find", counted)
    node(x)
    monkeypatch.setattr(select, "find", find)
    return bool(calls)


def test_the_neuron_then_the_block_then_the_environment(monkeypatch):
    def node(backend="auto"):
        return LIFNode(step_mode="m", backend=backend)

    assert uses_loom(monkeypatch, node())
    assert not uses_loom(monkeypatch, node("torch"))
    monkeypatch.setenv("SPIKELOOM_BACKEND", "torch")
    assert not uses_loom(monkeypatch, node())
    assert uses_loom(monkeypatch, node("numba"))
    with loom.backend("numba"):
        assert uses_loom(monkeypatch, node())
        with loom.backend("torch"):
            assert not uses_loom(monkeypatch, node())
            assert uses_loom(monkeypatch, node("numba"))
        assert uses_loom(monkeypatch, node())
    assert not uses_loom(monkeypatch, node())
    monkeypatch.setenv("SPIKELOOM_BACKEND", "numba")
    with pytest.raises(BackendError):
        Recurrent()(X)
    with loom.backend("torch"):
        Recurrent()(X)
    monkeypatch.setenv("SPIKELOOM_BACKEND", "fast")
    with pytest.raises(BackendError, match=r"SPIKELOOM_BACKEND must be one of .*'numba'.*, got 'fast'"):
        node()(X)


def test_names_of_backends():
    with pytest.raises(ValueError, match="must be one of"):
        LIFNode(backend="jax")
    with pytest.raises(ValueError, match="must be one of"), loom.backend("cuda"):
        pass
    with pytest.warns(UserWarning, match="'cupy' is not needed") as caught:
        node = LIFNode(step_mode="m", backend="cupy")
    assert len(caught) == 1
    assert node.backend == "auto"
    node(X)


def test_a_block_ends_with_an_exception(monkeypatch):
    with pytest.raises(ZeroDivisionError), loom.backend("torch"):
        raise ZeroDivisionError
    assert uses_loom(monkeypatch, LIFNode(step_mode="m"))


def test_the_reason_is_told_once(caplog):
    node = Charge(FALLBACKS["cumsum"][0])
    select._told.clear()
    with caplog.at_level("INFO", logger="spikeloom.loom"):
        for _ in range(3):
            node.reset()
            node(X)
    told = [record.message for record in caplog.records if record.name == "spikeloom.loom"]
    assert len(told) == 1
    assert "Charge runs on the reference loop" in told[0]
    assert "cumsum" in told[0]


def test_an_error_names_the_neuron_in_its_network():
    net = nn.Sequential(nn.Linear(40, 40), Recurrent())
    net[1].backend = "numba"
    with pytest.raises(BackendError, match="Recurrent '1' cannot run with backend 'numba'"):
        net(X)


def test_explain():
    account = loom.explain(LIFNode(tau=2.0))
    for part in ("LIFNode is woven", "Forward plan", "Backward plan", "def forward_row_job(", "ge(", "bits"):
        assert part in account
    assert "by rounding" in loom.explain(ParametricLIFNode())


def test_explain_leaves_the_neuron_alone():
    node = LIFNode(tau=2.0)
    before = dict(node.__dict__)
    loom.explain(node)
    assert {name: value for name, value in node.__dict__.items() if name != "_graph"} == {
        name: value for name, value in before.items() if name != "_graph"
    }


def test_monitors_see_every_step():
    net = nn.Sequential(LIFNode(tau=3.0, step_mode="m"))
    with monitor.record(net, "v", "spike") as recording:
        output = net(X)
    reference = LIFNode(tau=3.0, step_mode="m", backend="torch", store_v_seq=True)
    assert_same("spike", reference(X), recording["spike"])
    assert_same("v", reference.v_seq, recording["v"])
    assert_same("output", output, recording["spike"])
    net[0].reset()
    assert_same("after", output, net(X))


def test_stored_potentials():
    for backend in ("torch", "numba"):
        node = LIFNode(tau=3.0, step_mode="m", backend=backend, store_v_seq=True)
        node(X)
        assert node.v_seq.shape == X.shape
        assert_same("last", node.v_seq[-1], node.v)
        node.reset()
        assert node.v_seq is None


def test_an_input_that_is_a_parameter():
    """An image that is optimised is a parameter, and a tensor like any other."""
    image = nn.Parameter(X.clone())
    LIFNode(tau=3.0, step_mode="m", backend="numba")(image).sum().backward()
    reference = X.clone().requires_grad_()
    LIFNode(tau=3.0, step_mode="m", backend="torch")(reference).sum().backward()
    assert_gradient("image", reference.grad, image.grad)


def test_outputs_may_be_changed_in_place():
    results = []
    for backend in ("torch", "numba"):
        node, leaf = LIFNode(tau=3.0, step_mode="m", backend=backend), X.clone().requires_grad_()
        counter = node(leaf)
        counter += node(leaf)
        counter.mul_(2)
        counter.sum().backward()
        results.append((counter.detach(), leaf.grad))
    assert_same("counter", results[0][0], results[1][0])
    assert_gradient("x", results[0][1], results[1][1])


def test_the_final_potential_may_be_changed_in_place():
    leaf = X.clone().requires_grad_()
    node = neuron.NonSpikingLIFNode(step_mode="m", backend="numba")
    output = node(leaf)
    kept = output.detach().clone()
    with torch.no_grad():
        node.v.add_(1)
    assert_same("output", kept, output.detach())
    output.sum().backward()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(mode):
    node = ParametricLIFNode(step_mode="m", backend="numba")
    with mode():
        output = node(X)
    assert not output.requires_grad
    assert_same("output", ParametricLIFNode(step_mode="m", backend="torch")(X).detach(), output.clone())
    node.reset()
    assert_agree(node, X)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_first_use_without_gradients_does_not_decide_the_gradients(mode):
    class Fresh(BaseNode):  # a class of its own, so that it was never woven before
        def __init__(self):
            super().__init__(step_mode="m", backend="numba")
            self.gain = nn.Parameter(torch.tensor(0.7))

        def neuronal_charge(self, x):
            self.v = self.v * 0.9 + x * self.gain

    node = Fresh()
    with mode():
        node(X)
    node.reset()
    reference = assert_agree(node, X)
    assert reference["gradient of gain"] != 0


def test_memories_of_inference_may_be_trained_on():
    node = LIFNode(tau=3.0, step_mode="m", backend="numba")
    with torch.inference_mode():
        node(X)
    leaf = X.clone().requires_grad_()
    node(leaf).sum().backward()
    assert leaf.grad.abs().sum() > 0


def test_double_backward_is_right_or_raises():
    def penalty(backend):
        node, leaf = LIFNode(tau=3.0, step_mode="m", backend=backend), X.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(node(leaf).sum(), leaf, create_graph=True)
        (gradient.square().sum() + 0.0 * leaf.sum()).backward()
        return leaf.grad

    reference = penalty("torch")
    assert reference.abs().sum() > 0
    try:
        got = penalty("auto")
    except RuntimeError as error:
        assert "twice" in str(error) or "double" in str(error)  # noqa: PT017
    else:
        assert_gradient("x", reference, got)


def loss_of(node, x):
    def loss(w):
        node.reset()
        output = torch.func.functional_call(node, {"w": w}, (x,))
        return (output * torch.arange(40.0)).sum() + node.v.sum()

    return loss


def test_functional_call():
    w, results = torch.tensor(0.3, requires_grad=True), []
    for backend in ("torch", "numba"):
        node = ParametricLIFNode(step_mode="m", backend=backend)
        results.append(torch.autograd.grad(loss_of(node, X)(w), w)[0])
        node.reset()
    assert results[0] != 0
    assert_gradient("w", *results)


@pytest.mark.parametrize("transform", ["grad", "vmap", "grad of vmap", "vmap of grad", "jacrev"])
def test_transforms_of_parameters(transform):
    """The input is a plain tensor; only the parameters are wrapped."""
    results = []
    for backend in ("torch", "auto"):
        node = ParametricLIFNode(step_mode="m", backend=backend)
        loss, many = loss_of(node, X), torch.tensor([0.1, 0.7, -0.5])
        with torch.no_grad():
            results.append(
                {
                    "grad": lambda loss=loss, many=many: torch.func.grad(loss)(many[0]),
                    "vmap": lambda loss=loss, many=many: torch.func.vmap(loss)(many),
                    "grad of vmap": lambda loss=loss, many=many: torch.func.grad(
                        lambda w: torch.func.vmap(loss)(w).sum()
                    )(many),
                    "vmap of grad": lambda loss=loss, many=many: torch.func.vmap(torch.func.grad(loss))(many),
                    "jacrev": lambda loss=loss, many=many: torch.func.jacrev(loss)(many[0]),
                }[transform]()
            )
    assert results[0].abs().sum() > 0
    assert_gradient(transform, *results)


@pytest.mark.parametrize("transform", ["grad", "vmap", "vmap of grad"])
def test_transforms_of_inputs(transform):
    results = []
    for backend in ("torch", "auto"):
        node = LIFNode(tau=3.0, step_mode="m", backend=backend)

        def loss(x, node=node):
            node.reset()
            output = (node(x) * torch.arange(x.numel()).reshape(x.shape)).sum()
            node.reset()
            return output

        batch = torch.stack([X, X * 0.5, X.flip(0)])
        results.append(
            {
                "grad": lambda loss=loss: torch.func.grad(loss)(X),
                "vmap": lambda loss=loss, batch=batch: torch.func.vmap(loss)(batch),
                "vmap of grad": lambda loss=loss, batch=batch: torch.func.vmap(torch.func.grad(loss))(batch),
            }[transform]()
        )
    assert_gradient(transform, *results)


def test_a_transform_of_a_memory():
    results = []
    for backend in ("torch", "auto"):
        node = LIFNode(tau=3.0, step_mode="m", backend=backend)

        def loss(v, node=node):
            node.reset()
            node.v = v
            output = (node(X) * torch.arange(40.0)).sum()
            node.reset()
            return output

        results.append(torch.func.grad(loss)(torch.full((40,), 0.2)))
    assert results[0].abs().sum() > 0
    assert_gradient("v", *results)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*leaf Tensor.*:UserWarning"
)  # of Dynamo's own
def test_compiled_by_pytorch_with_the_eager_backend():
    torch._dynamo.reset()
    for node in (LIFNode(tau=3.0, step_mode="m"), ParametricLIFNode(step_mode="m")):
        compiled = torch.compile(node, backend="eager", fullgraph=False)
        leaf = X.clone().requires_grad_()
        output = compiled(leaf)
        output.sum().backward()
        node.reset()
        other = X.clone().requires_grad_()
        reference = node(other)
        reference.sum().backward()
        assert_same("output", reference.detach(), output.detach())
        assert_gradient("x", other.grad, leaf.grad)
        node.reset()


def test_traces_of_pytorch_hold_the_neuron_and_not_its_results():
    from torch.fx.experimental.proxy_tensor import make_fx

    node = LIFNode(tau=3.0, step_mode="m")
    for mode in ("real", "fake"):
        node.reset()
        graph = make_fx(node, tracing_mode=mode)(X)
        node.reset()
        assert_same(mode, node(X * 0.5), graph(X * 0.5))


def test_saved_tensor_hooks_may_move_what_is_saved():
    leaf = X.t().contiguous().t().requires_grad_()
    node = LIFNode(tau=3.0, step_mode="m", backend="numba")
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: tensor.numpy().copy(order="F"), torch.from_numpy
    ):
        output = node(leaf)
    output.sum().backward()
    reference = X.clone().requires_grad_()
    LIFNode(tau=3.0, step_mode="m", backend="torch")(reference).sum().backward()
    assert_gradient("x", reference.grad, leaf.grad)


def test_inputs_that_numpy_cannot_see():
    z = torch.complex(X, X * 0.7)
    view = z.conj().imag
    assert view.is_neg()
    node = LIFNode(tau=3.0, step_mode="m")
    assert_same("negated", LIFNode(tau=3.0, step_mode="m", backend="torch")(view), node(view))


class OldStyle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * ctx.alpha / (1 + (ctx.alpha * x) ** 2), None


class WithHeaviside(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.heaviside(x, torch.ones_like(x))

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * (x.abs() < 1)


class NewStyle(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return (x >= 0).float()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        grad = grad_output.clone()
        grad[x.abs() > 0.5] = 0.0
        return grad


class InPlaceStyle(torch.autograd.Function):
    """As in many tutorials: the output is filled where the input is positive."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        out = torch.zeros_like(x)
        out[x > 0] = 1.0
        return out

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output / (10.0 * x.abs() + 1.0) ** 2


def test_user_surrogates():
    accounts = [
        right(IFNode(surrogate_function=function, step_mode="m"), X)
        for function in (
            lambda x: OldStyle.apply(x, 2.0),
            NewStyle.apply,
            InPlaceStyle.apply,
            WithHeaviside.apply,
            surrogate.from_function(torch.sigmoid),
            surrogate.from_function(torch.sigmoid, lambda x: (x.abs() < 1).to(x)),
        )
    ]
    assert "is woven" in accounts[0]
    assert "is woven" in accounts[4]
    assert "is woven" in accounts[5]


def test_no_warning_reaches_the_user():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LIFNode(tau=3.0, step_mode="m")(X)
        Recurrent()(X)


def test_what_was_woven_does_not_keep_a_network_alive():
    import gc
    import weakref

    node = Charge(lambda node, v, x: v + x)
    node.owner = [nn.Linear(2, 2)]
    reference = weakref.ref(node.owner[0])
    node(X)
    del node
    gc.collect()
    assert reference() is None


def test_a_count_within_an_object_is_kept_by_the_reference():
    results = []
    for backend in ("torch", "auto"):
        node = Charge(count_in_an_object, backend=backend)
        node.meter = types.SimpleNamespace(count=0)
        node(X)  # the first call finds out
        node.reset()
        node.meter.count = 0
        results.append(node(X))
        assert node.meter.count == len(X)
    assert_same("output", *results)


def test_without_numbas_compiler_the_reference_runs(monkeypatch):
    """As with NUMBA_DISABLE_JIT=1, which debuggers like."""
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    node = LIFNode(tau=123.0, step_mode="m")
    assert node(torch.ones(2, 3)).shape == (2, 3)
    node.reset()
    node.backend = "numba"
    with pytest.raises(BackendError, match="NUMBA_DISABLE_JIT"):
        node(torch.ones(2, 3))


def test_everything_imports_without_numbas_compiler():
    text = """
    import spikeloom.ann2snn, spikeloom.event, spikeloom.exchange, spikeloom.learning, spikeloom.timing
    from spikeloom.learning.diehl_cook import input
    from spikeloom.loom import numba_math
    print(spikeloom.timing.SpikeProp(2, 3)(torch.rand(4, 2)).shape)
    """
    assert script(text, NUMBA_DISABLE_JIT="1") == "torch.Size([4, 3])"


def test_a_memory_that_is_written_in_capitals_is_asked_about():
    class Typo(neuron.BaseNode):
        def neuronal_charge(self, x):
            self.V = self.v + x

    account = loom.explain(Typo(step_mode="m"))
    assert "changes the attribute 'V'; write self.v if that is meant, or register it as a memory" in account
