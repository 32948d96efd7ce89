"""Checks of the numbers that users give."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from spikeloom.checks import (
    checked_count,
    checked_inside,
    checked_number,
    checked_part,
    checked_positive,
    checked_range,
)


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.int64(3), Fraction(3)])
def test_a_number_becomes_a_float(value):
    for given in (checked_number("x", value), checked_positive("x", value), checked_range("x", value, 0, 3)):
        assert given == 3.0
        assert type(given) is float


@pytest.mark.parametrize("value", [True, "3", None, [3], 3j])
def test_what_is_no_number_is_refused(value):
    for check in (checked_number, checked_positive, checked_range, checked_part):
        with pytest.raises(TypeError, match=r"`x` must be a number, got .* \(\w+\)\."):
            check("x", value)
    with pytest.raises(TypeError, match="`x` must be an integer, got"):
        checked_count("x", value)


def test_nan_is_no_number():
    for check in (checked_number, checked_positive, checked_range):
        with pytest.raises(ValueError, match="`x` must be a number, got NaN"):
            check("x", math.nan)


@pytest.mark.parametrize(
    ("check", "limits", "good", "bad", "rule"),
    [
        (checked_positive, (), (1e-30, math.inf), (0, -1), "a number greater than 0"),
        (checked_range, (), (-1e30, 0), (math.inf, -math.inf), "a finite number"),
        (checked_range, (0,), (0, 1e30), (-1e-30, math.inf), "a finite number of at least 0"),
        (checked_range, (0, 1), (0, 1), (-0.1, 1.1, math.inf), "a number from 0 to 1"),
        (checked_inside, (0,), (1e-30,), (0, math.inf), "a finite number greater than 0"),
        (checked_inside, (0, 1), (0.5,), (0, 1), "a number between 0 and 1"),
        (checked_part, (), (0.1, 1), (0, 1.1), "a number greater than 0 and at most 1"),
        (checked_part, (100,), (100,), (101,), "a number greater than 0 and at most 100"),
    ],
)
def test_rules_hold_for_numbers_and_for_all_elements_of_tensors(check, limits, good, bad, rule):
    for value in good:
        assert check("x", value, *limits) == value
        tensor = torch.tensor([value, good[0]], dtype=torch.float64)
        assert check("x", tensor, *limits) is tensor
    for value in bad:
        with pytest.raises(ValueError, match=f"`x` must be {rule}, got {value!r}."):
            check("x", value, *limits)
        with pytest.raises(ValueError, match=r"`x` must be .* everywhere, got \["):
            check("x", torch.tensor([good[0], value], dtype=torch.float64), *limits)


def test_a_tensor_must_be_of_floating_point():
    with pytest.raises(TypeError, match=r"a number or a floating-point tensor, got torch\.int64"):
        checked_positive("x", torch.tensor(3))


def test_counts():
    assert type(checked_count("n", np.int64(2))) is int
    assert checked_count("n", 0, least=0) == 0
    with pytest.raises(TypeError, match=r"`n` must be an integer, got 2\.0 \(float\)"):
        checked_count("n", 2.0)
    with pytest.raises(ValueError, match="`n` must be at least 1, got 0"):
        checked_count("n", 0)
    with pytest.raises(ValueError, match="`n` must be at most 5, got 6"):
        checked_count("n", 6, most=5)
