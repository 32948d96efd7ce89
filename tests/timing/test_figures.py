"""Figures of spike times: which spikes stand where."""

import pytest
import torch
from torch import nn

from spikeloom.errors import ShapeError
from spikeloom.timing import EventProp, PeakPotential, ReLPSPLinear, SpikeProp, Tempotron
from spikeloom.timing.figures import SHOWN, draw_pattern, draw_spike_times
from spikeloom.timing.potential_figures import draw_potentials


def panels(net, times):
    """The title of each panel, and the (time, neuron) of its spikes."""
    axes = draw_spike_times(net, times)["raster"].axes
    return {ax.get_title(): sorted(map(tuple, ax.lines[0].get_xydata().tolist())) for ax in axes}


def test_spikes_stand_at_their_time_and_neuron():
    layer = ReLPSPLinear(3, 2, T=4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]))
    assert panels(nn.Sequential(layer), torch.tensor([[1.0, -1.0, 3.0]])) == {
        "input: 2 of 3 neurons spike": [(1, 0), (3, 2)],
        "layer '0': 1 of 2 neurons spike": [(2, 0)],
    }


def test_of_many_neurons_some_are_shown_and_all_are_counted():
    many = 2 * SHOWN
    drawn = panels(nn.Sequential(ReLPSPLinear(many, 1, T=4)), torch.ones(1, many))
    assert drawn[f"input: {many} of {many} neurons spike, one in 2 drawn"] == [
        (1, n) for n in range(0, many, 2)
    ]


def test_all_spikes_of_a_neuron_stand_in_one_row():
    net = nn.Sequential(SpikeProp(1, 2, num_spikes=2), nn.Identity())
    nn.init.constant_(net[0].weight, 3.0)
    first, second = net(torch.zeros(1, 1))[0, 0].tolist()
    assert 0 < first < second
    drawn = panels(net, torch.zeros(1, 1))["layer '0': 2 of 2 neurons spike"]
    assert drawn == [(first, 0), (first, 1), (second, 0), (second, 1)]


def test_potentials_of_neurons_that_fire_and_of_those_that_are_read():
    net = nn.Sequential(EventProp(3, 4, num_spikes=2), PeakPotential(4, 2))
    nn.init.constant_(net[0].weight, 6.0)
    figures = draw_potentials(net, torch.tensor([[0.0, 2.0, -1.0]]))
    assert [ax.get_title() for ax in figures["raster"].axes] == [
        "input: 2 of 3 neurons spike",
        "layer '0': 4 of 4 neurons spike",
    ]
    firing, read = figures["membrane"].axes
    shown = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in (firing, read)]
    assert shown[0] == [*(f"neuron {n}" for n in range(4)), "threshold", "spike"]
    assert shown[1] == ["neuron 0", "neuron 1"]
    assert firing.get_title().endswith("4 of 4 neurons, which fire up to 2 times")
    spikes = firing.lines[-1].get_xdata()
    assert sorted(spikes.tolist()) == sorted(net[0](torch.tensor([[0.0, 2.0, -1.0]])).flatten().tolist())
    peaks = read.lines[-1].get_ydata()
    expected = net(torch.tensor([[0.0, 2.0, -1.0]]))[0]
    assert peaks.tolist() == pytest.approx(expected.tolist(), rel=1e-3)


def test_the_time_has_a_unit():
    net, times = nn.Sequential(SpikeProp(2, 2)), torch.tensor([[1.0, 2.0]])
    for figure in draw_potentials(net, times, xlabel="time in ms").values():
        assert figure.axes[-1].get_xlabel() == "time in ms"


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ShapeError, match=r"`times` must be one pattern \[1, \*\], got \[2, 3\]"):
        draw_spike_times(nn.Sequential(ReLPSPLinear(3, 2, T=4)), torch.ones(2, 3))
    with pytest.raises(ShapeError, match=r"one pattern \[in_features\], got \[2, 3\]"):
        draw_pattern(Tempotron(3, 2, T=4), torch.ones(2, 3))
    with pytest.raises(ValueError, match="`net` must have a layer on spike times"):
        draw_spike_times(nn.Sequential(nn.Flatten()), torch.ones(1, 3))


class Elsewhere(torch.Tensor):
    """As a tensor on another device: NumPy gets it from the CPU only."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert a tensor on another device to numpy")

    __array__ = numpy


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(EventProp(2, 2, backend="torch"), PeakPotential(2, 2, backend="torch")),
        nn.Sequential(SpikeProp(2, 2, backend="torch")),
    ],
)
def test_potentials_are_fetched_from_another_device(net):
    assert len(draw_potentials(net, torch.tensor([[1.0, 2.0]]).as_subclass(Elsewhere))) == 2
