"""A trained network, taken from its run folder."""

import json

import pytest
import torch

from spikeloom import cli, recipe
from spikeloom.errors import CheckpointError, RunError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    options = "--epochs 2 --T 4 --hidden 8 --device cpu --run-dir"
    assert cli.main(["train", "lif-fc", *options.split(), str(folder)]) == 0
    return folder


def accuracy(experiment):
    indices = range(len(experiment.data.test_y))
    with torch.no_grad():
        classes = experiment.predict(experiment.net(experiment.encoded_test(0, indices)))
    return (classes == experiment.data.test_y).double().mean().item()


def test_a_loaded_network_is_the_trained_one(run):
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    trained = recipe.load(str(run))
    assert not trained.net.training
    assert accuracy(trained) == pytest.approx(history[-1]["test_accuracy"])
    best = max(row["test_accuracy"] for row in history)
    assert accuracy(recipe.load(run, "best")) == pytest.approx(best)


def test_the_random_numbers_of_the_process_are_left_alone(run):
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    recipe.load(run)
    assert torch.equal(torch.rand(3), wanted)


def test_what_cannot_be_loaded_says_why(run, tmp_path):
    with pytest.raises(ValueError, match="`checkpoint` must be 'last' or 'best', got 'first'"):
        recipe.load(run, "first")
    with pytest.raises(RunError, match="is not a run folder"):
        recipe.load(tmp_path)
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    with pytest.raises(RunError, match="has no checkpoint yet"):
        recipe.load(tmp_path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        recipe.load(tmp_path, "best")
    settings = {"epochs": 1}
    (tmp_path / "config.json").write_text(json.dumps({"recipe": "stdp-fc", "settings": settings}))
    with pytest.raises(RunError, match="no network that was trained by gradients, but one of 'stdp-fc'"):
        recipe.load(tmp_path)
