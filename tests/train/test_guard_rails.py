"""What would train wrongly in silence is refused; what is only for looking at does not end a training."""

import dataclasses
import json
import math
from functools import partial, wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessException

from spikeloom import data, functional, layer, neuron, surrogate
from spikeloom.errors import CheckpointError, RunError
from spikeloom.recipe import RECIPES
from spikeloom.recipe.trained import opened
from spikeloom.train import checkpoint
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import Trainer
from spikeloom.train.processes import failure
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


SGD = partial(torch.optim.SGD, lr=0.1)
OF_EXPERIMENT = {field.name for field in dataclasses.fields(Experiment)}


def trainer(folder, make_net, step_mode="m", optimizer=SGD, **changes):
    def build():
        net = make_net()
        if step_mode:
            functional.set_step_mode(net, step_mode)
        given = {
            "data": data.load("iris").take(64, 30),
            "encode": lambda x, _random: x.expand(T, *x.shape),
            "loss": lambda output, labels: nn.functional.cross_entropy(output.mean(0), labels),
            "predict": lambda output: output.mean(0).argmax(-1),
            "optimizer": optimizer(net.parameters()),
        }
        return Experiment(
            net, **given | {name: one for name, one in changes.items() if name in OF_EXPERIMENT}
        )

    fabric = make_fabric("cpu")
    fabric.launch()
    run = Run.create(folder, "none", {}) if not folder.exists() else Run.open(str(folder))
    options = {name: one for name, one in changes.items() if name not in OF_EXPERIMENT}
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
    assert (
        "Not all figures were drawn: OSError: [Errno 28] No space left on device" in capsys.readouterr().out
    )


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


def test_as_many_time_steps_as_samples_hide_nothing(tmp_path):
    with pytest.raises(RunError, match=r"LIFNode '1' is in single-step mode, but got a sequence of 5 time"):
        trainer(tmp_path / "run", Unused, step_mode=None, batch_size=T).fit()


WRONG_EXPERIMENTS = {
    "classes in a column": (
        {"predict": lambda output: output.mean(0).argmax(-1, keepdim=True)},
        r"`predict` of the experiment must give one class for each of 16 samples, \[16\], got \[16, 1\]",
    ),
    "a loss for each sample": (
        {
            "loss": lambda output, labels: nn.functional.cross_entropy(
                output.mean(0), labels, reduction="none"
            )
        },
        r"`loss` of the experiment must give one number, got a tensor \[16\]",
    ),
    "notes under a name of the row": (
        {"before_epoch": lambda epoch: {"epoch": 99}},
        r"`before_epoch` of the experiment must give numbers of its own, not \['epoch'\]",
    ),
    "nothing to test on": (
        {"data": data.load("iris").take(64, 0)},
        "must have at least one test sample, got none",
    ),
}


@pytest.mark.parametrize("what", WRONG_EXPERIMENTS)
def test_experiments_that_would_be_counted_wrongly(tmp_path, what):
    changes, message = WRONG_EXPERIMENTS[what]
    with pytest.raises(RunError, match=message):
        trainer(tmp_path / "run", NETS["no neurons"], **changes).fit()


def test_notes_of_any_type_of_number(tmp_path):
    notes = {"a": torch.tensor(0.5), "b": np.float32(0.25), "c": np.int64(3)}
    (row,) = trainer(tmp_path / "run", NETS["no neurons"], before_epoch=lambda _epoch: notes).fit()
    assert (row["a"], row["b"], row["c"]) == (0.5, 0.25, 3.0)


