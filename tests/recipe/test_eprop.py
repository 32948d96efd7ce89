"""The recipe eprop: its network, its loss, and what can be done with a run."""

import math

import pytest
import torch

from spikeloom import cli
from spikeloom.recipe import EProp


def test_the_network_is_the_published_one():
    net = EProp().build().net
    assert (net.in_features, net.num_neurons, net.readout.out_features, net.step_mode) == (40, 100, 2, "m")
    assert (net.alpha, net.kappa, net.rho) == (math.exp(-1 / 20), math.exp(-1 / 20), math.exp(-1 / 2000))
    assert (net.v_threshold, net.dampening, net.refractory) == (0.6, 0.3, 5)
    assert net.beta[:50].abs().sum() == 0
    rise = 1.7 * (1 - math.exp(-1 / 2000)) / (1 - math.exp(-1 / 20))
    assert net.beta[50:].tolist() == [pytest.approx(rise)] * 50


def test_the_loss_is_of_the_decision_and_of_the_rates():
    """Outputs count while they are asked, the last 150 of the time steps; rates all the time."""
    recipe = EProp(samples=10, rate_strength=2.0)
    experiment = recipe.build()
    y_seq = torch.zeros(2250, 3, 2)
    y_seq[:2100, :, 0] = 9.0
    y_seq[2100:, :, 1] = 2.0
    experiment.net.z_seq = torch.zeros(2250, 3, 100)
    experiment.net.z_seq[::100, :, :40] = 1  # 40 neurons fire at about 10 Hz
    label = torch.tensor([1, 1, 0])
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    rates = 2.0 * (0.6 + 0.4 * (23 / 22.5 - 1) ** 2)
    assert experiment.loss(y_seq, label).item() == pytest.approx((2 * right + wrong) / 3 + rates, rel=1e-5)
    assert experiment.predict(y_seq).tolist() == [1, 1, 1]


def test_a_run_has_figures_and_can_be_exported(tmp_path, capfd):
    run = tmp_path / "run"
    options = ["--epochs", "1", "--samples", "32", "--batch-size", "32", "--feedback", "random"]
    assert cli.main(["train", "eprop", *options, "--device", "cpu", "--run-dir", str(run)]) == 0
    for figure in ("curves", "decision"):
        assert (run / "figures" / f"{figure}.png").stat().st_size > 5000
    assert cli.main(["export", str(run), "--to", "onnx"]) == 0
    assert "one time step as an ONNX model, with 5 memories" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["time_chunk", "micro_batch"])
def test_a_batch_is_not_cut_into_parts(name):
    with pytest.raises(ValueError, match=f"`{name}` must be left out here: the loss holds mean rates"):
        EProp(**{name: 10})
