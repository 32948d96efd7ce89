"""Weights of one sign, and why the obvious line fails."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from compare import assert_same
from spikeloom import layer
from spikeloom.errors import ShapeError

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.3, weight_decay=0.1),
}


def test_the_obvious_line_still_fails():
    fc = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="cannot assign"):
        fc.weight = torch.abs(fc.weight)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_survives_every_step(name, sign):
    torch.manual_seed(0)
    fc = layer.constrain_sign(layer.Linear(5, 3), sign)
    optimizer = OPTIMIZERS[name](fc.parameters())
    for _ in range(20):
        optimizer.zero_grad()
        (fc(torch.rand(4, 5)) - torch.randn(4, 3) * 5).square().mean().backward()
        optimizer.step()
        assert (fc.weight * sign >= 0).all()
    assert (fc.weight != 0).any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_silenced_synapse_can_come_back(name):
    fc = layer.constrain_sign(nn.Linear(1, 1, bias=False))
    optimizer = OPTIMIZERS[name](fc.parameters())
    for target, reached in ((-3.0, lambda w: w == 0), (2.0, lambda w: w > 1)):
        for _ in range(60):
            optimizer.zero_grad()
            (fc.weight - target).square().sum().backward()
            optimizer.step()
        assert reached(fc.weight.item())


def test_signs_by_input_and_the_start():
    fc = nn.Linear(3, 2)
    before = fc.weight.detach().clone()
    signs = torch.tensor([1, -1, 1])
    assert layer.constrain_sign(fc, signs) is fc
    assert_same("start", before.abs() * signs, fc.weight.detach())
    assert isinstance(fc, nn.Linear)
    assert "parametrizations.weight.0.sign" in fc.state_dict()
    twin = copy.deepcopy(fc)
    assert_same("copy", fc.weight, twin.weight)
    other = layer.constrain_sign(nn.Linear(3, 2), -signs)
    other.load_state_dict(fc.state_dict())
    assert_same("loaded", fc.weight, other.weight)
    weight = fc.weight.detach()
    parametrize.remove_parametrizations(fc, "weight")
    assert_same("ordinary again", weight, fc.weight.detach())


def test_layers_over_time_stay_what_they_are():
    conv = layer.constrain_sign(layer.Conv2d(2, 3, 3, step_mode="m"), -1)
    assert isinstance(conv, layer.Conv2d)
    out = conv(torch.rand(4, 1, 2, 5, 5))
    assert out.shape == (4, 1, 3, 3, 3)
    assert "step_mode=m" in repr(conv)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"`name`.*weight"):
        layer.constrain_sign(nn.Linear(2, 2), name="weights")
    for sign in (0, "positive", None):
        with pytest.raises(ValueError, match="`sign` must be 1 or -1"):
            layer.constrain_sign(nn.Linear(2, 2), sign)
    with pytest.raises(ValueError, match=r"`weight` of .*Linear must have no sign yet"):
        layer.constrain_sign(layer.constrain_sign(nn.Linear(2, 2)), -1)
    for shape in ((3,), (2, 2, 2)):
        with pytest.raises(ShapeError, match="`sign`"):
            layer.constrain_sign(nn.Linear(2, 2), torch.ones(shape))


# Dale's law


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_neurons_before_a_layer_keep_their_kind(name):
    torch.manual_seed(0)
    excitatory = torch.tensor([True, False, True, True, False])
    fc = layer.dale(layer.Linear(5, 3), excitatory)
    optimizer = OPTIMIZERS[name](fc.parameters())
    for _ in range(20):
        optimizer.zero_grad()
        (fc(torch.rand(4, 5)) - torch.randn(4, 3) * 5).square().mean().backward()
        optimizer.step()
        assert (fc.weight[:, excitatory] >= 0).all()
        assert (fc.weight[:, ~excitatory] <= 0).all()
    assert (fc.weight[:, excitatory] > 0).any()
    assert (fc.weight[:, ~excitatory] < 0).any()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("conv", [layer.Conv1d, layer.Conv2d, layer.Conv3d])
def test_an_input_channel_has_one_sign(conv, groups):
    """Seen from outside: an inhibitory channel alone can only lower every output."""
    places = {layer.Conv1d: 1, layer.Conv2d: 2, layer.Conv3d: 3}[conv]
    mask = [True, False, False, True]
    made = layer.dale(conv(4, 6, 3, groups=groups, bias=False), mask)
    for channel, excitatory in enumerate(mask):
        x = torch.zeros(1, 4, *[5] * places)
        x[:, channel] = torch.rand(1, *[5] * places)
        out = made(x)
        assert (out >= 0).all() if excitatory else (out <= 0).all()
        assert (out != 0).any()


def test_wrong_masks():
    with pytest.raises(ShapeError, match=r"`excitatory` must be \[3\] booleans.*got \[2\]"):
        layer.dale(nn.Linear(3, 2), [True, False])
    with pytest.raises(ShapeError, match="float32"):
        layer.dale(nn.Linear(2, 2), torch.ones(2))
    with pytest.raises(TypeError, match="`module`"):
        layer.dale(nn.ReLU(), [True])
