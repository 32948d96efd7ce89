"""Residual blocks: what passes them, forwards and backwards, when their layers add nothing."""

import copy

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer, model, neuron
from spikeloom.surrogate import ATan, Rectangular, Sigmoid

T, N, CHANNELS, SIZE = 4, 2, 3, 5
CONNECTS = ["ADD", "AND", "IAND"]
over_connects = pytest.mark.parametrize("connect", CONNECTS)


def fire(alpha=2.0, v_threshold=1.0):
    return lambda: neuron.IFNode(
        v_threshold, surrogate_function=ATan(alpha), detach_reset=True, step_mode="m", backend="torch"
    )


def convolutions(count=2):
    return [layer.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False) for _ in range(count)]


def block_of(kind, make=None, identity=True, count=2, **options):
    block = kind(convolutions(count), make or fire(), layer.BatchNorm2d, **options)
    functional.set_step_mode(block, "m")
    functional.set_backend(block, "torch")
    if identity:
        block.start_as_identity()
    return block


def spikes(num_steps=T):
    return (torch.rand(num_steps, N, CHANNELS, SIZE, SIZE) < 0.4).float().requires_grad_()


@over_connects
@pytest.mark.parametrize("count", [2, 3])
def test_a_sew_block_starts_as_the_identity_in_both_directions(connect, count):
    torch.manual_seed(0)
    x, gradient = spikes(), torch.randn(T, N, CHANNELS, SIZE, SIZE)
    output = block_of(model.SEWBlock, count=count, connect=connect)(x)
    assert_same("output", x, output)
    output.backward(gradient)
    assert_same("gradient", gradient, x.grad)


@over_connects
def test_the_identity_is_left_as_soon_as_the_scale_is(connect):
    torch.manual_seed(0)
    x, block = spikes(), block_of(model.SEWBlock, connect=connect)
    block(x).square().sum().backward()
    assert block.bn2.weight.grad.abs().max() > 0
    with torch.no_grad():
        block.bn2.weight += 3.0
    functional.reset_net(block)
    assert not torch.equal(block(x), x)


@over_connects
def test_a_sew_block_joins_the_spikes_of_its_layers_and_of_its_shortcut(connect):
    torch.manual_seed(0)
    x, block = spikes(), block_of(model.SEWBlock, identity=False, connect=connect)
    layers = [copy.deepcopy(getattr(block, name)) for name in ("conv1", "bn1", "sn1", "conv2", "bn2", "sn2")]
    a = nn.Sequential(*layers)(x)
    assert 0 < a.mean() < 1
    expected = {"ADD": a + x, "AND": (a == 1) & (x == 1), "IAND": (a == 0) & (x == 1)}[connect]
    assert_same(connect, expected.float(), block(x))


@pytest.mark.parametrize(
    ("make", "bias"),
    [
        (lambda: neuron.IFNode(v_threshold=0.7), 1.0),
        (lambda: neuron.LIFNode(tau=2.0), 2.0),
        (lambda: neuron.LIFNode(tau=3.0, v_threshold=2.0, v_reset=None), 8.0),
    ],
)
def test_and_starts_as_the_identity_with_any_neuron_that_can_fire_always(make, bias):
    torch.manual_seed(0)
    x, block = spikes(), block_of(model.SEWBlock, make, connect="AND")
    assert block.bn2.bias.tolist() == [bias] * CHANNELS
    assert_same("output", x, block(x))


def test_and_refuses_a_neuron_that_cannot_fire_always():
    with pytest.raises(ValueError, match="`connect` must be 'ADD' or 'IAND' with RefractoryLIFNode"):
        block_of(model.SEWBlock, lambda: neuron.RefractoryLIFNode(), connect="AND")


def test_a_start_as_identity_needs_a_scale():
    block = model.SEWBlock(convolutions(), fire(), lambda channels: nn.Identity())
    with pytest.raises(TypeError, match=r"`norm` must have a weight, .* got Identity"):
        block.start_as_identity()


def test_with_add_the_output_of_k_blocks_reaches_k_plus_1_and_no_more():
    torch.manual_seed(0)
    blocks = [block_of(model.SEWBlock, identity=False) for _ in range(6)]
    x = spikes()
    for k, block in enumerate(blocks, 1):
        x = block(x)
        assert x.max() <= k + 1
    assert torch.equal(x, x.round())
    x = spikes()
    for k, block in enumerate(blocks, 1):
        nn.init.zeros_(block.bn2.weight)
        nn.init.ones_(block.bn2.bias)  # the last neuron fires at every step
        functional.reset_net(block)
        x = block(x)
        assert x.max() == k + 1


