"""The recipes of deep networks: what they build, how they change images, and how Dspike is adapted."""

import itertools
import json

import pytest
import torch
import torch.nn.functional as F

from compare import assert_close, assert_same
from spikeloom import cli, data, layer, model, surrogate
from spikeloom.encoding import SampleGenerator
from spikeloom.recipe import RECIPES
from spikeloom.train import checkpoint
from spikeloom.train.temperature import dspike_surrogates

over_both = pytest.mark.parametrize("name", ["sew-resnet", "dspike"])


def made(name, **settings):
    return RECIPES[name](**settings)


def train(run, *options):
    return cli.main(["train", *options, "--device", "cpu", "--run-dir", str(run)])


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def images(monkeypatch):
    """Stands in for CIFAR-10."""
    random = torch.Generator().manual_seed(0)
    x = torch.randint(256, (6000, 3, 32, 32), dtype=torch.uint8, generator=random)
    x[:, 1] //= 2
    y = torch.arange(6000) % 10
    classes = tuple(str(number) for number in range(10))
    dataset = data.Dataset("cifar10", classes, x[:5500], y[:5500], x[:1200], y[:1200])
    monkeypatch.setattr(data, "load", lambda name, folder=None: dataset)
    return dataset


def test_a_deep_network_is_the_default_but_not_on_a_cpu():
    for name, deep, small in (
        ("sew-resnet", "sew-resnet18-cifar", "sew-resnet-mini-cifar"),
        ("dspike", "spiking-resnet18-cifar", "spiking-resnet-mini-cifar"),
    ):
        assert made(name, dataset="cifar10").net == deep
        assert made(name, dataset="cifar10", quick=True).net == made(name).net == small
        assert made(name, dataset="cifar10").epochs > 90 > made(name, quick=True, dataset="cifar10").epochs
        assert {deep, small} <= set(model.names())


@over_both
def test_quick_takes_few_images(name, images):
    quick = made(name, dataset="cifar10", quick=True).build()
    assert (len(quick.data.train_y), len(quick.data.test_y)) == (5000, 1000)
    full = made(name, dataset="cifar10", net=made(name).net).build()
    assert len(full.data.train_y) == 5500


def test_images_are_centred_by_the_training_part(images):
    experiment = made("sew-resnet", dataset="cifar10", quick=True).build()
    x = experiment.encode(data.as_float(experiment.data.train_x), None)
    assert_close("mean", torch.zeros(3), x.mean((0, 2, 3)))
    assert_close("deviation", torch.ones(3), x.std((0, 2, 3), correction=0))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_labels_may_be_smoothed_and_time_may_be_averaged():
    output, labels = torch.randn(4, 5, 3), torch.tensor([0, 2, 1, 1, 0])
    steps = torch.stack([F.cross_entropy(step, labels, label_smoothing=0.2) for step in output]).mean()
    assert_close("every step", steps, made("sew-resnet", label_smoothing=0.2).cost_of(output, labels))
    mean = F.cross_entropy(output.mean(0), labels)
    assert_close("mean", mean, made("sew-resnet", loss="mean").cost_of(output, labels))


def test_images_are_cropped_mirrored_and_cut_out_as_their_kind_allows():
    x = torch.zeros(200, 1, 8, 8)
    x[:, :, 3:5, 1] = 1.0  # a stroke on the left
    random = [SampleGenerator(0, range(200), "augment") for _ in range(3)]
    digits = made("sew-resnet").changed(x, random[0])
    assert digits[..., 4:].sum() == 0  # not mirrored
    assert len(digits.flatten(1).unique(dim=0)) == 9
    assert made("sew-resnet", dataset="fashion-mnist").changed(x, random[1])[..., 4:].sum() > 0
    cut = made("sew-resnet", augment=False, cutout=3).changed(x + 1, random[2])
    assert ((cut == 0).sum((1, 2, 3)) <= 9).all()
    assert (cut == 0).any()
    assert_same("unchanged", x, made("sew-resnet", augment=False).changed(x, random[2]))


