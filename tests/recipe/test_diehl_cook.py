"""The recipes diehl-cook and stdp-fc: they learn, can be killed, and say what is wrong."""

import json
import re
import signal

import pytest
import torch

from spikeloom import cli, data
from spikeloom.learning import DiehlCook
from spikeloom.recipe import RECIPES, DiehlCookRecipe, StdpFc
from spikeloom.recipe.competition_base import enlarged
from spikeloom.train import checkpoint
from spikeloom.train.run import Run
from spikeloom.train.unsupervised import UnsupervisedTrainer, rates


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """Recipes load few of the digits, so that they take seconds."""
    load = data.load
    monkeypatch.setattr(data, "load", lambda *arguments: load(*arguments).take(150, 60))


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def train(run, name="diehl-cook", *options):
    return cli.main(["train", name, "--run-dir", str(run), "--neurons", "10", "--epochs", "2", *options])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing has disturbed."""
    load = data.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda *arguments: load(*arguments).take(150, 60))
        run = tmp_path_factory.mktemp("runs") / "whole"
        assert train(run) == 0
    return run


def test_a_run_learns_and_draws(finished, capfd):
    history = rows(finished)
    assert [row["epoch"] for row in history] == [1, 2]
    assert history[-1]["test_accuracy"] > 0.2  # chance: 0.1
    assert history[-1]["spikes"] >= 5  # an image is shown until five neurons fire
    for figure in ("curves", "receptive_fields"):
        assert (finished / "figures" / f"{figure}.png").stat().st_size > 5000
    assert cli.main(["test", str(finished)]) == 0
    assert f"test accuracy {history[-1]['test_accuracy']:.2%}" in capfd.readouterr().out
    assert cli.main(["plot", str(finished), "--sample", "3"]) == 0
    assert (finished / "figures" / "sample.png").stat().st_size > 5000


def same_result(one, other):
    states = [checkpoint.load(run / "checkpoints" / checkpoint.LAST) for run in (one, other)]
    for part in ("net", "memories", "labels"):
        for name, tensor in states[0][part].items():
            assert torch.equal(tensor, states[1][part][name]), name
    timeless = [
        [{key: value for key, value in row.items() if "second" not in key} for row in rows(run)]
        for run in (one, other)
    ]
    assert timeless[0] == timeless[1]


def stop_at(patch, method, call):
    """Let Ctrl-C come as the network shows images for the ``call``-th time."""
    calls, original = [], getattr(DiehlCook, method)

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    patch.setattr(DiehlCook, method, stopping)


@pytest.mark.parametrize(("method", "call"), [("learn", 1), ("learn", 11), ("respond", 1), ("respond", 2)])
def test_a_run_that_is_stopped_goes_on(finished, tmp_path, monkeypatch, capfd, method, call):
    """Within the first epoch, within the second, and while images label the neurons, or test them."""
    with monkeypatch.context() as patch:
        stop_at(patch, method, call)
        assert train(tmp_path / "run") == 130
    assert "Continue with: spikeloom train --resume" in capfd.readouterr().err
    assert cli.main(["train", "--resume", str(tmp_path / "run")]) == 0
    same_result(finished, tmp_path / "run")


def test_a_run_that_is_killed_between_checkpoints_comes_to_the_same_result(finished, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Nobody answers it."""

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(UnsupervisedTrainer, "_finish_epoch", killed)
        with pytest.raises(Killed):
            train(tmp_path / "run")
    assert cli.main(["train", "--resume", str(tmp_path / "run")]) == 0
    same_result(finished, tmp_path / "run")


def test_a_run_that_was_stopped_is_tested_by_labels_of_the_network_as_it_is(tmp_path, monkeypatch, capfd):
    """In the first epoch no neuron has a label yet."""
    with monkeypatch.context() as patch:
        stop_at(patch, "learn", 7)
        assert train(tmp_path / "run") == 130
    assert cli.main(["test", str(tmp_path / "run")]) == 0
    trainer = DiehlCookRecipe(neurons=10).trainer(Run(tmp_path / "run"))
    trainer.labels = trainer.label(150)
    assert trainer.accuracy() > 0
    assert f"test accuracy {trainer.accuracy():.2%}" in capfd.readouterr().out
    assert cli.main(["plot", str(tmp_path / "run")]) == 0


def test_a_long_epoch_shows_that_it_goes_on(tmp_path, capfd):
    """Also where no progress bar can: in a file."""
    assert train(tmp_path / "run", "diehl-cook", "--checkpoint-minutes", "1e-9") == 0
    assert re.search(r"epoch 1/2  96 images  running \d", capfd.readouterr().out)


def test_without_figures_a_training_goes_on(tmp_path, monkeypatch, capfd):
    def fail(_trainer):
        raise RuntimeError("no disk")

    monkeypatch.setattr("spikeloom.train.unsupervised_report.draw", fail)
    assert train(tmp_path / "run") == 0
    assert "Not all figures were drawn: RuntimeError: no disk" in capfd.readouterr().out


