"""Every recipe: it says what it claims and costs, its settings survive JSON, and a tiny run works."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

import pytest
import torch
import tyro

import spikeloom
from spikeloom import cli, recipe
from spikeloom.errors import RunError
from spikeloom.recipe import RECIPES, BaseRecipe, Recipe
from spikeloom.recipe.settings import check_settings
from spikeloom.train import checkpoint

# Settings with which a recipe takes seconds; a recipe without an entry here fails the smoke test.
TINY = {
    "ann2snn": ["--epochs", "2", "--T", "2"],
    "blobs": ["--epochs", "2", "--points", "128", "--T", "4"],
    "dspike": ["--epochs", "2", "--adapt-weights", "2", "--adapt-samples", "50"],
    "eprop": ["--epochs", "2", "--samples", "32", "--batch-size", "32"],
    "eventprop": ["--epochs", "2", "--hidden", "50"],
    "lif-fc": ["--epochs", "2", "--T", "5", "--hidden", "16"],
    "relpsp": ["--epochs", "2", "--hidden", "16"],
    "sew-resnet": ["--epochs", "2", "--T", "2"],
    "spikeprop": ["--epochs", "2"],
    "spikeprop-xor": ["--epochs", "2"],
    "stbp-mlp": ["--epochs", "2", "--hidden", "16"],
    "stbp-scnn": ["--epochs", "2", "--T", "5"],
    "tempotron": ["--epochs", "2", "--m", "4"],
}

over_recipes = pytest.mark.parametrize("name", list(RECIPES))
over_experiments = pytest.mark.parametrize(
    "name", [name for name in RECIPES if issubclass(RECIPES[name], Recipe)]
)


def train(run, name, *options):
    return cli.main(["train", name, "--device", "cpu", "--run-dir", str(run), *options])


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_there_are_recipes():
    assert {"lif-fc", "blobs"} <= set(RECIPES)


@over_recipes
def test_a_recipe_says_what_it_reaches_and_what_it_costs(name):
    cls = RECIPES[name]
    assert issubclass(cls, BaseRecipe)
    for text in (cls.claim, cls.cost):
        assert text.strip() == text != ""
        assert "\n" not in text
    assert "%" in cls.claim
    assert len((cls.__doc__ or "").splitlines()[0]) > 20


@over_recipes
def test_its_file_opens_with_a_command(name):
    document = sys.modules[RECIPES[name].__module__].__doc__
    assert document.startswith(f"{name}: ")
    assert f"spikeloom train {name}" in document


def test_every_file_of_recipes_registers_one():
    files = {path.stem for path in Path(recipe.__file__).parent.glob("*.py")}
    files -= {"__init__", "base", "competition_base", "deep_base", "settings", "stbp_base", "trained"}
    assert files == {RECIPES[name].__module__.rpartition(".")[2] for name in RECIPES}


@pytest.mark.parametrize(
    "name",
    [name for name in RECIPES if issubclass(RECIPES[name], Recipe) and hasattr(RECIPES[name], "parts")],
)
def test_validation_is_by_training_samples(name):
    whole, held = RECIPES[name]().build().data, RECIPES[name](validate=True).build().data
    assert len(held.train_y) + len(held.test_y) == len(whole.train_y)
    assert len(held.train_y) / len(whole.train_y) == pytest.approx(5 / 6, abs=0.02)


@over_recipes
def test_every_setting_is_explained_and_has_a_default(name):
    for field in dataclasses.fields(RECIPES[name]):
        assert field.default is not dataclasses.MISSING
    for cls in set(RECIPES[name].__mro__) & set(_dataclasses_above(BaseRecipe)):
        lines = Path(sys.modules[cls.__module__].__file__).read_text().splitlines()
        for setting in set(cls.__annotations__) & {field.name for field in dataclasses.fields(cls)}:
            (place,) = [number for number, line in enumerate(lines) if line.startswith(f"    {setting}: ")]
            assert lines[place + 1].strip().startswith('"""'), f"{name}: {setting} is not explained"


def _dataclasses_above(cls):
    """Its subclasses, their subclasses, and so on."""
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _dataclasses_above(subclass)


