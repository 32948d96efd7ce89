"""docs/results.md repeats the files of benchmarks/results, and leaves no run out."""

import importlib
import json
import re
from pathlib import Path

import pytest

from spikeloom.recipe import RECIPES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "results.md").read_text()
FOLDER = ROOT / "benchmarks" / "results"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and "](../benchmarks" in line
]
RUNS = [row for row in ROWS if row[0].startswith("`")]
CONVERSIONS = [row for row in ROWS if not row[0].startswith("`")]


def linked(text: str) -> list[dict]:
    return [json.loads((FOLDER / name).read_text()) for name in re.findall(r"results/([^)]+\.json)", text)]


def assert_rounded(printed: str, accuracies: list[float]) -> None:
    numbers = printed.split(", ")
    assert numbers == [
        f"{100 * a:.{len(n.split('.')[1])}f}" for n, a in zip(numbers, accuracies, strict=True)
    ]


@pytest.mark.parametrize("row", RUNS, ids=lambda row: f"{row[0]} {row[1]}")
def test_a_row_says_what_its_files_say(row):
    recipe, _, last, best, _, links = row
    files = linked(links)
    assert {file["recipe"] for file in files} == {recipe.strip("`")}
    ends = [file["last_epoch"]["test_accuracy"] for file in files]
    assert_rounded(last, [end["mean"] if isinstance(end, dict) else end for end in ends])
    tops = [file["best_epoch_on_test"] for file in files]
    assert_rounded(best, [top["mean"] if "mean" in top else top["test_accuracy"] for top in tops])
    if len(files) > 1:
        assert [file["settings"]["seed"] for file in files] == [0, 1, 2]


@pytest.mark.parametrize("row", CONVERSIONS, ids=lambda row: f"{row[0]} {row[3]}")
def test_a_row_of_a_conversion_says_what_its_file_says(row):
    trained_on, ordinary, spiking, method, link = row
    curves = linked(link)[0]["accuracy_over_time"]
    assert len(curves[method]) == int(trained_on.split("T = ")[1])
    assert_rounded(spiking, curves[method][-1:])
    assert_rounded(ordinary, curves["qcfs ANN" if method == "qcfs" else "relu ANN"])


def test_every_run_and_every_recipe_is_on_the_page():
    contents = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    runs = {name for name, content in contents.items() if isinstance(content, dict) and "recipe" in content}
    missing = {name for name in runs if name not in PAGE}
    assert not missing
    assert {name for name in RECIPES if f"`{name}`" not in PAGE} == {"stdp-demo"}  # which classifies nothing


NAMED_BY_HAND = (
    "dspike-cifar10-57-epochs",
    "sew-resnet-cifar10-46-epochs",
    "eprop-evidence-symmetric-100-neurons-two-threads",
    "lif-fc-digits-one-thread",
    "spikeprop-landsat-centre",
)


def test_a_run_is_recorded_under_the_name_that_its_file_has(monkeypatch):
    """With the settings that a run writes now, which have the defaults filled in."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    name_of = importlib.import_module("record_result").name_of
    contents = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    runs = {name: one for name, one in contents.items() if isinstance(one, dict) and "recipe" in one}
    found = {}
    for name, one in runs.items():
        settings = {key: value for key, value in one["settings"].items() if value is not None}
        known = {key: settings[key] for key in ("dataset", "neurons") if key in settings}
        found[name] = name_of(one["recipe"], RECIPES[one["recipe"]](**known).settings() | settings)
    for name in NAMED_BY_HAND:
        del found[name]
    assert len(found) > 40
    assert found == {name: name for name in found}
