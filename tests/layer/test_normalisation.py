"""tdBN, TEBN, NeuNorm, weight standardisation."""

import copy
import pickle

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer
from spikeloom.errors import ShapeError

GRIDS = {1: (6,), 2: (5, 4), 3: (2, 3, 4)}
DIMS = pytest.mark.parametrize("dims", GRIDS)


def plain_norm(dims, x_seq):
    norm = getattr(nn, f"BatchNorm{dims}d")(3)
    return norm(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])


@DIMS
def test_threshold_dependent_norm_begins_anew_on_the_scale_of_the_threshold(dims):
    norm = getattr(layer, f"ThresholdDependentBatchNorm{dims}d")(0.5, 3.0, 3)
    norm(torch.randn(4, 6, 3, *GRIDS[dims]))
    nn.init.constant_(norm.weight, 7.0)
    norm.reset_parameters()
    assert norm.weight.tolist() == [1.5] * 3
    assert (norm.bias.tolist(), norm.running_mean.tolist()) == ([0.0] * 3, [0.0] * 3)


@DIMS
def test_threshold_dependent_norm_starts_on_the_scale_of_the_threshold(dims):
    norm = getattr(layer, f"ThresholdDependentBatchNorm{dims}d")(0.5, 3.0, 3)
    x_seq = torch.randn(4, 6, 3, *GRIDS[dims])
    assert norm.step_mode == "m"
    assert_close("output", 1.5 * plain_norm(dims, x_seq), norm(x_seq))
    norm.step_mode = "s"
    norm.eval()
    assert norm(x_seq[0]).shape == x_seq[0].shape
    assert list(norm.state_dict()) == list(getattr(nn, f"BatchNorm{dims}d")(3).state_dict())


def test_threshold_dependent_norm_passes_arguments_on():
    norm = layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 3, 1e-3, momentum=0.2)
    assert (norm.eps, norm.momentum, norm.alpha, norm.v_th) == (1e-3, 0.2, 1.0, 1.0)
    with pytest.raises(ValueError, match="`affine`"):
        layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 3, affine=False)


@DIMS
def test_temporal_effective_norm_scales_each_step(dims):
    norm = getattr(layer, f"TemporalEffectiveBatchNorm{dims}d")(4, 3)
    x_seq = torch.randn(4, 6, 3, *GRIDS[dims])
    assert_close("at the start", plain_norm(dims, x_seq), norm(x_seq))
    with torch.no_grad():
        norm.scale.copy_(torch.arange(1.0, 5.0))
    out = norm(x_seq)
    assert_close("scaled", plain_norm(dims, x_seq) * torch.arange(1.0, 5.0).view(-1, *[1] * (dims + 2)), out)
    out.square().sum().backward()
    assert norm.scale.grad.all()
    assert norm.scale.shape == norm.state_dict()["scale"].shape == (4,)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(norm)))
    assert_same("copy", norm.eval()(x_seq), twin.eval()(x_seq))


def test_temporal_effective_norm_needs_its_sequence():
    norm = layer.TemporalEffectiveBatchNorm2d(4, 3)
    with pytest.raises(ShapeError, match=r"T = 4.*T=5"):
        norm(torch.rand(5, 2, 3, 4, 4))
    with pytest.raises(ValueError, match="step_mode"):
        norm.step_mode = "s"
    with pytest.raises(ValueError, match="`T`"):
        layer.TemporalEffectiveBatchNorm2d(0, 3)
    functional.set_step_mode(nn.Sequential(norm), "m")


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_neu_norm_has_the_peers_numbers(step_mode):
    norm = layer.NeuNorm(2, 1, 3, step_mode=step_mode)
    with torch.no_grad():
        norm.w.copy_(torch.arange(1.0, 7.0).view(2, 1, 3) / 10)
    x = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]).view(1, 2, 1, 3)
    x_seq = torch.stack([x, x, 0 * x])
    out = norm(x_seq) if step_mode == "m" else torch.stack([norm(step) for step in x_seq])
    golden = [
        [0.995, -0.005, 0.9925, 0.98, 0.9875, -0.015],
        [0.9905, -0.0095, 0.98575, 0.962, 0.97625, -0.0285],
        [-0.00855, -0.00855, -0.012825, -0.0342, -0.021375, -0.02565],
    ]  # spikingjelly 2.0.0, layer.NeuNorm(2, 1, 3, k=0.9) with the same weights
    assert_close("output", torch.tensor(golden), out.view(3, 6))
    norm.reset()
    assert norm.x == 0.0


def test_neu_norm_shared_weights_and_wrong_sizes():
    assert layer.NeuNorm(4, 2, 3, shared_across_channels=True).w.shape == (1, 2, 3)
    with pytest.raises(ShapeError, match=r"\[4, 2, 3\]"):
        layer.NeuNorm(4, 2, 3)(torch.rand(1, 4, 1, 3))
    with pytest.raises(ShapeError, match="'m'"):
        layer.NeuNorm(4, 2, 3)(torch.rand(5, 1, 4, 2, 3))
    with pytest.raises(ValueError, match="`k`"):
        layer.NeuNorm(4, 2, 3, k=1.5)


def test_standardised_weights():
    conv = layer.WSConv2d(2, 3, 3, bias=False)
    weight = conv.get_weight()
    assert_close("mean", torch.zeros(3), weight.mean((1, 2, 3)))
    torch.testing.assert_close(weight.var((1, 2, 3)) * 18, torch.ones(3), rtol=1e-2, atol=0)
    x = torch.rand(2, 2, 5, 5)
    assert_close("output", nn.functional.conv2d(x, weight), conv(x))
    conv(x).square().sum().backward()
    assert conv.gain.grad.shape == (3, 1, 1, 1)


def test_standardised_linear_has_the_peers_numbers():
    fc = layer.WSLinear(4, 2)
    with torch.no_grad():
        fc.weight.copy_(torch.arange(8.0).view(2, 4) ** 2 / 10)
        fc.bias.zero_()
        fc.gain.copy_(torch.tensor([[1.0], [2.0]]))
    golden = torch.tensor([[0.9278131723403931, 1.3686232566833496]])  # spikingjelly 2.0.0, layer.WSLinear
    assert_close("output", golden, fc(torch.tensor([[1.0, 0.0, 0.0, 2.0]])))


def test_standardised_layers_without_gain_or_with_one_weight():
    assert list(layer.WSLinear(4, 2, gain=False).state_dict()) == ["weight", "bias"]
    with pytest.raises(ValueError, match="2 weights"):
        layer.WSConv2d(2, 2, 1, groups=2)


@pytest.mark.parametrize("parameters", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("given", [torch.bfloat16, torch.float16])
def test_normalisation_through_time_of_halves(given, parameters):
    norm = layer.BatchNormThroughTime2d(3, 2, step_mode="m").to(parameters)
    x = torch.randn(3, 8, 2, 4, 4) * 3 + 1
    wanted = layer.BatchNormThroughTime2d(3, 2, step_mode="m")(x)
    output = norm(x.to(given))
    assert output.dtype is given
    torch.testing.assert_close(output.float(), wanted, rtol=0.03, atol=0.05)