def test_pictures_do_not_take_longer_than_the_learning(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "spikeloom.train.unsupervised_report.draw", lambda trainer: drawn.append(trainer.shown)
    )
    assert train(tmp_path / "run") == 0
    assert drawn == [150, 300]


def test_another_seed_is_another_network_with_other_spikes(tmp_path):
    trainers = [DiehlCookRecipe(seed=seed).trainer(Run(tmp_path / str(seed))) for seed in (0, 0, 1)]
    weights = [trainer.network.weight for trainer in trainers]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    spikes = [trainer.network.learn(rates(trainer.dataset.train_x[:2]), [1, 2]) for trainer in trainers]
    assert torch.equal(spikes[0], spikes[1])


def test_the_labels_are_of_training_images_only(finished):
    state = checkpoint.load(finished / "checkpoints" / checkpoint.LAST)
    labels = data.load("digits").train_y
    assert state["labels"]["samples"].tolist() == torch.bincount(labels, minlength=10).tolist()


def test_defaults_follow_the_dataset_and_the_number_of_neurons():
    def of(**settings):
        recipe = DiehlCookRecipe(**settings)
        return recipe.neurons, recipe.num_epochs

    assert of() == (100, 10)
    assert of(dataset="mnist") == (400, 3)
    assert of(dataset="mnist", neurons=50) == (50, 8)
    assert of(dataset="mnist", neurons=399) == (399, 8)
    assert of(dataset="mnist", neurons=1600) == (1600, 7)
    assert of(dataset="mnist", neurons=6400) == (6400, 15)
    assert of(neurons=6400, epochs=2) == (6400, 2)


def test_digits_are_enlarged_pixel_by_pixel():
    digits = data.digits()
    large = enlarged(digits)
    assert large.sample_shape == (1, 28, 28)
    assert torch.equal(large.test_x[:, :, 3:27:3, 3:27:3], digits.test_x)
    total = large.train_x.sum(dtype=torch.float64)
    assert total == 9 * digits.train_x.sum(dtype=torch.float64)


@pytest.mark.parametrize("name", ["neurons", "epochs", "label_images"])
def test_counts_are_at_least_one(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        RECIPES["diehl-cook"](**{name: 0})


def test_another_device_is_refused(finished, capfd):
    assert cli.main(["test", str(finished), "--device", "cuda"]) == 1
    assert "this network learns on the CPU" in capfd.readouterr().err


def test_a_checkpoint_of_another_network_is_refused(finished, tmp_path, capfd):
    config = json.loads((finished / "config.json").read_text())
    config["settings"]["neurons"] = 11
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(config))
    last = finished / "checkpoints" / checkpoint.LAST
    (tmp_path / "checkpoints" / checkpoint.LAST).write_bytes(last.read_bytes())
    assert cli.main(["test", str(tmp_path)]) == 1
    assert "does not fit the network" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        (("net", "delay"), torch.zeros(784, dtype=torch.int32)),  # one for each input, as it once was
        (("net", "delay"), torch.full((784, 10), 200, dtype=torch.uint8)),
        (("memories", "relayed"), torch.zeros(11)),
    ],
)
def test_a_checkpoint_of_numbers_that_cannot_be_is_refused(finished, tmp_path, capfd, entry, wrong):
    state = checkpoint.load(finished / "checkpoints" / checkpoint.LAST)
    state[entry[0]][entry[1]] = wrong
    checkpoint.save(tmp_path / "checkpoints" / checkpoint.LAST, state)
    (tmp_path / "config.json").write_bytes((finished / "config.json").read_bytes())
    assert cli.main(["train", "--resume", str(tmp_path)]) == 1
    said = capfd.readouterr().err
    assert "does not fit the network" in said
    assert entry[1] in said


def test_stdp_fc_shows_why_inhibition_and_adaptive_thresholds_matter(tmp_path, capfd):
    assert train(tmp_path / "run", "stdp-fc", "--epochs", "1") == 0
    shown = capfd.readouterr().out
    names = ["inhibition + adaptive thresholds", "inhibition", "adaptive thresholds", "STDP alone"]
    assert [line.removesuffix(":") for line in shown.splitlines() if line.endswith(":")] == names
    assert "advice: " in shown
    both = rows(tmp_path / "run")[-1]["test_accuracy"]
    others = [
        rows(folder)[-1]["test_accuracy"] for folder in sorted((tmp_path / "run" / "variants").iterdir())
    ]
    assert len(others) == 3
    assert both > max(others)
    assert (tmp_path / "run" / "figures" / "variants.png").stat().st_size > 5000


def test_the_switches_of_stdp_fc_switch():
    assert StdpFc(inhibition=False).constants.lateral == 0
    assert StdpFc(inhibition=False).constants.theta_plus == 0.05
    assert StdpFc(adaptive=False).constants.theta_plus == 0
    assert StdpFc().constants == DiehlCookRecipe().constants
