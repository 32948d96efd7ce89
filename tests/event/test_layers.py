"""Layers with weights, event by event, each against PyTorch's. Weights are whole numbers: sums are exact."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compare import assert_same
from spikeloom import functional, layer, neuron
from spikeloom.event import Runner

sides = st.integers(1, 6)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


def whole_numbers(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randint(-8, 9, parameter.shape, generator=generator))
    return module


def spikes(*shape, rate=0.3, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).to(dtype)


def additions(conv, x):
    """How many weights the inputs that are not zero meet, by a convolution with ones."""
    ones = F.conv2d(
        (x != 0).double(), torch.ones_like(conv.weight, dtype=torch.float64), None,
        conv.stride, conv.padding, conv.dilation, conv.groups,
    )  # fmt: skip
    return int(ones.sum())


@settings(max_examples=80)
@given(
    *(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 2, 3])),
    *(st.tuples(sides, sides), pairs, pairs, st.tuples(st.integers(0, 4), st.integers(0, 4)), pairs),
    *(st.booleans(), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([0.0, 0.1, 0.5, 1.0])),
)
def test_a_convolution(N, to, channels, groups, size, kernel, stride, padding, dilation, bias, dtype, rate):
    reached = [s + 2 * p - d * (k - 1) for s, p, d, k in zip(size, padding, dilation, kernel, strict=True)]
    if min(reached) < 1:
        return
    conv = nn.Conv2d(channels * groups, to * groups, kernel, stride, padding, dilation, groups, bias)
    conv = whole_numbers(conv).to(dtype)
    x = spikes(N, channels * groups, *size, rate=rate, dtype=dtype)
    runner = Runner(conv, x.shape[1:], dtype)
    assert torch.equal(runner.step(x), conv(x))
    found = runner.report()
    assert found.operations == additions(conv, x)
    assert found.dense_operations == additions(conv, torch.ones_like(x))


@pytest.mark.parametrize("features", [1, 3, 16, 17, 63, 64, 500])
@pytest.mark.parametrize("to", [1, 7, 33, 500])
def test_a_linear_layer(features, to):
    linear, x = whole_numbers(nn.Linear(features, to)), spikes(3, 5, features)
    runner = Runner(linear, (features,))
    assert torch.equal(runner(x), linear(x))
    assert runner.report().operations == int(x.sum()) * to
    assert runner.report().layers[0].density == pytest.approx(x.mean().item())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [2, 3, (4, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name(kernel, padding):
    """With an even window, 'same' pads more behind the image than before it."""
    conv, x = whole_numbers(nn.Conv2d(2, 3, kernel, padding=padding)), spikes(2, 2, 5, 6)
    assert torch.equal(Runner(conv, (2, 5, 6)).step(x), conv(x))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_either_layout_in_memory(memory_format):
    conv, x = whole_numbers(nn.Conv2d(4, 3, 3)), spikes(2, 4, 5, 6)
    assert torch.equal(Runner(conv, (4, 5, 6)).step(x.to(memory_format=memory_format)), conv(x))


def test_other_values_than_spikes():
    """Averages, negative numbers, and minus zero, which is no event."""
    for module, shape in ((nn.Linear(40, 30), (40,)), (nn.Conv2d(4, 6, 3), (4, 7, 8))):
        x = torch.randn(5, *shape) * spikes(5, *shape)
        x = torch.where(x == 0, -torch.zeros(()), x)
        runner = Runner(module, shape)
        torch.testing.assert_close(runner.step(x), module(x).detach())
        assert runner.report().layers[0].density == pytest.approx(int(x.count_nonzero()) / x.numel())


def test_what_is_no_number_reaches_its_outputs():
    linear, x = (
        whole_numbers(nn.Linear(4, 3)),
        torch.tensor([[0.0, torch.nan, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]),
    )
    output = Runner(linear, (4,)).step(x)
    assert output[0].isnan().all()
    assert torch.equal(output[1], linear(x)[1])


def test_views_and_other_types_are_read_as_they_are():
    linear, x = whole_numbers(nn.Linear(4, 3)), spikes(4, 8)
    runner = Runner(linear, (4,))
    for view in (x.t(), x[:, ::2], x[:1, :4].expand(4, 4), spikes(4, 4, dtype=torch.float64)):
        runner.reset()
        assert torch.equal(runner.step(view), linear(view.float()))
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.bfloat16):
        assert torch.equal(runner.step(x[:, :4].to(dtype)), linear(x[:, :4]))


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d, layer.BatchNorm2d, lambda C: layer.ThresholdDependentBatchNorm2d(2.0, 1.0, C)]
)
@pytest.mark.parametrize("shared", [False, True])
def test_normalisation_becomes_a_part_of_the_weights(norm, shared):
    """Unless something else sees the outputs before it."""
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 3), norm(3)

        def forward(self, x):
            x = self.conv(x)
            return self.norm(x) + x if shared else self.norm(x)

    net = Net()
    functional.set_step_mode(net, "s")
    with torch.no_grad():
        net(torch.randn(16, 2, 8, 8))
        for parameter in net.norm.parameters():
            parameter.uniform_(0.5, 2)
    net = net.double().eval()
    x = torch.randn(4, 2, 8, 8, dtype=torch.float64)
    runner = Runner(net, (2, 8, 8), torch.float64)
    torch.testing.assert_close(runner.step(x), net(x).detach())
    assert len(runner._program.stages) == (3 if shared else 1)


def test_normalisation_that_was_synchronised():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), neuron.IFNode()).eval()
    x = torch.rand(4, 2, 1, 6, 6)
    expected = Runner(net, (1, 6, 6))(x)
    layer.synchronise_batch_norm(net)
    assert_same("output", expected, Runner(net, (1, 6, 6))(x))


def test_normalisation_of_features():
    norm = nn.BatchNorm1d(5)
    norm(torch.randn(20, 5) * 3 + 1)
    net = nn.Sequential(norm, nn.Linear(5, 4), nn.BatchNorm1d(4)).double().eval()
    x = torch.randn(6, 5, dtype=torch.float64)
    torch.testing.assert_close(Runner(net, (5,), torch.float64).step(x), net(x).detach())


@pytest.mark.parametrize(
    "pool",
    [
        *(nn.AvgPool2d(2), nn.AvgPool2d(3, 1), nn.AvgPool2d((2, 3), (1, 2), (1, 1))),
        *(nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        nn.AvgPool2d(3, padding=1, count_include_pad=False, divisor_override=2),
        *(nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d((1, 2))),
        *(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((3, 4)), nn.AdaptiveAvgPool2d(9)),
        *(layer.AvgPool2d(2), layer.MaxPool2d(2), layer.AdaptiveAvgPool2d(2)),
    ],
)
def test_pooling(pool):
    x = torch.randn(3, 5, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(Runner(pool, (5, 7, 8), torch.float64).step(x), pool(x))


def test_votes_and_flattened_images():
    net = nn.Sequential(nn.Flatten(), layer.VotingLayer(4), nn.Dropout(0.9), nn.Identity()).eval()
    x = torch.randn(3, 2, 4, 6)
    torch.testing.assert_close(Runner(net, (2, 4, 6)).step(x), net(x))
