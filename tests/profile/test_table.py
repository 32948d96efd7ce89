"""A profile as text and as a figure."""

import pytest
import torch
from torch import nn

from spikeloom import functional, layer, neuron, profile
from spikeloom.profile import table


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9.876, "9.88"), (999.4, "999"), (999.6, "1 k"), (12345, "12.3 k"), (2.5e7, "25 M")],
)
def test_numbers_have_three_digits_and_a_prefix(number, text):
    assert table.si(number) == text


def test_energies_and_bytes_have_units():
    assert [table.joules(x) for x in (0.9, 1234, 2e6, 3e9)] == ["0.9 pJ", "1.23 nJ", "2 uJ", "3 mJ"]
    assert [table.size(x) for x in (12, 1536, 2**21, 2**30)] == ["12 B", "1.5 KiB", "2 MiB", "1 GiB"]


def network():
    net = nn.Sequential(layer.Linear(2, 2, bias=False), neuron.IFNode(), nn.Sequential(layer.Linear(2, 1)))
    nn.init.constant_(net[0].weight, 0.5)
    functional.set_step_mode(net, "m")
    return net


X = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])[:, None]  # [T=4, N=1, 2]


def test_the_table_has_a_row_for_each_layer_and_the_totals():
    assert str(profile.count(network(), X)).splitlines() == [
        "layer  kind    output  parameters   input  firing  ANN MACs  ACs  MACs",
        "----------------------------------------------------------------------",
        "0      Linear  2                4  50.00%                 4    8     0",
        "1      IFNode  2                           50.00%",
        "2.0    Linear  1                3  50.00%                 2    4     0",
        "----------------------------------------------------------------------",
        "total                           7                         6   12     0",
    ]


def test_the_energy_names_its_constants():
    snn, ann = table.energy_lines(profile.count(network(), X))
    ratio = "0.391 times that of the ANN  (12 ACs x 0.9 pJ + 0 MACs x 4.6 pJ)"
    assert snn == f"energy of the SNN  10.8 pJ per sample, {ratio}"
    assert ann == "energy of the ANN  27.6 pJ per sample  (6 MACs x 4.6 pJ)"


def test_both_ends_of_a_long_name_are_shown():
    assert table.shortened("blocks.12.attention.attention_neuron") == "blocks.12.att..ention_neuron"
    assert table.shortened("short") == "short"


def test_memory_as_a_table():
    memory = profile.TrainingMemory(1024, 512, 2048, 8, {5: 10240, 10: 20480})
    assert table.memory_table(memory) == [
        "parameters 1 KiB, gradients 512 B, optimiser 2 KiB",
        "T                                5      10",
        "kept for the backward pass  10 KiB  20 KiB",
        "each time step adds 2 KiB",
    ]


@pytest.mark.parametrize("with_memory", [True, False])
def test_the_figure_shows_what_was_counted(with_memory):
    net = network()
    memory = profile.training_memory(net, X) if with_memory else None
    figure = profile.draw_profile(profile.count(net, X), memory, "title")
    panels = figure.axes
    assert len(panels) == 2 + with_memory
    assert [bar.get_width() for bar in panels[0].patches] == [0.5]
    assert [bar.get_width() for bar in panels[1].patches] == pytest.approx([7.2, 3.6, 18.4, 9.2])
    assert [text.get_text() for text in panels[1].get_yticklabels()] == ["0", "2.0"]
    if with_memory:
        steps, saved = panels[2].lines[0].get_data()
        assert steps.tolist() == [2, 4, 8]
        assert saved.tolist() == pytest.approx([number / 2**20 for number in memory.saved.values()])
