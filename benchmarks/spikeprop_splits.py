"""What the recipe spikeprop reaches over all splits: `python benchmarks/spikeprop_splits.py --dataset iris`.

Ten random halves of iris and of breast-cancer, the published split of landsat with three seeds. Writes
benchmarks/results/spikeprop-DATASET.json, or what --result names: mean and standard deviation of the test
accuracy after the last epoch, and of the best epoch beside it. With --validate, on a sixth of the training
samples held out, for choosing settings; nothing is written. Further options go to the recipe.
"""

import argparse
import statistics
from typing import Any

from measure import write_json
from spikeprop_xor import RESULT, about, train

PUBLISHED = {"iris": 96.1, "breast-cancer": 97.0, "landsat": 85.3}  # % of the test samples
SEEDS = {"iris": 1, "breast-cancer": 1, "landsat": 3}


def summary(values: list[float]) -> dict[str, float]:
    return {"mean": statistics.mean(values), "sd": statistics.stdev(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=list(PUBLISHED), default="iris")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--seeds", type=int, help="for each split")
    parser.add_argument("--result", help="name of the file, without .json")
    chosen, options = parser.parse_known_args()
    import tyro

    from spikeloom.recipe.spikeprop import SpikeProp

    recipe = tyro.cli(SpikeProp, args=["--dataset", chosen.dataset, *options])
    runs: list[dict[str, Any]] = []
    for split in [1] if chosen.dataset == "landsat" else range(1, 11):
        for seed in range(chosen.seeds or SEEDS[chosen.dataset]):
            given = ["--dataset", chosen.dataset, "--split", str(split), "--seed", str(seed), *options]
            rows = train("spikeprop", *given, *["--validate"] * chosen.validate)
            best = max(rows, key=lambda row: row["test_accuracy"])
            runs.append({"split": split, "seed": seed, "last": rows[-1], "best": best})
    keys = "train_accuracy", "test_accuracy"
    last = {key: summary([run["last"][key] for run in runs]) for key in keys}
    reached = ", ".join(f"{key} {100 * value['mean']:.2f} %" for key, value in last.items())
    print(chosen.dataset, *options, reached, flush=True)
    if chosen.validate:
        return
    path = RESULT.with_name(f"{chosen.result or f'spikeprop-{chosen.dataset}'}.json")
    found = {
        "recipe": "spikeprop",
        "last_epoch": last,
        "best_epoch_on_test": summary([run["best"]["test_accuracy"] for run in runs]),
        "published_percent": PUBLISHED[chosen.dataset],
        "epochs": recipe.num_epochs,
        "settings": recipe.settings(),
        "options": options,
        **about(),
        "runs": runs,
    }
    write_json(path, found)
    print(path)


if __name__ == "__main__":
    main()
