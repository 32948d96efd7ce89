"""A network on a static image and on frames: what is computed once, what is refused, formats, backends."""

from functools import partial

import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient, assert_same
from model.narrow import FAMILIES, N, T, image_for, make, make_for_evaluation
from spikeloom import functional, layer, model, neuron
from spikeloom.errors import ShapeError

MINI = "sew-resnet-mini-cifar"


def backward_from(output):
    """The backward pass of a loss that weighs every output in its own way."""
    weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64)
    (output.double() * weights.view_as(output)).sum().backward()


def recorded(module):
    """The inputs that a module gets from now on."""
    seen = []
    module.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    return seen


def test_an_image_passes_the_first_layers_once_and_is_repeated_as_a_view():
    net = make(MINI)
    stem, norm, spiking = recorded(net.conv1), recorded(net.bn1), recorded(net.sn1)
    net(image_for(MINI))
    assert stem[0].shape[0] == norm[0].shape[0] == 1
    assert spiking[0].shape[0] == T
    assert spiking[0].stride(0) == 0


def test_channels_last_is_kept_when_an_image_is_repeated():
    net = make(MINI).to(memory_format=torch.channels_last)
    spiking = recorded(net.sn1)
    net(image_for(MINI))
    assert spiking[0].shape[0] == T
    assert spiking[0].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(step, spiking[0][0]) for step in spiking[0])


def test_statistics_of_an_image_are_those_of_its_repetition():
    torch.manual_seed(0)
    image = image_for(MINI)
    torch.manual_seed(1)
    once = make(MINI)
    torch.manual_seed(1)
    repeated = make(MINI)
    assert_close("output", repeated(image.expand(T, *image.shape)), once(image))
    assert_close("mean", repeated.bn1.running_mean, once.bn1.running_mean)


def test_normalisation_of_whole_sequences_gets_all_steps():
    net = make(MINI, norm=partial(layer.TemporalEffectiveBatchNorm2d, T))
    with torch.no_grad():
        net.bn1.scale[1:] = 2.0
    spiking = recorded(net.sn1)
    net(image_for(MINI)).sum().backward()
    assert_same("second step", 2.0 * spiking[0][0], spiking[0][1])
    assert net.bn1.scale.grad.shape == (T,)


def test_neurons_and_normalisation_are_the_users():
    norm = partial(layer.ThresholdDependentBatchNorm2d, 1.0, 0.5)
    net = make(MINI, neuron=lambda: neuron.LIFNode(tau=1.5), norm=norm)
    neurons = [module for module in net.modules() if isinstance(module, neuron.BaseNode)]
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(type(one), one.tau, one.step_mode) for one in neurons} == {(neuron.LIFNode, 1.5, "m")}
    assert {(type(one), one.v_th) for one in norms} == {(layer.ThresholdDependentBatchNorm2d, 0.5)}
    assert len(neurons) == len(norms) == 9


def test_a_network_without_memories_gives_the_same_at_every_step():
    image = image_for(MINI)
    output = make_for_evaluation(MINI, image, neuron=nn.ReLU)(image)
    assert output.shape[0] == T
    assert output.stride(0) == 0
    assert not torch.equal(output[:, 0], output[:, 1])


@pytest.mark.parametrize("name", FAMILIES)
def test_channels_last_gives_the_same(name):
    torch.manual_seed(0)
    image = image_for(name)
    net, results = make_for_evaluation(name, image), []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        functional.reset_net(net)
        net.zero_grad()
        output = net.to(memory_format=memory_format)(image.to(memory_format=memory_format))
        backward_from(output)
        results.append((output.detach(), net.conv1.weight.grad.clone()))
    (expected, expected_gradient), (got, got_gradient) = results
    assert not torch.equal(expected[:, 0], expected[:, 1]), "the network is silent"
    assert_close("output", expected, got)
    assert_close("first layer", expected_gradient, got_gradient)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_trains_under_bfloat16_autocast(name):
    torch.manual_seed(0)
    net = make(name).float()
    with torch.autocast("cpu", torch.bfloat16):
        output = net(image_for(name).float())
    assert output.shape[:2] == (T, N)
    backward_from(output)
    gradient = net.conv1.weight.grad
    assert gradient.dtype == torch.float32
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", [MINI, "plif-net", "stbp-cifar", "spikformer-4-384"])
def test_woven_loops_give_what_the_reference_gives(name):
    torch.manual_seed(0)
    net = make(name)
    image, results = image_for(name), []
    for backend in ("torch", "numba"):
        functional.set_backend(net, backend)
        functional.reset_net(net)
        net.zero_grad()
        torch.manual_seed(1)
        output = net(image)
        backward_from(output)
        results.append((output.detach(), net.conv1.weight.grad.clone()))
    (expected, expected_gradient), (got, got_gradient) = results
    assert_close("output", expected, got)
    assert_gradient("first layer", expected_gradient, got_gradient)


def test_modules_that_would_compute_something_else_are_refused():
    one = neuron.IFNode()
    with pytest.raises(ValueError, match=r"must make a new module for each layer, but IFNode 'layer1.0.sn1'"):
        make(MINI, neuron=lambda: one)
    with pytest.raises(TypeError, match=r"got torch.nn's BatchNorm2d. Give layer.BatchNorm2d"):
        make(MINI, norm=nn.BatchNorm2d)
    with pytest.raises(TypeError, match=r"got torch.nn's GroupNorm. Give layer.GroupNorm"):
        make(MINI, norm=lambda channels: nn.GroupNorm(4, channels))
    assert make(MINI, norm=partial(layer.GroupNorm, 4))(image_for(MINI)).shape[0] == T


def test_wrong_input_is_refused():
    net, image = make("plif-net"), image_for("plif-net")
    with pytest.raises(ShapeError, match=r"\[N, 2, 32, 32\] or \[T, N, 2, 32, 32\], got .*unsqueeze"):
        net(image[0])
    with pytest.raises(TypeError, match=r"floating-point numbers, got torch.uint8.* data.as_float"):
        net(torch.zeros(1, 2, 32, 32, dtype=torch.uint8))
    with pytest.raises(ShapeError, match="Build the network with in_channels=3"):
        net(torch.rand(1, 3, 32, 32))
    with pytest.raises(ShapeError, match="Resize the images"):
        net(torch.rand(1, 2, 28, 28))
    with pytest.raises(ShapeError, match="at least one time step"):
        net(torch.rand(0, 1, 2, 32, 32))
    functional.set_step_mode(net, "s")
    with pytest.raises(ShapeError, match=r"call functional.set_step_mode\(net, 'm'\)"):
        net(torch.rand(3, 1, 2, 32, 32))
    frames_only = model.sew_resnet.sew_resnet18(spiking_neuron=neuron.IFNode)
    functional.set_step_mode(frames_only, "m")
    with pytest.raises(ShapeError, match=r"must be \[T, N, 3, any, any\].* Repeat an image over time"):
        frames_only(torch.rand(1, 3, 32, 32))
