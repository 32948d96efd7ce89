"""Labels of neurons that learned without them: assignment and voting."""

import pytest
import torch

from spikeloom.errors import ShapeError
from spikeloom.learning import NeuronLabels


def test_a_neuron_stands_for_the_class_of_its_highest_mean_response():
    labels = NeuronLabels(neurons=2, num_classes=3)
    labels.add(torch.tensor([[3, 1], [3, 1], [3, 1], [5, 2]]), torch.tensor([0, 0, 0, 2]))
    assert labels.assigned().tolist() == [2, 2]  # class 0 has the larger sum, class 2 the larger mean
    labels.add(torch.tensor([[9, 0]]), torch.tensor([1]))
    assert labels.assigned().tolist() == [1, 2]


def test_adding_in_parts_is_adding_at_once():
    responses, classes = torch.randint(9, (20, 5)), torch.randint(3, (20,))
    whole, parts = NeuronLabels(5, 3), NeuronLabels(5, 3)
    whole.add(responses, classes)
    for one, label in zip(responses.split(7), classes.split(7), strict=True):
        parts.add(one, label)
    assert torch.equal(whole.sums, parts.sums)
    assert torch.equal(whole.samples, parts.samples)


def test_classes_vote_by_means_so_that_many_neurons_do_not_win_by_number():
    labels = NeuronLabels(neurons=4, num_classes=2)
    labels.add(torch.tensor([[1, 1, 1, 0], [0, 0, 0, 1]]), torch.tensor([0, 1]))
    assert labels.assigned().tolist() == [0, 0, 0, 1]
    responses = torch.tensor([[2, 2, 2, 3], [3, 3, 3, 2]])
    assert labels.votes(responses).tolist() == [[2, 3], [3, 2]]
    assert labels.predict(responses).tolist() == [1, 0]


def test_silent_neurons_do_not_vote_and_without_votes_there_is_no_class():
    labels = NeuronLabels(neurons=2, num_classes=2)
    assert labels.predict(torch.tensor([[5, 5]])).tolist() == [-1]
    labels.add(torch.tensor([[0, 4]]), torch.tensor([1]))
    assert labels.assigned().tolist() == [-1, 1]
    assert labels.predict(torch.tensor([[9, 0], [9, 1]])).tolist() == [-1, 1]


def test_responses_leave_no_graph_behind():
    labels = NeuronLabels(neurons=2, num_classes=3)
    labels.add(torch.ones(1, 2, requires_grad=True) * 2, torch.tensor([1], dtype=torch.int32))
    assert not labels.sums.requires_grad
    assert labels.assigned().tolist() == [1, 1]


def test_what_does_not_fit_is_refused():
    labels = NeuronLabels(neurons=2, num_classes=3)
    with pytest.raises(ShapeError, match=r"`responses` must be \[N, 2\], got \[1, 3\]"):
        labels.add(torch.zeros(1, 3), torch.tensor([0]))
    with pytest.raises(ShapeError, match=r"`labels` must be \[1\], got \[2\]"):
        labels.add(torch.zeros(1, 2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="`labels` must be from 0 to 2, got 3"):
        labels.add(torch.zeros(2, 2), torch.tensor([3, 0]))
    with pytest.raises(TypeError, match=r"`labels` must be whole numbers, got torch\.float32"):
        labels.add(torch.zeros(1, 2), torch.tensor([0.0]))
    with pytest.raises(ValueError, match="`neurons` must be at least 1, got 0"):
        NeuronLabels(0, 3)


def test_responses_that_are_not_finite_change_nothing():
    labels = NeuronLabels(neurons=2, num_classes=3)
    with pytest.raises(ValueError, match="`responses` must be finite"):
        labels.add(torch.tensor([[torch.nan, 1.0]]), torch.tensor([0]))
    assert labels.sums.sum() == labels.samples.sum() == 0
