"""What an earlier look at a neuron found is not believed once anything that decides its step changed."""

import array
import dataclasses
import gc
import math
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from compare import assert_same
from spikeloom import neuron, surrogate
from spikeloom.loom.fingerprint import look


class Leaky(neuron.BaseNode):
    """A neuron with everything that may change: numbers, tensors in all places, another module."""

    scale = 1.0

    def __init__(self):
        super().__init__(step_mode="m")
        self.tau, self.shift, self.sizes, self.kind = 2.0, 0, (1, 2), torch.float32
        self.weight = nn.Parameter(torch.ones(3))
        self.register_parameter("bias", None)
        self.register_buffer("mask", torch.ones(3))
        self.plain = torch.ones(3)

    def neuronal_charge(self, x):
        self.v = (
            self.v + (x * self.weight * self.mask + self.plain - self.v + self.shift) / self.tau * self.scale
        )


def _set(name, value):
    return lambda node: setattr(node, name, value)


CHANGES = {
    "a number": _set("tau", 3.0),
    "a number's type": _set("shift", False),
    "a tuple": _set("sizes", (1, 3)),
    "a type": _set("kind", torch.float64),
    "no reset": _set("v_reset", None),
    "a new attribute": _set("gain", 1.0),
    "one attribute for another": lambda node: (delattr(node, "sizes"), setattr(node, "gain", 1.0)),
    "a number becomes a tensor": _set("shift", torch.zeros(3)),
    "a tensor becomes a number": _set("plain", 1.0),
    "a number becomes a list": _set("shift", [0]),
    "a parameter is frozen": lambda node: node.weight.requires_grad_(False),
    "a parameter's type": lambda node: node.double(),
    "a parameter where there was none": _set("bias", nn.Parameter(torch.ones(3))),
    "no parameter where there was one": _set("weight", None),
    "a parameter is gone": lambda node: delattr(node, "weight"),
    "a tensor asks for gradients": lambda node: node.plain.requires_grad_(),
    "a buffer is gone": lambda node: delattr(node, "mask"),
    "a buffer becomes a parameter": lambda node: (
        delattr(node, "mask"),
        setattr(node, "mask", nn.Parameter(torch.ones(3))),
    ),
    "one more memory": lambda node: node.register_memory("trace", 0.0),
    "an attribute becomes a memory": lambda node: node.register_memory("shift", 0),
    "another surrogate": _set("surrogate_function", surrogate.ATan()),
    "a surrogate's number": lambda node: setattr(node.surrogate_function, "alpha", 5.0),
    "evaluation": lambda node: node.eval(),
    "another class": _set("__class__", neuron.IFNode),
    "a method of its own": lambda node: setattr(node, "neuronal_fire", lambda: node.v),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_seen_and_so_is_the_way_back(change):
    node = Leaky()
    before = look(node)[0]
    assert look(node)[0] == before == look(Leaky())[0]
    change(node)
    after = look(node)[0]
    assert after != before
    assert look(node)[0] == after
    assert look(Leaky())[0] == before


def test_a_class_that_changes(monkeypatch):
    node, before = Leaky(), look(Leaky())[0]
    assert look(node)[0] == before
    monkeypatch.setattr(Leaky, "scale", 2.0)
    assert look(node)[0] != before


def test_what_changes_within_an_attribute_is_seen_each_time():
    node, seen = Leaky(), []
    node.numbers = [1.0]
    for number in (1.0, 2.0, 3.0):
        node.numbers[0] = number
        seen.append(look(node)[0])
    assert len({str(one) for one in seen}) == 3


def test_values_of_tensors_and_memories_do_not_matter():
    node = Leaky()
    before = look(node)[0]
    node(torch.rand(4, 3))
    with torch.no_grad():
        node.weight.fill_(2.0)
    node.mask = torch.zeros(3)
    node.weight = nn.Parameter(torch.zeros(3))
    assert look(node)[0] == before


def test_the_tensors_are_those_of_now():
    node = Leaky()
    node.inner = nn.Linear(2, 2)
    names = ["weight", "mask", "plain", "inner.weight", "inner.bias"]
    assert [name for name, _ in look(node)[1]] == names
    node.plain, node.bias = torch.zeros(3), nn.Parameter(torch.zeros(3))
    found = dict(look(node)[1])
    assert list(found) == ["weight", "bias", *names[1:]]
    assert found["plain"] is node.plain
    assert found["bias"] is node.bias


def test_what_is_known_of_a_neuron_does_not_keep_it_alive():
    node = Leaky()
    node.net = nn.Sequential(node.surrogate_function)
    node.weight.register_hook(node.neuronal_charge)
    look(node)
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None


def test_a_neuron_that_its_own_step_can_reach_is_not_kept_alive():
    kept = [None] * 20

    class Reaching(neuron.IFNode):
        def neuronal_charge(self, x):
            self.v = self.v + x * (1.0 if kept is not None else 2.0)

    node = kept[0] = Reaching()
    look(node)
    gone = weakref.ref(node)
    kept = node = None
    gc.collect()
    assert gone() is None


@dataclasses.dataclass(slots=True)
class Slotted:
    gain: float


class OneSlot:
    __slots__ = "gain"

    def __init__(self):
        self.gain = 1.0


class Doubles:
    """Has nothing but a method."""

    def __call__(self, x):
        return 2 * x


SLOTTED = Slotted(1.0)


@pytest.mark.parametrize(
    ("first", "change", "factor"),
    [
        (lambda: Slotted(1.0), lambda node: setattr(node.held, "gain", 0.1), lambda held: held.gain),
        (lambda: SLOTTED, lambda _node: setattr(SLOTTED, "gain", 0.1), lambda _held: SLOTTED.gain),
        (OneSlot, lambda node: setattr(node.held, "gain", 0.1), lambda held: held.gain),
        (Doubles, lambda _node: setattr(Doubles, "__call__", lambda _self, x: 7 * x), lambda held: held(0.1)),
        (lambda: array.array("f", [1.0]), lambda node: node.held.__setitem__(0, 0.1), lambda held: held[0]),
        (
            lambda: np.array([255], np.uint8),
            lambda node: setattr(node, "held", np.array([-1], np.int8)),
            lambda held: float(held[0]),
        ),
        (lambda: 0.0, lambda node: setattr(node, "held", -0.0), lambda held: math.atan2(0.0, held)),
    ],
    ids=["slots", "slots elsewhere", "a slot", "a method", "array", "type of an array", "sign of zero"],
)
def test_settings_that_are_easily_overlooked(first, change, factor):
    class Scaled(neuron.BaseNode):
        def neuronal_charge(self, x):
            self.v = self.v + x * factor(self.held)

    SLOTTED.gain = 1.0
    node, x = Scaled(step_mode="m", backend="numba"), torch.full((3, 4), 0.6)
    node.held = first()
    node(x)
    change(node)
    found = []
    for backend in ("numba", "torch"):
        node.reset()
        node.backend = backend
        found.append(node(x))
    assert_same("spikes", found[1], found[0])
