"""Dropout over time: one mask until reset."""

import copy
import pickle

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer
from spikeloom.errors import ShapeError

SHAPES = {
    layer.Dropout: (3, 5, 8),
    layer.Dropout1d: (3, 5, 8),
    layer.Dropout2d: (3, 5, 4, 6),
    layer.Dropout3d: (3, 5, 2, 4, 6),
    layer.MultiStepDropout: (3, 5, 8),
    layer.MultiStepDropout2d: (3, 5, 4, 6),
}
ALL = pytest.mark.parametrize("cls", SHAPES)


@ALL
def test_one_mask_for_all_steps_until_reset(cls):
    dropout, shape = cls(0.5), SHAPES[cls]
    dropout.step_mode = "s"
    ones = torch.ones(shape)
    first = dropout(ones)
    assert set(first.flatten().tolist()) == {0.0, 2.0}
    assert_same("second step", first, dropout(ones))
    dropout.step_mode = "m"
    assert_same("multi-step", first.expand(7, *shape), dropout(torch.ones(7, *shape)))
    twins = [copy.deepcopy(dropout), pickle.loads(pickle.dumps(dropout))]
    for twin in twins:
        assert_same("copy", first, twin(torch.ones(1, *shape))[0])
    functional.reset_net(dropout)
    assert dropout.mask is None
    assert not torch.equal(first, dropout(torch.ones(1, *shape))[0])


@ALL
def test_both_step_modes_draw_the_same_mask(cls):
    results = []
    x_seq = torch.rand(4, *SHAPES[cls])
    for step_mode in ("s", "m"):
        dropout = cls(0.5)
        dropout.step_mode = step_mode
        torch.manual_seed(1)
        results.append(dropout(x_seq) if step_mode == "m" else torch.stack([dropout(x) for x in x_seq]))
    assert_same("modes", *results)


@pytest.mark.parametrize("cls", [layer.Dropout1d, layer.Dropout2d, layer.Dropout3d])
def test_whole_channels_are_dropped(cls):
    out = cls(0.5)(torch.ones(SHAPES[cls]))
    assert_same("channels", out, out[(..., *[slice(1)] * (out.dim() - 2))].expand_as(out))


@ALL
def test_evaluation_is_the_identity(cls):
    dropout, x = cls().eval(), torch.rand(4, *SHAPES[cls])
    dropout.step_mode = "m"
    assert dropout(x) is x
    dropout.train()(x)
    dropout.eval()
    assert dropout(x[:, :1]) is not None  # a smaller last batch needs no reset


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_mask_follows_the_type_of_the_input(dtype):
    dropout = layer.Dropout()
    assert dropout(torch.ones(4, dtype=dtype)).dtype == dtype
    assert dropout.mask.dtype == dtype
    assert dropout(torch.ones(4)).dtype == torch.float32


def test_rates_gradients_and_extremes():
    torch.manual_seed(0)
    x = torch.ones(20000, requires_grad=True)
    dropout = layer.Dropout(0.3)
    dropout(x).sum().backward()
    assert_same("gradient", dropout.mask, x.grad)
    assert abs((dropout.mask == 0).float().mean().item() - 0.3) < 0.02
    assert not layer.Dropout(1.0)(x).any()
    assert layer.Dropout(0.0)(x) is x
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="`p`"):
            layer.Dropout(p)


def test_old_names_and_defaults():
    assert (layer.MultiStepDropout().step_mode, layer.MultiStepDropout2d().step_mode) == ("m", "m")
    assert (layer.Dropout().p, layer.Dropout2d().p) == (0.5, 0.2)
    assert isinstance(layer.MultiStepDropout(), layer.Dropout)
    with pytest.raises(ShapeError, match="'m'"):
        layer.Dropout2d()(torch.ones(2, 2, 3, 4, 4))


class TestDropConnect:
    def filled(self, **kwargs):
        fc = layer.DropConnectLinear(3, 2, **kwargs)
        with torch.no_grad():
            fc.weight.copy_(torch.arange(6.0).view(2, 3))
            if fc.bias is not None:
                fc.bias.fill_(0.5)
        return fc

    def test_mean_and_variance_in_training(self):
        torch.manual_seed(0)
        y = self.filled(activation=None, p=0.25)(torch.ones(20000, 3))
        # Bernoulli(3/4) of (0, 1, 2, bias 1/2) and of (3, 4, 5, 1/2); SpikingJelly 2.0.0 measured 2.63, 9.38
        torch.testing.assert_close(y.mean(0), torch.tensor([2.625, 9.375]), atol=0.1, rtol=0)
        torch.testing.assert_close(y.var(0), torch.tensor([0.984375, 9.421875]), atol=0.3, rtol=0)

    def test_evaluation_averages_the_activation(self):
        fc = self.filled(activation=None, p=0.25).eval()
        assert_close("mean", torch.tensor([[2.625, 9.375]]), fc(torch.ones(1, 3)))
        torch.manual_seed(0)
        fc = self.filled(p=0.25, samples_num=20000).eval()
        with torch.no_grad():
            fc.weight.neg_()
            fc.bias.zero_()
        deviation, mean = (0.25 * 0.75 * 5) ** 0.5, -0.75 * 3
        normal = torch.distributions.Normal(0.0, 1.0)
        z = torch.tensor(mean / deviation)
        expected = mean * normal.cdf(z) + deviation * normal.log_prob(z).exp()  # of a rectified Gaussian
        torch.testing.assert_close(fc(torch.ones(1, 3))[0, 0], expected, atol=5e-4, rtol=0)

    def test_masks_are_kept_only_if_invariant(self):
        x = torch.ones(50, 3)
        fc = self.filled(invariant=True)
        first = fc(x)
        assert_same("kept", first, fc(x))
        fc.step_mode = "m"
        assert_same("multi-step", first.expand(3, -1, -1), fc(x.expand(3, -1, -1)))
        fc.reset()
        assert not torch.equal(first, fc(x[None])[0])
        fc = self.filled()
        assert not torch.equal(fc(x), fc(x))

    def test_gradients_keys_and_types(self):
        fc = self.filled(bias=False)
        assert list(fc.state_dict()) == ["weight"]
        assert list(self.filled().state_dict()) == ["weight", "bias"]
        fc.eval()(torch.zeros(2, 3)).sum().backward()
        assert fc.weight.grad.isfinite().all()
        assert fc.bfloat16()(torch.ones(2, 3).bfloat16()).dtype == torch.bfloat16
        assert isinstance(fc.activation, nn.ReLU)

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match="`p`"):
            layer.DropConnectLinear(3, 2, p=2.0)
        with pytest.raises(ValueError, match="`samples_num`"):
            layer.DropConnectLinear(3, 2, samples_num=0)
        with pytest.raises(ShapeError, match="'m'"):
            layer.DropConnectLinear(3, 2)(torch.ones(4, 2, 3))


@ALL
def test_outputs_may_be_added_up_in_place(cls):
    dropout, shape = cls(0.5), SHAPES[cls]
    dropout.step_mode = "s"
    x = torch.rand(shape, requires_grad=True)
    total = dropout(x)
    total += dropout(x)
    total *= 2
    total.sum().backward()
    mask = dropout.mask.expand(shape)
    assert_close("total", 4 * mask * x.detach(), total.detach())
    assert_close("gradient", 4 * mask, x.grad)
