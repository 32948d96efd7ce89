"""How many cycles SpikeProp takes to learn the exclusive or: `python benchmarks/spikeprop_xor.py`.

The recipe spikeprop-xor with its default settings, for each of 20 seeds, which decide the initial weights and
the order of the patterns. Writes benchmarks/results/spikeprop-xor.json.
"""

import argparse
import contextlib
import datetime
import io
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import machine, versions, write_json

RESULT = Path(__file__).parent / "results" / "spikeprop-xor.json"
GOALS = {"median_cycles": 250, "converged": 0.9}


def train(recipe: str, *options: str) -> list[dict[str, Any]]:
    """Train a recipe by its command line, without what it prints; the rows of its epochs."""
    from spikeloom import cli

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run = Path(folder) / "run"
        if cli.main(["train", recipe, "--device", "cpu", "--run-dir", str(run), *options]):
            raise RuntimeError(f"Training {recipe} {' '.join(options)} failed.")
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def about() -> dict[str, Any]:
    """Where, when and with what a result was measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "versions": versions("spikeloom", "torch", "numba"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    from spikeloom.recipe.spikeprop_xor import SpikePropXor, is_solved

    runs = []
    for seed in range(seeds):
        rows = train("spikeprop-xor", "--seed", str(seed))
        solved = is_solved(rows[-1])
        runs.append({"seed": seed, "cycles": len(rows), "solved": solved, "sse": 4 * rows[-1]["test_loss"]})
        print(runs[-1], flush=True)
    found = {
        "recipe": "spikeprop-xor",
        "median_cycles": statistics.median(run["cycles"] if run["solved"] else float("inf") for run in runs),
        "converged": sum(run["solved"] for run in runs) / seeds,
        "goals": GOALS,
        "settings": SpikePropXor().settings(),
        **about(),
        "runs": runs,
    }
    write_json(RESULT, found)
    print(f"median {found['median_cycles']} cycles, {found['converged']:.0%} converged: {RESULT}")


if __name__ == "__main__":
    main()
