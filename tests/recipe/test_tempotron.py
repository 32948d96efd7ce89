"""The recipe tempotron: its network, its code, its options; it learns the digits."""

import json

import pytest
import torch

from spikeloom import cli, data, timing
from spikeloom.encoding import SampleGenerator
from spikeloom.recipe import Tempotron


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_network_is_the_one_of_the_tutorial():
    neuron = Tempotron().build().net
    assert isinstance(neuron, timing.Tempotron)
    assert (neuron.in_features, neuron.out_features, neuron.T) == (64 * 16, 10, 100)
    assert (neuron.kernel.tau, neuron.kernel.tau_s, neuron.v_threshold) == (15.0, 3.75, 1.0)


def test_looked_up_codes_are_those_of_the_encoder():
    experiment = Tempotron(m=5, T=40).build()
    x = data.as_float(experiment.data.test_x[:30])
    coded = experiment.encode(x, SampleGenerator(0, range(30)))
    expected = timing.GaussianTuning(1, 5, 0.0, 1.0).encode(x.flatten(1)[:, None], 40)
    assert torch.equal(coded, expected.flatten(1))


def test_the_losses_are_the_named_ones():
    v_max, label = torch.randn(6, 10), torch.arange(6)
    margin = Tempotron(margin=0.3).build().loss(v_max, label)
    assert margin == timing.margin_loss(v_max, label, margin=0.3)
    tutorial = Tempotron(loss="tutorial").build().loss(v_max, label)
    assert tutorial == timing.Tempotron.mse_loss(v_max, 1.0, label, 10)


def test_validation_leaves_the_test_images_untouched():
    whole, held = Tempotron().build().data, Tempotron(validate=True).build().data
    assert len(held.train_y) + len(held.test_y) == len(whole.train_y)
    assert len(held.test_y) == pytest.approx(len(whole.train_y) / 6, rel=0.02)
    seen = {image.numpy().tobytes() for image in torch.cat([held.train_x, held.test_x])}
    assert seen == {image.numpy().tobytes() for image in whole.train_x}


def test_options_reach_what_they_name(tmp_path):
    experiment = Tempotron(weight_decay=0.1, jitter=1.5, shift=0.5, shunt=True).build()
    jitter, neuron = experiment.net
    assert (jitter.std, neuron.shunt) == (1.5, True)
    assert experiment.optimizer.defaults["weight_decay"] == 0.1
    x = data.as_float(experiment.data.train_x[:4])
    assert not torch.equal(experiment.augment(x, SampleGenerator(0, range(4))), x)
    run = tmp_path / "run"
    options = ["--jitter", "1", "--shift", "0.5", "--loss", "tutorial", "--epochs", "1", "--m", "4"]
    assert cli.main(["train", "tempotron", "--device", "cpu", "--run-dir", str(run), *options]) == 0
    assert rows(run)[-1]["train_loss"] > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"m": 2}, "`m` must be at least 3"),
        ({"jitter": -1.0}, "`jitter` must be a number of at least 0"),
        ({"shift": -1.0}, "`shift` must be a number of at least 0"),
        ({"weight_decay": -0.1}, "`weight_decay` must be a number of at least 0"),
        ({"margin": -1.0}, "`margin` must be a number of at least 0"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Tempotron(**wrong)


def test_it_learns_the_digits_and_draws_what_it_did(tmp_path, capfd):
    run = tmp_path / "run"
    assert cli.main(["train", "tempotron", "--device", "cpu", "--run-dir", str(run)]) == 0
    assert rows(run)[-1]["test_accuracy"] >= 0.92
    for figure in ("curves", "raster", "membrane"):
        assert (run / "figures" / f"{figure}.png").stat().st_size > 5000
    assert cli.main(["plot", str(run), "--sample", "3"]) == 0
    assert cli.main(["test", str(run)]) == 0
    capfd.readouterr()