def test_networks_that_return_several_things(tmp_path):
    class Both(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    changes = {
        "loss": lambda output, labels: nn.functional.cross_entropy(output[0].mean(0), labels),
        "predict": lambda output: output[0].mean(0).argmax(-1),
    }
    assert len(trainer(tmp_path / "run", lambda: Both(4, 3), **changes).fit()) == 1


def test_settings_of_a_trainer_that_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`gradient` must be one of .* got 'x'"):
        trainer(tmp_path / "gradient", Unused, gradient="x")
    with pytest.raises(ValueError, match="`time_chunk` must be at least 1, got 0"):
        trainer(tmp_path / "chunk", Unused, time_chunk=0)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(RunError, match="`mixup` must be a finite number of at least 0"):
            trainer(tmp_path / "mixup", Unused, mixup=wrong)


def interrupted(folder, **changes):
    """Train to the middle of the first epoch, and stop there."""
    one = trainer(folder, Unused, checkpoint_minutes=1e-9, **changes)

    step = one.train_step

    def train_step(*arguments):
        if one.progress.step == 2:
            raise KeyboardInterrupt
        return step(*arguments)

    one.train_step = train_step
    with pytest.raises(KeyboardInterrupt):
        one.fit()
    assert one.progress.step == 2


def test_within_an_epoch_batches_stay_what_they_are(tmp_path):
    interrupted(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"of 64 samples in batches of 16, .* with 64 in batches of 8"):
        trainer(tmp_path / "run", Unused, batch_size=8)
    with pytest.raises(CheckpointError, match="with 32 in batches of 16"):
        trainer(tmp_path / "run", Unused, data=data.load("iris").take(32, 30))
    assert len(trainer(tmp_path / "run", Unused).fit()) == 1
    assert len(trainer(tmp_path / "run", Unused, batch_size=8, epochs=2).fit()) == 2


def test_another_optimiser_or_scheduler_is_named(tmp_path):
    interrupted(tmp_path / "run")
    with pytest.raises(CheckpointError, match="begun with another optimiser, and cannot go on with Adam"):
        trainer(tmp_path / "run", Unused, optimizer=torch.optim.Adam)
    net = Unused()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    with pytest.raises(
        CheckpointError, match="begun with another scheduler, and cannot go on with ConstantLR"
    ):
        trainer(tmp_path / "run", lambda: net, optimizer=lambda _: optimizer, scheduler=scheduler)


def test_what_needs_more_than_a_step_gives_is_refused():
    parameters = [nn.Parameter(torch.zeros(1))]
    plain = torch.optim.SGD(parameters)
    given = (nn.Identity(), data.blobs(), lambda x, _: x, None, None)
    with pytest.raises(TypeError, match=r"`optimizer` must make its .*LBFGS.* 'closure'"):
        Experiment(*given, torch.optim.LBFGS(parameters))
    with pytest.raises(TypeError, match=r"`scheduler` must make its .*ReduceLROnPlateau.* 'metrics'"):
        Experiment(*given, plain, torch.optim.lr_scheduler.ReduceLROnPlateau(plain))
    assert Experiment(*given, plain, torch.optim.lr_scheduler.StepLR(plain, 1)).optimizer is plain


def taking_both(function):
    """``function`` of one argument, as one of two."""

    @wraps(function)
    def wrapper(x, _random):
        return function(x)

    return wrapper


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("encode", lambda x: x, "must take samples, random, got .*too many positional arguments"),
        ("loss", nn.functional.cosine_similarity, None),
        ("loss", lambda output: 0, "must take output, classes, got .*too many"),
        ("predict", lambda output, classes: 0, "must take output, got .*missing .*'classes'"),
        ("predict", torch.argmax, None),  # which nobody can ask
        ("augment", nn.Identity(), None),
        ("encode", taking_both(lambda x: x), None),
        ("encode", torch.no_grad()(lambda x: x), "must take samples, random, got .*too many"),
        ("augment", 3, "must take samples, random, got 3: 3 is not a callable object"),
        ("before_epoch", lambda: None, "must take epoch, got"),
        ("draw", lambda net, x: {}, "must take net, sample, title, got"),
        ("done", lambda: True, "must take row, got"),
    ],
)
def test_functions_that_take_other_arguments_are_refused(name, wrong, message):
    net = nn.Linear(2, 2)
    functions = {"encode": lambda x, _: x, "loss": nn.CrossEntropyLoss(), "predict": lambda y: y.argmax(1)}

    def build():
        return Experiment(net, data.blobs(), optimizer=SGD(net.parameters()), **functions | {name: wrong})

    if message is None:
        build()
        return
    with pytest.raises(TypeError, match=f"`{name}` {message}"):
        build()
    with pytest.raises(RunError, match=f"The experiment cannot be built: `{name}` {message}"):
        build_seeded(build, 0)


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


def test_weights_that_are_lost_are_not_written(tmp_path):
    """The last step of an epoch leaves them infinite; what was written before is still there."""

    def before_epoch(epoch):
        if epoch == 1:
            one.experiment.net[0].bias.register_hook(lambda gradient: gradient / 0)
        return {}

    one = trainer(tmp_path / "run", Unused, before_epoch=before_epoch, epochs=3, batch_size=1000)
    with pytest.raises(RunError, match=r"became infinite or NaN in epoch 2.*The last good checkpoint"):
        one.fit()
    state = checkpoint.load_last(tmp_path / "run" / "checkpoints")
    assert state["progress"]["epoch"] == 1
    assert all(weight.isfinite().all() for weight in state["net"].values())


def test_two_trainers_in_one_folder_are_refused(tmp_path):
    one = trainer(tmp_path / "run", Unused)
    with Run.open(str(tmp_path / "run")).locked(), pytest.raises(RunError, match="is being trained into by"):
        one.fit()
    assert len(one.fit()) == 1


def test_networks_without_anything_to_learn_are_refused(tmp_path):
    with pytest.raises(RunError, match="`net` of the experiment must have a parameter that learns"):
        trainer(tmp_path / "run", lambda: Unused().requires_grad_(False))


