"""Synaptic operations: each count against a loop over every spike and every target."""

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikeloom import functional, layer, neuron, profile
from spikeloom.errors import ShapeError
from spikeloom.memory import MemoryModule

T, N = 3, 2


def spikes(*shape, rate=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, generator=generator) < rate).float()


def counted(net, x, **settings):
    functional.set_step_mode(net, "m")
    return profile.count(net, x, **settings)


def only(found):
    (row,) = [row for row in found.layers if row.input_rate is not None]
    return row


# Brute force


def targets_of(conv, place, out_size):
    """How many places of one output channel an input at ``place`` reaches: kernel element by element."""
    reached = 0
    for kernel in itertools.product(*(range(size) for size in conv.kernel_size)):
        ends = []
        for at, k, stride, pad, dilation in zip(
            place, kernel, conv.stride, conv.padding, conv.dilation, strict=True
        ):
            if conv.transposed:
                ends.append(at * stride - pad + k * dilation)
            else:  # at = end * stride - pad + k * dilation
                end, rest = divmod(at + pad - k * dilation, stride)
                ends.append(-1 if rest else end)
        reached += all(0 <= end < size for end, size in zip(ends, out_size, strict=True))
    return reached


def brute_force(conv, x):
    """Pairs of a nonzero input and a target, over every value of ``[N, C, *]``."""
    out_size = conv(x).shape[2:]
    pairs = 0
    for _, _, *place in x.nonzero().tolist():
        pairs += targets_of(conv, place, out_size) * (conv.out_channels // conv.groups)
    return pairs


CONVOLUTIONS = {
    "border": layer.Conv2d(2, 3, 3, padding=1),
    "no padding": layer.Conv2d(2, 3, 3, bias=False),
    "stride that leaves a rest": layer.Conv2d(2, 3, 3, stride=2),
    "uneven": layer.Conv2d(2, 4, (2, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2), groups=2),
    "depthwise": layer.Conv2d(2, 2, 3, padding=1, groups=2),
    "1d": layer.Conv1d(2, 3, 3, stride=2, padding=2, dilation=2),
    "3d": layer.Conv3d(2, 2, 2, stride=2, padding=1),
    "transposed": layer.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed, groups": layer.ConvTranspose1d(2, 4, 3, stride=3, dilation=2, groups=2),
    "transposed 3d": layer.ConvTranspose3d(2, 1, 2, stride=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_counted_spike_by_spike_and_target_by_target(name):
    conv = copy.deepcopy(CONVOLUTIONS[name])
    x = spikes(T, N, 2, *[5] * (conv.weight.dim() - 2))
    row = only(counted(conv, x))
    functional.set_step_mode(conv, "s")
    assert row.acs == brute_force(conv, x.flatten(0, 1)) / N > 0
    assert row.macs == 0
    assert row.ann_macs == brute_force(conv, torch.ones_like(x[0])) / N
    assert row.input_rate == pytest.approx(x.mean().item())


@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_any_geometry(kernel, stride, padding, dilation, groups, seed):
    if 7 + 2 * padding < dilation * (kernel - 1) + 1:  # the kernel is larger than the image
        return
    conv = nn.Conv1d(4, 2, kernel, stride, padding, dilation, groups)
    x = spikes(N, 4, 7, seed=seed)
    assert only(profile.count(conv, x, num_steps=1)).acs == brute_force(conv, x) / N


@pytest.mark.parametrize("mode", ["same", "valid"])
def test_padding_by_name(mode):
    conv = nn.Conv2d(1, 1, 3, padding=mode)
    border = only(profile.count(conv, torch.ones(1, 1, 3, 3), num_steps=1))
    assert border.acs == {"same": 16 + 24 + 9, "valid": 9}[mode]  # 4 corners, 4 edges, the middle


def test_a_border_that_wraps_around_reaches_as_many_targets_as_the_middle():
    conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")
    assert only(profile.count(conv, torch.ones(1, 1, 4, 4), num_steps=1)).acs == 16 * 9 * 2


def test_a_weight_of_one_output():
    class OneOutput(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return torch.nn.functional.linear(x, self.weight)

    assert only(profile.count(OneOutput(), torch.ones(T, N, 4))).acs == T * 4


def test_tokens_are_not_taken_for_samples():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            return self.fc(x).expand(4, *x.shape)

    macs = [profile.count(Tokens(), torch.rand(n, 4, 8) + 0.1, num_steps=4).ann_macs for n in (3, 4, 5)]
    assert macs == [4 * 8 * 8] * 3


def test_linear_reaches_every_output():
    x = spikes(T, N, 4, 7)  # with one more dimension, such as tokens
    row = only(counted(layer.Linear(7, 5), x))
    assert row.acs == 5 * sum(1 for value in x.flatten().tolist() if value) / N
    assert row.ann_macs == 4 * 7 * 5
    assert row.output_shape == (4, 5)


def test_channels_last_is_counted_alike():
    x = spikes(T, N, 2, 5, 5)
    conv = CONVOLUTIONS["border"]
    last = copy.deepcopy(conv).to(memory_format=torch.channels_last)
    frames = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (T, N))
    assert only(counted(last, frames)) == only(counted(copy.deepcopy(conv), x))


# What is an accumulate, and what a multiplication


@pytest.mark.parametrize(
    ("values", "is_ac"),
    [
        ([0.0, 1.0, 1.0], True),
        ([0.0, 0.0, 0.0], True),
        ([0.0, 2.5, 2.5], True),  # spikes of one height, which the weights can take over
        ([0.0, -1.0, 1.0], True),  # a subtraction
        ([0.0, 1.0, 2.0], False),  # counts of spikes
        ([0.0, 0.25, 1.0], False),  # averages of spikes
        ([0.0, 0.3, 0.7], False),  # grey levels
    ],
)
def test_spikes_are_added_and_all_else_is_multiplied(values, is_ac):
    row = only(counted(layer.Linear(3, 4), torch.tensor(values).expand(T, N, 3).clone()))
    operations = 4 * T * sum(value != 0 for value in values)
    assert (row.acs, row.macs) == ((operations, 0) if is_ac else (0, operations))


def test_counts_of_spikes_are_multiplied_in_both_step_modes_also_if_a_step_has_single_ones_only():
    x = torch.tensor([[[1.0, 0.0]], [[2.0, 1.0]]])  # [T, 1, 2]
    for mode in "sm":
        row = only(profile.count(layer.Linear(2, 3, step_mode=mode), x))
        assert (row.acs, row.macs) == (0, 9), mode


def test_pooled_spikes():
    for pool, is_ac in ((layer.MaxPool2d(2), True), (layer.AvgPool2d(2), False)):
        net = nn.Sequential(neuron.IFNode(), pool, layer.Conv2d(1, 1, 2))
        row = only(counted(net, spikes(T, N, 1, 6, 6)))
        assert (row.acs > 0, row.macs > 0) == (is_ac, not is_ac)


# Networks


def worked_by_hand():
    """Two inputs, two hidden neurons that fire when both inputs do, one output."""
    net = nn.Sequential(layer.Linear(2, 2, bias=False), neuron.IFNode(), layer.Linear(2, 1), neuron.IFNode())
    nn.init.constant_(net[0].weight, 0.5)
    nn.init.constant_(net[2].weight, 0.25)
    nn.init.zeros_(net[2].bias)
    return net


@pytest.mark.parametrize("mode", ["s", "m"])
def test_a_network_worked_by_hand(mode):
    net = worked_by_hand()
    functional.set_step_mode(net, mode)
    # Potentials of the hidden neurons: 1 (fires), 0.5, 1 (fires), 0; of the output: 0.5, 0.5, 1 (fires), 0.
    x = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])[:, None]  # [T=4, N=1, 2]
    found = profile.count(net, x)
    assert (found.num_steps, found.num_samples, found.parameters) == (4, 1, 7)
    assert [(row.name, row.kind, row.output_shape, row.parameters) for row in found.layers] == [
        ("0", "Linear", (2,), 4),
        ("1", "IFNode", (2,), 0),
        ("2", "Linear", (1,), 3),
        ("3", "IFNode", (1,), 0),
    ]
    assert [row.input_rate for row in found.layers] == [4 / 8, None, 4 / 8, None]
    assert [row.firing_rate for row in found.layers] == [None, 4 / 8, None, 1 / 4]
    assert [row.acs for row in found.layers] == [4 * 2, 0, 4 * 1, 0]
    assert (found.acs, found.macs, found.ann_macs) == (12, 0, 2 * 2 + 2 * 1)
    assert found.energy() == pytest.approx(12 * 0.9)
    assert found.ann_energy() == pytest.approx(6 * 4.6)
    assert found.energy(mac=1.0, ac=2.0) == 24
    assert found.not_counted == ()


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        layer.Conv2d(1, 3, 3, padding=1, bias=False),
        layer.BatchNorm2d(3),
        neuron.LIFNode(v_threshold=0.2),
        layer.PooledNode(neuron.LIFNode(v_threshold=0.2), 2),
        layer.Flatten(),
        layer.WSLinear(27, 4),
        layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4),
        neuron.NonSpikingLIFNode(),
    )


