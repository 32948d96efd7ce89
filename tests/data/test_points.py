import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.data import blobs


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