@pytest.mark.parametrize("connect", ["AND", "IAND"])
def test_with_and_and_iand_the_output_stays_binary(connect):
    torch.manual_seed(0)
    x = spikes()
    for _ in range(4):
        x = block_of(model.SEWBlock, identity=False, connect=connect)(x)
        assert set(x.unique().tolist()) <= {0.0, 1.0}


def test_a_sew_shortcut_that_changes_the_size_spikes():
    torch.manual_seed(0)
    downsample = layer.Conv2d(CHANNELS, 6, 1, stride=2)
    path = [layer.Conv2d(CHANNELS, 6, 3, stride=2, padding=1), layer.Conv2d(6, 6, 3, padding=1)]
    for kind, spiking in ((model.SEWBlock, True), (model.SpikingBlock, False), (model.MembraneBlock, False)):
        block = kind(path, fire(), layer.BatchNorm2d, downsample)
        functional.set_step_mode(block, "m")
        assert isinstance(list(block.downsample)[-1], neuron.IFNode) == spiking
        shape = block(spikes()).shape
        assert shape == (T, N, 6, 3, 3)


def test_a_spiking_block_passes_spikes_and_multiplies_the_gradient_by_the_slope():
    """One time step, k blocks whose layers give 0: each multiplies by the slope of the surrogate."""
    torch.manual_seed(0)
    for alpha, v_threshold in ((2.0, 1.0), (4.0, 1.0), (2.0, 0.5)):
        x, gradient = spikes(1), torch.randn(1, N, CHANNELS, SIZE, SIZE)
        net = nn.Sequential(*(block_of(model.SpikingBlock, fire(alpha, v_threshold)) for _ in range(5)))
        output = net(x)
        assert_same("output", x, output)
        output.backward(gradient)
        slope = ATan.derivative(x.detach() - v_threshold, alpha)
        assert_close("gradient", gradient * slope**5, x.grad)


@pytest.mark.parametrize(
    ("make", "passes"),
    [
        (lambda: neuron.IFNode(v_threshold=0.5), True),
        (lambda: neuron.IFNode(v_threshold=1.5), False),
        (lambda: neuron.LIFNode(tau=2.0, v_threshold=0.5), True),
        (lambda: neuron.LIFNode(tau=2.0, v_threshold=1.0), False),
    ],
)
def test_a_spiking_block_is_the_identity_only_if_one_spike_makes_its_neuron_fire(make, passes):
    torch.manual_seed(0)
    x = spikes()
    assert torch.equal(block_of(model.SpikingBlock, make)(x), x) == passes


def test_a_membrane_block_starts_as_the_identity_for_any_input():
    torch.manual_seed(0)
    x = torch.randn(T, N, CHANNELS, SIZE, SIZE, requires_grad=True)
    gradient = torch.randn_like(x)
    output = block_of(model.MembraneBlock, lambda: neuron.IFNode(surrogate_function=Rectangular()))(x)
    assert_same("output", x, output)
    output.backward(gradient)
    assert_same("gradient", gradient, x.grad)


def gradient_ratio(kind, depth, make, identity=True, **options):
    """The norm of the gradient at the first of ``depth`` blocks, by that behind the last one."""
    torch.manual_seed(0)
    blocks = nn.Sequential(*(block_of(kind, make, identity, **options) for _ in range(depth)))
    x = spikes()
    output = blocks(x)
    gradient = torch.randn(output.shape)
    output.backward(gradient)
    return (x.grad.norm() / gradient.norm()).item()


def test_over_depth_the_gradient_of_sew_stays_and_that_of_a_spiking_resnet_vanishes_or_explodes():
    depths = (4, 8, 16)
    for connect in CONNECTS:
        assert [gradient_ratio(model.SEWBlock, depth, fire(), connect=connect) for depth in depths] == [1] * 3
    vanishing = [gradient_ratio(model.SpikingBlock, depth, fire(2.0, 0.5)) for depth in depths]
    exploding = [gradient_ratio(model.SpikingBlock, depth, fire(4.0, 1.0)) for depth in depths]
    assert vanishing[1] < vanishing[0] / 20
    assert vanishing[2] < vanishing[1] / 400
    assert exploding[1] > 10 * exploding[0]
    assert exploding[2] > 200 * exploding[1]


def test_with_scales_of_1_too_only_that_of_a_spiking_resnet_vanishes_or_explodes():
    def at_32(kind, make, **options):
        return gradient_ratio(kind, 32, make, identity=False, **options)

    assert 0.1 < at_32(model.SEWBlock, fire()) < 100
    assert at_32(model.SpikingBlock, fire(alpha=1.0)) < 1e-4
    assert at_32(model.SpikingBlock, fire(alpha=4.0)) > 1e4
    assert at_32(model.SpikingBlock, lambda: neuron.IFNode(surrogate_function=Sigmoid(8.0))) > 1e4