def test_gradients_keep_the_memory_format_of_images(images):
    """With channels first, batch normalisation on a CPU takes ten times as long."""
    experiment = made("sew-resnet", dataset="cifar10", quick=True, T=2).build()
    seen = {}
    for name, module in experiment.net.named_modules():
        if isinstance(module, layer.BatchNorm2d):

            def watch(_module, _input, output, name=name):
                output.register_hook(lambda gradient: seen.__setitem__(name, gradient.flatten(0, 1)))

            module.register_forward_hook(watch)
    x = experiment.encode(data.as_float(images.train_x[:4]), None)
    experiment.loss(experiment.net(x), images.train_y[:4]).backward()
    assert len(seen) > 5
    for name, gradient in seen.items():
        assert gradient.is_contiguous(memory_format=torch.channels_last), name


def test_connect_reaches_the_blocks_and_other_networks_do_without():
    net = made("sew-resnet", connect="IAND").build().net
    assert {block.connect for block in net.modules() if isinstance(block, model.SEWBlock)} == {"IAND"}
    assert made("sew-resnet", net="spiking-resnet-mini-cifar").build().net
    with pytest.raises(TypeError, match="`connect` is no option of model"):
        made("sew-resnet", net="spiking-resnet-mini-cifar", connect="AND").build()


def test_a_cut_leaves_something_of_an_image():
    with pytest.raises(ValueError, match="`cutout` must be less than 8, the side of an image, got 8"):
        made("sew-resnet", cutout=8).build()


def test_settings_that_may_be_zero():
    recipe = made("sew-resnet", weight_decay=0.0, label_smoothing=0.0, mixup=0.0)
    assert recipe.build().optimizer.param_groups[0]["weight_decay"] == 0
    assert type(recipe).from_settings({"mixup": None}).mixup == 0  # as runs of before have it


def test_dspike_is_the_network_that_it_claims():
    net = made("dspike", temperature=2.0).build().net
    nodes = [one for one in net.modules() if hasattr(one, "v_threshold")]
    assert {(one.tau, one.decay_input, one.v_threshold) for one in nodes} == {(2.0, False, 0.5)}
    assert {float(one.temperature) for one in dspike_surrogates(net)} == {2.0}
    norms = [one for one in net.modules() if isinstance(one, layer.BatchNorm2d)]
    assert all(isinstance(one, layer.ThresholdDependentBatchNorm2d) and one.v_th == 0.5 for one in norms)


def test_the_temperature_is_adapted_recorded_and_kept(tmp_path, capfd):
    few = ["--adapt-weights", "2", "--adapt-samples", "50", "--batch-size", "200"]
    assert train(tmp_path / "run", "dspike", "--epochs", "3", *few) == 0
    first, *others = rows(tmp_path / "run")
    assert first["temperature"] == 3.0
    assert "similarity" not in first
    for before, after in itertools.pairwise([first, *others]):
        assert round(after["temperature"] - before["temperature"], 5) in (-0.2, 0, 0.2)
        assert -1 <= after["similarity"] <= 1
    state = checkpoint.load_last(tmp_path / "run" / "checkpoints")["net"]
    kept = {value.item() for name, value in state.items() if name.endswith("temperature")}
    assert [*kept] == [pytest.approx(others[-1]["temperature"])]


def test_without_adaptation_the_temperature_stays():
    experiment = made("dspike", adapt=False, temperature=1.5).build()
    assert experiment.before_epoch is None
    assert isinstance(dspike_surrogates(experiment.net)[0], surrogate.Dspike)


