"""The recipe relpsp: its networks, its code, its options; it learns the digits."""

import json

import pytest
import torch

from spikeloom import cli, data, timing
from spikeloom.encoding import SampleGenerator
from spikeloom.recipe import ReLPSP


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def images(side=28):
    x, y = torch.randint(0, 256, (20, 1, side, side), dtype=torch.uint8), torch.arange(20) % 10
    return data.Dataset("made", tuple("0123456789"), x, y, x, y)


def layers(net):
    return [layer for layer in net if isinstance(layer, timing.ReLPSPLinear | timing.ReLPSPConv2d)]


def test_the_networks_are_those_of_the_paper():
    assert [tuple(layer.weight.shape) for layer in layers(ReLPSP().build().net)] == [(200, 64), (10, 200)]
    for dataset, hidden in (("mnist", 800), ("fashion-mnist", 1000)):
        net = ReLPSP(dataset=dataset).network(images())
        assert [tuple(layer.weight.shape) for layer in layers(net)] == [(hidden, 784), (10, hidden)]
    cnn = ReLPSP(dataset="mnist", net="cnn").network(images())
    shapes = [(16, 1, 5, 5), (32, 16, 5, 5), (800, 512), (128, 800), (10, 128)]
    assert [tuple(layer.weight.shape) for layer in layers(cnn)] == shapes
    assert sum(isinstance(layer, timing.EarliestPool2d) for layer in cnn) == 2
    assert [layer.extrapolate for layer in layers(cnn)] == [False] * 4 + [True]
    assert cnn(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_no_layer_starts_silent():
    for settings in ({}, {"dataset": "mnist"}, {"dataset": "mnist", "net": "cnn"}):
        recipe = ReLPSP(**settings)
        torch.manual_seed(0)
        dataset = images() if settings else recipe.build().data
        times = recipe.encode(data.as_float(dataset.train_x), None)
        for layer in recipe.network(dataset):
            times = layer(times)
            if hasattr(layer, "T"):
                assert ((times >= 0) & (times <= layer.T)).float().mean() > 0.2


def test_bright_pixels_spike_early_and_black_ones_last_or_not_at_all():
    x = torch.tensor([[[[0.0, 0.25, 1.0]]]])
    cnn = ReLPSP(dataset="mnist", net="cnn")
    for recipe, black in ((ReLPSP(), -1), (ReLPSP(black=True), 1), (cnn, 1)):
        assert recipe.encode(x, None).flatten().tolist() == [black, 0.75, 0]


def test_the_networks_have_defaults_of_their_own():
    fc, cnn = ReLPSP(dataset="mnist"), ReLPSP(dataset="mnist", net="cnn")
    assert [(one.tau, one.lr, one.epochs, one.black) for one in (fc, cnn)] == [
        (1.0, 1e-3, 60, False),
        (0.5, 4e-3, 45, True),
    ]
    assert ReLPSP.from_settings(cnn.settings()) == cnn


def test_the_loss_and_the_class_are_those_of_the_first_spike():
    experiment = ReLPSP(tau=0.5).build()
    times, label = torch.rand(6, 10), torch.arange(6)
    expected = timing.first_spike_cross_entropy(times, label, missing=3, tau=0.5)
    assert experiment.loss(times, label) == expected
    assert torch.equal(experiment.predict(times), times.argmin(1))


def test_options_reach_what_they_name():
    experiment = ReLPSP(hidden=7, T=5.0, lr=0.5).build()
    assert [layer.T for layer in layers(experiment.net)] == [5.0, 5.0]
    square = ReLPSP(hidden=10).network(images(8))  # as many as there are classes
    assert [layer.extrapolate for layer in layers(square)] == [False, True]
    assert layers(experiment.net)[0].out_features == 7
    assert experiment.optimizer.defaults["lr"] == 0.5
    held = ReLPSP(validate=True).build().data
    assert len(held.train_y) + len(held.test_y) == len(experiment.data.train_y)
    x = data.as_float(experiment.data.train_x[:4])
    assert not torch.equal(experiment.augment(x, SampleGenerator(0, range(4))), x)
    assert ReLPSP(augment=False).build().augment is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden": 0}, "`hidden` must be at least 1"),
        ({"T": 0.0}, "`T` must be a number greater than 0"),
        ({"T": 0.5}, "`T` must be at least 1"),
        ({"tau": -0.1}, "`tau` must be a number greater than 0"),
        ({"net": "cnn"}, "`net` must be 'fc' on digits"),
        ({"net": "cnn", "dataset": "mnist", "hidden": 77}, "`hidden` must be left out with `net` 'cnn'"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ReLPSP(**wrong)


def test_it_learns_the_digits_and_draws_what_it_did(tmp_path, capfd):
    run = tmp_path / "run"
    assert cli.main(["train", "relpsp", "--device", "cpu", "--run-dir", str(run), "--epochs", "10"]) == 0
    assert rows(run)[-1]["test_accuracy"] >= 0.87  # 0.897 to 0.911 with three seeds
    for figure in ("curves", "raster"):
        assert (run / "figures" / f"{figure}.png").stat().st_size > 5000
    assert cli.main(["plot", str(run), "--sample", "3"]) == 0
    assert cli.main(["test", str(run)]) == 0
    capfd.readouterr()
