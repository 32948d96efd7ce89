"""What would train wrongly in silence is refused; what is only for looking at does not end a training."""

import json
from functools import partial

import pytest
import torch
from torch import nn

from spikeloom import data, functional, layer, neuron, surrogate
from spikeloom.errors import RunError
from spikeloom.recipe import RECIPES
from spikeloom.recipe.trained import opened
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import Trainer
from spikeloom.train.run import Run

T = 5


class Unused(nn.Sequential):
    """Has a neuron that its forward pass leaves out."""

    def __init__(self):
        super().__init__(layer.Linear(4, 3), neuron.LIFNode())
        self.extra = neuron.LIFNode()

    def forward(self, x):
        return self[1](self[0](x))


def normalised():
    return nn.Sequential(layer.Linear(4, 3), layer.BatchNorm1d(3), neuron.LIFNode())


NETS = {
    "a neuron that does not run": Unused,
    "neurons without a potential": lambda: nn.Sequential(layer.Linear(4, 3), neuron.PSN(T)),
    "no neurons": lambda: layer.Linear(4, 3),
}


def trainer(folder, make_net, step_mode="m", **changes):
    def build():
        net = make_net()
        if step_mode:
            functional.set_step_mode(net, step_mode)
        return Experiment(
            net,
            data.load("iris").take(64, 30),
            encode=lambda x, _random: x.expand(T, *x.shape),
            loss=lambda output, labels: nn.functional.cross_entropy(output.mean(0), labels),
            predict=lambda output: output.mean(0).argmax(-1),
            optimizer=torch.optim.SGD(net.parameters(), 0.1),
            **{name: one for name, one in changes.items() if name in ("draw", "before_epoch")},
        )

    fabric = make_fabric("cpu")
    fabric.launch()
    run = Run.create(folder, "none", {})
    options = {name: one for name, one in changes.items() if name not in ("draw", "before_epoch")}
    return Trainer(fabric, build_seeded(build, 0), run, **{"epochs": 1, "batch_size": 16, **options})


@pytest.mark.parametrize("what", NETS)
def test_a_network_of_which_little_can_be_drawn_trains(tmp_path, what):
    assert len(trainer(tmp_path / "run", NETS[what]).fit()) == 1
    assert (tmp_path / "run" / "figures" / "curves.png").exists()


def test_a_figure_that_fails_does_not_end_a_training(tmp_path, capsys):
    def draw(*_):
        raise OSError(28, "No space left on device")

    one = trainer(tmp_path / "run", NETS["no neurons"], draw=draw)
    assert len(one.fit()) == 1
    assert one.experiment.net.training  # as it was before
    assert "No figures were drawn: OSError: [Errno 28] No space left on device" in capsys.readouterr().out


@pytest.mark.parametrize("falls_silent", [False, True])
def test_layers_that_fall_silent_later_are_named(tmp_path, capsys, falls_silent):
    def before_epoch(epoch):
        if epoch == 3 and falls_silent:
            nn.init.constant_(one.experiment.net[0].weight, -20.0)
        return {}

    def make_net():
        return nn.Sequential(
            layer.Linear(4, 30), neuron.LIFNode(surrogate_function=surrogate.Rect()), layer.Linear(30, 3)
        )

    one = trainer(tmp_path / "run", make_net, before_epoch=before_epoch, epochs=4)
    history = one.fit()
    told = "Layer '1' (LIFNode) did not fire once" in capsys.readouterr().out
    assert told == falls_silent
    assert history[2]["train_accuracy"] > 0.6
    assert (history[3]["train_accuracy"] < 0.4) == falls_silent


def test_a_network_that_takes_time_for_the_batch_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"LIFNode '1' is in single-step mode, but got a sequence of 5 time"):
        trainer(tmp_path / "run", Unused, step_mode=None).fit()


def test_a_network_that_loops_over_time_itself_trains(tmp_path):
    class Looping(Unused):
        def forward(self, x):
            return torch.stack([super(Looping, self).forward(step) for step in x])

    assert len(trainer(tmp_path / "run", Looping, step_mode=None).fit()) == 1


def test_time_is_not_cut_for_layers_that_need_all_of_it(tmp_path):
    with pytest.raises(RunError, match=r"`time_chunk` must be off for this .*leave out --time-chunk"):
        trainer(tmp_path / "run", normalised, time_chunk=2)


@pytest.mark.parametrize(
    "name", ["ann2snn", "eventprop", "relpsp", "spikeprop", "spikeprop-xor", "tempotron"]
)
def test_recipes_without_time_steps_do_not_cut_time(name):
    with pytest.raises(ValueError, match="`time_chunk` must be left out here"):
        RECIPES[name](time_chunk=2)
    with pytest.raises(ValueError, match="`gradient` must be left out here"):
        RECIPES[name](gradient="sltt")


def test_the_gradient_through_time_is_not_cut_where_it_cannot_be(tmp_path):
    class Looping(Unused):
        def forward(self, x):
            return torch.stack([super(Looping, self).forward(step) for step in x])

    def parallel():
        return nn.Sequential(layer.Flatten(), layer.Linear(2, 2), neuron.SlidingPSN(2))

    with pytest.raises(RunError, match=r"`gradient` must be 'bptt' .*no modules that take sequences"):
        trainer(tmp_path / "looping", Looping, step_mode=None, gradient="sltt")
    with pytest.raises(RunError, match=r"`gradient` must be 'bptt' .*SlidingPSN '2' looks at several steps"):
        trainer(tmp_path / "run", parallel, gradient="ottt")


def test_a_run_finds_its_data_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = partial(RECIPES["lif-fc"], data_dir="sets")
    (tmp_path / "sets").mkdir()
    run = Run.create(tmp_path / "run", "lif-fc", recipe().settings())
    monkeypatch.chdir("/")
    assert opened(run.folder)[1].data_dir == tmp_path / "sets"
    (tmp_path / "sets").rename(tmp_path / "moved")
    assert opened(run.folder)[1].data_dir == tmp_path / "sets"  # for the error, which names it
    monkeypatch.setenv("SPIKELOOM_DATA", str(tmp_path / "moved"))
    assert opened(run.folder)[1].data_dir is None
    assert json.loads((run.folder / "config.json").read_text())["settings"]["data_dir"].endswith("sets")


def test_the_scale_of_half_precision_gradients_is_kept(tmp_path, monkeypatch):
    first = trainer(tmp_path / "run", normalised)
    kind, loaded = type(first.fabric.strategy.precision), []
    monkeypatch.setattr(kind, "state_dict", lambda _: {"scale": 2048.0, "_growth_tracker": 3}, raising=False)
    monkeypatch.setattr(kind, "load_state_dict", lambda _, state: loaded.append(state), raising=False)
    first.fit()
    assert not loaded
    monkeypatch.setattr(Run, "create", lambda folder, *_: Run.open(folder))
    trainer(tmp_path / "run", normalised)
    assert loaded == [{"scale": 2048.0, "_growth_tracker": 3}]


def test_whole_numbers_may_be_written_as_floats():
    recipe = RECIPES["lif-fc"](epochs=3.0, T=4.0)
    assert [type(value) for value in (recipe.epochs, recipe.T, recipe.lr)] == [int, int, float]
