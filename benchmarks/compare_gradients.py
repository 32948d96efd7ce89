"""What the gradients of online training reach beside the one through time: recipes on digits, three seeds.

    .venv/bin/python benchmarks/compare_gradients.py --runs FOLDER

Trains each recipe with ``--gradient`` bptt, sltt and ottt, in one thread, as `spikeloom train` does; half an
hour on 2 cores. Runs that are in FOLDER already are only read. Writes every run's last epoch, and the best
beside it, into benchmarks/results/gradients-digits.json, and prints a table.
"""

import argparse
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from measure import write_json

OUT = Path(__file__).parent / "results" / "gradients-digits.json"
RECIPES = ("lif-fc", "stbp-mlp", "stbp-scnn", "sew-resnet", "dspike")
GRADIENTS = ("bptt", "sltt", "ottt")
SEEDS = (0, 1, 2)


def trained(folder: Path, recipe: str, gradient: str, seed: int) -> dict[str, Any]:
    """What a run reached, after it was trained if need be."""
    if not folder.exists():
        options = f"--dataset digits --gradient {gradient} --seed {seed} --run-dir".split()
        command = [sys.executable, "-m", "spikeloom", "train", recipe, *options, str(folder)]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    config = json.loads((folder / "config.json").read_text())
    given = config["settings"]
    assert (config["recipe"], given["gradient"], given["seed"]) == (recipe, gradient, seed), folder
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == given["epochs"], f"{folder} is not finished: `spikeloom train --resume {folder}`"
    best = max(rows, key=lambda row: row["test_accuracy"])
    return {
        "recipe": recipe,
        "gradient": gradient,
        "seed": seed,
        "last_epoch": {"epoch": len(rows), "test_accuracy": rows[-1]["test_accuracy"]},
        "best_epoch_on_test": {"epoch": best["epoch"], "test_accuracy": best["test_accuracy"]},
        "environment": json.loads((folder / "environment.json").read_text()),
        "settings": given,
    }


def main() -> None:
    """Train, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description="Train recipes on digits with the gradients of online training."
    )
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    runs = parser.parse_args().runs
    found = [trained(runs / "-".join(map(str, one)), *one) for one in product(RECIPES, GRADIENTS, SEEDS)]
    for recipe, gradient in product(RECIPES, GRADIENTS):
        mine = [one for one in found if (one["recipe"], one["gradient"]) == (recipe, gradient)]
        last, best = (
            [one[which]["test_accuracy"] for one in mine] for which in ("last_epoch", "best_epoch_on_test")
        )
        each = ", ".join(f"{accuracy:.1%}" for accuracy in last)
        print(f"{recipe:10} {gradient}  last epoch {mean(last):.1%} ({each}), best {mean(best):.1%}")
    write_json(OUT, found)
    print(OUT)


if __name__ == "__main__":
    main()
