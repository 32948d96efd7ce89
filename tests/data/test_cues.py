"""Evidence accumulation: the cues, their classes, and the spikes that tell of them."""

import pytest
import torch

from spikeloom.data import evidence, evidence_spikes
from spikeloom.data.cues import CUE, DELAY, GAP, RECALL
from spikeloom.encoding import SampleGenerator
from spikeloom.errors import ShapeError


def test_the_class_is_the_side_with_more_cues():
    data = evidence(500, 300)
    for x, y, count in ((data.train_x, data.train_y, 500), (data.test_x, data.test_y, 300)):
        assert (x.dtype, tuple(x.shape), y.dtype) == (torch.float32, (count, 7), torch.int64)
        assert set(x.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(y == 1, x.sum(1) >= 4)


def test_cues_are_on_the_side_that_a_sample_prefers_with_a_probability_of_seven_tenths():
    """So the number of cues on one side is a mixture of two binomial distributions."""
    counts = torch.bincount(evidence(20_000).train_x.sum(1).long(), minlength=8) / 20_000
    binomial = [1, 7, 21, 35, 35, 21, 7, 1]
    for k, ways in enumerate(binomial):
        expected = ways * (0.7**k * 0.3 ** (7 - k) + 0.3**k * 0.7 ** (7 - k)) / 2
        assert counts[k] == pytest.approx(expected, abs=0.015)  # four standard errors


def test_samples_follow_from_the_seed_and_each_part_from_its_own():
    first, other = evidence(30), evidence(60)
    assert torch.equal(first.test_x, other.test_x)
    assert not torch.equal(first.train_x[:30], first.test_x[:30])
    assert not torch.equal(first.train_x, evidence(30, seed=1).train_x)
    with pytest.raises(ValueError, match="`num_test` must be at least 0"):
        evidence(num_test=-1)


def test_spikes_come_when_they_should_at_their_rates():
    x = torch.tensor([[0.0, 1, 1, 0, 1, 1, 0]]).expand(200, -1)
    spikes = evidence_spikes(x, SampleGenerator(0, range(200)))
    assert spikes.shape == (7 * (GAP + CUE) + DELAY + RECALL, 200, 40) == (2250, 200, 40)
    left, right, question, noise = (group.mean((1, 2)) for group in spikes.split(10, dim=2))
    during = torch.zeros(7, 150)
    during[:, GAP:] = 1
    for group, sides in ((left, 1 - x[0]), (right, x[0])):
        expected = torch.cat([(during * sides[:, None]).flatten(), torch.zeros(1200)])
        assert group[expected == 0].sum() == 0
        assert group[expected == 1].mean() == pytest.approx(0.04, rel=0.02)
    assert question[:-RECALL].sum() == 0
    assert question[-RECALL:].mean() == pytest.approx(0.04, rel=0.03)
    assert noise.mean() == pytest.approx(0.01, rel=0.02)


def test_spikes_of_a_sample_are_its_own():
    x = evidence(3).train_x
    together = evidence_spikes(x, SampleGenerator(0, [4, 5, 6]))
    assert torch.equal(together[:, 1:2], evidence_spikes(x[1:2], SampleGenerator(0, [5])))
    assert evidence_spikes(x[1:2].double(), SampleGenerator(0, [5])).dtype == torch.float64


def test_wrong_cues():
    x = evidence(3).train_x
    with pytest.raises(TypeError, match=r"`x` must have the type float32 or float64, got torch\.int64"):
        evidence_spikes(x.long(), SampleGenerator(0, [0, 1, 2]))
    with pytest.raises(ValueError, match="`x` must be 0 for each cue on the left"):
        evidence_spikes(2 * x, SampleGenerator(0, [0, 1, 2]))
    with pytest.raises(ShapeError, match=r"cues \[N, 7\], got \[3, 6\]"):
        evidence_spikes(x[:, :6], SampleGenerator(0, [0, 1, 2]))
