import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.data import blobs, yin_yang


@given(
    seed=st.integers(0, 10**6),
    radius=st.floats(0.01, 2),
    margin=st.floats(0.01, 2),
    num_train=st.integers(0, 65),
    num_test=st.integers(0, 65),
)
def test_a_line_separates_the_classes_with_the_margin(seed, radius, margin, num_train, num_test):
    data = blobs(num_train, num_test, seed, radius, margin)
    for x, y, count in ((data.train_x, data.train_y, num_train), (data.test_x, data.test_y, num_test)):
        assert (x.dtype, tuple(x.shape), y.dtype) == (torch.float32, (count, 2), torch.int64)
        distance = (x.double().sum(1) - 1) / math.sqrt(2) * (2 * y - 1)
        assert (distance >= margin / 2 - 1e-6).all()
        assert (distance <= margin / 2 + 2 * radius + 1e-6).all()
        assert (y == 0).sum() - (y == 1).sum() in (0, 1)


def test_by_default_a_thousand_points_each_in_the_unit_square():
    data = blobs()
    assert (len(data.train_x), len(data.test_x)) == (1000, 1000)
    assert data.train_x.min() > 0.12
    assert data.train_x.max() < 0.88
    assert not torch.equal(data.train_x, data.test_x)
    assert data.train_y[:100].float().mean() == pytest.approx(0.5, abs=0.2)  # shuffled


def test_points_are_spread_evenly_over_the_disc():
    """Half of the points of a disc lie within the radius divided by the square root of two."""
    data = blobs(num_train=4000, radius=0.2, margin=0.1)
    centre = 0.5 + (2 * data.train_y - 1) * 0.25 / math.sqrt(2)
    inside = (data.train_x - centre[:, None]).norm(dim=1) < 0.2 / math.sqrt(2)
    assert inside.float().mean() == pytest.approx(0.5, abs=0.04)  # five standard errors


def test_test_points_do_not_depend_on_the_number_of_training_points():
    assert torch.equal(blobs(num_train=10).test_x, blobs(num_train=20).test_x)


@given(seed=st.integers(0, 10**6), num_train=st.integers(0, 65), num_test=st.integers(0, 65))
def test_yin_and_yang_are_one_disc(seed, num_train, num_test):
    data = yin_yang(num_train, num_test, seed)
    for x, y, count in ((data.train_x, data.train_y, num_train), (data.test_x, data.test_y, num_test)):
        assert (x.dtype, tuple(x.shape), y.dtype) == (torch.float32, (count, 4), torch.int64)
        assert ((x[:, :2] + x[:, 2:] - 1).abs() < 1e-6).all()
        assert ((x[:, :2] - 0.5).norm(dim=1) <= 0.5 + 1e-6).all()
        assert len(torch.bincount(y, minlength=3).unique()) <= 2
        assert torch.bincount(y, minlength=3).sum() == count


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ((0.25, 0.5), "dot"), ((0.75, 0.42), "dot"),  # the centres of the two heads
        ((0.5, 0.9), "yin"), ((0.5, 0.1), "yang"),  # above and below
        ((0.25, 0.3), "yin"), ((0.75, 0.7), "yang"),  # around the dots, beyond the middle
        ((0.1, 0.25), "yang"), ((0.9, 0.75), "yin"),  # the tails
    ],
)  # fmt: skip
def test_where_yin_and_yang_are(point, kind):
    data = yin_yang(5000)
    near = (data.train_x[:, :2] - torch.tensor(point)).norm(dim=1) < 0.015
    assert near.sum() >= 1
    assert {data.classes[label] for label in data.train_y[near].tolist()} == {kind}


def test_yin_yang_is_made_from_the_seed_and_each_part_from_its_own():
    first, other = yin_yang(num_train=30), yin_yang(num_train=60)
    assert torch.equal(first.test_x, other.test_x)
    assert not torch.equal(first.train_x[:20], first.test_x[:20])
    assert not torch.equal(first.train_x, yin_yang(num_train=30, seed=1).train_x)
    with pytest.raises(ValueError, match="`num_test` must be at least 0"):
        yin_yang(num_test=-1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": -1}, "`num_train` must be at least 0"),
        ({"radius": 0}, "`radius` must be a finite number greater than 0"),
        ({"margin": math.inf}, "`margin` must be a finite number greater than 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        blobs(**arguments)
