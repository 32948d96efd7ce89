"""The loop of networks that learn one sample after the other without labels, and are read out by voting.

All random numbers of a presentation follow from (seed, epoch, sample), and a checkpoint has the network's
memories, so a run that was killed goes on to the result of an unbroken one.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from spikeloom.checks import checked_count, checked_range
from spikeloom.data import Dataset
from spikeloom.encoding import derive_seed
from spikeloom.learning import DiehlCook, NeuronLabels, check_learning
from spikeloom.train import checkpoint
from spikeloom.train.interrupt import Interrupt, interrupt_noted
from spikeloom.train.progress import misfit
from spikeloom.train.report import allowed_to_fail
from spikeloom.train.run import Run
from spikeloom.train.samples import order_of_epoch

CHUNK = 20  # samples between two looks at the clock and at signals: about a second with 6400 neurons


@dataclass
class Progress:
    """Where a training stands; with the network's state, all that a resumed one needs."""

    epoch: int = 0
    sample: int = 0  # samples done within the epoch
    seconds: float = 0.0  # of learning, in all
    correct: int = 0  # of this window's samples, by the labels from the window before
    spikes: int = 0  # of this epoch
    windows: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


class UnsupervisedTrainer:
    """One training of a network without labels.

    The labels are used for three things only: the running accuracy, where the responses to one window of
    training samples label the neurons, which then vote on each sample of the next window as it is learned;
    the labels of the neurons after an epoch, from responses to training samples with learning off; and the
    accuracy on the test samples.

    Args:
        network: what learns.
        dataset: images ``uint8``; they go in as rates of pixel / 8 Hz, at intensity 1.
        run: where results go; a checkpoint in it is continued.
        epochs: passes over the training samples.
        seed: of the order of samples and of their spikes.
        window: training samples between two running accuracies.
        label_samples: training samples that label the neurons after an epoch; after the last one, all do.
        checkpoint_minutes: between checkpoints within an epoch.
        report: called after each epoch, and with each checkpoint within one that was due; for figures.
    Raises:
        ValueError: a number is out of range.
        CheckpointError: the checkpoints are damaged, or belong to another network.
    """

    def __init__(
        self,
        network: DiehlCook,
        dataset: Dataset,
        run: Run,
        *,
        epochs: int,
        seed: int = 0,
        window: int = 5000,
        label_samples: int = 10_000,
        checkpoint_minutes: float = 5.0,
        report: Callable[["UnsupervisedTrainer"], None] = lambda trainer: None,
    ):
        self.network, self.dataset, self.run, self.report = network, dataset, run, report
        self.epochs, self.seed = checked_count("epochs", epochs), seed
        self.label_samples = checked_count("label_samples", label_samples)
        self.num_samples = len(dataset.train_y)
        self.window = min(checked_count("window", window), -(-self.num_samples // 4))
        self.checkpoint_seconds = 60.0 * checked_range("checkpoint_minutes", checkpoint_minutes, 0)
        self.labels, self.last_window, self.this_window = (self._no_labels() for _ in range(3))
        self.progress = Progress()
        state = checkpoint.load_last(run.checkpoints)
        if state is not None:
            self._load(state)

    def fit(self) -> list[dict[str, Any]]:
        """Train to the last epoch, testing after each.

        Returns:
            one dict per epoch: epoch, train_accuracy (running), test_accuracy, spikes (of all neurons, per
            training sample), silent (neurons that fired for no sample), samples_per_second, seconds
        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint was written.
        """
        progress = self.progress
        self.run.begin_metrics(progress.history)
        if progress.epoch >= self.epochs:  # it may have been killed before it had reported
            self._report()
        with interrupt_noted() as interrupt:
            while progress.epoch < self.epochs:
                self._learn_epoch(interrupt)
                self._finish_epoch(interrupt)
        return progress.history

    def _learn_epoch(self, interrupt: Interrupt) -> None:
        """Learn every training sample once, from the one on at which a killed run stood."""
        progress = self.progress
        order = order_of_epoch(self.num_samples, self.seed, progress.epoch)
        title, saved = f"epoch {progress.epoch + 1}/{self.epochs}", time.perf_counter()
        with tqdm(
            None, title, self.num_samples, initial=progress.sample, unit="image", leave=False, disable=None
        ) as bar:
            while progress.sample < self.num_samples:
                self._learn_chunk(order)
                running = f"{progress.windows[-1]['accuracy']:.2%}" if progress.windows else "?"
                bar.set_postfix(running=running, refresh=False)
                bar.update(progress.sample - bar.n)
                due = time.perf_counter() - saved > self.checkpoint_seconds
                if due or interrupt.noted or progress.sample == self.num_samples:
                    self.save()
                if interrupt.noted:
                    raise KeyboardInterrupt
                if due:
                    self._report()
                    if bar.disable:  # the output goes to a file
                        tqdm.write(f"{title}  {progress.sample} images  running {running}")
                    saved = time.perf_counter()

    def _learn_chunk(self, order: Tensor) -> None:
        """Learn the next few samples."""
        progress, data, started = self.progress, self.dataset, time.perf_counter()
        begin = progress.sample - progress.sample % self.window  # of the window
        full = min(begin + self.window, self.num_samples)
        end = min(progress.sample + CHUNK, full)
        indices = order[progress.sample : end]
        responses = self.network.learn(rates(data.train_x[indices]), self._keys("train", indices))
        self._count(responses, data.train_y[indices])
        progress.sample = end
        progress.seconds += time.perf_counter() - started
        if end == full:
            self._finish_window(full - begin)

    @property
    def shown(self) -> int:
        """Training samples shown so far."""
        return self.progress.epoch * self.num_samples + self.progress.sample

    def _count(self, responses: Tensor, labels: Tensor) -> None:
        """Vote with the labels of the window before, then add to those of this one."""
        self.progress.correct += int((self.last_window.predict(responses) == labels).sum())
        self.progress.spikes += int(responses.sum())
        self.this_window.add(responses, labels)

    def _finish_window(self, size: int) -> None:
        """Record the running accuracy of ``size`` samples, and begin the next window."""
        progress = self.progress
        if self.last_window.samples.any():  # there were labels to vote with
            progress.windows.append({"samples": self.shown, "accuracy": progress.correct / size})
        progress.correct, self.last_window, self.this_window = 0, self.this_window, self._no_labels()

    def _finish_epoch(self, interrupt: Interrupt) -> None:
        """Label the neurons, test, record."""
        progress, epoch = self.progress, self.progress.epoch + 1
        self.labels = self.label(self.num_samples if epoch == self.epochs else None, interrupt)
        start = progress.epoch * self.num_samples
        running = [row for row in progress.windows if row["samples"] > start]
        sizes = [(row["samples"] - start - 1) % self.window + 1 for row in running]
        row = {
            "epoch": epoch,
            "train_accuracy": sum(row["accuracy"] * size for row, size in zip(running, sizes, strict=True))
            / max(1, sum(sizes)),
            "test_accuracy": self.accuracy(interrupt),
            "spikes": round(progress.spikes / self.num_samples, 2),
            "silent": int((self.labels.assigned() < 0).sum()),
            "samples_per_second": round(epoch * self.num_samples / progress.seconds, 1),
            "seconds": round(progress.seconds, 1),
        }
        progress.history.append(row)
        progress.epoch, progress.sample, progress.spikes = epoch, 0, 0
        self.run.write_metrics(progress.history)
        self.save()
        tqdm.write(
            f"epoch {epoch:3}/{self.epochs}  running {row['train_accuracy']:7.2%}  test "
            f"{row['test_accuracy']:7.2%}  {row['spikes']:.1f} spikes an image  "
            f"{row['samples_per_second']:.0f} images/s"
        )
        if epoch == self.epochs:  # before, neurons may well be alike
            self._advise()
        self._report()

    def _report(self) -> None:
        with allowed_to_fail():
            self.report(self)

    def _advise(self) -> None:
        """Say what is wrong with the network, by its responses to the samples that labelled it."""
        network, constants = self.network, self.network.constants
        rise = network.theta - constants.theta_start
        bounds = (0.0, constants.w_max)
        advice = check_learning(network.weight.t(), self.labels.sums.sum(0), rise, bounds).advice()
        for line in advice:
            tqdm.write(f"advice: {line}")
        if advice:
            tqdm.write("Names in the advice are of spikeloom.learning and spikeloom.neuron, and no options.")

    def label(self, count: int | None = None, interrupt: Interrupt | None = None) -> NeuronLabels:
        """The labels that the responses to the first ``count`` training samples give, with learning off.
        Default: as after an epoch that is not the last one."""
        labels, data = self._no_labels(), self.dataset
        first = torch.arange(min(count or self.label_samples, self.num_samples))
        for part in self._parts(first, "labelling", interrupt):
            responses = self.network.respond(rates(data.train_x[part]), self._keys("label", part))
            labels.add(responses, data.train_y[part])
        return labels

    def accuracy(self, interrupt: Interrupt | None = None) -> float:
        """The fraction of test samples that the labelled neurons classify correctly, with learning off."""
        correct, data = 0, self.dataset
        for part in self._parts(torch.arange(len(data.test_y)), "testing", interrupt):
            correct += int((self.labels.predict(self.respond_to_test(part)) == data.test_y[part]).sum())
        return correct / len(data.test_y)

    def respond_to_test(self, indices: Tensor) -> Tensor:
        """Spikes of each neuron for some test samples, with learning off."""
        return self.network.respond(rates(self.dataset.test_x[indices]), self._keys("test", indices))

    def _parts(self, indices: Tensor, what: str, interrupt: Interrupt | None) -> Iterator[Tensor]:
        """Indices in parts, with a progress bar."""
        for part in tqdm(indices.split(5 * CHUNK), what, leave=False, disable=None):
            yield part
            if interrupt and interrupt.noted:
                raise KeyboardInterrupt

    def _keys(self, purpose: str, indices: Tensor) -> list[int]:
        epoch = self.progress.epoch if purpose == "train" else 0
        return [derive_seed(self.seed, purpose, epoch, index) for index in indices.tolist()]

    def _no_labels(self) -> NeuronLabels:
        return NeuronLabels(self.network.neurons, self.dataset.num_classes)

    def save(self) -> None:
        """Write the last checkpoint; the one before it is kept."""
        named = {"labels": self.labels, "last_window": self.last_window, "this_window": self.this_window}
        state = {
            "progress": asdict(self.progress),
            "net": self.network.state_dict(),
            "memories": self.network.memories,
            **{name: {"sums": one.sums, "samples": one.samples} for name, one in named.items()},
        }
        checkpoint.save_last(self.run.checkpoints, state)

    def _load(self, state: dict[str, Any]) -> None:
        try:
            self.network.load_state_dict(state["net"])
            self.network.memories = state["memories"]
            for name in ("labels", "last_window", "this_window"):
                labels = getattr(self, name)
                labels.sums, labels.samples = state[name]["sums"], state[name]["samples"]
            self.progress = Progress(**state["progress"])
            self.network.respond(torch.empty(0, self.network.inputs), [])  # refuses memories that do not fit
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise misfit(self.run, error) from None


def rates(images: Tensor) -> Tensor:
    """Rates of the inputs in Hz, ``[N, pixels]``, of images ``uint8 [N, *]``: a white pixel's is 31.9 Hz."""
    return images.flatten(1).float() / 8
