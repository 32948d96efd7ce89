"""Votes, and a look at shapes."""

import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import functional, layer
from spikeloom.errors import ShapeError


def test_votes_are_means_of_neighbours():
    votes = layer.VotingLayer(2, step_mode="m")
    x = torch.arange(12.0).view(2, 1, 6)
    assert_close("votes", torch.tensor([[[0.5, 2.5, 4.5]], [[6.5, 8.5, 10.5]]]), votes(x))
    functional.set_step_mode(nn.Sequential(votes), "s")
    assert votes.step_mode == "s"
    assert_close("single step", torch.tensor([0.5, 2.5, 4.5]), votes(x[0, 0]))
    assert votes(torch.rand(0, 6)).shape == (0, 3)
    assert votes(x[0, 0] > 2).tolist() == [0.0, 0.5, 1.0]


def test_leftover_neurons_are_refused():
    with pytest.raises(ShapeError, match="multiple of voting_size=10"):
        layer.VotingLayer()(torch.rand(2, 101))
    with pytest.raises(ValueError, match="`voting_size`"):
        layer.VotingLayer(0)


def test_print_shape(capsys):
    x = torch.rand(2, 3)
    assert layer.PrintShapeModule("here")(x) is x
    assert capsys.readouterr().out == "here torch.Size([2, 3])\n"
