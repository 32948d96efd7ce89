"""The STBP recipes: networks, neuron and training are those of the published code; they learn the digits."""

import json

import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import cli, data, functional
from spikeloom.encoding import SampleGenerator
from spikeloom.errors import RunError
from spikeloom.monitor import record
from spikeloom.neuron import LIFNode
from spikeloom.recipe import StbpMlp, StbpScnn
from spikeloom.train.launch import build_seeded

over_both = pytest.mark.parametrize("recipe", [StbpMlp, StbpScnn])


def weights(net):
    return [tuple(layer.weight.shape) for layer in modules(net, nn.Conv2d | nn.Linear)]


def modules(net, kind):
    return [module for module in net.modules() if isinstance(module, kind)]


@pytest.mark.parametrize(
    ("recipe", "shape", "expected"),
    [
        (StbpScnn(), (1, 28, 28), [(32, 1, 3, 3), (32, 32, 3, 3), (128, 32 * 7 * 7), (10, 128)]),
        (StbpScnn(), (1, 8, 8), [(32, 1, 3, 3), (32, 32, 3, 3), (128, 32 * 2 * 2), (10, 128)]),
        (StbpScnn(), (2, 34, 34), [(32, 2, 3, 3), (32, 32, 3, 3), (128, 32 * 8 * 8), (10, 128)]),
        (
            StbpScnn(dataset="mnist", net="paper"),
            (1, 28, 28),
            [(15, 1, 5, 5), (40, 15, 5, 5), (300, 40 * 4 * 4), (10, 300)],
        ),
        (StbpMlp(), (1, 28, 28), [(800, 784), (10, 800)]),
        (StbpMlp(hidden=20), (2, 34, 34), [(20, 2312), (10, 20)]),
    ],
)
def test_a_network_is_the_one_of_its_name(recipe, shape, expected):
    net = recipe.network(shape, 10)
    assert weights(net) == expected
    assert all(layer.bias is not None for layer in modules(net, nn.Conv2d | nn.Linear))
    assert all(layer.kernel_size == 2 for layer in modules(net, nn.AvgPool2d))
    assert len(modules(net, nn.AvgPool2d)) == len(modules(net, nn.Conv2d))
    assert isinstance(net[-1], LIFNode)
    assert len(modules(net, LIFNode)) == len(expected)
    functional.set_step_mode(net, "m")
    assert net(torch.rand(3, 2, *shape)).shape == (3, 2, 10)


