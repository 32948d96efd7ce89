"""The recipe ann2snn: two networks side by side, three conversions, a figure."""

import json
import re

import pytest
import torch
from torch import nn

from spikeloom import ann2snn, cli
from spikeloom.recipe import Ann2Snn
from spikeloom.recipe import ann2snn as recipe


def test_both_networks_are_the_same_but_for_the_activation():
    nets = Ann2Snn(L=6).build().net
    assert list(nets) == ["relu", "qcfs"]
    kinds = [[type(module).__name__ for module in net] for net in nets.values()]
    assert [kind.replace("QCFS", "ReLU") for kind in kinds[1]] == kinds[0]
    assert [module.L for module in nets.modules() if isinstance(module, ann2snn.QCFS)] == [6, 6, 6]


@pytest.mark.parametrize(("dataset", "shape", "T"), [
    ("digits", (1, 8, 8), 32), ("mnist", (1, 28, 28), 32), ("cifar10", (3, 32, 32), 64),
])  # fmt: skip
def test_each_dataset_has_its_network(dataset, shape, T):
    recipe = Ann2Snn(dataset=dataset)
    assert recipe.T == T
    net = recipe.network(shape, 10, nn.ReLU)
    assert net(torch.rand(2, *shape)).shape == (2, 10)


def test_they_learn_as_if_alone():
    experiment = Ann2Snn().build()
    x, y = torch.rand(8, 1, 8, 8), torch.arange(8)
    experiment.loss(experiment.net(x), y).backward()
    both = [weight.grad.clone() for weight in experiment.net["relu"].parameters()]
    experiment.net.zero_grad()
    nn.functional.cross_entropy(experiment.net["relu"](x), y).backward()
    for grad, weight in zip(both, experiment.net["relu"].parameters(), strict=True):
        torch.testing.assert_close(grad, weight.grad)


def test_validation_leaves_the_test_images_untouched():
    whole, held = Ann2Snn().build().data, Ann2Snn(validate=True).build().data
    assert len(held.train_y) + len(held.test_y) == len(whole.train_y)


def test_it_learns_the_digits_converts_and_draws(tmp_path, capfd):
    run = tmp_path / "run"
    options = ["--device", "cpu", "--run-dir", str(run), "--epochs", "8", "--T", "16"]
    assert cli.main(["train", "ann2snn", *options]) == 0
    shown = capfd.readouterr().out
    curves = json.loads((run / "conversion.json").read_text())
    assert {name: len(curve) for name, curve in curves.items()} == {
        "relu ANN": 1, "qcfs ANN": 1, "max": 16, "percentile": 16, "qcfs": 16,
    }  # fmt: skip
    assert min(curves["relu ANN"][0], curves["qcfs ANN"][0]) > 0.93
    for method, ann in (("max", "relu"), ("percentile", "relu"), ("qcfs", "qcfs")):
        assert curves[method][15] > curves[f"{ann} ANN"][0] - 0.03
        assert f"{method:10}" in shown
    figures = {path.stem for path in (run / "figures").glob("*.png")}
    assert figures == {"curves", "raster", "accuracy_over_time"}
    (run / "conversion.json").write_text("{")  # damaged
    assert cli.main(["plot", str(run), "--sample", "3"]) == 0
    assert json.loads((run / "conversion.json").read_text()) == curves
    assert cli.main(["test", str(run), "--checkpoint", "last", "--device", "cpu"]) == 0
    assert "T=16" in capfd.readouterr().out
    assert cli.main(["test", str(run), "--event-driven"]) == 0
    output = capfd.readouterr().out
    with_events, with_all = re.findall(
        r"^(?:event-driven|all inputs) +test accuracy (.*)%", output, re.MULTILINE
    )
    assert float(with_events) == pytest.approx(float(with_all), abs=1)  # rounding may turn a spike
    assert "Conv2d" in output
    pytest.importorskip("onnx")
    assert cli.main(["export", str(run), "--to", "onnx"]) == 0
    assert "one time step as an ONNX model" in capfd.readouterr().out
    assert cli.main(["profile", str(run), "--samples", "60"]) == 0
    counted = json.loads((run / "profile.json").read_text())["per_sample"]
    layers = [layer for layer in counted["layers"] if layer["input_rate"] is not None]
    assert (counted["num_steps"], counted["num_samples"], len(layers)) == (16, 60, 4)
    assert [layer["macs"] > 0 for layer in layers] == [True, False, False, False]  # images, then spikes
    assert layers[0]["macs"] < 16 * layers[0]["ann_macs"] == 16 * 22 * 22 * 16  # 3 x 3 without the padding


def test_a_stopped_training_is_drawn_as_it_is_now(tmp_path, monkeypatch):
    """Curves that an earlier checkpoint, or an earlier training, had left are not drawn."""
    run = tmp_path / "run"
    options = ["--device", "cpu", "--run-dir", str(run), "--epochs", "1", "--T", "2"]
    assert cli.main(["train", "ann2snn", *options]) == 0
    curves = json.loads((run / "conversion.json").read_text())
    config = json.loads((run / "config.json").read_text())
    config["settings"]["epochs"] = 3  # two are left
    (run / "config.json").write_text(json.dumps(config))
    (run / "conversion.json").write_text(json.dumps({name: [0.5] for name in curves}))
    drawn = []
    monkeypatch.setattr(recipe, "draw_curves", lambda _run, *what: drawn.append(what))
    assert cli.main(["plot", str(run)]) == 0
    assert drawn == [(curves, "digits, after 1 of 3 epochs")]
