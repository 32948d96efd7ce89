"""The recipe eventprop: its networks, its codes, its loss, and that it learns."""

import json

import pytest
import torch

from spikeloom import cli
from spikeloom.encoding import SampleGenerator
from spikeloom.recipe import EventProp
from spikeloom.recipe.eventprop import _thinned
from spikeloom.timing import PeakPotential


def test_points_are_coded_by_five_spikes_and_the_first_output_spike_names_the_class():
    experiment = EventProp().build()
    hidden, output = experiment.net
    assert (hidden.in_features, hidden.out_features, output.out_features) == (5, 200, 3)
    assert output.extrapolate
    times = experiment.encode(torch.tensor([[0.1, 0.5, 0.9, 0.5]]), None)
    assert times.tolist() == [pytest.approx([3, 15, 27, 15, 0])]
    fired = torch.tensor([[12.0, 11.0, 30.0], [50.0, 60.0, 45.0]])
    assert experiment.predict(fired).tolist() == [1, 2]
    likely = torch.log_softmax(-fired / 0.5, 1)[[0, 1], [0, 2]]
    early = 3e-3 * (torch.tensor([12.0, 40.0]) / 6.4).exp() - 3e-3  # no later than the end of the window
    expected = (early - likely).mean().item()
    assert experiment.loss(fired, torch.tensor([0, 2])).item() == pytest.approx(expected)


def test_images_are_coded_by_brightness_and_thinned_in_training():
    recipe = EventProp(dataset="mnist")
    hidden, output = recipe.network((1, 28, 28), 10)
    assert (hidden.in_features, hidden.out_features, output.out_features) == (784, 350, 10)
    assert isinstance(output, PeakPotential)
    image = torch.zeros(1, 1, 28, 28)
    image[..., 0, :3] = torch.tensor([1.0, 0.5, 1 / 255])
    assert recipe._image(image, None)[0, :4].tolist() == [0, 10, -1, -1]
    thin = _thinned(torch.ones(500, 1, 28, 28), SampleGenerator(0, range(500)))
    assert thin.unique().tolist() == [0, 1]
    assert thin.mean().item() == pytest.approx(0.8, abs=0.01)


def test_it_learns_the_points(tmp_path, capfd):
    run = tmp_path / "run"
    options = ["eventprop", "--epochs", "10", "--hidden", "60", "--device", "cpu", "--run-dir", str(run)]
    assert cli.main(["train", *options]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["test_accuracy"] > 0.75
    for figure in ("curves", "raster", "membrane"):
        assert (run / "figures" / f"{figure}.png").stat().st_size > 5000
    capfd.readouterr()


def test_the_window_holds_all_input_spikes():
    with pytest.raises(ValueError, match="`T` must be later than the last input spike, 30, got 30"):
        EventProp(T=30.0)
