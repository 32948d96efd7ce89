"""Write what a run reached into benchmarks/results: `python benchmarks/record_result.py RUN [RUN ...]`.

One file for each recipe, dataset, network, configuration, part left out and number of neurons (but the usual
one of digits), for each number of time steps but the recipe's default, and for each seed but 0: command,
settings, machine, versions, the last epoch, the best beside it, and every epoch.
"""

import json
import sys
from pathlib import Path
from typing import Any

import measure

from spikeloom.recipe import RECIPES


def record(run: Path) -> Path:
    """Summarise the run folder ``run``; returns the file that was written."""
    config = json.loads((run / "config.json").read_text())
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = max(history, key=lambda row: row["test_accuracy"])
    summary = {
        "recipe": config["recipe"],
        "last_epoch": history[-1],
        "best_epoch_on_test": {"epoch": best["epoch"], "test_accuracy": best["test_accuracy"]},
        "environment": json.loads((run / "environment.json").read_text()),
        "settings": config["settings"],
        "history": history,
    }
    if (conversion := run / "conversion.json").exists():  # of the recipe ann2snn
        summary["accuracy_over_time"] = json.loads(conversion.read_text())
    path = measure.RESULTS / f"{name_of(config['recipe'], config['settings'])}.json"
    measure.write_json(path, summary)
    return path


def name_of(recipe: str, settings: dict[str, Any]) -> str:
    """What the file of a run is called."""
    dataset = settings.get("dataset")
    usual = RECIPES[recipe](**({"dataset": dataset} if dataset else {})).settings()
    choices = [settings.get(name) for name in ("dataset", "net", "config", "loss", "feedback")]
    without = [f"no-{name}" for name in ("inhibition", "adaptive") if settings.get(name) is False]
    neurons = settings.get("neurons")
    size = f"{neurons}-neurons" if neurons and (dataset, neurons) != ("digits", usual["neurons"]) else None
    steps = f"T{settings['T']}" if settings.get("T") != usual.get("T") else None
    seed = f"seed{settings['seed']}" if settings["seed"] else None
    return "-".join(filter(None, [recipe, *choices, *without, size, steps, seed]))


if __name__ == "__main__":
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    for argument in sys.argv[1:]:
        print(record(Path(argument)))