@over_both
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 1.0}, "`label_smoothing` must be less than 1"),
        ({"mixup": -1.0}, "`mixup` must be a number of at least 0"),
        ({"lr": 0.0}, "`lr` must be a number greater than 0"),
        ({"cutout": 0}, "`cutout` must be at least 1"),
        ({"T": 0}, "`T` must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        made(name, **settings)


def test_an_unknown_network_is_refused_with_those_that_are_like_it(tmp_path, capfd):
    assert train(tmp_path / "run", "sew-resnet", "--net", "sew-resnet19") == 2
    assert "sew-resnet18" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def recordings(name):
    """Stands in for a set of recordings: 6 to train on, 3 to test, of two classes."""
    T, side = (10, 34) if name == "nmnist" else (16, 128)

    def load(folder, steps):
        assert steps == T
        x = torch.zeros(9, T, 2, side, side, dtype=torch.int8)
        x[:, :, 0, 4:9, 10:20] = 3
        return data.Dataset(name, ("one", "other"), x[:6], torch.arange(6) % 2, x[6:], torch.zeros(3).long())

    return load


EVENTS = {
    "nmnist": ("nmnist", "sew-resnet-mini-cifar", 30),
    "cifar10-dvs": ("cifar10_dvs", "sew-resnet-cifar10-dvs", 64),
    "dvs-gesture": ("dvs_gesture", "sew-resnet-dvs-gesture", 192),
}


@pytest.mark.parametrize("name", EVENTS)
def test_recordings_go_in_as_frames(name, monkeypatch):
    function, net, epochs = EVENTS[name]
    monkeypatch.setattr(data, function, recordings(name))
    recipe = made("sew-resnet", dataset=name)
    assert (recipe.net, recipe.epochs) == (net, epochs)
    quick = made("sew-resnet", dataset=name, quick=True)
    assert (quick.net, quick.epochs, quick.T) == ("sew-resnet-mini-cifar", 10, recipe.T)
    assert made("sew-resnet", dataset=name, T=3, lr=0.5).lr == 0.5
    assert recipe.batch_size == quick.batch_size == (100 if name == "nmnist" else 16)
    assert made("sew-resnet", dataset=name, batch_size=8).batch_size == 8
    experiment = recipe.build()
    frames = data.as_float(experiment.data.train_x[:2])
    x = experiment.encode(frames, None)
    assert torch.equal(x[3, 1], frames[1, 3])  # the time first, counts as they are
    assert experiment.net(x).shape == (recipe.T, 2, 2)


def test_a_recording_is_moved_as_a_whole(monkeypatch):
    monkeypatch.setattr(data, "nmnist", recordings("nmnist"))
    recipe = made("sew-resnet", dataset="nmnist", cutout=4)
    frames = data.as_float(recipe.build().data.train_x)
    moved = recipe.changed(frames, SampleGenerator(0, torch.arange(6)))
    assert moved.shape == frames.shape
    assert not torch.equal(moved, frames)
    assert torch.equal(moved, moved[:, :1].expand_as(moved))  # its frames were the same, and still are
    assert len(moved.flatten(1).unique(dim=0)) > 3  # each recording in its own way


def test_a_training_on_recordings(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "nmnist", recordings("nmnist"))
    options = ("--dataset", "nmnist", "--quick", "--epochs", "1", "--batch-size", "3")
    assert train(tmp_path / "run", "sew-resnet", *options) == 0
    assert (tmp_path / "run" / "figures" / "firing_rates.png").is_file()
    assert rows(tmp_path / "run")[-1]["epoch"] == 1


def test_a_network_is_built_for_the_size_of_a_recording(monkeypatch):
    monkeypatch.setattr(data, "nmnist", recordings("nmnist"))
    experiment = made("sew-resnet", dataset="nmnist", net="plif-net-mnist").build()
    x = experiment.encode(data.as_float(experiment.data.train_x[:2]), None)
    assert experiment.net(x).shape == (10, 2, 2)
    with pytest.raises(ValueError, match="`size` must be at least 128, which is halved 7 times, got 34"):
        made("sew-resnet", dataset="nmnist", net="sew-resnet-dvs-gesture").build()
