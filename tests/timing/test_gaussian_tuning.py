"""Gaussian tuning curves: values worked by hand, shapes, and what is refused."""

import math

import pytest
import torch

from compare import assert_close
from spikeloom.errors import ShapeError
from spikeloom.timing import GaussianTuning, Jitter


def test_times_are_those_of_the_formula():
    m, low, high, end = 8, torch.tensor([0.0, -2.0]), torch.tensor([1.0, 6.0]), 50
    x = torch.rand(5, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 8 - 2
    times = GaussianTuning(2, m, low, high).encode(x)
    assert times.shape == (5, 2, 3, m)
    assert times.dtype == torch.float64
    for n, feature, k, i in torch.cartesian_prod(*map(torch.arange, times.shape)).tolist():
        step = (high[feature] - low[feature]).item() / (m - 2)
        centre = low[feature].item() + (2 * (i + 1) - 3) / 2 * step
        active = math.exp(-((x[n, feature, k].item() - centre) ** 2) / (2 * (step / 1.5) ** 2))
        expected = round(end * (1 - active))
        assert times[n, feature, k, i] == (expected if expected < end else -1)


def test_a_feature_at_a_centre_spikes_at_once_and_far_ones_not_at_all():
    tuning = GaussianTuning(n=1, m=16, x_min=torch.zeros(1), x_max=torch.ones(1))
    times = tuning.encode(torch.tensor([[[0.5 / 14]]]), max_spike_time=100)[0, 0, 0]
    assert times[1] == 0
    assert (times[6:] == -1).all()
    assert (tuning.encode(torch.tensor([[99.0]])) == -1).all()


def test_one_value_per_feature_needs_no_third_dimension():
    tuning, x = GaussianTuning(4, 5, 0.0, 1.0), torch.rand(3, 4)
    assert_close("times", tuning.encode(x[..., None], 20)[:, :, 0], tuning.encode(x, 20))
    assert torch.equal(tuning(x, 20), tuning.encode(x, 20))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"m": 2}, ValueError, "`m` must be at least 3, got 2"),
        ({"n": 0}, ValueError, "`n` must be at least 1"),
        ({"x_max": torch.tensor([1.0, 0.0])}, ValueError, "Leave out features that are constant"),
        ({"x_min": torch.zeros(3)}, ShapeError, r"`x_min` must be a number or a tensor \[2\]"),
        ({"x_min": math.nan}, ValueError, "`x_min` must be finite"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        GaussianTuning(**{"n": 2, "m": 4, "x_min": 0.0, "x_max": 1.0, **settings})


def test_bad_features_are_refused():
    tuning = GaussianTuning(2, 4, 0.0, 1.0)
    for x in (torch.rand(5, 3), torch.rand(2), torch.rand(5, 3, 2)):
        with pytest.raises(ShapeError, match=r"`x` must be \[N, 2, k\] or \[N, 2\]"):
            tuning.encode(x)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"`x` must be finite, got NaN or infinity\. Fill in"):
            tuning.encode(torch.tensor([[0.5, bad]]))
    with pytest.raises(ValueError, match="`max_spike_time` must be a finite number greater than 0"):
        tuning.encode(torch.rand(5, 2), max_spike_time=0)


def test_jitter_moves_spikes_in_training_only_and_keeps_silence():
    torch.manual_seed(0)
    jitter, times = Jitter(2.0, T=50), torch.full([200, 50], 25.0)
    times[:, :10] = -1
    moved = jitter(times)
    assert torch.equal(moved[:, :10], times[:, :10])
    assert (moved[:, 10:] - 25).std().item() == pytest.approx(2, rel=0.05)
    assert torch.equal(jitter.eval()(times), times)
    early = Jitter(30.0, T=50)(times)
    assert early[:, 10:].min() == 0
    assert early.max() == 49
    with pytest.raises(ValueError, match="`std` must be"):
        Jitter(-1.0, 10)
    with pytest.raises(TypeError, match=r"`times` must be floating-point numbers, got torch.int64"):
        jitter.train()(torch.tensor([3, -1]))
