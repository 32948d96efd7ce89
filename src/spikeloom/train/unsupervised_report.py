"""Figures of a run that learns without labels: accuracies, receptive fields, and one test sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure

from spikeloom import plot
from spikeloom.plot.axes import BLUE, VERMILLION
from spikeloom.train.report import check_sample, save_figure, title_of_sample

if TYPE_CHECKING:
    from spikeloom.train.run import Run
    from spikeloom.train.unsupervised import UnsupervisedTrainer

SHOWN = 36  # neurons of each network, where several are side by side


def draw(trainer: UnsupervisedTrainer) -> None:
    """Receptive fields and accuracies, to figures/receptive_fields.png and figures/curves.png."""
    network, progress = trainer.network, trainer.progress
    side = max(4.5, 2 + 0.4 * math.sqrt(network.neurons))  # room for the title
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    title = f"Input weights of {network.neurons} neurons after {trainer.shown} images"
    plot.receptive_fields(network.weight.t(), _image_size(trainer), figure.subplots(), title=title)
    save_figure(trainer.run, figure, "receptive_fields")
    if progress.windows:
        save_figure(trainer.run, _curves(trainer), "curves")


def _curves(trainer: UnsupervisedTrainer) -> Figure:
    progress = trainer.progress
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    ax = figure.subplots()
    samples = [row["samples"] for row in progress.windows]
    running = [100 * row["accuracy"] for row in progress.windows]
    label = f"training, each {trainer.window} images as they are learned"
    ax.plot(samples, running, ".-", color=BLUE, label=label)
    if progress.history:
        samples = [row["epoch"] * trainer.num_samples for row in progress.history]
        tested = [100 * row["test_accuracy"] for row in progress.history]
        ax.plot(samples, tested, "o-", color=VERMILLION, label="test, after each pass")
    ax.set(
        xlabel="training images",
        ylabel="accuracy in %",
        xlim=0,
        title=f"Accuracy of {trainer.run.folder.name}",
    )
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    return figure


def draw_sample(trainer: UnsupervisedTrainer, sample: int) -> None:
    """A test sample and how the neurons vote on it, to figures/sample.png.

    Raises:
        RunError: there is no such sample.
    """
    data, labels = trainer.dataset, trainer.labels
    check_sample(data, sample)
    indices = torch.tensor([sample])
    responses = trainer.respond_to_test(indices)
    votes, predicted = labels.votes(responses)[0], int(labels.predict(responses))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    image, bars = figure.subplots(1, 2)
    image.imshow(data.test_x[sample, 0].numpy(), cmap="gray")
    image.set_axis_off()
    bars.bar(data.classes, votes.tolist(), color=BLUE)
    bars.set(xlabel="class", ylabel="spikes per neuron of the class", title="Votes")
    figure.suptitle(title_of_sample(data, sample, predicted))
    save_figure(trainer.run, figure, "sample")


def draw_variants(run: Run, trainers: Mapping[str, UnsupervisedTrainer]) -> None:
    """Accuracies and input weights of several networks side by side, to figures/variants.png: those of the
    neurons that fire most."""
    figure = Figure(figsize=(3.2 * len(trainers), 4.2), layout="constrained")
    figure.suptitle("Test accuracy, and weights into the neurons that fire most: the darker, the larger")
    for ax, (name, trainer) in zip(figure.subplots(1, len(trainers)), trainers.items(), strict=True):
        busiest = trainer.labels.sums.sum(0).argsort(descending=True, stable=True)[:SHOWN]
        weights = trainer.network.weight.t()[busiest]
        history = trainer.progress.history
        reached = f"{100 * history[-1]['test_accuracy']:.1f} %" if history else "not trained yet"
        plot.receptive_fields(weights, _image_size(trainer), ax, title=f"{name}\n{reached}", colorbar=False)
    save_figure(run, figure, "variants")


def _image_size(trainer: UnsupervisedTrainer) -> tuple[int, ...]:
    return trainer.dataset.sample_shape[-2:]
