"""The front door: what each command prints, writes, refuses, and how it ends."""

import copy
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import warnings

import pytest
import torch

from spikeloom import cli
from spikeloom.recipe import RECIPES

COMMAND = [sys.executable, "-m", "spikeloom"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SMALL = ["--epochs", "1", "--points", "128", "--T", "5", "--device", "cpu"]


@pytest.fixture
def spikeloom(capfd):
    """Run one command in this process; returns its exit code, output and errors."""

    def run(*arguments):
        capfd.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two epochs; tests that change it take a copy."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    arguments = ["train", "blobs", *SMALL, "--epochs", "2", "--run-dir", str(run)]
    assert cli.main(arguments) == 0
    return run


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copied")


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_one_line(errors, *parts):
    """One message, without a traceback, that says all of ``parts``."""
    assert "Traceback" not in errors
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("spikeloom: ")
    for part in parts:
        assert str(part) in lines[0]


# Help, listing, wrong arguments


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command_with_examples(spikeloom, arguments):
    code, output, errors = spikeloom(*arguments)
    assert (code, errors) == (0, "")
    commands = ("list", "train RECIPE", "train --resume RUN", "test RUN", "plot RUN", "profile RUN")
    for part in (*commands, "examples", "130"):
        assert part in output


def test_version(spikeloom):
    code, output, _ = spikeloom("--version")
    assert code == 0
    assert re.fullmatch(r"spikeloom \d+\.\d+\.\d+\S*\n", output)


def test_list_shows_every_recipe_with_claim_and_cost(spikeloom):
    code, output, _ = spikeloom("list")
    assert code == 0
    for name in RECIPES:
        assert re.search(rf"^{re.escape(name)} ", output, re.M)
        assert f"reaches {RECIPES[name].claim}" in output
        assert f"takes   {RECIPES[name].cost}" in output


def test_list_takes_a_pattern(spikeloom):
    assert spikeloom("list", "lif")[1] == spikeloom("list", "lif*")[1]
    code, output, _ = spikeloom("list", "lif*")
    assert code == 0
    assert "lif-fc" in output
    assert "blobs" not in output


@pytest.mark.parametrize("arguments", [["train"], ["train", "--help"], ["train", "-h"]])
def test_train_alone_lists_the_recipes(spikeloom, arguments):
    code, output, _ = spikeloom(*arguments)
    assert code == 0
    assert "usage: spikeloom train RECIPE" in output
    assert all(name in output for name in RECIPES)


@pytest.mark.parametrize("name", list(RECIPES))
def test_help_of_a_recipe_explains_every_option(spikeloom, name):
    code, output, _ = spikeloom("train", name, "--help")
    assert code == 0
    unused = RECIPES[name].unused()
    settings = [field.name for field in dataclasses.fields(RECIPES[name]) if field.name not in unused]
    for setting in settings:
        assert f"--{setting.replace('_', '-')}" in output
    assert not any(f"--{setting.replace('_', '-')}" in output for setting in unused)
    assert len(re.findall(r"[Dd]efault:", output)) >= len(settings)
    assert "(default: None)" not in output
    assert (RECIPES[name].__doc__ or "").split()[:3] == output.split("\n\n")[1].split()[:3]


@pytest.mark.parametrize(
    ("command", "part"),
    [("test", "A run folder."), ("plot", "A run folder."), ("profile", "Horowitz"), ("list", "blobs")],
)
def test_help_of_a_command(spikeloom, command, part):
    code, output, _ = spikeloom(command, "--help")
    assert code == 0
    assert part in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "blobs"], "There is no command 'trian'. Did you mean 'train'"),
        (["train", "lif-f"], "There is no recipe 'lif-f'. Did you mean 'lif-fc'?"),
        (["train", "zzz"], "There is no recipe 'zzz'. Known: ann2snn, blobs,"),
        (["list", "bolbs"], "No recipe matches 'bolbs'. Did you mean 'blobs'?"),
        (["train", "LIF-FC"], "There is no recipe 'LIF-FC'. Did you mean 'lif-fc'"),
        (["train", "--epochs", "3"], "starts with the recipe's name, got '--epochs'"),
    ],
)
def test_a_mistyped_name_is_answered_with_close_ones(spikeloom, arguments, message):
    code, output, errors = spikeloom(*arguments)
    assert (code, output) == (2, "")
    assert_one_line(errors, message)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "lif-fc", "--epoch", "3"], ["--epoch", "Perhaps you meant", "--epochs"]),
        (["train", "lif-fc", "--timesteps", "8"], ["no option --timesteps. Did you mean -T?"]),
        (
            ["train", "eventprop", "--num_steps=8"],
            ["no option --num_steps. Did you mean -T, which is a duration here?"],
        ),
        (["bench", "--time-steps", "8"], ["no option --time-steps. Did you mean -T?"]),
        (["train", "spikeprop-xor", "--step", "8"], ["Did you mean -T, which is a duration here?"]),
        (["train", "lif-fc", "--datset", "mnist"], ["--datset", "--dataset"]),
        (["train", "lif-fc", "--dataset", "mnsit"], ["mnsit", "mnist"]),
        (["train", "blobs", "--epochs", "many"], ["--epochs", "many"]),
        (["train", "blobs", "--epochs", "0"], ["`epochs` must be at least 1, got 0"]),
        (["train", "blobs", "--devices", "3"], ["multiple of `devices`", "64 and 3"]),
        (["test"], ["A run folder"]),
        (["test", "a", "b"], ["b"]),
        (["plot", "a", "--sample", "x"], ["--sample"]),
        (["profile", "a", "--samples", "0"], ["`samples` must be at least 1, got 0"]),
        (["profile", "a", "--mac", "nan"], ["`mac` must be a number greater than 0, got nan"]),
        (["train", "--resume"], ["--resume"]),
        (
            ["train", "--resume", "a", "--epochs", "9"],
            ["--epochs cannot be given with --resume", "--devices"],
        ),
        (["train", "blobs", "--resume", "a"], ["`spikeloom train --resume RUN` without a name"]),
    ],
)
def test_wrong_arguments_end_with_code_2_and_write_nothing(
    spikeloom, arguments, parts, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, _, errors = spikeloom(*arguments)
    assert code == 2
    for part in parts:
        assert part in errors
    assert not list(tmp_path.iterdir())


def test_the_program_passes_its_exit_code_on():
    for arguments, code in ((["list"], 0), (["train", "lif-f"], 2), (["test", "/nowhere"], 1)):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == code
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports closed pipes differently")
def test_a_reader_that_stops_early_is_no_error():
    program = f"'{sys.executable}' -u -m spikeloom list | head -n 1"
    done = subprocess.run(program, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


# Training, testing, plotting


def test_training_writes_every_file_of_a_run(trained):
    config = json.loads((trained / "config.json").read_text())
    assert config["recipe"] == "blobs"
    assert config["settings"]["epochs"] == 2
    assert config["settings"]["seed"] == 0
    environment = json.loads((trained / "environment.json").read_text())
    assert environment.keys() >= {"command", "started", "python", "packages", "machine", "processor", "cores"}
    assert environment["packages"]["torch"]
    assert [row["epoch"] for row in rows(trained)] == [1, 2]
    for key in ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "samples_per_second"):
        assert all(isinstance(row[key], float) for row in rows(trained))
    found = {path.name for path in (trained / "checkpoints").iterdir()}
    assert found == {"last.safetensors", "previous.safetensors", "best.safetensors"}
    assert not list(trained.rglob("*.part*"))


def test_figures_are_pictures(trained):
    import matplotlib.image

    figures = sorted((trained / "figures").iterdir())
    assert [path.name for path in figures] == ["curves.png", "membrane.png", "raster.png"]
    for path in figures:
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.05  # something is drawn


def test_tensorboard_can_read_the_events(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard"))
    events.Reload()
    assert {"step/loss", "epoch/test_accuracy", "epoch/train_loss"} <= set(events.Tags()["scalars"])
    logged = [event.value for event in events.Scalars("epoch/test_accuracy")]
    assert logged == pytest.approx([row["test_accuracy"] for row in rows(trained)])


def test_test_gives_exactly_the_logged_last_accuracy(spikeloom, trained):
    code, output, _ = spikeloom("test", trained, "--device", "cpu")
    last = rows(trained)[-1]
    assert code == 0
    assert output == (
        f"last checkpoint: test accuracy {last['test_accuracy']:.2%}, loss {last['test_loss']:.4f}\n"
    )


def test_last_and_best_checkpoints_test_to_the_last_bit_as_they_were_logged(trained):
    from spikeloom.train import checkpoint, launch
    from spikeloom.train.run import Run

    run = Run.open(trained)
    name, settings = run.config()
    recipe = RECIPES[name].from_settings(settings)
    best = max(rows(trained), key=lambda row: row["test_accuracy"])
    for file, row in ((checkpoint.LAST, rows(trained)[-1]), (checkpoint.BEST, best)):
        state = checkpoint.load(run.checkpoints / file)
        got = launch.test(run, recipe.build, state, "cpu", recipe.precision, recipe.seed)
        assert got == (row["test_loss"], row["test_accuracy"])


def test_test_of_the_best_checkpoint(spikeloom, trained):
    code, output, _ = spikeloom("test", trained, "--checkpoint", "best")
    assert code == 0
    assert f"test accuracy {max(row['test_accuracy'] for row in rows(trained)):.2%}" in output


def test_plot_draws_every_figure_again(spikeloom, copied):
    shutil.rmtree(copied / "figures")
    code, output, _ = spikeloom("plot", copied, "--sample", "3")
    assert code == 0
    for name in ("curves", "membrane", "raster"):
        assert f"figure       {copied / 'figures' / name}.png" in output
        assert (copied / "figures" / f"{name}.png").stat().st_size > 5000


def test_plot_of_a_sample_that_is_not_there(spikeloom, trained):
    code, _, errors = spikeloom("plot", trained, "--sample", "128")
    assert code == 1
    assert_one_line(errors, "`sample` must be from 0 to 127", "got 128")


def test_an_event_driven_test_says_what_the_layers_did(spikeloom, trained):
    code, output, errors = spikeloom("test", trained, "--event-driven")
    assert (code, errors) == (0, "")
    with_events, with_all = re.findall(
        r"^(?:event-driven|all inputs) +(test .*), .* s in", output, re.MULTILINE
    )
    assert with_events == with_all
    assert spikeloom("test", trained)[1] == f"last checkpoint: {with_all}\n"
    assert re.findall(r"^\d +(\w+) +[\d.]+% +[\d.]+", output, re.MULTILINE) == ["Linear"] * 2
    assert max(map(len, output.splitlines())) <= 110


def test_an_event_driven_test_runs_on_the_cpu(spikeloom, trained):
    code, output, errors = spikeloom("test", trained, "--event-driven", "--device", "cuda")
    assert (code, output) == (2, "")
    assert "runs on the CPU" in errors


def test_an_event_driven_test_of_what_is_no_network_of_layers(spikeloom, copied):
    for recipe in ("stdp-demo", "stdp-fc"):
        (copied / "config.json").write_text(json.dumps({"recipe": recipe, "settings": {}}))
        code, output, errors = spikeloom("test", copied, "--event-driven")
        assert (code, output) == (1, "")
        assert_one_line(errors, copied, f"'{recipe}' does not consist of layers", "event.Runner(net, shape)")


def test_profile_prints_tables_and_writes_numbers_and_a_figure(spikeloom, copied):
    before = {path: path.read_bytes() for path in (copied / "checkpoints").iterdir()}
    code, output, errors = spikeloom("profile", copied, "--samples", "20", "--checkpoint", "best")
    assert (code, errors) == (0, "")
    for part in ("20 test samples, T=5", "firing", "ACs", "energy of the SNN", "each time step adds"):
        assert part in output
    assert max(map(len, output.split("\n\nnumbers")[0].splitlines())) <= 110
    written = json.loads((copied / "profile.json").read_text())
    counted, energy, memory = written["per_sample"], written["energy"], written["training_memory"]
    assert counted["num_samples"] == 20
    assert [layer["kind"] for layer in counted["layers"]] == ["Linear", "LIFNode", "Linear"]
    assert energy["snn"] == pytest.approx(counted["acs"] * 0.9 + counted["macs"] * 4.6)
    assert energy["ann"] == pytest.approx(counted["ann_macs"] * 4.6) != 0
    assert sorted(map(int, memory["saved"])) == [2, 5, 10]
    assert memory["optimizer"] > memory["parameters"] == memory["gradients"] == 4 * counted["parameters"]
    assert (copied / "figures" / "profile.png").stat().st_size > 5000
    assert not list(copied.rglob("*.part*"))
    assert {path: path.read_bytes() for path in before} == before


def test_profile_takes_another_energy_and_no_more_samples_than_there_are(spikeloom, copied):
    code, _, _ = spikeloom("profile", copied, "--samples", "1000", "--mac", "10", "--ac", "2")
    assert code == 0
    written = json.loads((copied / "profile.json").read_text())
    assert written["per_sample"]["num_samples"] == 128
    assert written["energy"]["ann"] == 10 * written["per_sample"]["ann_macs"]


def test_profile_of_a_network_on_spike_times(spikeloom, tmp_path):
    run = tmp_path / "run"
    assert spikeloom("train", "relpsp", "--epochs", "1", "--device", "cpu", "--run-dir", run)[0] == 0
    code, output, errors = spikeloom("profile", run)
    assert (code, output) == (1, "")
    assert_one_line(errors, run, "no neurons that fire over time steps", "profile.count(net, x)")
    assert not (run / "profile.json").exists()


def test_profile_of_what_is_no_network_of_layers(spikeloom, copied):
    (copied / "config.json").write_text('{"recipe": "stdp-demo", "settings": {}}')
    code, output, errors = spikeloom("profile", copied)
    assert (code, output) == (1, "")
    assert_one_line(errors, copied, "'stdp-demo' does not consist of layers", "profile.count(net, x)")


def test_a_run_is_not_overwritten(spikeloom, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    code, _, errors = spikeloom("train", "blobs", *SMALL, "--run-dir", trained)
    assert code == 1
    assert_one_line(errors, f"{trained} already holds a run", f"spikeloom train --resume {trained}")
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_a_finished_run_resumes_to_itself(spikeloom, copied):
    before = [(copied / name).read_bytes() for name in ("metrics.jsonl", "checkpoints/last.safetensors")]
    code, output, _ = spikeloom("train", "--resume", copied)
    assert code == 0
    assert "which has 2 epochs in all" in output
    after = [(copied / name).read_bytes() for name in ("metrics.jsonl", "checkpoints/last.safetensors")]
    assert after == before


def test_a_run_that_was_moved_goes_on_where_it_lies(spikeloom, copied, trained, tmp_path):
    config = json.loads((copied / "config.json").read_text())
    config["settings"]["epochs"] = 3
    (copied / "config.json").write_text(json.dumps(config))
    moved = copied.rename(tmp_path / "elsewhere")
    code, output, _ = spikeloom("train", "--resume", moved)
    assert code == 0
    assert "which has 3 epochs in all" in output
    assert len(rows(moved)) == 3
    assert rows(moved)[:2] == rows(trained)
    assert not copied.exists()


@pytest.mark.parametrize("command", ["resume", "test", "plot", "profile"])
def test_the_data_may_have_moved_since_the_training(spikeloom, copied, tmp_path, monkeypatch, command):
    seen, build = [], RECIPES["blobs"].build
    monkeypatch.setattr(RECIPES["blobs"], "build", lambda self: [seen.append(self.data_dir), build(self)][1])
    config = json.loads((copied / "config.json").read_text())
    config["settings"] |= {"data_dir": "/gone", "epochs": 3}
    (copied / "config.json").write_text(json.dumps(config))
    given = ["train", "--resume", copied] if command == "resume" else [command, copied]
    code, _, errors = spikeloom(*given, "--data-dir", tmp_path)
    assert code == 0, errors
    assert set(seen) == {tmp_path}


def test_two_runs_with_the_same_seed_are_the_same(spikeloom, trained, tmp_path):
    code, _, _ = spikeloom("train", "blobs", *SMALL, "--epochs", "2", "--run-dir", tmp_path / "again")
    assert code == 0
    for one, other in zip(rows(trained), rows(tmp_path / "again"), strict=True):
        for key in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert one[key] == other[key]


def test_options_as_older_scripts_spell_them(spikeloom, tmp_path):
    run = tmp_path / "run"
    options = "-T 5 -b 32 -epochs 1 -j 8 -hidden 8 -tau 2.5 -lr 1e-2 -device cpu"
    folders = ["-data-dir", tmp_path / "data", "-run-dir", run]
    code, _, errors = spikeloom("train", "lif-fc", *options.split(), *folders)
    assert code == 0, errors
    settings = json.loads((run / "config.json").read_text())["settings"]
    expected = {"T": 5, "batch_size": 32, "epochs": 1, "hidden": 8, "tau": 2.5, "lr": 0.01}
    assert settings.items() >= (expected | {"data_dir": str(tmp_path / "data")}).items()


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_another_precision_is_tested_as_it_was_logged(spikeloom, tmp_path, precision):
    run = tmp_path / "run"
    arguments = ["--points", "500", "--epochs", "1", "--device", "cpu", "--precision", precision]
    code, _, errors = spikeloom("train", "blobs", *arguments, "--run-dir", run)
    assert code == 0, errors
    code, output, _ = spikeloom("test", run, "--device", "cpu")
    assert code == 0
    last = rows(run)[-1]
    assert f"test accuracy {last['test_accuracy']:.2%}, loss {last['test_loss']:.4f}" in output
    assert spikeloom("plot", run)[0] == 0


def test_the_documented_options_of_spikingjellys_example_are_taken(spikeloom, tmp_path):
    """``-amp``, ``-opt`` and ``-device cuda:0`` belong to the command line that its tutorial prints."""
    run = tmp_path / "run"
    options = "-tau 2.0 -T 5 -device cpu -b 64 -epochs 1 -amp -opt adam -lr 1e-3 -j 8 -hidden 8"
    code, _, errors = spikeloom("train", "lif-fc", *options.split(), "-run-dir", run)
    assert code == 0, errors


def test_two_runs_started_in_the_same_second_do_not_share_a_folder(spikeloom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "20261122-120000")
    assert spikeloom("train", "blobs", *SMALL)[0] == 0
    assert spikeloom("train", "blobs", *SMALL, "--seed", "1")[0] == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


# What goes wrong


def test_a_data_folder_without_the_set_names_folder_and_cure(spikeloom, tmp_path, monkeypatch):
    from spikeloom.data.download import NoMirrorError

    def offline(name, urls, *_):
        raise NoMirrorError([f"{url}: no network" for url in urls])

    monkeypatch.setattr("spikeloom.data.folder.download", offline)
    run, data = tmp_path / "run", tmp_path / "data"
    data.mkdir()
    code, _, errors = spikeloom("train", "lif-fc", "--dataset", "mnist", "--data-dir", data, "--run-dir", run)
    assert code == 1
    assert "Traceback" not in errors
    assert errors.count("spikeloom: ") == 1
    for part in ("dataset 'mnist'", str(data), "train-images-idx3-ubyte", "no network", "SPIKELOOM_DATA"):
        assert part in errors
    assert not run.exists()


def test_a_run_folder_that_cannot_be_made(spikeloom, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        code, _, errors = spikeloom("train", "blobs", *SMALL, "--run-dir", folder)
        assert code == 1
        assert_one_line(errors, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", [["test"], ["plot"], ["profile"], ["train", "--resume"]])
def test_a_folder_that_is_no_run(spikeloom, command, tmp_path):
    code, _, errors = spikeloom(*command, tmp_path)
    assert code == 1
    assert_one_line(errors, f"{tmp_path} is not a run folder", "config.json")


@pytest.mark.parametrize("command", [["test"], ["plot"], ["train", "--resume"]])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "config.json is damaged"),
        (b"", "config.json is damaged"),
        (b"[]", "config.json is damaged"),
        (b"\xff\xfe", "config.json is damaged"),
        (b'{"recipe": "blobs"}', "config.json is damaged"),
        (b'{"recipe": "blobs", "settings": []}', "config.json"),
        (b'{"recipe": ["blobs"], "settings": {}}', "config.json"),
        (b'{"recipe": "blobs", "settings": {"wibble": 1}}', "does not know: ['wibble']. Known: T,"),
        (b'{"recipe": "blobs", "settings": {"epoch": 1}}', "['epoch']. Did you mean 'epochs'?"),
        (b'{"recipe": "blobs", "settings": {"epochs": "many"}}', "config.json"),
        (b'{"recipe": "blobs", "settings": {"T": "many"}}', "config.json"),
    ],
)
def test_a_damaged_config_is_named(spikeloom, copied, command, content, message):
    (copied / "config.json").write_bytes(content)
    code, _, errors = spikeloom(*command, copied)
    assert code == 1
    assert_one_line(errors, message)


def test_a_config_of_a_recipe_that_is_gone(spikeloom, copied):
    (copied / "config.json").write_text('{"recipe": "blibs", "settings": {}}')
    code, _, errors = spikeloom("test", copied)
    assert code == 1
    assert_one_line(errors, "config.json of", "a recipe 'blibs'", "Did you mean 'blobs'")


@pytest.mark.parametrize("command", [["test"], ["plot"], ["profile"], ["train", "--resume"]])
def test_a_checkpoint_of_another_network(spikeloom, copied, command):
    (copied / "config.json").write_text('{"recipe": "lif-fc", "settings": {"T": 2}}')
    code, _, errors = spikeloom(*command, copied)
    assert code == 1
    assert "Traceback" not in errors
    assert f"{copied}" in errors


@pytest.mark.parametrize("command", [["test"], ["plot"], ["profile"]])
def test_a_run_without_a_checkpoint(spikeloom, copied, command):
    shutil.rmtree(copied / "checkpoints")
    code, _, errors = spikeloom(*command, copied)
    assert code == 1
    assert_one_line(errors, f"{copied} has no checkpoint any more", "Restore the folder")
    (copied / "metrics.jsonl").unlink()
    assert_one_line(spikeloom(*command, copied)[2], f"{copied} has no checkpoint yet")


def test_a_missing_best_checkpoint(spikeloom, copied):
    (copied / "checkpoints" / "best.safetensors").unlink()
    code, _, errors = spikeloom("test", copied, "--checkpoint", "best")
    assert code == 1
    assert_one_line(errors, "no checkpoint", "best.safetensors")


@pytest.mark.parametrize("command", [["plot"], ["train", "--resume"]])
def test_damaged_metrics_are_no_traceback(spikeloom, copied, command):
    """The checkpoint holds the same history: a damaged line of metrics.jsonl is told, or repaired."""
    with (copied / "metrics.jsonl").open("a") as file:
        file.write('{"epo')
    code, _, errors = spikeloom(*command, copied)
    assert "Traceback" not in errors
    if code:
        assert_one_line(errors, "metrics.jsonl")


def test_a_device_that_is_not_there(spikeloom, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, errors = spikeloom("train", "blobs", "--device", "cuda", "--run-dir", tmp_path / "run")
    assert code == 1
    assert_one_line(errors, "no CUDA device", "--device cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["blobs", "--tau", "1"], "`tau` must be a number greater than 1"),
        (["blobs", "--lr", "-1"], "learning rate"),
        (["blobs", "--lr", "nan"], "learning rate"),
        (["blobs", "--points", "0"], "samples"),
        (["blobs", "--seed", "-1"], "`seed`"),
        (["blobs", "--seed", str(10**30)], "seed"),
        (["blobs", "--T", "0"], "at least"),
        (["lif-fc", "--T", "0"], "`T`"),
        (["lif-fc", "--hidden", "0"], "hidden"),
    ],
)
def test_a_setting_that_is_refused_is_one_line_and_leaves_no_folder(
    spikeloom, arguments, message, tmp_path, recwarn
):
    run = tmp_path / "run"
    code, _, errors = spikeloom("train", *arguments, "--device", "cpu", "--run-dir", run)
    assert code in (1, 2)
    if code == 1:
        assert_one_line(errors, message)
    assert not run.exists()


def test_a_loss_that_is_not_finite_ends_with_its_place_and_a_cure(spikeloom, tmp_path):
    run = tmp_path / "run"
    code, _, errors = spikeloom("train", "blobs", *SMALL, "--lr", "3e37", "--run-dir", run)
    assert code == 1
    assert_one_line(errors, "The loss became", "epoch 1, step 2", "Lower the learning rate")


def test_a_training_that_fails_before_its_first_checkpoint_leaves_nothing(spikeloom, tmp_path, monkeypatch):
    from spikeloom.train.loop import Trainer

    def fail(*_):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(Trainer, "train_step", fail)
    run = tmp_path / "run"
    code, _, errors = spikeloom("train", "blobs", *SMALL, "--run-dir", run)
    assert code == 1
    assert_one_line(errors, "No space left on device: somewhere")
    assert not run.exists()


def test_a_folder_with_something_of_the_users_is_kept(spikeloom, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    mine = [run / "notes.txt", *(run / name / "mine" for name in ("figures", "checkpoints", "tensorboard"))]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    code, _, _ = spikeloom("train", "blobs", "--tau", "1", "--run-dir", run)
    assert code == 1
    assert sorted(path for path in run.rglob("*") if path.is_file()) == sorted(mine)
    for name in ("metrics.jsonl", "figures/curves.png"):
        (run / name).write_text("mine")
        code, _, errors = spikeloom("train", "blobs", *SMALL, "--run-dir", run)
        assert_one_line(errors, f"{run / name} is no run's, and could be lost", "another --run-dir")
        assert (run / name).read_text() == "mine"
        (run / name).unlink()
    (run / "environment.json").write_text("{}")
    code, _, errors = spikeloom("train", "blobs", *SMALL, "--run-dir", run)
    assert code == 1
    assert_one_line(errors, "holds an environment.json that is no run's", "another --run-dir")
    assert (run / "environment.json").read_text() == "{}"


def test_a_run_that_cannot_be_resumed_keeps_everything(spikeloom, copied):
    shutil.rmtree(copied / "checkpoints")
    before = sorted(copied.rglob("*"))
    config = json.loads((copied / "config.json").read_text())
    config["settings"]["tau"] = 1.0
    (copied / "config.json").write_text(json.dumps(config))
    code, _, _ = spikeloom("train", "--resume", copied)
    assert code == 1
    assert sorted(copied.rglob("*")) == before


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from spikeloom.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_full_disk_ends_with_one_line_and_leaves_the_last_good_checkpoint(tmp_path):
    """The checkpoint of step 1 fits, as do all until the history has grown; a later one does not."""
    from spikeloom.train import checkpoint

    run = tmp_path / "run"
    arguments = ["train", "blobs", *SMALL, "--epochs", "99", "--run-dir", str(run)]
    # Figures are larger than checkpoints, so one of them would hit the limit first.
    program = "import spikeloom.train.loop as loop; loop.draw_curves = loop.draw_sample = lambda *_: None\n"
    done = subprocess.run(
        [sys.executable, "-c", program + LIMITED, "6000", *arguments],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert_one_line(done.stderr, "File too large")
    assert str(run) in done.stderr  # which disk is full
    state = checkpoint.load(run / "checkpoints" / checkpoint.LAST)
    assert 0 < state["progress"]["epoch"] < 99
    assert not list(run.rglob("*.part*"))
    resumed = subprocess.run(
        [*COMMAND, "test", str(run)], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.slow
def test_an_error_in_a_second_process_is_one_line_too(tmp_path):
    done = subprocess.run(
        [*COMMAND, "train", "blobs", "--devices", "2", "--device", "cpu", "--tau", "1",
         "--run-dir", str(tmp_path / "run")],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert_one_line(done.stderr, "`tau` must be a number greater than 1")
    assert not (tmp_path / "run").exists()


def test_the_help_of_a_recipe_keeps_claim_cost_and_examples_on_lines_of_their_own(capsys):
    assert cli.main(["train", "lif-fc", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  reaches {RECIPES['lif-fc'].claim}" in lines
    assert f"  takes   {RECIPES['lif-fc'].cost}" in lines
    assert sum(line.startswith("  spikeloom train lif-fc") for line in lines) >= 2


def test_checkpoints_without_a_config_are_not_gone_on_with(spikeloom, copied):
    (copied / "config.json").unlink()
    code, _, errors = spikeloom("train", "blobs", "--seed", "7", "--run-dir", copied)
    assert code == 1
    assert_one_line(errors, "has checkpoints but no config.json", "--run-dir")
    assert (copied / "checkpoints" / "last.safetensors").exists()


def accuracies(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("epoch/test_accuracy")]


def test_a_finished_run_that_is_resumed_has_its_figures_and_curves(spikeloom, copied):
    """Its process may have been killed after the last checkpoint, and before the figures."""
    names, before = sorted(path.name for path in (copied / "figures").iterdir()), accuracies(copied)
    for path in (copied / "figures").iterdir():
        path.unlink()
    assert spikeloom("train", "--resume", copied)[0] == 0
    assert sorted(path.name for path in (copied / "figures").iterdir()) == names
    assert accuracies(copied) == before


def test_what_a_killed_process_did_not_finish_is_removed_and_not_shown(spikeloom, copied):
    ended = [sys.executable, "-c", "import os; print(os.getpid())"]
    gone = subprocess.run(ended, capture_output=True, text=True, check=True).stdout.strip()
    other, runs = copied / "variants" / "one" / "checkpoints", os.getppid()
    other.mkdir(parents=True)
    left = [copied / "figures" / f".spikeloom-curves.png-{gone}.part"]
    left += [folder / f".spikeloom-new-{gone}.part" for folder in (copied / "checkpoints", other)]
    drawn = copied / "figures" / f".spikeloom-raster.png-{runs}.part"  # `spikeloom plot` writes it just now
    for path in (*left, drawn):
        path.write_bytes(b"half")
    _, output, _ = spikeloom("train", "--resume", copied)
    assert ".part" not in output
    assert not any(path.exists() for path in left)
    assert drawn.exists() == (os.name == "posix")


def test_a_best_checkpoint_in_the_place_of_the_last(spikeloom, copied):
    shutil.copy(copied / "checkpoints" / "best.safetensors", copied / "checkpoints" / "last.safetensors")
    for command in (["plot", copied], ["profile", copied], ["train", "--resume", copied]):
        code, _, errors = spikeloom(*command)
        assert code == 1
        assert_one_line(errors, "weights only, as the best one has")
    assert spikeloom("test", copied, "--checkpoint", "best")[0] == 0


@pytest.mark.parametrize(
    "arguments", [["train", "blobs", "--run-dir", ""], ["test", ""], ["train", "--resume="]]
)
def test_an_empty_argument(spikeloom, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, errors = spikeloom(*arguments)
    assert code == 2
    assert_one_line(errors, "One of the arguments is empty")
    assert not list(tmp_path.iterdir())


def test_a_run_folder_that_is_a_file(spikeloom, tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, errors = spikeloom("train", "blobs", "--run-dir", tmp_path / "file")
    assert code == 1
    assert_one_line(errors, "is a file. Choose another --run-dir")


def test_numbers_that_are_too_large(spikeloom, tmp_path, monkeypatch):
    code, _, errors = spikeloom("train", "blobs", "--epochs", str(10**20), "--run-dir", tmp_path / "run")
    assert code == 2
    assert "`epochs` must be less than 2^31" in errors
    on_cpu = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
    for error in (MemoryError(), on_cpu, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")):

        def build(_recipe, error=error):
            raise error

        monkeypatch.setattr(RECIPES["blobs"], "build", build)
        code, _, errors = spikeloom("train", "blobs", "--run-dir", tmp_path / "run")
        assert code == 1
        assert_one_line(errors, "There is too little memory for these sizes")
        assert not (tmp_path / "run").exists()


def test_an_unknown_backend_in_the_environment(spikeloom, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELOOM_BACKEND", "nubma")
    code, _, errors = spikeloom("train", "blobs", *SMALL, "--run-dir", tmp_path / "run")
    assert code == 1
    assert_one_line(errors, "SPIKELOOM_BACKEND must be one of", "'nubma'")


@pytest.mark.parametrize("kind", ["nir", "onnx"])
def test_export_writes_the_network(spikeloom, copied, kind, tmp_path):
    code, output, _ = spikeloom("export", copied, "--to", kind)
    assert code == 0
    assert output.startswith("last checkpoint: ")
    assert str(copied / f"net.{kind}") in output
    code, output, _ = spikeloom("export", copied, "--to", kind, "--file", tmp_path / "mine")
    assert code == 0
    assert (tmp_path / "mine").stat().st_size == (copied / f"net.{kind}").stat().st_size > 1000


def test_an_exported_network_is_the_trained_one(spikeloom, copied):
    from spikeloom import exchange, recipe

    assert spikeloom("export", copied, "--dt", "0.001")[0] == 0
    experiment = recipe.load(copied)
    x = experiment.encoded_test(0, range(20))
    net = exchange.import_from_nir(copied / "net.nir", dt=0.001, step_mode="m")
    with torch.no_grad():
        torch.testing.assert_close(net(x), experiment.net(x))


def test_exports_that_are_refused(spikeloom, copied, tmp_path, monkeypatch):
    code, _, errors = spikeloom("export", copied, "--dt", "0")
    assert code == 2
    assert_one_line(errors, "`dt` must be a finite number of seconds greater than 0")
    code, _, errors = spikeloom("export", copied, "--file", tmp_path / "none" / "net.nir")
    assert code == 1
    assert_one_line(errors, "No such file or directory", tmp_path / "none" / "net.nir")
    monkeypatch.setitem(sys.modules, "nir", None)
    code, _, errors = spikeloom("export", copied)
    assert code == 1
    assert_one_line(errors, "pip install 'spikeloom[nir]'")
    demo = tmp_path / "demo"
    assert spikeloom("train", "stdp-demo", "--run-dir", demo)[0] == 0
    code, _, errors = spikeloom("export", demo)
    assert code == 1
    assert_one_line(errors, "cannot be exported", "exchange.export_to_nir(net, x)")


MINE = """
from spikeloom.neuron import BaseNode

class Mine(BaseNode):
    def neuronal_charge(self, x):
        self.v = 0.9 * self.v + x

class Unwoven(Mine):
    def neuronal_charge(self, x):
        self.v = self.v + x.cumsum(-1)

class Needing(Mine):
    def __init__(self, constant):
        super().__init__()
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_own_neurons.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path / "my_own_neurons.py"
    sys.modules.pop("my_own_neurons", None)


@pytest.mark.parametrize(
    "which", ["LIFNode", "LIFNode(tau=3.0, v_reset=None)", "my_own_neurons.py:Mine", "my_own_neurons:Mine"]
)
def test_bench_measures_a_neuron(spikeloom, mine, which):
    code, output, _ = spikeloom("bench", which, "-n", "100", "-T", "4")
    assert code == 0
    lines = output.splitlines()
    assert "4 time steps, 100 neurons, float32, cpu" in lines[0]
    times = [line.split("  ")[0] for line in lines[3:6]]
    assert times == ["compiled loop", "reference loop", "copy of the input"]
    assert re.fullmatch(r"[\d.e+]+ times as fast, [\d.e+]+ with the backward pass\.", lines[-1])


def test_a_file_may_be_called_like_a_library(spikeloom, mine):
    mine.rename("copy.py")
    assert spikeloom("bench", "copy.py:Mine", "-n", "10", "-T", "2")[0] == 0
    assert sys.modules["copy"] is copy


def test_bench_says_why_there_is_no_compiled_loop(spikeloom, mine):
    code, output, _ = spikeloom("bench", f"{mine}:Unwoven", "-n", "10")
    assert code == 0
    assert "compiled loop" not in output
    assert output.splitlines()[-1].startswith("Unwoven runs on the reference loop: the operation cumsum")


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("LIFNod", "Did you mean 'LIFNode'"),
        ("my_own_neurons.py:Min", "has no class 'Min'. Did you mean 'Mine'"),
        ("none.py:Mine", "There is no file none.py."),
        (":Mine", "`neuron` must have a file or a module before its colon, got ':Mine'"),
        ("none:Mine", "There is no module none. For a file, write none.py:Mine"),
        ("my_own_neurons.py:Needing", "missing 1 required positional argument: 'constant'"),
        ("LIFNode(tau=0.5)", "`tau` must be a number greater than 1"),
        ("LIFNode(tau", "with settings as in"),
        ("LIFNode(", "with settings as in"),
        ("LIFNode(3.0)", "with settings as in"),
        ("BaseNode", "must define neuronal_charge"),
    ],
)
def test_neurons_that_bench_refuses(spikeloom, mine, which, said):
    code, _, errors = spikeloom("bench", which, "-n", "10")
    assert code == 2
    assert_one_line(errors, said)


@pytest.mark.parametrize("option", ["--neurons", "-T"])
def test_sizes_that_bench_refuses(spikeloom, option):
    code, _, errors = spikeloom("bench", option, "0")
    assert code == 2
    assert_one_line(errors, "must be at least 1, got 0")


@pytest.mark.parametrize(("recipe", "option"), [("blobs", "--data-dir"), ("eprop", "--time-chunk")])
def test_an_option_that_a_recipe_has_no_use_for_is_refused(recipe, option, capsys):
    for given in ([option, "3"], [f"{option}=3"], [option.replace("-", "_").replace("__", "--"), "3"]):
        assert cli.main(["train", recipe, *given]) == 2
        assert f"The recipe '{recipe}' has no use for {given[0].split('=')[0]}." in capsys.readouterr().err


def test_a_run_without_checkpoints_begins_again_and_keeps_its_metrics(spikeloom, copied):
    shutil.rmtree(copied / "checkpoints")
    before = (copied / "metrics.jsonl").read_text()
    (copied / "conversion.json").write_text("{}")  # of ann2snn: would be taken for the new network's
    code, output, _ = spikeloom("train", "--resume", copied)
    assert code == 0
    assert "begins again. Its rows of metrics so far are kept in metrics-before.jsonl." in output
    assert (copied / "metrics-before.jsonl").read_text() == before
    assert not (copied / "conversion.json").exists()


@pytest.mark.parametrize("option", ["-device", "--device"])
def test_a_gpu_is_not_chosen_by_a_number(spikeloom, option):
    code, _, errors = spikeloom("train", "blobs", option, "cuda:1")
    assert code == 2
    assert_one_line(errors, "'cuda' without a number, got 'cuda:1'", "CUDA_VISIBLE_DEVICES=1")


def test_what_is_printed_can_be_pasted(spikeloom, tmp_path):
    code, output, _ = spikeloom("train", "blobs", *SMALL, "--run-dir", tmp_path / "my run")
    assert code == 0
    assert f"tensorboard --logdir '{tmp_path / 'my run' / 'tensorboard'}'" in output


def test_warnings_that_are_errors_are_one_message(spikeloom, copied):
    (copied / "checkpoints" / "previous.safetensors").write_bytes(
        (copied / "checkpoints" / "last.safetensors").read_bytes()
    )
    (copied / "checkpoints" / "last.safetensors").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, _, errors = spikeloom("test", copied)
    assert code == 1
    assert_one_line(errors, "is damaged or truncated", "PYTHONWARNINGS")
