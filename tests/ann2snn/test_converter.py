"""Scripts that were written for another library run after their import changed."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ann2snn.networks import made
from spikeloom import ann2snn, neuron


def validate(net, loader, T=None):
    """As the tutorials test: single steps, outputs added up in place, every module with a reset() reset."""
    net.eval()
    total, corrects = 0, [0.0] * (T or 1)
    with torch.no_grad():
        for image, label in loader:
            for module in net.modules():
                if hasattr(module, "reset"):
                    module.reset()
            for t in range(T or 1):
                if t == 0:
                    out = net(image)
                else:
                    out += net(image)
                corrects[t] += (out.argmax(1) == label).float().sum().item()
            total += len(label)
    return [correct / total for correct in corrects]


@pytest.mark.parametrize("mode", ["Max", "99.9%", 1.0 / 2])
def test_a_tutorial_runs(mode):
    ann, x = made("mixed")
    loader = DataLoader(TensorDataset(x, ann(x).argmax(1)), batch_size=20, shuffle=True)
    snn = ann2snn.Converter(mode=mode, dataloader=loader)(ann)
    assert snn.graph is snn.graph_module.graph
    accuracies = validate(snn, loader, T=32)
    assert validate(ann, loader) == [1.0]
    assert accuracies[-1] > 0.9
    curve = ann2snn.accuracy_over_time(snn, loader, 32).tolist()
    assert curve == pytest.approx(accuracies)


def test_all_its_arguments_and_names_are_taken():
    ann, x = made("mixed")
    converter = ann2snn.Converter([(x, None)], "cpu", "Max", 0.1, True)
    recipe = ann2snn.RateCodingRecipe(dataloader=[(x, None)], mode="Max", momentum=0.1, fuse_flag=True)
    others = ann2snn.Converter(recipe, device="cpu"), ann2snn.Converter(recipe=recipe)
    expected = converter(ann)(x)
    for made_again in (converter.convert, *others):
        assert torch.equal(made_again(ann)(x), expected)


def test_what_is_missing_or_no_device_is_refused():
    with pytest.raises(TypeError, match="`dataloader` must be given"):
        ann2snn.Converter(mode="max")
    with pytest.raises(RuntimeError, match="device"):
        ann2snn.Converter([torch.ones(1, 2)], "max")


def test_thresholds_are_those_of_the_mode_and_neurons_start_at_zero():
    ann, x = made("sequential")
    largest = ann[1](ann[0](x)).max().item()
    for mode, wanted in (("max", largest), (0.25, largest / 4)):
        snn = ann2snn.Converter([x], mode=mode)(ann)
        (node,) = [module for module in snn.modules() if isinstance(module, neuron.IFNode)]
        assert node.v_threshold.item() == wanted
        assert node.v_reset is None
        (layer,) = [module for module in snn.modules() if isinstance(module, ann2snn.SpikingActivation)]
        assert layer.initial.item() == 0.0


@pytest.mark.parametrize("mode", ["maximum", "99.9", "0%", "101%", 0, 1.5, None, -0.5])
def test_wrong_modes_are_refused(mode):
    with pytest.raises(ValueError, match=r"`mode` must be 'max', a percentile such as '99.9%', or a number"):
        ann2snn.Converter([torch.ones(1, 1)], mode=mode)


def test_a_model_is_moved_where_the_device_says():
    ann = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    snn = ann2snn.Converter([torch.ones(1, 2)], device="cpu")(ann)
    assert {tensor.device.type for tensor in snn.state_dict().values()} == {"cpu"}


def test_a_network_that_was_trained_in_several_processes_converts():
    from spikeloom import layer

    nets = [nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))]
    nets[0](torch.randn(20, 1, 4, 4))
    nets.append(copy.deepcopy(nets[0]))
    layer.synchronise_batch_norm(nets[1])
    x = torch.rand(6, 1, 4, 4)
    one, other = (ann2snn.Converter([x], strict=True)(net.eval()) for net in nets)
    assert torch.equal(one(x), other(x))
    assert type(nets[1][1]).__module__.startswith("spikeloom")  # the network itself stays as it is