def test_step_modes_agree():
    x, found = spikes(T, N, 1, 6, 6, rate=0.6), {}
    for mode in "sm":
        net = convolutional()
        functional.set_step_mode(net, mode)
        found[mode] = profile.count(net, x)
    assert found["s"] == found["m"]
    assert [row.name for row in found["m"].layers] == ["0", "1", "2", "3.0", "5", "6.rc", "6.sub_module", "7"]
    assert [row.firing_rate is not None for row in found["m"].layers] == [0, 0, 1, 1, 0, 0, 1, 0]
    assert found["m"].layers[2].firing_rate > 0
    assert [row.output_shape for row in found["m"].layers[:4]] == [(3, 6, 6)] * 4
    assert sum(row.parameters for row in found["m"].layers) == found["m"].parameters


def test_containers_of_plain_layers_are_counted_as_the_layers():
    x = spikes(T, N, 1, 6, 6)
    conv, fc = nn.Conv2d(1, 2, 3), nn.Linear(32, 4)
    folded = layer.SeqToANNContainer(conv, nn.Flatten(), fc)
    stepped = layer.MultiStepContainer(conv, nn.Flatten(), fc)
    plain = nn.Sequential(layer.Conv2d(1, 2, 3), layer.Flatten(), layer.Linear(32, 4))
    plain.load_state_dict(folded.state_dict())
    rows = [counted(net, x).layers for net in (folded, stepped, plain)]
    for one, other, reference in zip(*rows, strict=True):
        assert one == other == reference


