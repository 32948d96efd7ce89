import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.data import stratified_split

GOLDEN = ([9, 8, 0, 1, 2, 10, 5, 7], [11, 3, 6, 4])  # labels 0 0 0 0 0 0 1 1 1 1 1 1, a third to test, seed 7


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    test_fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**64),
)
def test_every_sample_is_in_one_part_and_every_class_in_proportion(counts, test_fraction, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    train, test = stratified_split(labels, test_fraction, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert np.bincount(labels[test], minlength=len(counts)).tolist() == [
        round(n * test_fraction) for n in counts
    ]


def test_the_split_never_changes():
    labels = np.repeat([0, 1], 6)
    train, test = stratified_split(labels, 1 / 3, seed=7)
    assert (train.tolist(), test.tolist()) == GOLDEN


def test_another_seed_gives_another_split():
    labels = np.zeros(100, dtype=int)
    assert stratified_split(labels, 0.5, 0)[1].tolist() != stratified_split(labels, 0.5, 1)[1].tolist()


def test_both_parts_are_shuffled():
    """The mean position of each class is that of a random order, within five standard errors."""
    labels = np.repeat(np.arange(4), 1000)
    for part in stratified_split(labels, 0.5):
        positions = np.array([np.mean(np.flatnonzero(labels[part] == label)) for label in range(4)])
        assert np.all(np.abs(positions / len(part) - 0.5) < 5 / np.sqrt(12 * 500))
        assert np.mean(np.diff(part) > 0) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("test_fraction", [0, 1, -0.5, float("nan")])
def test_a_fraction_outside_the_open_interval_is_refused(test_fraction):
    with pytest.raises(ValueError, match="`test_fraction` must lie between 0 and 1"):
        stratified_split(np.zeros(4), test_fraction)


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_a_seed_is_a_natural_number(seed):
    with pytest.raises((TypeError, ValueError), match=r"`seed` must be (an integer|at least 0)"):
        stratified_split(np.zeros(4, dtype=int), 0.5, seed)


def test_labels_may_be_a_list_but_no_fractions():
    assert [len(part) for part in stratified_split([0, 0, 1, 1], 0.5)] == [2, 2]
    with pytest.raises(TypeError, match=r"`labels` must be integers \[N\], got float64 \[2\]"):
        stratified_split([0.5, 1.0], 0.5)
