"""Pooling of spike times by the earliest spike, against a loop over windows."""

import math

import pytest
import torch

from compare import assert_same
from spikeloom.errors import ShapeError
from spikeloom.timing import EarliestPool2d


def images(shape=(2, 3, 7, 9), seed=0):
    generator = torch.Generator().manual_seed(seed)
    times = torch.rand(shape, generator=generator, dtype=torch.float64) * 4
    return torch.where(torch.rand(shape, generator=generator) < 0.6, -1.0, times)


def by_loop(times, kernel, stride, padding):
    """The earliest time of each window, and how many windows it is the earliest of."""
    chosen = torch.zeros_like(times)
    rows = (times.shape[2] + 2 * padding - kernel[0]) // stride[0] + 1
    columns = (times.shape[3] + 2 * padding - kernel[1]) // stride[1] + 1
    out = torch.full((*times.shape[:2], rows, columns), -1.0, dtype=times.dtype)
    for n, c, row, column in torch.cartesian_prod(*map(torch.arange, out.shape)).tolist():
        spikes = {
            (y, x): times[n, c, y, x].item()
            for y in range(row * stride[0] - padding, row * stride[0] - padding + kernel[0])
            for x in range(column * stride[1] - padding, column * stride[1] - padding + kernel[1])
            if 0 <= y < times.shape[2] and 0 <= x < times.shape[3] and times[n, c, y, x] >= 0
        }
        if spikes:
            first = min(spikes, key=spikes.__getitem__)
            out[n, c, row, column] = spikes[first]
            chosen[n, c, first[0], first[1]] += 1
    return out, chosen


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 2), None, 0), ((3, 3), (2, 2), 1), ((2, 3), (1, 2), 0), ((7, 9), None, 0)],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_the_earliest_spike_of_each_window(kernel, stride, padding, layout):
    times = images().to(memory_format=layout).requires_grad_()
    expected, chosen = by_loop(times.detach(), kernel, stride or kernel, padding)
    got = EarliestPool2d(kernel, stride, padding)(times)
    assert_same("times", expected, got.detach())
    got.sum().backward()
    assert_same("gradient", chosen, times.grad)


def test_of_equal_times_the_first_gets_the_gradient():
    times = torch.tensor([[[[2.0, 1.0], [1.0, -1.0]]]], requires_grad=True)
    EarliestPool2d(2)(times).sum().backward()
    assert times.grad.flatten().tolist() == [0, 1, 0, 0]


def test_time_zero_is_a_spike_and_silence_has_no_gradient():
    times = torch.tensor([[[[0.0, 3.0, -1.0, -2.0]]]], requires_grad=True)
    got = EarliestPool2d((1, 2))(times)
    assert got.flatten().tolist() == [0, -1]
    got.sum().backward()
    assert times.grad.flatten().tolist() == [1, 0, 0, 0]


def test_integers_are_times_too():
    assert EarliestPool2d(2)(torch.tensor([[[[3, -1], [0, -1]]]])).item() == 0


def test_empty_batches_stay_empty():
    assert EarliestPool2d(2)(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 2, 2)


def test_bad_arguments_are_refused_by_name():
    for size in (0, 2.0, True, (2, 0), (2, 2, 2)):
        with pytest.raises(ValueError, match="`kernel_size` must be an integer of at least 1"):
            EarliestPool2d(size)
    with pytest.raises(ValueError, match="`stride` must be an integer of at least 1"):
        EarliestPool2d(2, 0)
    with pytest.raises(ValueError, match="`padding` must be at least 0, got -1"):
        EarliestPool2d(2, padding=-1)
    with pytest.raises(ValueError, match="`padding` must be at most half of `kernel_size`, got 2"):
        EarliestPool2d(3, padding=2)
    with pytest.raises(ShapeError, match=r"`times` must be \[N, C, H, W\].*got \[1, 1, 1\]"):
        EarliestPool2d(1)(torch.zeros(1, 1, 1))
    with pytest.raises(ShapeError, match=r"at least as large as the windows \(3, 3\)"):
        EarliestPool2d(3)(torch.zeros(1, 1, 2, 5))
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="`times` must have no NaN or infinity"):
            EarliestPool2d(1)(torch.full((1, 1, 1, 1), bad))


def test_padding_may_be_half_of_the_window():
    times = torch.tensor([[[[3.0, -1.0], [2.0, 5.0]]]])
    assert EarliestPool2d(2, padding=1)(times).tolist() == times.tolist()