def test_a_recurrent_container_counts_what_it_feeds_back():
    net = layer.LinearRecurrentContainer(neuron.IFNode(), 1, 1, bias=False, step_mode="m")
    nn.init.ones_(net.rc.weight)
    found = profile.count(net, torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1))
    assert found.acs == 1 + 1 + 1  # the input's spike, then its echo twice
    assert found.ann_macs == 2


def test_a_layer_that_is_called_twice_counts_twice():
    fc = layer.Linear(3, 3)
    found = counted(nn.Sequential(fc, neuron.IFNode(v_threshold=-10.0), fc), torch.ones(T, N, 3))
    assert len([row for row in found.layers if row.kind == "Linear"]) == 1
    assert only(found).acs == 2 * T * 9
    assert only(found).ann_macs == 2 * 9
    assert found.parameters == 12


class Repeats(nn.Module):
    """A convolution of a static image, whose currents drive neurons for ``T`` steps."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3), layer.Conv2d(2, 1, 1, step_mode="m")
        self.node = neuron.IFNode(step_mode="m", v_threshold=-10.0)  # always fires

    def forward(self, image):
        current = self.first(image)
        return self.second(self.node(current.expand(T, *current.shape)))


def test_a_layer_before_time_begins_is_counted_once():
    found = profile.count(Repeats(), torch.rand(N, 1, 4, 4) + 0.1, num_steps=T)
    first, node, second = found.layers
    assert (first.macs, first.ann_macs, first.acs) == (4 * 9 * 2, 4 * 9 * 2, 0)
    assert (second.acs, second.ann_macs) == (T * 2 * 4, 2 * 4)
    assert (first.output_shape, node.output_shape, second.output_shape) == ((2, 2, 2), (2, 2, 2), (1, 2, 2))


@pytest.mark.parametrize("layer_of_images", [nn.Conv2d(3, 3, 1), nn.Linear(3, 3)])
def test_as_many_time_steps_as_samples_and_channels_are_no_confusion(layer_of_images):
    class RepeatsAfter(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = layer_of_images
            self.node = neuron.IFNode(step_mode="m")

        def forward(self, x):
            return self.node(self.first(x).expand(3, *x.shape))

    shape = [3] * (4 if isinstance(layer_of_images, nn.Conv2d) else 2)
    row = only(profile.count(RepeatsAfter(), torch.rand(shape) + 0.1, num_steps=3))
    assert row.macs == row.ann_macs == math.prod(shape)  # 3 targets each, and a third of it per sample


@pytest.mark.parametrize("backend", ["gemm", "conv"])
def test_how_a_neuron_mixes_time_steps_is_named_and_not_counted(backend):
    mixing = neuron.SlidingPSN(2, backend=backend, step_mode="m")
    net = nn.Sequential(layer.Linear(3, 3, step_mode="m"), mixing)
    found = profile.count(net, spikes(T, N, 3))
    assert found.layers[1].firing_rate is not None
    assert only(found).name == "0"
    assert len(found.not_counted) == 1
    assert found.not_counted[0].endswith("in '1' (SlidingPSN)")


def test_parametrised_weights_count_for_their_layer():
    fc = nn.utils.parametrizations.weight_norm(layer.Linear(3, 2))
    found = counted(nn.Sequential(fc, neuron.IFNode()), torch.ones(T, N, 3))
    assert found.not_counted == ()
    assert [row.parameters for row in found.layers] == [2 + 6 + 2, 0]
    assert found.acs == T * 6


def test_batches_are_averaged_over_all_samples():
    net, x = convolutional(), spikes(T, 5, 1, 6, 6, rate=0.6)
    whole, parts = counted(net, x), counted(net, iter(x.split(2, 1)))
    assert parts.num_samples == whole.num_samples == 5
    assert parts == whole


class Attention(nn.Module):
    """Products with a weight, of activations, and with the weight of a layer that is not called itself."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.ones(3, 3))
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        x = x @ self.mix
        return nn.functional.linear(x @ x.mT, self.fc.weight)


