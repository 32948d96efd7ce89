"""The recipe stdp-demo: its window, its picture, and how it goes through the front door."""

import json

import pytest
import torch

from spikeloom import cli
from spikeloom.recipe import RECIPES

StdpDemo = RECIPES["stdp-demo"]
RULES = ["pair", "nearest", "soft-bound", "triplet"]


@pytest.mark.parametrize("rule", RULES)
def test_the_window_is_the_closed_form_as_claimed(rule):
    demo = StdpDemo(rule=rule, tau_pre=7.0, tau_post=12.0, reach=20)
    assert demo.window_error() < 1e-6  # 0.0001 %
    delays, changes = demo.window()
    assert delays.tolist() == list(range(-20, 21))
    assert (changes[delays > 0] > 0).all()
    assert (changes[delays < 0] < 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_a_neuron_that_follows_strengthens_the_synapse(rule):
    spikes, traces, weight = StdpDemo(rule=rule).follow()
    assert spikes.shape == traces.shape == (500, 2)
    assert torch.equal(spikes[5:, 1], spikes[:-5, 0])
    assert spikes[:5, 1].sum() == 0
    assert (traces[spikes == 1] >= 1).all()
    assert weight[-1] > 0.6
    assert ((weight >= 0) & (weight <= 1)).all()


def test_seeds():
    runs = [StdpDemo(seed=seed).follow()[0] for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_every_command(tmp_path, capfd):
    run = tmp_path / "run"
    assert cli.main(["train", "stdp-demo", "--rule", "nearest", "--T", "50", "--run-dir", str(run)]) == 0
    output = capfd.readouterr().out
    (row,) = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert row["epoch"] == 1
    assert row["window_error"] < 1e-6
    assert f"the weight went from 0.5 to {row['weight']:.3f}" in output
    figure = run / "figures" / "stdp.png"
    assert str(figure) in output
    assert figure.stat().st_size > 10_000
    before = (run / "metrics.jsonl").read_bytes()
    assert cli.main(["train", "--resume", str(run)]) == 0
    assert (run / "metrics.jsonl").read_bytes() == before
    figure.unlink()
    assert cli.main(["plot", str(run)]) == 0
    assert figure.exists()
    capfd.readouterr()
    assert cli.main(["test", str(run)]) == 0
    assert "last checkpoint: the nearest window differs by" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--tau-pre", "0.5", "`tau_pre` must be at least 1"),
        ("--lag", "0", "`lag`"),
        ("--lag", "500", "`lag` must"),
    ],
)
def test_settings_that_are_refused_leave_no_folder(option, value, message, tmp_path, capfd):
    assert cli.main(["train", "stdp-demo", option, value, "--run-dir", str(tmp_path / "run")]) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
