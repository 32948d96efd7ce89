"""Whole networks made event-driven: what they give, and what they say that they did."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from model import narrow
from spikeloom import ann2snn, event, functional, layer, model, neuron, profile
from spikeloom.event.layers import EventDriven
from spikeloom.layer import LinearRecurrentContainer, SeqToANNContainer


def run(net, x):
    with torch.no_grad(), functional.fresh_state(net):
        return net(x)


def spiking(*modules):
    net = nn.Sequential(*modules)
    functional.set_step_mode(net, "m")
    return net


def spikes(*shape, rate=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).float()


@pytest.mark.parametrize("name", model.MODELS.names())
def test_every_network(name):
    """In float64, in which rounding turns no spike."""
    torch.manual_seed(0)
    image = narrow.image_for(name)
    net = narrow.make_for_evaluation(name, image)
    fast = event.event_driven(net)
    torch.testing.assert_close(run(fast, image), run(net, image))
    counted = profile.count(net, image, narrow.T)
    found = event.report(fast, num_samples=narrow.N)
    rows = {row.name: row for row in counted.layers if row.input_rate is not None}
    assert {row.name for row in found.layers} | set(found.others) >= rows.keys()
    for row in found.layers:
        assert row.operations == rows[row.name].acs + rows[row.name].macs, row.name
        assert row.density == pytest.approx(rows[row.name].input_rate)


def test_single_steps_give_what_a_sequence_gives():
    net = spiking(
        layer.Conv2d(1, 4, 3), neuron.LIFNode(), layer.Flatten(), layer.Linear(4 * 6 * 6, 5), neuron.IFNode()
    )
    x = spikes(6, 2, 1, 8, 8)
    fast = event.event_driven(net)
    expected = run(net, x)
    assert torch.equal(run(fast, x), expected)
    functional.set_step_mode(fast, "s")
    with torch.no_grad():
        assert torch.equal(torch.stack([fast(one) for one in x]), expected)


def test_a_stream_in_parts_remembers_what_came_before():
    net = spiking(layer.Linear(30, 20), neuron.LIFNode(), layer.Linear(20, 5), neuron.LIFNode())
    x = spikes(9, 2, 30)
    fast = event.event_driven(net)
    with torch.no_grad():
        parts = torch.cat([fast(x[:1]), fast(x[1:5]), fast(x[5:])])
    assert torch.equal(parts, run(net, x))


def test_the_network_is_left_as_it_was():
    net = spiking(layer.Linear(4, 3), neuron.IFNode(), layer.Dropout(0.9)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fast = event.event_driven(net)
    run(fast, spikes(3, 2, 4))
    assert type(net[0]) is layer.Linear
    assert net.training
    assert net[0].weight.requires_grad
    assert not fast.training
    assert not fast[0].weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert fast.state_dict().keys() == before.keys()


def test_layers_in_containers():
    net = nn.Sequential(
        SeqToANNContainer(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)),
        neuron.IFNode(step_mode="m"),
        layer.Flatten(step_mode="m"),
        nn.Linear(3 * 36, 7),
        LinearRecurrentContainer(neuron.IFNode(), 7, 7, step_mode="m"),
    ).eval()
    x = spikes(4, 2, 1, 8, 8)
    fast = event.event_driven(net)
    assert torch.equal(run(fast, x), run(net, x))
    assert len(event.report(fast).layers) == 3


def test_a_converted_network():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)).eval()
    images = torch.rand(3, 1, 8, 8)
    snn = ann2snn.convert(ann, images, "max").double()
    functional.set_step_mode(snn, "m")
    x = images.double().expand(8, *images.shape)
    fast = event.event_driven(snn)
    torch.testing.assert_close(run(fast, x), run(snn, x))
    assert event.report(fast).operations < event.report(fast).dense_operations


def test_work_is_counted_until_it_is_reset():
    net, x = event.event_driven(nn.Linear(4, 3)), spikes(5, 4)
    run(net, x), run(net, x)
    assert event.report(net).operations == 6 * int(x.sum())
    assert event.report(net, num_samples=10).operations == 0.6 * int(x.sum())
    event.reset_work(net)
    assert event.report(net).operations == 0
    assert event.report(net).layers[0].density is None


def test_the_report_is_a_table():
    net = event.event_driven(spiking(layer.Linear(40, 30), neuron.IFNode(), nn.Conv1d(1, 1, 1)))
    with torch.no_grad():
        net[0](torch.ones(1, 1, 40))
    assert str(event.report(net)) == (
        "layer  kind         inputs not 0  operations  of all inputs\n"
        "-----------------------------------------------------------\n"
        "0      EventLinear       100.00%       1.2 k          1.2 k\n"
        "-----------------------------------------------------------\n"
        "total                                  1.2 k          1.2 k\n"
        "not event-driven: 2"
    )


class Doubled(nn.Linear):
    """A layer that computes its weights."""

    def forward(self, input):
        return nn.functional.linear(input, 2 * self.weight, self.bias)


def test_layers_that_compute_their_weights_are_left_alone():
    parametrized = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    reflecting = nn.Conv2d(1, 1, 1, padding=1, padding_mode="reflect")
    for module in (Doubled(4, 4), parametrized, reflecting):
        net = event.event_driven(nn.Sequential(module, nn.Linear(4, 4)))
        assert not isinstance(net[0], EventDriven)
        assert event.report(net).others == ("0",)
        with pytest.raises(ValueError, match="must have a Linear or Conv2d"):
            event.event_driven(module)


def test_weights_that_hooks_compute_have_to_be_made_plain():
    pruned = prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)
    with pytest.raises(ValueError, match=r"that copy.deepcopy can copy.*prune.remove"):
        event.event_driven(pruned)
    prune.remove(pruned, "weight")
    x = spikes(2, 4)
    torch.testing.assert_close(run(event.event_driven(pruned), x), run(pruned, x))


def test_wrong_arguments_name_the_cure():
    with pytest.raises(TypeError, match="must be a network, got a Tensor"):
        event.event_driven(torch.ones(1))
    for part in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="`dense_above` must be a part of the inputs"):
            event.event_driven(nn.Linear(1, 1), dense_above=part)
    with pytest.raises(ValueError, match="must be event-driven"):
        event.report(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="`num_samples` must be at least 1"):
        event.report(event.event_driven(nn.Linear(1, 1)), num_samples=0)
