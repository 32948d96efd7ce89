"""The recipes spikeprop and spikeprop-xor: their networks, their codes, and that they learn."""

import json

import pytest
import torch

from spikeloom import cli, data, timing
from spikeloom.encoding import SampleGenerator
from spikeloom.recipe import SpikeProp, SpikePropXor
from spikeloom.recipe.spikeprop_xor import is_solved

SIZES = {"iris": [(49, 10), (10, 3)], "breast-cancer": [(64, 15), (15, 2)]}


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def train(run, *options):
    return cli.main(["train", *options, "--device", "cpu", "--run-dir", str(run)])


def test_xor_is_the_published_network():
    experiment = SpikePropXor().build()
    hidden, output = experiment.net
    assert (hidden.in_features, hidden.out_features, output.out_features) == (3, 5, 1)
    assert hidden.delays.tolist() == output.delays.tolist() == list(range(1, 17))
    assert (output.weight[:, :4] >= 0).all()
    assert (output.weight[:, 4] <= 0).all()
    times = experiment.encode(data.as_float(experiment.data.test_x), SampleGenerator(0, range(4)))
    assert times.tolist() == [[0, 0, 0], [0, 6, 0], [6, 0, 0], [6, 6, 0]]
    assert experiment.data.test_y.tolist() == [0, 1, 1, 0]
    assert experiment.optimizer.param_groups[0]["lr"] == 0.01
    fired = torch.tensor([[15.5], [12.9], [9.0], [-1.0]])
    assert experiment.predict(fired).tolist() == [0, 1, 1, -1]
    expected = (0.5**2 + 2.9**2 + 1.0**2 + (50 - 16) ** 2) / 8
    assert experiment.loss(fired, experiment.data.test_y).item() == pytest.approx(expected)


def test_xor_is_learnt_and_training_ends_with_it(tmp_path, capfd):
    run = tmp_path / "run"
    assert train(run, "spikeprop-xor", "--seed", "9") == 0
    history = rows(run)
    assert 20 < len(history) < 250
    assert [is_solved(row) for row in history] == [False] * (len(history) - 1) + [True]
    assert history[-1]["test_accuracy"] == 1
    for figure in ("curves", "raster", "membrane"):
        assert (run / "figures" / f"{figure}.png").stat().st_size > 5000
    assert cli.main(["train", "--resume", str(run)]) == 0
    assert rows(run) == history
    capfd.readouterr()


@pytest.mark.parametrize("dataset", SIZES)
def test_the_networks_are_the_published_ones(dataset):
    experiment = SpikeProp(dataset=dataset).build()
    assert [(layer.in_features, layer.out_features) for layer in experiment.net] == SIZES[dataset]
    times = experiment.encode(experiment.data.train_x, None)
    assert (times[:, -1] == 0).all()
    assert (times < 0).any()
    assert ((times == -1) | ((times >= 0) & (times <= 9))).all()
    assert not torch.equal(times, times.round())
    fired = experiment.net(times)
    assert (fired >= 0).double().mean() > 0.9


@pytest.mark.parametrize(
    ("pixels", "seen", "inputs"), [("all", slice(36), 289), ("centre", slice(16, 20), 101)]
)
def test_landsat_is_all_pixels_or_the_central_one(monkeypatch, pixels, seen, inputs):
    x = torch.arange(20 * 36.0).reshape(20, 36) ** 1.5
    y = torch.arange(20) % 6
    made = data.Dataset("landsat", tuple("abcdef"), x, y, x[:7], y[:7])
    monkeypatch.setitem(data.DATASETS._entries, "landsat", lambda data_dir, seed: made)
    experiment = SpikeProp(dataset="landsat", pixels=pixels).build()
    assert torch.equal(experiment.data.test_x, x[:7, seen])
    assert [(layer.in_features, layer.out_features) for layer in experiment.net] == [(inputs, 25), (25, 6)]


def test_the_loss_wants_the_neuron_of_the_class_first():
    experiment = SpikeProp().build()
    times, label = torch.tensor([[11.0, 16.0, -1.0], [16.0, 12.0, 16.0]]), torch.tensor([0, 1])
    assert experiment.loss(times, label).item() == pytest.approx((1 + (40 - 16) ** 2) / 4)
    assert experiment.predict(times).tolist() == [0, 1]


def test_splits_differ_and_validation_leaves_the_test_samples_untouched():
    first, second = (SpikeProp(split=split).build().data for split in (1, 2))
    assert not torch.equal(first.train_x, second.train_x)
    assert torch.equal(first.train_x, data.load("iris", seed=1).train_x)
    held = SpikeProp(split=1, validate=True).build().data
    assert len(held.train_y) + len(held.test_y) == len(first.train_y)
    seen = sorted(map(tuple, torch.cat([held.train_x, held.test_x]).tolist()))
    assert seen == sorted(map(tuple, first.train_x.tolist()))


def test_the_default_number_of_epochs_belongs_to_the_dataset():
    numbers = {name: SpikeProp(dataset=name).num_epochs for name in ("iris", "breast-cancer", "landsat")}
    assert len(set(numbers.values())) == 3
    assert SpikeProp(epochs=7).num_epochs == 7
    again = SpikeProp.from_settings(SpikeProp(dataset="landsat").settings())
    assert again.num_epochs == numbers["landsat"]


def test_noise_moves_training_features_by_so_many_deviations():
    experiment = SpikeProp(noise=0.3).build()
    x = experiment.data.train_x
    moved = (experiment.augment(x, SampleGenerator(0, range(len(x)))) - x).abs() / x.std(0)
    assert 0.28 < moved.max() <= 0.3 + 1e-5
    assert moved.mean().item() == pytest.approx(0.15, abs=0.02)


def test_options_reach_the_layers():
    net = SpikeProp(tau=5.0, T=30.0, min_slope=0.2).build().net
    assert isinstance(net[1], timing.SpikeProp)
    for layer in net:
        assert (layer.response.tau, layer.T, layer.min_slope) == (5.0, 30.0, 0.2)
    with pytest.raises(ValueError, match="`split` must be at least 1, got 0"):
        SpikeProp(split=0)
    with pytest.raises(ValueError, match="`pixels` must be 'all' but on landsat"):
        SpikeProp(pixels="centre")
    for recipe in (SpikeProp, SpikePropXor):
        with pytest.raises(ValueError, match="`T` must be at least 16, the latest target, got 5"):
            recipe(T=5.0)


def test_it_learns_iris(tmp_path, capfd):
    run = tmp_path / "run"
    assert train(run, "spikeprop", "--drive", "4", "--epochs", "40") == 0
    assert rows(run)[-1]["test_accuracy"] >= 0.9
    assert cli.main(["plot", str(run), "--sample", "3"]) == 0
    assert cli.main(["test", str(run)]) == 0
    capfd.readouterr()