@over_recipes
def test_settings_survive_json(name):
    cls = RECIPES[name]
    changed = cls(seed=7, data_dir=Path("data"), run_dir=Path("a") / "b")
    for made in (cls(), changed, cls(batch_size=12, devices=2) if issubclass(cls, Recipe) else cls(seed=1)):
        assert cls.from_settings(json.loads(json.dumps(made.settings()))) == made


@pytest.mark.parametrize(
    ("name", "dataset"),
    [(name, choice) for name in RECIPES for choice in get_args(get_type_hints(RECIPES[name]).get("dataset"))],
)
def test_what_was_left_out_follows_the_settings_that_change(name, dataset):
    cls = RECIPES[name]
    assert cls().with_settings(dataset=dataset) == cls(dataset=dataset)
    assert cls(seed=3, dataset=dataset).with_settings(seed=4) == cls(seed=4, dataset=dataset)
    epochs = cls(epochs=cls().num_epochs)  # which was given, and stays
    assert epochs.with_settings(dataset=dataset).num_epochs == cls().num_epochs


@dataclasses.dataclass
class Choices:
    """Settings of which each may be of two kinds."""

    steps: int | Literal["auto"] = "auto"
    lr: Union[float, Literal["auto"]] = "auto"  # noqa: UP007  the older spelling
    share: int | float = 1
    place: str | Path = "here"


def test_a_setting_may_be_of_any_of_its_kinds():
    for allowed in ({"steps": 3}, {"lr": 0.5}, {"share": 0.5}, {"place": Path("there")}, {}):
        check_settings(choices := Choices(**allowed))
        assert vars(choices) == vars(Choices()) | allowed
    check_settings(choices := Choices(steps=3.0, share=3.0))
    assert (type(choices.steps), type(choices.share)) == (int, float)
    for name, value in {"steps": 0, "lr": "wibble", "share": -1.0}.items():
        with pytest.raises(ValueError, match=f"`{name}` must be .*, or .*, got {value!r}"):
            check_settings(Choices(**{name: value}))


@over_recipes
def test_settings_of_other_versions_are_refused_by_name(name):
    with pytest.raises(RunError, match=r"does not know: \['wibble', 'wobble'\]"):
        RECIPES[name].from_settings({"wobble": 1, "wibble": 2, "seed": 0})


@over_recipes
def test_a_name_is_one_of_those_that_the_command_line_takes(name):
    """From Python and from a config.json too, where a wrong one could go unnoticed."""
    for setting, hint in get_type_hints(RECIPES[name]).items():
        if Literal in map(get_origin, (hint, *get_args(hint))):
            with pytest.raises(ValueError, match=f"`{setting}` must be one of .*, got 'wibble'"):
                RECIPES[name](**{setting: "wibble"})
            with pytest.raises(RunError, match=f"`{setting}` must be one of"):
                RECIPES[name].from_settings({setting: "wibble"})


@over_recipes
def test_a_setting_has_the_type_that_the_command_line_gives_it(name):
    """Optional ones too, whose default says nothing of their type."""
    wrong = {int: (2.5, "two", True), float: ("two", math.nan, -0.5), bool: (1, "yes"), str: (3,)}
    for setting, hint in get_type_hints(RECIPES[name]).items():
        for kind in get_args(hint) if type(hint) is UnionType else (hint,):
            for value in wrong.get(kind, ()):
                with pytest.raises(ValueError, match=f"`{setting}` must be .*, got {value!r}"):
                    RECIPES[name](**{setting: value})
        if hint in wrong:
            with pytest.raises(ValueError, match=f"`{setting}` must be .*, got None"):
                RECIPES[name](**{setting: None})


@over_experiments
@pytest.mark.parametrize("setting", ["batch_size", "devices", "log_every", "epochs"])
def test_counts_are_at_least_one(name, setting):
    with pytest.raises(ValueError, match=r"must be at least 1, got 0"):
        RECIPES[name](**{setting: 0})


@over_experiments
def test_a_batch_is_shared_evenly_by_the_devices(name):
    with pytest.raises(ValueError, match=r"`batch_size` must be a multiple of `devices`.*64 and 3"):
        RECIPES[name](batch_size=64, devices=3)