def test_notes_must_be_numbers_by_name(tmp_path):
    with pytest.raises(
        RunError, match="`before_epoch` of the experiment must return numbers by name, got None"
    ):
        trainer(tmp_path / "run", Unused, before_epoch=lambda _epoch: None).fit()


def test_checkpoints_of_another_form_do_not_fit(tmp_path):
    trainer(tmp_path / "run", Unused).fit()
    folder = tmp_path / "run" / "checkpoints"
    whole = checkpoint.load_last(folder)
    for part in ({"optimizer": {"param_groups": [], "state": {}}}, {"net": 3}, {"progress": [1]}):
        checkpoint.save_last(folder, whole | part)
        with pytest.raises(CheckpointError, match="does not fit the network"):
            trainer(tmp_path / "run", Unused)
    checkpoint.save_last(folder, {name: one for name, one in whole.items() if name != "scheduler"})
    with pytest.raises(CheckpointError, match="does not fit the network"):
        trainer(tmp_path / "run", Unused)


def test_a_process_that_failed_says_why():
    for raised, said in (
        ("ValueError: one\ntwo", "one\ntwo"),
        ("mine.Odd: three", "mine.Odd: three"),
        ("spikeloom.errors.RunError: four", "four"),
    ):
        text = f"-- Process 1 terminated:\nTraceback (most recent call last):\n  File x\n    y\n{raised}\n"
        assert str(failure(ProcessException(text, 1, 2), Run(Path()))) == said


def test_infinities_that_were_there_are_left_alone(tmp_path):
    class Masked(Unused):
        def __init__(self):
            super().__init__()
            self.mask = nn.Parameter(torch.full((3,), -torch.inf), requires_grad=False)
            self.off = nn.Parameter(torch.full((1,), torch.inf))

    assert len(trainer(tmp_path / "run", Masked).fit()) == 1


def test_a_training_that_is_refused_touches_nothing(tmp_path):
    one = trainer(tmp_path / "run", Unused)
    (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
    with Run.open(str(tmp_path / "run")).locked(), pytest.raises(RunError, match="is being trained into by"):
        one.fit()
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == "{}\n"


def test_a_scheduler_that_is_any_object(tmp_path):
    class Scheduler:
        def __init__(self):
            self.step, self.state_dict = lambda: None, dict

        def __bool__(self):
            return True

    assert len(trainer(tmp_path / "run", Unused, scheduler=Scheduler()).fit()) == 1


def test_an_optimiser_of_another_network_is_refused(tmp_path):
    other = Unused()
    with pytest.raises(RunError, match="`optimizer` of the experiment must have parameters of its `net`"):
        trainer(tmp_path / "a", Unused, optimizer=lambda _: SGD(other.parameters()))
    scheduler = torch.optim.lr_scheduler.StepLR(SGD(other.parameters()), 1)
    with pytest.raises(RunError, match="`scheduler` of the experiment must be one of its `optimizer`"):
        trainer(tmp_path / "b", Unused, scheduler=scheduler)


def test_a_trainer_that_is_behind_its_folder_is_refused(tmp_path):
    first, second = trainer(tmp_path / "run", Unused, epochs=2), None
    second = trainer(tmp_path / "run", Unused)
    assert len(first.fit()) == 2
    with pytest.raises(RunError, match="has gone on since this Trainer read where it stood"):
        second.fit()
    assert len(first.fit()) == 2
    assert len(trainer(tmp_path / "run", Unused, epochs=3).fit()) == 3


def test_a_save_that_was_killed_between_its_renames_is_finished(tmp_path):
    trainer(tmp_path / "run", Unused).fit()
    folder = tmp_path / "run" / "checkpoints"
    (folder / checkpoint.LAST).rename(folder / "new.safetensors")
    assert len(trainer(tmp_path / "run", Unused).fit()) == 1
    assert (folder / checkpoint.LAST).exists()


def test_metrics_are_json(tmp_path):
    one = trainer(tmp_path / "run", Unused, before_epoch=lambda _: {"angle": float("nan")})
    one.fit()
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["angle"] is None
    with pytest.raises(RunError, match="`before_epoch` of the experiment must return numbers, got"):
        trainer(tmp_path / "other", Unused, before_epoch=lambda _: {"angle": "x"}).fit()


def test_a_training_that_ends_at_once_leaves_the_network_as_it_was(tmp_path):
    one = trainer(tmp_path / "run", Unused, loss=lambda output, _labels: output.sum() * math.nan)
    with pytest.raises(RunError):
        one.fit()
    node = one.experiment.net[1]
    assert node.backend == "auto"  # as the firing check found it
    assert not node._forward_hooks
