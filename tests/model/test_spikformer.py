"""Attention between spikes, against its definition written out."""

import pytest
import torch

from compare import assert_same
from spikeloom import functional, layer, model, neuron

T, N, CHANNELS, HEADS = 3, 2, 12, 3
SETTINGS = {"v_threshold": 0.5, "backend": "torch"}


def attention_of(scale=0.125):
    torch.manual_seed(0)
    net = model.SpikingSelfAttention(
        CHANNELS,
        HEADS,
        scale,
        neuron=lambda: neuron.IFNode(**SETTINGS),
        norm=layer.BatchNorm2d,
        attention_neuron=lambda: neuron.IFNode(**SETTINGS),
    )
    functional.set_step_mode(net, "m")
    return net


def test_attention_is_the_product_of_queries_keys_and_values_head_by_head():
    net, seen = attention_of(), {}
    for name in ("query", "key", "value", "attention_neuron"):
        getattr(net, name).register_forward_hook(
            lambda _module, args, output, name=name: seen.update({name: (args[0], output)})
        )
    output = net((torch.rand(T, N, CHANNELS, 4, 5) < 0.5).float())
    assert output.shape == (T, N, CHANNELS, 4, 5)
    query, key, value = (seen[name][1].flatten(-2) for name in ("query", "key", "value"))
    expected = torch.empty(T, N, CHANNELS, 20)
    for start in range(0, CHANNELS, CHANNELS // HEADS):
        head = slice(start, start + CHANNELS // HEADS)
        weights = torch.einsum("tnci,tncj->tnij", query[:, :, head], key[:, :, head])  # of token i to token j
        expected[:, :, head] = 0.125 * torch.einsum("tnij,tncj->tnci", weights, value[:, :, head])
    assert expected.unique().numel() > 5
    assert_same("attention", expected.unflatten(-1, (4, 5)), seen["attention_neuron"][0])


def test_the_threshold_behind_attention_is_half_as_published_unless_the_neuron_is_given():
    def thresholds(**options):
        net = model.create("spikformer-4-384", width=32, num_heads=4, depth=1, **options)
        return net.blocks[0].attention.attention_neuron.v_threshold, net.sn1.v_threshold

    assert thresholds() == (0.5, 1.0)
    assert thresholds(neuron=lambda: neuron.LIFNode(v_threshold=2.0)) == (2.0, 2.0)
    assert thresholds(attention_neuron=lambda: neuron.LIFNode(v_threshold=3.0)) == (3.0, 1.0)


def test_channels_are_divided_evenly():
    with pytest.raises(ValueError, match="`channels` must be a multiple of num_heads=5, got 12"):
        model.SpikingSelfAttention(12, 5, 0.125, neuron.IFNode, layer.BatchNorm2d, neuron.IFNode)
    with pytest.raises(ValueError, match="`width` must be a multiple of 8, got 12"):
        model.create("spikformer-4-384", width=12)