@over_both
def test_the_neuron_is_that_of_the_published_code(recipe):
    recipe = recipe()
    node = recipe.lif()
    assert not node.detach_reset
    current = torch.rand(50, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mem, fired = torch.zeros(8, dtype=torch.float64), 0
    for x in current:
        spike = node(x)
        assert torch.equal(spike, (mem + x >= recipe.threshold).double())
        mem = (mem + x) * recipe.decay * (1 - spike)
        assert_close("mem", mem, node.v * recipe.decay)
        fired += spike.sum()
    assert 0 < fired < current.numel()


@over_both
@pytest.mark.parametrize("curve", ["Rectangular", "Polynomial", "LogisticDensity", "Gaussian"])
def test_each_curve_can_be_chosen(recipe, curve):
    surrogate = recipe(curve=curve, width=0.5).lif().surrogate_function
    assert type(surrogate).__name__ == curve
    assert "0.5" in repr(surrogate)


@pytest.mark.parametrize(("recipe", "lr"), [(StbpMlp, 5e-4), (StbpScnn, 1e-3)])
def test_plain_is_as_published(recipe, lr):
    recipe = recipe(config="plain")
    assert recipe.num_epochs == 100
    experiment = recipe.build()
    assert experiment.augment is None
    rates = {}
    steps = len(experiment.data.train_y) // recipe.batch_size
    for step in range(100 * steps):
        rates.setdefault(step // steps, set()).add(experiment.scheduler.get_last_lr()[0])
        experiment.optimizer.step()
        experiment.scheduler.step()
    for epoch, (rate,) in rates.items():  # one in each epoch
        assert rate == pytest.approx(lr * 0.1 ** (epoch // 40))


@over_both
def test_tuned_ends_at_a_rate_of_zero(recipe):
    recipe = recipe(epochs=3)
    experiment = recipe.build()
    rates = []
    for _ in range(3 * (len(experiment.data.train_y) // recipe.batch_size)):
        rates.append(experiment.scheduler.get_last_lr()[0])
        experiment.optimizer.step()
        experiment.scheduler.step()
    assert max(rates) == pytest.approx(recipe.lr)
    assert rates[0] < max(rates) / 2
    assert rates[-1] < max(rates) / 100
    assert experiment.scheduler.get_last_lr()[0] == pytest.approx(0, abs=1e-12)


@over_both
def test_settings_are_recorded_as_they_were_used(recipe):
    plain, tuned = recipe(config="plain").settings(), recipe(dataset="mnist", lr=0.5).settings()
    assert (plain["epochs"], plain["lr"]) == (100, recipe.PLAIN_LR)
    assert (tuned["epochs"], tuned["lr"]) == (recipe.TUNED_EPOCHS, 0.5)


@over_both
@pytest.mark.parametrize("wrong", [{"decay": 1.0}, {"lr": 0.0}, {"threshold": -0.5}, {"width": 0.0}])
def test_wrong_settings_are_refused(recipe, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        recipe(**wrong)


def test_the_papers_network_is_refused_where_images_are_too_small():
    with pytest.raises(ValueError, match="`net` must be 'code' on digits"):
        StbpScnn(net="paper")


@over_both
def test_images_fire_with_their_intensity_as_probability(recipe):
    experiment = recipe(T=500).build()
    x = data.as_float(experiment.data.test_x[:3])
    spikes = experiment.encode(x, SampleGenerator(0, [0, 1, 2], "test"))
    assert spikes.shape == (500, 3, 1, 8, 8)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(spikes.mean(0), x, rtol=0, atol=0.1)


@over_both
def test_recordings_go_in_frame_by_frame_and_stay_spikes(recipe, monkeypatch):
    frames = torch.rand(20, 6, 2, 34, 34, generator=torch.Generator().manual_seed(0)) < 0.1
    labels = torch.arange(20) % 10
    events = data.Dataset("nmnist", tuple("0123456789"), frames, labels, frames, labels)
    monkeypatch.setattr(data, "nmnist", lambda *_args, **_settings: events)
    experiment = recipe(dataset="nmnist", T=6).build()
    x, random = data.as_float(frames), SampleGenerator(0, range(20), "augment")
    assert torch.equal(experiment.encode(x, random), x.transpose(0, 1))
    moved = experiment.augment(x, random)
    assert moved.shape == x.shape
    assert not torch.equal(moved, x)
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    still = x[:, :1].expand_as(x)
    moved = experiment.augment(still, random)
    assert torch.equal(moved, moved[:, :1].expand_as(moved))
    assert experiment.net(experiment.encode(x, random)).shape == (6, 20, 10)


def test_missing_recordings_are_an_error_with_advice(tmp_path):
    with pytest.raises(Exception, match=r"nmnist|N-MNIST"):
        StbpScnn(dataset="nmnist", data_dir=tmp_path).build()


def test_weights_are_channels_last():
    second = modules(StbpScnn().build().net, nn.Conv2d)[1]
    assert second.weight.is_contiguous(memory_format=torch.channels_last)


class FiresAbove(LIFNode):
    """As the published code: on ``v > threshold``. It counts where that differs from ``v >= threshold``."""

    num_equal = num_compared = 0

    def neuronal_fire(self):
        FiresAbove.num_equal += int((self.v == self.v_threshold).sum())
        FiresAbove.num_compared += self.v.numel()
        return (self.v > self.v_threshold).to(self.v)


@over_both
def test_firing_above_or_at_the_threshold_is_the_same_on_real_images(recipe):
    experiment = build_seeded(recipe().build, 0)
    net, num_images = experiment.net, len(experiment.data.test_y)
    x = data.as_float(experiment.data.test_x)
    coded = experiment.encode(x, SampleGenerator(0, range(num_images), "test"))
    at = spikes_of(net, coded)
    for parent in list(net.modules()):
        for name, node in parent.named_children():
            if isinstance(node, LIFNode):
                above = FiresAbove(node.tau, False, node.v_threshold, step_mode="m", backend="torch")
                setattr(parent, name, above)
    above = spikes_of(net, coded)
    assert FiresAbove.num_compared > 1e6
    assert FiresAbove.num_equal <= 1e-6 * FiresAbove.num_compared
    for layer, spikes in at.items():
        assert (spikes != above[layer]).float().mean() <= 1e-5
    assert any(spikes.sum() > 1e4 for spikes in at.values())


def spikes_of(net, coded):
    """The spikes of each layer of neurons."""
    with torch.no_grad(), functional.fresh_state(net), record(net, "spike") as records:
        net(coded)
    return {layer: values["spike"] for layer, values in records.items() if "spike" in values}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stbp-mlp", "stbp-scnn"])
def test_a_third_of_the_epochs_teaches_most_digits(name, tmp_path):
    options = ["--device", "cpu", "--epochs", "20", "--run-dir", str(tmp_path / "run")]
    assert cli.main(["train", name, *options]) == 0
    last = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["test_accuracy"] > 0.9


def test_a_setting_that_a_layer_refuses_is_an_error_of_the_run():
    with pytest.raises(RunError, match="cannot be built"):
        build_seeded(lambda: StbpMlp(decay=1e-30).build(), 0)
