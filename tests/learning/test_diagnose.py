"""What is said about neurons that do not learn, by making each fault."""

import pytest
import torch

from spikeloom import learning
from spikeloom.errors import ShapeError


def weights(neurons=20, inputs=50):
    return torch.rand(neurons, inputs, generator=torch.Generator().manual_seed(0)) ** 8


def test_nothing_is_said_of_neurons_that_learn():
    check = learning.check_learning(weights(), torch.arange(1, 21), theta=torch.rand(20), bounds=(-1.0, 2.0))
    assert check.advice() == []
    assert (check.dead, check.runaway) == ([], [])
    assert learning.check_learning(weights()).advice() == []


def test_similarity_is_the_mean_cosine_over_pairs():
    w = weights(7, 9)
    unit = w / w.norm(dim=1, keepdim=True)
    cosines = (unit @ unit.T)[~torch.eye(7, dtype=torch.bool)]
    assert learning.check_learning(w).similarity == pytest.approx(cosines.mean().item(), rel=1e-6)
    assert learning.check_learning(torch.eye(5)).similarity == 0
    assert learning.check_learning(torch.zeros(5, 5)).similarity == 0
    assert learning.check_learning(torch.ones(1, 5)).similarity == 0


def test_neurons_that_are_all_alike():
    (advice,) = learning.check_learning(torch.ones(10, 5) + 0.1 * torch.rand(10, 5)).advice()
    assert "learned the same" in advice
    for cure in ("LateralInhibition", "WinnerTakeAll", "HomeostaticLIFNode"):
        assert cure in advice


def test_dead_neurons():
    spikes = torch.arange(20)
    assert learning.check_learning(weights(), spikes).advice() == []  # one in twenty
    spikes[:10] = 0
    (advice,) = learning.check_learning(weights(), spikes).advice()
    assert advice.startswith("10 of 20 neurons never fired")
    check = learning.check_learning(weights(), torch.zeros(20))
    assert check.busiest is None
    assert len(check.dead) == 20


def test_thresholds_that_ran_away():
    """Silent now, but the threshold says that they have fired."""
    spikes, theta = torch.full([20], 3.0), torch.zeros(20)
    spikes[4:6] = 0
    theta[3:6] = 40.0
    check = learning.check_learning(weights(), spikes, theta)
    assert check.runaway == [4, 5]
    (advice,) = check.advice()
    assert "2 neurons have fired before and are silent now" in advice
    assert "theta_plus" in advice
    many = learning.check_learning(weights(100), spikes.repeat(5).clamp(min=1), theta.repeat(5))
    many.dead, many.runaway = [4], [4]  # one in a hundred
    assert many.advice() == []


def test_one_neuron_that_wins_every_time():
    spikes = torch.ones(20)
    spikes[7] = 100
    (advice,) = learning.check_learning(weights(), spikes).advice()
    assert advice.startswith("One neuron fires 84% of all spikes")
    spikes[:7] = 0  # these do not need more input
    (advice,) = learning.check_learning(weights(), spikes).advice()
    assert advice.startswith("One neuron fires 89% of all spikes")


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [(0.99, 0.0, "lower bound: weakening always wins"), (0.0, 0.99, "upper bound: strengthening always wins"),
     (0.5, 0.48, "nothing between")],
)  # fmt: skip
def test_saturated_weights(low, high, message):
    position = torch.rand(20, 50, generator=torch.Generator().manual_seed(0))
    w = torch.where(position < low, 0.0, torch.where(position > 1 - high, 1.0, 0.5))
    advice = learning.check_learning(w, bounds=(0.0, 1.0)).advice()
    assert any(message in one for one in advice)


def test_a_convolution_s_channels_are_its_neurons():
    check = learning.check_learning(torch.rand(6, 2, 3, 3), spikes=torch.ones(6))
    assert check.num_neurons == 6


def test_wrong_arguments():
    with pytest.raises(ShapeError, match=r"`spikes` must be \[20\].*got \[3\]"):
        learning.check_learning(weights(), torch.ones(3))
    with pytest.raises(ShapeError, match=r"`theta` must be \[20\]"):
        learning.check_learning(weights(), theta=torch.ones(20, 1))
    with pytest.raises(ValueError, match="`spikes` must be counts of 0 or more, got -1"):
        learning.check_learning(weights(), torch.full([20], -1))
    with pytest.raises(ValueError, match="`weight` must be finite"):
        learning.check_learning(weights() / 0)
    for weight in (torch.ones(3), torch.ones(0, 3)):
        with pytest.raises(ShapeError, match=r"`weight` must be \[neurons, \*\]"):
            learning.check_learning(weight)
    with pytest.raises(ValueError, match=r"below the upper one, got 1\.0 and 0\.0"):
        learning.check_learning(weights(), bounds=(1.0, 0.0))


def test_which_shares_of_spikes_and_weights_are_too_many():
    w = torch.rand(20, 50, generator=torch.Generator().manual_seed(0)) ** 8
    for most, wrong in ((18.0, False), (20.0, True)):  # of 19 others
        spikes = torch.ones(20)
        spikes[7] = most
        assert bool(learning.check_learning(w, spikes).advice()) == wrong
    near = torch.tensor([[0.0005, 0.002, 0.5, 0.998, 0.9995]])
    check = learning.check_learning(near, bounds=(0.0, 1.0))
    assert (check.at_low, check.at_high) == (pytest.approx(0.2), pytest.approx(0.2))
