"""How the gradient, and the spikes, pass residual blocks at initialisation, over the number of blocks.

A stem of one convolution and its neurons, then 1 to 64 blocks of one kind, 16 channels wide, and a classifier
with the cross-entropy of random labels. Measured is the norm of the gradient of what the first block gets,
divided by that of what the last block gives: 1 if the blocks pass it on as it is. It is measured twice: with
blocks that start as the identity, and with blocks whose normalisations all have the scale 1; and for those,
the mean of what the last block gives. The neurons of spiking ResNets differ in the slope of their surrogate
at a spike: an ATan of alpha has alpha / 2 at the threshold. The median of five random networks is drawn.

    python benchmarks/residual_gradients.py
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import measure
import torch
import torch.nn.functional as F
from measure import Row
from torch import Tensor, nn

from spikeloom import functional, layer, model, neuron, surrogate
from spikeloom.plot.axes import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION

NUM_BLOCKS = (1, 2, 4, 8, 16, 32, 64)
CHANNELS, SIZE, BATCH, T = 16, 16, 8, 4
SEEDS = range(5)
MakeBlock = Callable[..., model.ResidualBlock]
MakeNeuron = Callable[[], nn.Module]


def fire(alpha: float = 2.0, v_threshold: float = 1.0) -> Callable[[], neuron.IFNode]:
    """Makes integrate-and-fire neurons."""
    return lambda: neuron.IFNode(
        v_threshold, surrogate_function=surrogate.ATan(alpha), detach_reset=True, backend="torch"
    )


def leak() -> neuron.LIFNode:
    """The neuron of MS-ResNet."""
    return neuron.LIFNode(4 / 3, False, 0.5, 0.0, surrogate.Rectangular(), True, backend="torch")


def kind(block: type[model.ResidualBlock], make: MakeNeuron, **options: str) -> tuple[MakeBlock, MakeNeuron]:
    """Makes blocks of a kind, and the neuron in front of them."""
    return partial(block, neuron=make, norm=layer.BatchNorm2d, **options), make


KINDS = {
    "SEW, ADD": kind(model.SEWBlock, fire(), connect="ADD"),
    "SEW, AND": kind(model.SEWBlock, fire(), connect="AND"),
    "SEW, IAND": kind(model.SEWBlock, fire(), connect="IAND"),
    "MS": kind(model.MembraneBlock, leak),
    "spiking, slope 1 at a spike": kind(model.SpikingBlock, fire()),
    "spiking, slope 1/2": kind(model.SpikingBlock, fire(alpha=1.0)),
    "spiking, slope 2": kind(model.SpikingBlock, fire(alpha=4.0)),
    "spiking, threshold 1/2": kind(model.SpikingBlock, fire(v_threshold=0.5)),
}
COLORS = BLUE, PURPLE, SKY, GREEN, ORANGE, ORANGE, VERMILLION, VERMILLION
DASHES = "-", "--", ":", "-", "-", "--", "-", "--"
WIDTHS = 5, 3.5, 2.5, 1.5, 1.5, 1.5, 1.5, 1.5  # where lines lie on each other
IDENTITY, PLAIN, OUTPUT = "gradient, blocks as the identity", "gradient, scales of 1", "output, scales of 1"
EXPONENTS = {IDENTITY: range(-20, 21, 5), PLAIN: range(-20, 21, 5), OUTPUT: range(-6, 2)}  # of the ticks


def convolution(in_channels: int) -> layer.Conv2d:
    """A convolution with the weights that residual networks start with."""
    one = layer.Conv2d(in_channels, CHANNELS, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(one.weight, mode="fan_out", nonlinearity="relu")
    return one


def passed(name: str, num_blocks: int, identity: bool, seed: int) -> tuple[float, float]:
    """The ratio of the gradients' norms, and the mean of what the last block gives."""
    torch.manual_seed(seed)
    make, make_neuron = KINDS[name]
    stem = nn.Sequential(convolution(3), layer.BatchNorm2d(CHANNELS), make_neuron())
    blocks = [make([convolution(CHANNELS) for _ in range(2)]) for _ in range(num_blocks)]
    head = nn.Sequential(layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(CHANNELS, 10))
    for block in blocks if identity else ():
        block.start_as_identity()
    passing = nn.Sequential(*blocks)
    for part in (stem, passing, head):
        functional.set_step_mode(part, "m")
    images = torch.randn(BATCH, 3, SIZE, SIZE).expand(T, -1, -1, -1, -1)
    first = stem(images).detach().requires_grad_()
    last: Tensor = passing(first)
    last.retain_grad()
    F.cross_entropy(head(last).mean(0), torch.randint(10, (BATCH,))).backward()
    assert first.grad is not None
    assert last.grad is not None
    return float(first.grad.norm() / last.grad.norm()), float(last.detach().mean())


def measured() -> list[Row]:
    """Every kind, at every depth."""
    rows = []
    for name in KINDS:
        for num_blocks in NUM_BLOCKS:
            label = f"{name}, {num_blocks} blocks"
            identity = [passed(name, num_blocks, True, seed)[0] for seed in SEEDS]
            plain, outputs = zip(*(passed(name, num_blocks, False, seed) for seed in SEEDS), strict=True)
            rows += [
                measure.row_of(section, label, values, "")
                for section, values in ((IDENTITY, identity), (PLAIN, plain), (OUTPUT, outputs))
            ]
    return sorted(rows, key=lambda row: (IDENTITY, PLAIN, OUTPUT).index(row.section))


def draw(rows: list[Row], path: Path) -> None:
    """One panel for each section, one line for each kind; 0 has a place of its own below the powers of 10."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), layout="constrained")
    for axes, (section, exponents) in zip(figure.subplots(1, 3), EXPONENTS.items(), strict=True):
        zero = 10.0 ** (exponents[0] - exponents.step)
        for name, color, dashes, width in zip(KINDS, COLORS, DASHES, WIDTHS, strict=True):
            found = [row for row in rows if row.section == section and row.name.startswith(f"{name}, ")]
            values = [row.value or zero for row in found]
            axes.loglog(NUM_BLOCKS, values, dashes, color=color, label=name, linewidth=width)
        axes.axhline(zero, color="black", linewidth=0.8)
        axes.set(xlabel="blocks", title=section, xticks=NUM_BLOCKS, xticklabels=NUM_BLOCKS)
        powers = [10.0**exponent for exponent in exponents]
        names = ["0", *(f"$10^{{{exponent}}}$" for exponent in exponents)]
        axes.set(yticks=[zero, *powers], yticklabels=names, ylim=(zero / 3, 3 * max(powers)))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    first, _, third = figure.axes
    first.set(ylabel="first block's gradient / last block's")
    third.set(ylabel="mean of the last block's output")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, write, draw."""
    torch.set_num_threads(1)
    rows = measured()
    assert not any(math.isnan(row.value) for row in rows)
    print(measure.table(rows))
    about = {"machine": measure.machine(), "versions": measure.versions("torch", "numba")}
    measure.write(measure.RESULTS / "residual_gradients.json", rows, about)
    draw(rows, measure.RESULTS / "residual_gradients.png")


if __name__ == "__main__":
    main()
