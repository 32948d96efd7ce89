"""Draw the figures of benchmarks/results again, from the numbers beside them: nothing is measured or trained.

    python benchmarks/redraw.py            all of them
    python benchmarks/redraw.py --out DIR  into another folder

The curves of ``spike_time_failures`` are computed again, of the same neurons; the Python blocks of
docs/neurons.md draw ``neurons`` and ``surrogates``. What needs a trained network is not drawn: the figures of
``eprop``, ``diehl-cook``, ``stdp-fc`` and ``profile``.
"""

import argparse
import contextlib
import json
import re
from pathlib import Path

import bench_plasticity
import bench_timing
import bench_train
import measure
import residual_gradients
import spike_time_failures

from spikeloom import ann2snn
from spikeloom.train.report import curves_of

CURVES = {
    "sew-resnet-cifar10-cpu": "sew-resnet-cifar10-sew-resnet-small-cifar-every-step-T2",
    "dspike-cifar10-h200": "dspike-cifar10-spiking-resnet18-cifar-every-step",
}
ROWS = {
    "bench_plasticity": bench_plasticity.draw,
    "bench_timing": bench_timing.draw,
    "bench_train": bench_train.draw,
    "residual_gradients": residual_gradients.draw,
}


def draw_page(name: str, out: Path) -> None:
    """The figures that the Python blocks of a page save, in the folder ``out``."""
    page = (measure.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    namespace = {}
    with contextlib.chdir(out), contextlib.redirect_stdout(None):
        for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
            exec(block, namespace)


def main() -> None:
    """Draw every figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=measure.RESULTS, help="folder; default: results/")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in ROWS.items():
        draw(measure.rows_in(measure.RESULTS / f"{name}.json"), out / f"{name}.png")
    for name, source in CURVES.items():
        found = json.loads((measure.RESULTS / f"{source}.json").read_text())
        curves_of(name, found["history"]).savefig(out / f"{name}.png", dpi=120)
    for dataset in ("mnist", "cifar10"):
        found = json.loads((measure.RESULTS / f"ann2snn-{dataset}.json").read_text())
        figure = ann2snn.draw_accuracy(found["accuracy_over_time"], f"Converted networks on {dataset}")
        figure.savefig(out / f"ann2snn-{dataset}.png", dpi=120)
    draw_page("neurons", out)
    rows = measure.rows_in(measure.RESULTS / "spike_time_failures.json")
    spike_time_failures.draw(spike_time_failures.populations(), rows, out / "spike_time_failures.png")


if __name__ == "__main__":
    main()
