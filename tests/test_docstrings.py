"""Docstrings of neurons and surrogates say where their equations were published."""

import inspect
import re

import pytest

from spikeloom import neuron, surrogate

SOURCE = re.compile(r"^Source: [^\W\d_].*(?:\n +.*)*?\b(?:19|20)\d\d\b", re.MULTILINE)
"""A section of its own, with an author and a year."""
VARIANT = re.compile(r":class:`(\w+)` (?:with|under) ")
WITHOUT = {
    neuron: {
        *("BaseNode", "SimpleBaseNode", "NonSpikingBaseNode"),  # the equations are those of their subclasses
        *("NonSpikingIFNode", "NonSpikingLIFNode"),  # sums
    },
    surrogate: {
        "FunctionSurrogate",  # a curve of one's own
        # SpikingJelly's, of which no publication is known:
        *("PiecewiseLeakyReLU", "NonzeroSignLogAbs", "LeakyKReLU", "SquarewaveFourierSeries"),
        "FakeNumericalGradient",
    },
}


def names_a_source(cls):
    """Whether a class does, or the one that it is under another name or with other arguments."""
    text = inspect.cleandoc(cls.__doc__)
    same = VARIANT.match(text)
    return bool(SOURCE.search(text)) or (
        same is not None and names_a_source(getattr(inspect.getmodule(cls), same[1]))
    )


@pytest.mark.parametrize("module", WITHOUT, ids=lambda module: module.__name__)
def test_classes_name_the_source_of_their_equations(module):
    classes = {name for name in module.__all__ if inspect.isclass(getattr(module, name))}
    assert {name for name in classes if not names_a_source(getattr(module, name))} == WITHOUT[module]