def test_what_is_not_counted_is_named():
    net = nn.Sequential(Attention(), nn.Bilinear(3, 3, 3), neuron.PSN(T))
    net[1].forward = lambda x: x  # its weight is never used
    found = profile.count(net, spikes(T, N, 3, 3))
    assert found.not_counted == (
        "matmul in '0' (Attention), 2 calls",
        "addmm in '2' (PSN)",
        "weight of '1' (Bilinear)",
    )
    assert only(found).name == "0"


# What must not change, and what is refused


class Draws(MemoryModule):
    """Global random numbers, a buffer and a memory that change with each call."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.register_memory("last", 0.0)

    def single_step_forward(self, x):
        self.calls += 1
        self.last = torch.rand_like(x)
        return x + self.last


@pytest.mark.parametrize(
    "measure", [profile.count, profile.training_memory], ids=["count", "training_memory"]
)
def test_the_network_is_as_it_was(measure):
    net = nn.Sequential(convolutional(), Draws()).train()
    net[0][1].eval()
    net[0][2].backend = "numba"
    functional.set_step_mode(net, "m")
    x = spikes(T, N, 1, 6, 6)
    net(x)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    nodes = [module for module in net.modules() if isinstance(module, MemoryModule)]
    memories = [list(node.memories()) for node in nodes]
    modes = [module.training for module in net.modules()]
    random = torch.random.get_rng_state()
    before = x.clone()
    measure(net, x)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert torch.equal(x, before)
    assert [module.training for module in net.modules()] == modes
    assert all(
        one is other
        for node, memory in zip(nodes, memories, strict=True)
        for one, other in zip(node.memories(), memory, strict=True)
    )
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net[0][2].backend == "numba"


@pytest.mark.parametrize("shape", [(0, 2, 3), (3, 0, 3), (3,), ()])
def test_an_empty_batch_is_refused(shape):
    with pytest.raises(ShapeError, match=r"`x` must be \[T, N, \*\] with at least one time step"):
        profile.count(layer.Linear(3, 2, step_mode="m"), torch.ones(shape))


def test_no_batch_and_different_lengths_are_refused():
    fc = layer.Linear(3, 2, step_mode="m")
    with pytest.raises(ShapeError, match="got no batch"):
        profile.count(fc, [])
    with pytest.raises(ShapeError, match=r"one number of time steps, got \[2, 4\]"):
        profile.count(fc, [torch.ones(2, 1, 3), torch.ones(4, 1, 3)])


def test_wrong_arguments_are_refused():
    fc = layer.Linear(3, 2)
    with pytest.raises(TypeError, match="`x` must be a tensor, got a str"):
        profile.count(fc, ["spikes"])
    with pytest.raises(ValueError, match="`num_steps` must be at least 1, got 0"):
        profile.count(fc, torch.ones(2, 3), num_steps=0)
    with pytest.raises(ShapeError, match=r"`x` must be \[N, \*\]"):
        profile.count(fc, torch.ones(0, 3), num_steps=2)


def test_an_exception_in_the_network_leaves_nothing_behind():
    net = nn.Sequential(layer.Linear(3, 2), neuron.IFNode())
    functional.set_step_mode(net, "m")
    with pytest.raises(ShapeError):
        profile.count(net, torch.ones(T, N, 5))
    assert not net[0]._forward_hooks
    assert math.isfinite(profile.count(net, torch.ones(T, N, 3)).acs)


def test_a_network_that_goes_through_time_itself_is_refused():
    class Looping(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.sn = nn.Linear(6, 8), neuron.LIFNode()

        def forward(self, x):
            return torch.stack([self.sn(self.fc(step)) for step in x])

    with pytest.raises(ShapeError, match=r"'sn' got \[8\] of 4 samples"):
        profile.count(Looping(), torch.rand(10, 4, 6))


def test_a_network_that_was_compiled():
    net = nn.Sequential(nn.Linear(4, 3), neuron.IFNode(step_mode="m"))
    x = (torch.rand(5, 2, 4) < 0.5).float()
    compiled = torch.compile(net, backend="eager")
    assert profile.count(compiled, x) == profile.count(net, x)