@over_recipes
def test_settings_cannot_change_after_the_run_has_recorded_them(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPES[name]().seed = 1


@over_experiments
def test_a_tiny_run_ends_with_finite_numbers(name, tmp_path, capfd):
    assert name in TINY, f"give recipe '{name}' settings with which it takes seconds"
    assert train(tmp_path / "run", name, *TINY[name]) == 0
    output = capfd.readouterr().out
    history = rows(tmp_path / "run")
    assert len(history) == 2
    for row in history:
        assert all(math.isfinite(value) for value in row.values())
        assert 0 <= row["test_accuracy"] <= 1
    assert f"test accuracy {history[-1]['test_accuracy']:.2%} after the last epoch" in output
    state = checkpoint.load(tmp_path / "run" / "checkpoints" / checkpoint.LAST)
    assert all(torch.isfinite(weight).all() for weight in state["net"].values())


@over_experiments
def test_another_seed_is_another_run_and_the_same_seed_is_not(name):
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        net = RECIPES[name](seed=seed).build().net
        losses.append(torch.cat([weight.flatten() for weight in net.state_dict().values()]))
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


def test_blobs_reaches_its_claim(tmp_path):
    assert train(tmp_path / "run", "blobs") == 0
    assert rows(tmp_path / "run")[-1]["test_accuracy"] >= 0.99


def test_blobs_learns_from_points_it_is_not_tested_on():
    data = RECIPES["blobs"]().build().data
    both = torch.cat([data.train_x, data.test_x])
    assert len(data.train_x) == 1000
    assert len(torch.unique(both, dim=0)) == len(both)


def test_lif_fc_is_the_network_that_it_claims():
    net = RECIPES["lif-fc"]().build().net
    linear = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    assert [layer.bias for layer in linear] == [None, None]
    assert [tuple(layer.weight.shape) for layer in linear] == [(196, 64), (10, 196)]
    nodes = [layer for layer in net if isinstance(layer, spikeloom.neuron.LIFNode)]
    assert [type(node.surrogate_function).__name__ for node in nodes] == ["ATan", "ATan"]


def test_lif_fc_with_a_rectangular_surrogate_is_told_which_layer_never_fires(tmp_path, capfd):
    options = ["--surrogate", "Rectangular", "--T", "10", "--epochs", "1"]
    assert train(tmp_path / "run", "lif-fc", *options) == 0
    output = capfd.readouterr().out
    (advice,) = [line for line in output.splitlines() if "did not fire once" in line]
    assert "Layer '4' (LIFNode)" in advice
    assert "passes no gradient" in advice
    assert "surrogate.ATan()" in advice
    assert output.index(advice) < output.index("epoch   1/1")  # noticed after a few batches
    # And it is right: chance accuracy.
    assert rows(tmp_path / "run")[-1]["test_accuracy"] < 0.2


def test_lif_fc_as_it_is_gets_no_advice(tmp_path, capfd):
    assert train(tmp_path / "run", "lif-fc", "--T", "10", "--epochs", "1") == 0
    assert "Layer '" not in capfd.readouterr().out


def test_the_window_of_each_recipe_that_has_one_can_be_given_as_t():
    for name in RECIPES:
        if "T" in {field.name for field in dataclasses.fields(RECIPES[name])}:
            kind = int if "int" in str(get_type_hints(RECIPES[name])["T"]) else float
            parsed = tyro.cli(RECIPES[name], args=["-T", "50"])
            assert kind(parsed.T) == 50, name


def test_a_run_that_holds_samples_out_says_what_it_was_tested_on(tmp_path, capfd):
    run = tmp_path / "run"
    assert train(run, "lif-fc", *TINY["lif-fc"], "--validate") == 0
    assert "s of training; tested on held-out training samples" in capfd.readouterr().out
    assert cli.main(["test", str(run)]) == 0
    assert capfd.readouterr().out.strip().endswith("; tested on held-out training samples")
    assert cli.main(["test", str(run), "--event-driven"]) == 0
    assert "tested on held-out training samples\nevent-driven" in capfd.readouterr().out
