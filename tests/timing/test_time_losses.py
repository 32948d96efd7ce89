"""Losses on spike times, and decoding by the first spike, against what is worked out by hand."""

import math

import pytest
import torch

from compare import assert_close, assert_gradient
from spikeloom.errors import ShapeError
from spikeloom.timing import first_spike, first_spike_cross_entropy, spike_time_mse


def spiking(*rows):
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def test_squared_error_by_hand():
    times = spiking([12.0, -1.0, 9.0], [4.0, 5.0, -3.0])
    target = torch.tensor([[10.0, 16.0, 9.0], [4.0, 8.0, 20.0]])
    loss = spike_time_mse(times, target, missing=20)
    assert loss.item() == pytest.approx((2**2 + 4**2 + 3**2) / 2 / 2)
    loss.backward()
    expected = torch.tensor([[1.0, 0, 0], [0, -1.5, 0]], dtype=torch.float64)
    assert_close("gradient", expected, times.grad)


@pytest.mark.parametrize("tau", [1.0, 0.2])
def test_cross_entropy_by_hand(tau):
    times, label = spiking([1.0, 2.0, 3.0], [0.5, -1.0, 0.25]), torch.tensor([0, 1])
    counted = torch.tensor([[1.0, 2.0, 3.0], [0.5, 4.0, 0.25]], dtype=torch.float64)
    share = (-counted / tau).exp() / (-counted / tau).exp().sum(1, keepdim=True)
    loss = first_spike_cross_entropy(times, label, missing=4, tau=tau)
    assert loss.item() == pytest.approx(-(share[0, 0].log() + share[1, 1].log()).item() / 2)
    loss.backward()
    right = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    expected = (right - share) / tau / 2
    expected[1, 1] = 0  # it did not spike
    assert_gradient("times", expected, times.grad)


def test_late_spikes_do_not_overflow():
    times = torch.tensor([[1e30, 0.0]], requires_grad=True)
    first_spike_cross_entropy(times, torch.tensor([0]), missing=1e30, tau=1e-3).backward()
    assert times.grad.isfinite().all()


def test_neurons_too_late_to_matter_do_not_matter():
    times = torch.tensor([[1e38, 0.0]], requires_grad=True)
    loss = first_spike_cross_entropy(times, torch.tensor([1]), missing=1, tau=1e-3)
    assert loss == 0
    loss.backward()
    assert (times.grad == 0).all()


def test_nobody_spikes():
    silent = torch.full((2, 10), -1.0, requires_grad=True)
    loss = first_spike_cross_entropy(silent, torch.tensor([3, 4]), missing=2)
    assert loss.item() == pytest.approx(math.log(10))
    loss.backward()
    assert torch.equal(silent.grad, torch.zeros(2, 10))
    assert first_spike(silent).tolist() == [-1, -1]


def test_the_first_spike_names_the_class():
    times = torch.tensor([[3.0, 2.0, 2.0], [-1.0, -5.0, 0.0], [-0.0, 1.0, -1.0]])
    assert first_spike(times).tolist() == [1, 2, 0]
    assert first_spike(times).dtype == torch.int64
    assert first_spike(torch.tensor([[3, -1, 2], [-1, -1, -1]])).tolist() == [2, -1]


def test_empty_batches_have_no_loss():
    nothing = torch.zeros(0, 3, requires_grad=True)
    spike_time_mse(nothing, torch.zeros(0, 3), missing=1).backward()
    loss = first_spike_cross_entropy(nothing, torch.zeros(0, dtype=torch.int64), missing=1)
    assert loss == 0
    assert first_spike(nothing).shape == (0,)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_times_that_are_no_numbers_are_refused(bad):
    times, label = torch.tensor([[1.0, bad]]), torch.tensor([0])
    for call in (
        lambda: spike_time_mse(times, torch.ones(1, 2), 3),
        lambda: first_spike_cross_entropy(times, label, 3),
        lambda: first_spike(times),
    ):
        with pytest.raises(ValueError, match=r"`times` must have no NaN or infinity.*written as -1"):
            call()


def test_bad_arguments_are_refused_by_name():
    times, label = torch.ones(2, 3), torch.tensor([0, 2])
    with pytest.raises(ShapeError, match=r"`target` must have the shape of `times`, \[2, 3\], got \[3\]"):
        spike_time_mse(times, torch.ones(3), 1)
    for shape in ((), (3,)):
        with pytest.raises(ShapeError, match=r"`times` must be \[N, out\]"):
            spike_time_mse(torch.ones(shape), torch.ones(shape), 1)
    for target in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"`target` must be times of at least 0.*take `missing`"):
            spike_time_mse(times, torch.full((2, 3), target), 1)
    for missing in (-1, math.inf):
        with pytest.raises(ValueError, match="`missing` must be a finite number of at least 0"):
            spike_time_mse(times, times, missing)
    with pytest.raises(ValueError, match="`missing` must be a number, got NaN"):
        spike_time_mse(times, times, math.nan)
    with pytest.raises(ValueError, match="`tau` must be a finite number greater than 0, got 0"):
        first_spike_cross_entropy(times, label, 1, tau=0)
    with pytest.raises(ShapeError, match=r"`times` must be \[N, num_classes\].*one output neuron for each"):
        first_spike_cross_entropy(times, torch.tensor([0]), 1)
    with pytest.raises(ValueError, match="`label` must be from 0 to 2"):
        first_spike_cross_entropy(times, torch.tensor([0, 3]), 1)
    with pytest.raises(ShapeError, match=r"`times` must be \[N, out\], got \[3\]"):
        first_spike(torch.ones(3))
