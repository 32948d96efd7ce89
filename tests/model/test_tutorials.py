"""The names that tutorials use: such a script runs after its import line changes."""

import pytest
import torch

from compare import assert_close
from spikeloom import functional, layer, neuron, surrogate
from spikeloom.model import parametric_lif_net, sew_resnet, spiking_resnet, spiking_vgg

SETTINGS = {"surrogate_function": surrogate.ATan(), "detach_reset": True, "backend": "torch"}
# Parameters with 1000 classes, as torchvision counts them for the networks without spikes.
COUNTS = {
    sew_resnet.sew_resnet18: 11_689_512,
    sew_resnet.sew_resnet34: 21_797_672,
    sew_resnet.sew_resnet50: 25_557_032,
    sew_resnet.sew_resnet101: 44_549_160,
    sew_resnet.sew_resnet152: 60_192_808,
    spiking_resnet.spiking_resnet18: 11_689_512,
    spiking_resnet.spiking_resnet34: 21_797_672,
    spiking_resnet.spiking_resnet50: 25_557_032,
    spiking_resnet.spiking_resnet101: 44_549_160,
    spiking_resnet.spiking_resnet152: 60_192_808,
    spiking_vgg.spiking_vgg11: 132_863_336,
    spiking_vgg.spiking_vgg13: 133_047_848,
    spiking_vgg.spiking_vgg16: 138_357_544,
    spiking_vgg.spiking_vgg19: 143_667_240,
    spiking_vgg.spiking_vgg11_bn: 132_868_840,
    spiking_vgg.spiking_vgg13_bn: 133_053_736,
    spiking_vgg.spiking_vgg16_bn: 138_365_992,
    spiking_vgg.spiking_vgg19_bn: 143_678_248,
}
PLIF = {  # channels, height and width, classes
    parametric_lif_net.MNISTNet: (1, 28, 10),
    parametric_lif_net.FashionMNISTNet: (1, 28, 10),
    parametric_lif_net.NMNISTNet: (2, 34, 10),
    parametric_lif_net.CIFAR10Net: (3, 32, 10),
    parametric_lif_net.CIFAR10DVSNet: (2, 128, 10),
    parametric_lif_net.DVSGestureNet: (2, 128, 11),
}


def run_as_a_tutorial_does(net, shape, num_classes, T=2):
    """Step by step, and then as a sequence, which gives the same."""
    net.double().eval()  # in which rounding turns no spike
    x = torch.rand(T, *shape, dtype=torch.float64)
    with torch.no_grad():
        steps = torch.stack([net(step) for step in x])
        functional.reset_net(net)
        functional.set_step_mode(net, "m")
        sequence = net(x)
    assert sequence.shape == (T, shape[0], num_classes)
    assert_close("sequence", steps, sequence)


@pytest.mark.parametrize("make", COUNTS, ids=lambda make: f"{make.func.__name__}-{make.args[0]}")
def test_the_large_networks(make):
    with torch.device("meta"):
        net = make(pretrained=False, spiking_neuron=neuron.IFNode, **SETTINGS)
    assert sum(parameter.numel() for parameter in net.parameters()) == COUNTS[make]
    neurons = [module for module in net.modules() if isinstance(module, neuron.BaseNode)]
    assert {(type(one), one.detach_reset, one.step_mode) for one in neurons} == {(neuron.IFNode, True, "s")}
    assert len({id(one.surrogate_function) for one in neurons}) == len(neurons)


def test_sew_resnet18_runs():
    net = sew_resnet.sew_resnet18(cnf="IAND", spiking_neuron=neuron.IFNode, num_classes=7, **SETTINGS)
    assert {block.connect for stage in (net.layer1, net.layer4) for block in stage} == {"IAND"}
    run_as_a_tutorial_does(net, (1, 3, 32, 32), 7)


def test_spiking_resnet18_runs():
    net = spiking_resnet.spiking_resnet18(spiking_neuron=neuron.LIFNode, num_classes=7, tau=1.5, **SETTINGS)
    assert net.sn1.tau == 1.5
    run_as_a_tutorial_does(net, (1, 3, 32, 32), 7)


@pytest.mark.parametrize("make", PLIF, ids=lambda make: make.__name__)
def test_the_networks_of_plif_run(make):
    channels, size, num_classes = PLIF[make]
    net = make(channels=4, spiking_neuron=neuron.ParametricLIFNode, init_tau=1.5, **SETTINGS)
    run_as_a_tutorial_does(net, (2, channels, size, size), num_classes)


def test_spiking_vgg_pools_maxima_and_normalises_only_if_asked():
    with torch.device("meta"):
        plain = spiking_vgg.spiking_vgg11(spiking_neuron=neuron.IFNode)
        normalised = spiking_vgg.spiking_vgg11_bn(spiking_neuron=neuron.IFNode)
    for net, has_norm in ((plain, False), (normalised, True)):
        kinds = {type(module) for module in net.modules()}
        assert layer.MaxPool2d in kinds
        assert layer.AvgPool2d not in kinds
        assert (layer.BatchNorm2d in kinds) == has_norm


def test_arguments_that_the_functions_of_tutorials_have():
    norm = layer.BatchNorm2d
    with torch.device("meta"):
        sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=neuron.IFNode, groups=1, width_per_group=64)
        spiking_vgg.spiking_vgg11(spiking_neuron=neuron.IFNode, init_weights=True)
        net = spiking_vgg.spiking_vgg11_bn(False, True, norm, neuron.IFNode, num_classes=10)
    assert any(isinstance(one, norm) for one in net.modules())
    with pytest.raises(ValueError, match=r"`groups` must be 1 here. See spikeloom.model.create"):
        sew_resnet.sew_resnet18(spiking_neuron=neuron.IFNode, groups=32)


def test_what_is_wrong_is_refused():
    with pytest.raises(ValueError, match=r"`pretrained` must be False.* there are no weights"):
        sew_resnet.sew_resnet18(pretrained=True, spiking_neuron=neuron.IFNode)
    with pytest.raises(TypeError, match="Give spiking_neuron"):
        parametric_lif_net.CIFAR10Net()
    with pytest.raises(TypeError, match="got IFNode"):
        spiking_resnet.spiking_resnet18(spiking_neuron=neuron.IFNode())
    with pytest.raises(TypeError, match="surrogat_function"):
        spiking_vgg.spiking_vgg11(spiking_neuron=neuron.IFNode, surrogat_function=surrogate.ATan())
