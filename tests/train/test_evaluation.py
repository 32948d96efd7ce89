"""Test accuracies."""

import pytest
import torch
from torch import nn

from spikeloom import data, neuron
from spikeloom.encoding import PoissonEncoder
from spikeloom.train.evaluation import advice_after_collapse, evaluate, samples_at_once
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import make_fabric
from spikeloom.train.report import draw_sample


def classifying(net):
    """A network on a few digits."""
    return Experiment(
        net,
        data.digits().take(8, 40),
        encode=lambda x, _random: x,
        loss=nn.functional.cross_entropy,
        predict=lambda output: output.argmax(-1),
        optimizer=torch.optim.SGD(net.parameters(), 0.1),
    )


@pytest.mark.parametrize(
    ("precision", "wanted"),
    [("32-true", torch.float32), ("bf16-mixed", torch.float32), ("64-true", torch.float64)],
)
def test_classes_are_those_of_outputs_in_full_precision(precision, wanted):
    types = []
    fabric = make_fabric("cpu", precision=precision)
    net = nn.Linear(64, 10, dtype=torch.float64 if precision == "64-true" else None)
    experiment = Experiment(
        net,
        data.digits().take(8, 40),
        encode=lambda x, _random: x.flatten(1),
        loss=lambda output, labels: types.append(output.dtype) or output.sum(),
        predict=lambda output: types.append(output.dtype) or output.argmax(-1),
        optimizer=torch.optim.SGD(net.parameters(), 0.1),
    )
    fabric.launch()
    evaluate(fabric, experiment)
    assert types == [wanted, wanted]


def test_what_is_in_evaluation_mode_for_good_stays_in_it():
    fabric = make_fabric("cpu")
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    net[1].eval()
    experiment = classifying(net)
    fabric.launch()
    evaluate(fabric, experiment)
    draw_sample(None, experiment, seed=0)
    fell = [{"train_accuracy": 0.9}, {"train_accuracy": 0.1}]
    advice_after_collapse(experiment, 0, fell)
    assert [module.training for module in net.modules()] == [True, True, False, True]


def test_a_network_that_draws_is_tested_with_the_same_random_numbers_every_time():
    fabric = make_fabric("cpu")
    net = nn.Sequential(PoissonEncoder(), nn.Flatten(), nn.Linear(64, 10))
    experiment = classifying(net)
    fabric.launch()
    first = evaluate(fabric, experiment, batch_size=10)
    assert evaluate(fabric, experiment, batch_size=10) == first
    assert evaluate(fabric, experiment, seed=1, batch_size=10) != first


@pytest.mark.parametrize("batch_size", [7, 40, 500])
def test_loss_and_accuracy_are_the_means_over_all_test_samples(batch_size):
    fabric, net = make_fabric("cpu"), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    experiment = classifying(net)
    fabric.launch()
    with torch.no_grad():
        output = net(data.as_float(experiment.data.test_x))
    labels = experiment.data.test_y.long()
    loss = nn.functional.cross_entropy(output, labels).item()
    accuracy = (output.argmax(-1) == labels).double().mean().item()
    assert evaluate(fabric, experiment, batch_size=batch_size) == pytest.approx((loss, accuracy), rel=1e-5)


@pytest.mark.parametrize(
    ("before", "now", "told"), [(0.14, 0.1, False), (0.16, 0.1, True), (0.9, 0.32, False), (0.9, 0.28, True)]
)
def test_a_collapse_is_the_loss_of_three_quarters_of_what_was_above_chance(before, now, told):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), neuron.LIFNode(v_threshold=1e3))
    experiment = classifying(net)
    rows = [{"train_accuracy": one} for one in (before, now)]
    assert bool(advice_after_collapse(experiment, 0, rows)) == told


def test_large_samples_are_tested_fewer_at_once():
    def of(*shape, dtype=torch.int8):
        x, y = torch.zeros(1, *shape, dtype=dtype), torch.zeros(1, dtype=torch.int64)
        return data.Dataset("set", ("one",), x, y, x, y)

    image, frames = of(3, 32, 32, dtype=torch.uint8), of(16, 2, 128, 128)
    assert [samples_at_once(image, trained_on) for trained_on in (0, 100, 1000)] == [500, 500, 4000]
    assert [samples_at_once(frames, trained_on) for trained_on in (0, 16, 100)] == [32, 32, 32]
    assert samples_at_once(of(600, 2, 128, 128)) == 1


def test_the_parts_that_are_tested_do_not_change_the_result(monkeypatch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    experiment, fabric = classifying(net), make_fabric("cpu")
    fabric.launch()
    whole = evaluate(fabric, experiment)
    monkeypatch.setattr("spikeloom.train.evaluation.TEST_VALUES", 7 * 64)
    assert samples_at_once(experiment.data) == 7
    loss, accuracy = evaluate(fabric, experiment)
    assert (loss, accuracy) == (pytest.approx(whole[0]), whole[1])
