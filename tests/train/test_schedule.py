"""Learning rates over a training."""

import pytest
import torch

from spikeloom.train.schedule import warmup_cosine


def rates(num_steps, num_warmup, lr=2.0):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)
    schedule = warmup_cosine(optimizer, num_steps, num_warmup)
    seen = []
    for _ in range(num_steps + 2):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_the_rate_rises_linearly_and_falls_along_a_cosine():
    assert rates(7, 3) == pytest.approx([0.5, 1.0, 1.5, 2.0, 1.7071, 1.0, 0.2929, 0.0, 0.0], abs=1e-4)


def test_without_warmup_it_starts_at_the_highest():
    assert rates(2, 0) == pytest.approx([2.0, 1.0, 0.0, 0.0])


@pytest.mark.parametrize(("num_steps", "num_warmup"), [(0, 0), (5, 5), (5, -1)])
def test_wrong_numbers_of_steps_are_refused(num_steps, num_warmup):
    with pytest.raises(ValueError, match=f"got {num_warmup} of {num_steps} steps"):
        rates(num_steps, num_warmup)
