"""Whether it matters that a neuron fires at its threshold (`>=`), and not only above it (`>`).

    .venv/bin/python benchmarks/stbp_ties.py runs/stbp-scnn-mnist-tuned

Takes a trained network of the recipe stbp-scnn or stbp-mlp, and 1,000 test images. Counts the potentials that
are exactly at the threshold, and what changes when they do not fire: spikes of all layers, and answers. Both
networks get the same input spikes. Writes results/stbp_ties.json. Two minutes on one core.
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import measure
import torch
from measure import Row

from spikeloom import functional, loom, neuron
from spikeloom.data import as_float
from spikeloom.encoding import SampleGenerator
from spikeloom.recipe import RECIPES
from spikeloom.train import checkpoint
from spikeloom.train.launch import build_seeded
from spikeloom.train.progress import load_weights
from spikeloom.train.run import Run


class Counting(neuron.LIFNode):
    """A neuron that counts its potentials, and those at the threshold, and keeps its spikes."""

    def neuronal_fire(self) -> torch.Tensor:
        spike = super().neuronal_fire()
        self.potentials += self.v.numel()
        self.ties += int((self.v == self.limit).sum())
        self.spikes.append(spike.bool())
        return spike


def counting(net: torch.nn.Module, above: bool) -> tuple[torch.nn.Module, list[Any]]:
    """A copy of the network, and its neurons, which count; ``above``: they fire only above the threshold."""
    net = copy.deepcopy(net).eval()
    nodes: list[Any] = [node for node in net.modules() if isinstance(node, neuron.LIFNode)]
    for node in nodes:
        node.__class__ = Counting
        node.potentials, node.ties, node.spikes, node.limit = 0, 0, [], node.v_threshold
        if above:  # the next number
            node.v_threshold = float(torch.nextafter(torch.tensor(node.limit), torch.tensor(torch.inf)))
    return net, nodes


@torch.no_grad()
def compare(run: Run, num_images: int, batch: int = 50) -> dict[str, Any]:
    """Potentials, ties, spikes, and what changes without the ties."""
    name, settings = run.config()
    recipe = RECIPES[name].from_settings(settings)
    experiment = build_seeded(recipe.build, recipe.seed)
    state = checkpoint.load_last(run.checkpoints)
    load_weights(run, experiment, state)
    at, above = counting(experiment.net, above=False), counting(experiment.net, above=True)
    found = dict.fromkeys(("potentials", "at_threshold", "spikes", "changed_spikes", "changed_answers"), 0)
    for start in range(0, num_images, batch):
        indices = torch.arange(start, start + batch)
        x = experiment.encode(
            as_float(experiment.data.test_x[indices]), SampleGenerator(recipe.seed, indices, "test")
        )
        answers = []
        for net, nodes in (at, above):
            for node in nodes:
                node.spikes.clear()
            functional.reset_net(net)
            answers.append(experiment.predict(net(x)))
        for one, other in zip(at[1], above[1], strict=True):
            for spike, changed in zip(one.spikes, other.spikes, strict=True):
                found["spikes"] += int(spike.sum())
                found["changed_spikes"] += int((spike != changed).sum())
        found["changed_answers"] += int((answers[0] != answers[1]).sum())
    found["potentials"] = sum(node.potentials for node in at[1])
    found["at_threshold"] = sum(node.ties for node in at[1])
    return found | {"recipe": name, "epoch": state["progress"]["epoch"], "images": num_images}


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a trained run")
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    with loom.backend("torch"):
        found = compare(Run.open(options.run), options.images)
    rows = [
        Row(f"{found['recipe']}, {found['images']} test images", name.replace("_", " "), found[name], "")
        for name in list(found)[:5]
    ]
    print(measure.table(rows))
    about = {"machine": measure.machine(), "versions": measure.versions("torch"), "settings": found}
    measure.write(measure.RESULTS / "stbp_ties.json", rows, about)


if __name__ == "__main__":
    main()
