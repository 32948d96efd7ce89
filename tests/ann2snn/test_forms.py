"""Ways of writing a network that are easily converted to another one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from ann2snn.networks import with_statistics
from ann2snn.test_convert import distance
from spikeloom import ann2snn


class Form(nn.Module):
    """Two linear layers, a batch norm, a ReLU in place, and a forward of one's own."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.norm, self.fc2 = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)
        self.relu, self.function = nn.ReLU(inplace=True), function

    def forward(self, x):
        return self.function(self, x)


def used_again(relu):
    """What a ReLU in place has changed is read again, as in residual blocks that begin with one."""

    def forward(net, x):
        y = net.fc1(x)
        return net.fc2(relu(net, y)) + y

    return forward


def tied(net, x):
    """The second layer has the weights of the first, which a batch norm follows."""
    return F.linear(torch.relu(net.norm(net.fc1(x))), net.fc1.weight.t())


@pytest.mark.parametrize("forward", [
    used_again(lambda net, y: net.relu(y)),
    used_again(lambda net, y: F.relu(y, inplace=True)),
    used_again(lambda net, y: torch.relu_(y)),
    used_again(lambda net, y: y.relu_()),
    tied,
], ids=["module", "function", "torch", "method", "tied weights"])  # fmt: skip
def test_the_same_network_comes_out(forward):
    ann = with_statistics(Form(forward), (6,))
    x = torch.randn(40, 6)
    outputs = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, 256)
    assert distance(outputs[-1], ann(x).detach()) < 0.02


def test_weights_that_a_hook_computes_keep_their_batch_norm():
    ann = Form(lambda net, x: torch.relu(net.norm(net.fc1(x))))
    prune.l1_unstructured(ann.fc1, "weight", 0.5)
    x = torch.randn(40, 6)
    with torch.no_grad():  # else the weights could not be copied
        wanted = with_statistics(ann, (6,))(x)
    outputs = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, 256)
    assert distance(outputs[-1], wanted) < 0.02


@pytest.mark.parametrize("forward", [
    lambda net, x: net.fc1(net.relu(x)),
    lambda net, x: torch.relu(net.fc1(x.sub_(0.5))),
], ids=["relu", "sub_"])  # fmt: skip
def test_data_are_left_as_they_are(forward):
    x = torch.randn(40, 6)
    before = x.clone()
    snn = ann2snn.convert(Form(forward), x, calibrate="bias", T=2)
    snn(x)
    ann2snn.outputs_over_time(snn, x, 1)
    assert torch.equal(x, before)


def test_whole_numbers_are_taken_if_the_model_takes_them():
    ann = Form(lambda net, x: torch.relu(net.fc1(x.float() / 255)))
    x = torch.randint(0, 256, (40, 6), dtype=torch.uint8)
    outputs = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, 256)
    assert distance(outputs[-1], ann(x).detach()) < 0.02


@pytest.mark.parametrize(
    ("activation", "ceiling"), [(nn.ReLU6(), 6.0), (ann2snn.QCFS(L=8, threshold=0.5), 0.5)]
)
def test_no_scale_lifts_the_ceiling_of_an_activation(activation, ceiling):
    snn = ann2snn.convert(nn.Sequential(activation), torch.full((8, 2), 9.0), scale=2.0)
    (layer,) = [module for module in snn.modules() if isinstance(module, ann2snn.SpikingActivation)]
    assert layer.node.v_threshold.item() == ceiling


def test_an_input_may_have_the_name_of_the_number_of_steps():
    class Named(nn.Module):
        def forward(self, num_steps):
            return torch.relu(num_steps)

    snn = ann2snn.convert(Named(), torch.ones(1, 1), initial_potential=0.0)
    assert ann2snn.outputs_over_time(snn, torch.tensor([[0.5]]), T=4)[-1].item() == 0.5


def test_a_hook_before_a_batch_norm_stays_before_it():
    """Not folded, since the hook would then act behind the batch norm."""
    torch.manual_seed(0)
    ann = with_statistics(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), (6,))
    ann[0].register_forward_hook(lambda module, args, output: output * 3 + 1)
    x = torch.rand(50, 6)
    mean = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, T=512)[-1]
    assert distance(mean, ann(x)) < 0.02


def test_a_batch_norm_without_weights_is_folded_too():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, affine=False), nn.ReLU()), torch.rand(50, 6)
    net(x)
    snn = ann2snn.convert(net.eval(), x)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in snn.modules())
    with torch.no_grad():
        assert distance(ann2snn.outputs_over_time(snn, x, 1000)[-1], net(x)) < 5e-3


@pytest.mark.parametrize("pad", [nn.CircularPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d])
def test_padding_of_any_kind_is_kept(pad):
    net, x = nn.Sequential(pad(1), nn.Conv2d(1, 2, 3), nn.ReLU()), torch.rand(8, 1, 4, 4)
    assert str(ann2snn.convert(net, x).report).count("kept: linear") == 2
