"""Errors: their family, close matches, and the module's place in the network that is running."""

import pytest
import torch
from torch import nn

from spikeloom import errors, functional, neuron
from spikeloom.errors import ForgottenResetError, ShapeError, describe, suggest


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ForgottenResetError, RuntimeError),
        (errors.ShapeError, ValueError),
        (errors.UnknownNameError, KeyError),
        (errors.DataError, Exception),
        (errors.CheckpointError, Exception),
        (errors.RunError, Exception),
    ],
)
def test_each_error_is_ours_and_what_python_would_raise(kind, builtin):
    assert issubclass(kind, errors.SpikeloomError)
    assert issubclass(kind, builtin)
    assert str(kind("what is wrong")) == "what is wrong"  # KeyError alone would print it in quotes


def test_suggest_gives_the_closest_first():
    assert suggest("lif-f", ["blobs", "lif-fc", "lif-conv"]).startswith("Did you mean 'lif-fc'")


def test_suggest_gives_at_most_three():
    assert suggest("name", [f"name{n}" for n in range(9)]).count("'name") == 3


def test_suggest_lists_everything_when_nothing_is_close():
    assert suggest("xyz", ["one", "two"]) == "Known: one, two."
    assert suggest("xyz", []) == "Known: none."
    assert suggest("xyz", iter({"b": 1, "a": 2})) == "Known: a, b."


def test_describe_without_a_network_names_the_class():
    assert describe(neuron.LIFNode()) == "LIFNode"
    assert describe(torch.ones(1)) == "Tensor"


class Deep(nn.Module):
    """A network of networks, whose neuron is called in a forward of its own."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), neuron.LIFNode()) for _ in range(2)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def test_an_error_names_the_place_in_the_outermost_network():
    net = nn.Sequential(Deep(), nn.Identity())
    net(torch.rand(3, 2))
    net[0].blocks[0][1].reset()
    with pytest.raises(ShapeError, match=r"^LIFNode '0\.blocks\.1\.1' remembers"):
        net(torch.rand(5, 2))


def test_an_error_names_the_place_from_where_the_network_was_called():
    net = Deep()
    net(torch.rand(3, 2)).sum().backward()
    with pytest.raises(ForgottenResetError, match=r"^LIFNode 'blocks\.0\.1': its memory 'v'"):
        net(torch.rand(3, 2))
    with pytest.raises(ForgottenResetError, match=r"^LIFNode '1': its memory 'v'"):
        net.blocks[1](torch.rand(3, 2))


def test_an_error_within_a_loop_over_time_names_the_place():
    net = nn.Sequential(nn.Linear(2, 2), neuron.IFNode())
    functional.multi_step_forward(torch.rand(2, 3, 2), net)
    with pytest.raises(ShapeError, match=r"^IFNode '1' remembers"):
        functional.multi_step_forward(torch.rand(2, 4, 2), net)


def test_describe_asks_only_networks():
    """A caller whose ``self`` is something else is passed over."""

    class Caller:
        def describe(self, module):
            return describe(module)

    assert Caller().describe(neuron.IFNode()) == "IFNode"
