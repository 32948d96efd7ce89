"""The training loop, in plain sight.

All random numbers of an epoch are drawn from (seed, epoch, step or sample), so a run that was killed goes on
with the numbers that it would have seen; and several processes together see what one would, but for what
layers such as dropout draw, of which each process has numbers of its own.
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from spikeloom import functional, layer
from spikeloom.checks import checked_count, checked_positive
from spikeloom.diagnose import FiringCheck
from spikeloom.encoding import derive_seed
from spikeloom.errors import RunError
from spikeloom.train import checkpoint, refusals
from spikeloom.train.cuda_graph import CudaGraph
from spikeloom.train.evaluation import advice_after_collapse, evaluate, samples_at_once, summed
from spikeloom.train.experiment import Experiment, require_answers
from spikeloom.train.interrupt import interrupt_noted
from spikeloom.train.online import GRADIENTS, online
from spikeloom.train.processes import is_orphan, is_spawned
from spikeloom.train.progress import Progress, restore
from spikeloom.train.report import allowed_to_fail, draw_curves, draw_sample
from spikeloom.train.run import Run
from spikeloom.train.samples import Prepared, TrainingSamples, order_of_epoch
from spikeloom.train.shard import gathered, is_finite, is_sharded
from spikeloom.train.time_chunks import InTimeChunks

CHECKED_STEPS = 5  # the first steps of a training are watched for layers that never fire


class Trainer:
    """One training: an experiment, where it stands, and where its results go.

    Args:
        fabric: launched; it knows devices, precision, processes.
        experiment: what is trained.
        run: where results go; a checkpoint in it is continued.
        epochs: passes over the training samples. The last batch of an epoch is left out if it is not full.
        batch_size: over all processes together.
        seed: of the order of samples, their encoding, and dropout.
        checkpoint_minutes: between checkpoints within an epoch.
        log_every: steps between points of the loss curve in TensorBoard.
        micro_batch: samples of a process that are computed at once; their gradients add up to those of the
            batch. Fewer need less memory, and a little more time. Batch normalisation sees only them.
            Default: all.
        gradient: ``'bptt'``, through time; or that of :class:`~spikeloom.learning.SLTT` or
            :class:`~spikeloom.learning.OTTT`, ``'sltt'`` or ``'ottt'``.
        time_chunk: time steps that keep what their backward pass needs, as in
            :func:`~spikeloom.functional.checkpoint_time`. Default: all.
        sync_norm: whether batch normalisation takes its statistics over all processes.
        cuda_graph: whether steps are replayed as a :class:`~spikeloom.train.cuda_graph.CudaGraph`, after the
            first ones.
    Raises:
        CheckpointError: the checkpoints are damaged, belong to another network or optimiser, or stand within
            an epoch of other batches.
        TypeError, ValueError: a number is out of range.
        RunError: there are too few samples for the processes, they cannot share a batch equally, or the
            experiment cannot be sharded.
    """

    def __init__(
        self,
        fabric: Fabric,
        experiment: Experiment,
        run: Run,
        *,
        epochs: int,
        batch_size: int,
        seed: int = 0,
        checkpoint_minutes: float = 5.0,
        log_every: int = 10,
        micro_batch: int | None = None,
        gradient: str = "bptt",
        time_chunk: int | None = None,
        sync_norm: bool = True,
        cuda_graph: bool = False,
    ):
        self.fabric, self.experiment, self.run, self.seed = fabric, experiment, run, seed
        self.epochs, self.log_every = checked_count("epochs", epochs), checked_count("log_every", log_every)
        self.micro_batch = None if micro_batch is None else checked_count("micro_batch", micro_batch)
        self.checkpoint_seconds = 60.0 * checked_positive("checkpoint_minutes", checkpoint_minutes)
        checked_count("batch_size", batch_size)
        if gradient not in GRADIENTS:
            raise ValueError(f"`gradient` must be one of {GRADIENTS}, got {gradient!r}.")
        self.num_samples = len(experiment.data.train_y)
        refusals.require_shares(fabric, experiment, batch_size)
        if cuda_graph:
            refusals.require_whole_steps(fabric, micro_batch or time_chunk, gradient)
        self.batch_size = min(batch_size, self.num_samples - self.num_samples % fabric.world_size)
        self.num_steps = self.num_samples // self.batch_size
        if time_chunk is not None:
            checked_count("time_chunk", time_chunk)
            refusals.require_time_in_parts(experiment.net)
        state, self.stamp = checkpoint.load_last(run.checkpoints), checkpoint.stamp(run.checkpoints)
        if fabric.world_size > 1:
            layer.synchronise_batch_norm(experiment.net, sync_norm)
        net = experiment.net if gradient == "bptt" else online(gradient, experiment.net)
        net = InTimeChunks(net, time_chunk) if time_chunk else net
        self.net, self.optimizer = fabric.setup(net, experiment.optimizer)
        self.progress = restore(experiment, run, state) if state else Progress()
        self.progress.continue_with(batch_size, self.num_samples)
        if state and state.get("precision"):
            fabric.strategy.precision.load_state_dict(state["precision"])
        refusals.require_agreement(fabric, run, self.progress.epoch * self.num_steps + self.progress.step)
        self.graph = CudaGraph(self._pass_through, self.net) if cuda_graph else None
        self.samples = TrainingSamples(fabric, experiment, seed, pin=cuda_graph)
        self.eager_steps = 0
        self.ahead: Prepared | None = None  # the samples of the next step
        self.check: FiringCheck | None = None
        self.writer: SummaryWriter | None = None
        self.is_sharded = is_sharded(experiment.net)
        learned = ((name, one) for name, one in experiment.net.named_parameters() if one.requires_grad)
        self.finite = [name for name, one in learned if is_finite(one)]

    def fit(self) -> list[dict[str, Any]]:
        """Train to the last epoch, or until the experiment is done, testing after each.

        Returns:
            one dict per epoch: epoch, train_loss, train_accuracy, test_loss, test_accuracy,
            samples_per_second, seconds
        Raises:
            RunError: the loss or a weight is no longer finite, or another process trains into the folder.
            KeyboardInterrupt: Ctrl-C or SIGTERM, in any of the processes, after a checkpoint was written.
        """
        with self.run.locked() if self.is_main else nullcontext():
            self._begin()
            try:
                self._fit()
            finally:
                if self.check:
                    self.check.close()
                if self.writer:
                    self.writer.close()
        return self.progress.history

    def _begin(self) -> None:
        """Open the files of the run, and bring them to where the training stands."""
        if not self.is_main:
            return
        run, progress = self.run, self.progress
        if checkpoint.stamp(run.checkpoints) != self.stamp:
            raise RunError(
                f"The training in {run.folder} has gone on since this Trainer read where it stood. Make "
                "a new one."
            )
        checkpoint.settle(run.checkpoints)
        done = progress.epoch * self.num_steps + progress.step
        self.writer = SummaryWriter(str(run.tensorboard), purge_step=done)
        run.begin_metrics(progress.history)
        if progress.step == 0 and progress.history:
            self._write_epoch(progress.history[-1])  # it is at the step from which on all is purged

    def _fit(self) -> None:
        # The process that started this one gets Ctrl-C too, and passes it on.
        signals = (signal.SIGTERM,) if is_spawned() else ()
        if self.is_over:  # it may have been killed before it had drawn
            self._draw()
        with interrupt_noted(*signals) as self.interrupt:
            while not self.is_over:
                row = {"epoch": self.progress.epoch + 1, **self.train_epoch()}
                num_at_once = samples_at_once(self.experiment.data, self.batch_size)
                loss, accuracy = evaluate(self.fabric, self.experiment, self.seed, num_at_once)
                row |= {
                    "test_loss": loss,
                    "test_accuracy": accuracy,
                    "seconds": round(self.progress.seconds, 1),
                }
                self.finish_epoch(row)
        if self.progress.epoch < self.epochs:
            self._say(f"Done after {self.progress.epoch} of {self.epochs} epochs: the task is solved.")

    def train_epoch(self) -> dict[str, Any]:
        """Train on every sample once, from the step on at which a killed run stood."""
        progress, first_step = self.progress, self.progress.step
        if self.experiment.before_epoch and first_step == 0:
            progress.notes = refusals.notes_of(self.experiment.before_epoch(progress.epoch))
        order = order_of_epoch(self.num_samples, self.seed, progress.epoch)
        checked = progress.epoch == 0 and first_step < min(CHECKED_STEPS, self.num_steps)
        self.check = check = FiringCheck(self.experiment.net) if checked else None
        started = self.counted = time.perf_counter()
        for step in self._progress_bar(first_step):
            totals = self.train_step(self._indices(order, step), self._indices(order, step + 1))
            progress.sums = [*map(sum, zip(progress.sums, totals, strict=True))]
            progress.step = step + 1
            if self.save_due or self.stop_due:
                now = time.perf_counter()
                progress.seconds, self.counted = progress.seconds + now - self.counted, now
                self._refuse_nan()
                self.save()
            if self.stop_due:
                raise KeyboardInterrupt
            if check and progress.step in (CHECKED_STEPS, self.num_steps):
                check.close()  # a silent layer that gets a gradient wakes up by itself
                wrong = (one for one in check.layers if one.stuck or one.always or one.shared)
                self._say(*(one.advice() or "" for one in wrong))
                check = None
        now = time.perf_counter()
        progress.seconds += now - self.counted
        loss, correct, count = progress.sums
        num_steps, seconds = self.num_steps - first_step, now - started
        if num_steps == 0:  # it was stopped after the last one: the speed is that of all epochs
            num_steps, seconds = (progress.epoch + 1) * self.num_steps, progress.seconds
        return {
            "train_loss": loss / count,
            "train_accuracy": correct / count,
            "samples_per_second": round(num_steps * self.batch_size / seconds, 1),
            **progress.notes,
        }

    def _indices(self, order: Tensor, step: int) -> Tensor:
        """The samples of this process in a step."""
        indices = order[step * self.batch_size : (step + 1) * self.batch_size]
        return indices[self.fabric.global_rank :: self.fabric.world_size]

    def train_step(self, indices: Tensor, following: Tensor) -> list[float]:
        """One step of the optimiser, on the samples ``indices`` of this process.

        Args:
            indices: of the samples.
            following: those of the next step, which are prepared while the device computes a graph.
        Returns:
            over all processes: summed loss, correctly classified samples, samples
        """
        experiment, progress = self.experiment, self.progress
        torch.manual_seed(
            derive_seed(self.seed, "step", progress.epoch, progress.step, self.fabric.global_rank)
        )
        parts = indices.split(self.micro_batch or len(indices))
        passed = []
        for part in parts:
            waits = self.fabric.world_size > 1 and part is not parts[-1]  # gradients are shared with the last
            with self.fabric.no_backward_sync(self.net, enabled=True) if waits else nullcontext():
                passed.append(self._backward(part, len(indices)))
        self.eager_steps += 1
        if self.graph and len(following) == len(indices):
            self.ahead = self.samples.prepare(following, progress.epoch, progress.step + 1)
        sums = map(sum, zip(*passed, strict=True))
        *totals, save_due, stop_due = summed(self.fabric, [*sums, *self._requests()])
        self.save_due, self.stop_due = save_due > 0, stop_due > 0
        mean_loss = totals[0] / totals[2]
        if not math.isfinite(mean_loss):
            raise self._diverged(f"The loss became {mean_loss}", progress.step + 1)
        if self.eager_steps == 1 and self.fabric.world_size > 1 and not self.is_sharded:
            refusals.require_gradients(experiment.net)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if experiment.scheduler:
            experiment.scheduler.step()
        if self.writer and progress.step % self.log_every == 0:
            self.writer.add_scalar("step/loss", mean_loss, progress.epoch * self.num_steps + progress.step)
        return totals

    def _diverged(self, what: str, step: int) -> RunError:
        where = f"epoch {self.progress.epoch + 1}, step {step}"
        cure = "Lower the learning rate, or look for infinite inputs."
        if self.run.has_checkpoint:
            cure += f" The last good checkpoint is in {self.run.checkpoints}."
        return RunError(f"{what} in {where}. {cure}")

    def _refuse_nan(self) -> None:
        """End a training whose weights are lost, before they are written."""
        lost = [name for name in self.finite if not is_finite(self.experiment.net.get_parameter(name))]
        if summed(self.fabric, [bool(lost)])[0]:
            which = f"'{lost[0]}'" if lost else "a weight in another process"
            raise self._diverged(f"{which} became infinite or NaN", self.progress.step)

    def _requests(self) -> tuple[bool, bool]:
        """Whether this process asks all to write a checkpoint after this step, and whether to stop then."""
        is_due = time.perf_counter() - self.counted > self.checkpoint_seconds
        return self.is_main and is_due, self.interrupt.noted or is_orphan()

    def _backward(self, indices: Tensor, num_samples: int) -> list[Any]:
        """Add the gradients of some of a step's ``num_samples`` samples.

        Returns:
            summed loss, correctly classified samples, samples
        """
        progress = self.progress
        prepared = self.ahead or self.samples.prepare(indices, progress.epoch, progress.step)
        self.ahead = None
        if self.graph and self.eager_steps >= CHECKED_STEPS:
            loss, correct = self.graph(*prepared)
        else:
            loss, correct = self._pass_through(*prepared, weight=len(indices) / num_samples)
        return [loss * len(indices), correct, len(indices)]

    def _pass_through(
        self, x: Tensor, classes: Tensor, shares: Tensor, weight: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Forward and backward through the network.

        Args:
            x, classes, shares: as of :class:`~spikeloom.train.samples.Prepared`.
            weight: of the samples in the step.
        Returns:
            mean loss, and correctly classified samples
        """
        output = self.net(x)
        if self.eager_steps == 0:
            has_time = partial(self.experiment.has_time, self.seed)
            refusals.require_sequences(self.experiment.net, x, classes.shape[1], has_time)
        losses = torch.stack([self.experiment.loss(output, labels) for labels in classes])
        predicted = self.experiment.predict(output)
        require_answers(losses[0], predicted, classes[0])
        loss = (shares.to(losses) * losses).sum()
        correct = (predicted == classes[0]).sum()
        self.fabric.backward(loss * weight)
        functional.reset_net(self.net)
        return loss.detach(), correct

    def finish_epoch(self, row: dict[str, Any]) -> None:
        """Record an epoch: history, curves, checkpoints, one line on the screen."""
        self._refuse_nan()
        progress, history = self.progress, self.progress.history
        best = max((past["test_accuracy"] for past in history), default=-1.0)
        history.append(row)
        progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, [0.0, 0.0, 0.0]
        if self.is_main:
            self.run.write_metrics(history)
        if row["test_accuracy"] > best:
            state = {"net": self._whole(self.experiment.net), "epoch": row["epoch"]}
            if self.is_main:
                checkpoint.save(self.run.checkpoints / checkpoint.BEST, state)
        self.save()
        self._write_epoch(row)
        remaining = progress.seconds / progress.epoch * (self.epochs - progress.epoch)
        self._say(
            f"epoch {row['epoch']:3}/{self.epochs}  loss {row['train_loss']:.4f}  train "
            f"{row['train_accuracy']:7.2%}  test {row['test_accuracy']:7.2%}  "
            f"{row['samples_per_second']:.0f} samples/s  {tqdm.format_interval(remaining)} left"
        )
        if self.is_main and not self.is_sharded:
            self._say(*advice_after_collapse(self.experiment, self.seed, history))
        if progress.epoch == 1 or self.is_over:
            self._draw()

    def _write_epoch(self, row: dict[str, Any]) -> None:
        """Write the curves of an epoch to TensorBoard."""
        if self.writer:
            for key in row.keys() & {*refusals.ROW, "samples_per_second", *self.progress.notes}:
                self.writer.add_scalar(f"epoch/{key}", row[key], row["epoch"] * self.num_steps)
            self.writer.flush()

    def _draw(self) -> None:
        """Draw the figures, without which a training goes on; a sharded network runs in all processes, or in
        none."""
        with allowed_to_fail(self._say):
            if self.is_main:
                draw_curves(self.run, self.progress.history)
        with allowed_to_fail(self._say):
            if self.is_main or self.is_sharded:
                draw_sample(self.run if self.is_main else None, self.experiment, self.seed)

    def save(self) -> None:
        """Write the last checkpoint; the one before it is kept. Every process calls this at the same step."""
        scheduler = self.experiment.scheduler
        state = {
            "progress": asdict(self.progress),
            "net": self._whole(self.experiment.net),
            "optimizer": self._whole(self.experiment.optimizer),
            "kind": type(self.experiment.optimizer).__name__,
            "scheduler": scheduler.state_dict() if scheduler else None,
            "precision": self.fabric.strategy.precision.state_dict(),  # the scale of gradients in float16
        }
        if self.is_main:
            checkpoint.save_last(self.run.checkpoints, state)
            self.stamp = checkpoint.stamp(self.run.checkpoints)
        self.fabric.barrier()  # before anyone reads it

    def _whole(self, part: nn.Module | Optimizer) -> dict[str, Any]:
        """The state of network or optimiser, with whole tensors in the main process."""
        return gathered(part.state_dict(), keep=self.is_main)

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left, or the experiment is done; a resumed run comes to the same answer."""
        progress, done = self.progress, self.experiment.done
        return progress.epoch >= self.epochs or bool(done and progress.history and done(progress.history[-1]))

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.fabric.is_global_zero

    def _progress_bar(self, first_step: int) -> Iterator[int]:
        title = f"epoch {self.progress.epoch + 1}/{self.epochs}"
        steps, disable = range(first_step, self.num_steps), None if self.is_main else True
        return iter(tqdm(steps, title, self.num_steps, leave=False, initial=first_step, disable=disable))

    def _say(self, *lines: str) -> None:
        if self.is_main:
            for line in lines:
                tqdm.write(line)
