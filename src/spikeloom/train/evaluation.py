"""Loss and accuracy on the test samples, by one process or several."""

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from spikeloom import functional
from spikeloom.data import Dataset
from spikeloom.diagnose import FiringCheck
from spikeloom.encoding import derive_seed
from spikeloom.memory import HALF
from spikeloom.train.experiment import Experiment, require_answers

TEST_BATCH = 500  # samples, over all processes; more where a training has large batches
TEST_VALUES = 2**24  # in the samples of a batch: 500 recordings of 128 x 128 would take 100 GB in a network


def samples_at_once(data: Dataset, batch_size: int = 0) -> int:
    """How many samples to test at once, over all processes, where ``batch_size`` are trained on."""
    fit = TEST_VALUES // max(math.prod(data.sample_shape), 1)
    return max(TEST_BATCH, 4 * batch_size) if fit >= TEST_BATCH else max(fit, 1)


@torch.no_grad()  # and not inference mode, whose tensors a sharded network would keep for training
def evaluate(
    fabric: Fabric, experiment: Experiment, seed: int = 0, batch_size: int | None = None
) -> tuple[float, float]:
    """Loss and accuracy on the test samples, each counted once; the same random numbers every time.

    Args:
        fabric, experiment: as of :class:`~spikeloom.train.loop.Trainer`.
        seed: of the encoding.
        batch_size: over all processes together; without gradients, several times those of a training fit.
            ``None`` takes :func:`samples_at_once`.
    Returns:
        mean loss, and the fraction of samples that are classified correctly
    """
    net, data = experiment.net, experiment.data
    batch_size = batch_size or samples_at_once(data)
    _share_buffers(fabric, net)
    totals = torch.zeros(3, dtype=torch.float64)
    with functional.evaluating(net):
        for start in range(0, len(data.test_y), batch_size):
            batch = torch.arange(start, min(start + batch_size, len(data.test_y)))
            indices = batch[fabric.global_rank :: fabric.world_size]
            count = len(indices)
            if count == 0:  # a sharded network runs in all processes, or in none
                indices = batch[:1]
            torch.manual_seed(derive_seed(seed, "test", start, fabric.global_rank))  # of layers that draw
            labels = fabric.to_device(data.test_y[indices])
            with functional.fresh_state(net), fabric.autocast():
                output = net(experiment.encoded_test(seed, indices))
            if isinstance(output, Tensor) and output.dtype in HALF:  # as Fabric gives it in training
                output = output.float()
            loss = experiment.loss(output, labels)
            predicted = experiment.predict(output)
            require_answers(loss, predicted, labels)
            correct = (predicted == labels).sum()
            if count:
                totals += torch.tensor([loss.item() * count, correct.item(), count], dtype=torch.float64)
    loss, correct, count = summed(fabric, totals.tolist())
    return loss / count, correct / count


@torch.no_grad()
def advice_after_collapse(experiment: Experiment, seed: int, history: list[dict[str, Any]]) -> list[str]:
    """Which layers are silent or always fire, if an accuracy that was there has just gone.

    Args:
        experiment, seed: as for :func:`evaluate`.
        history: rows of metrics, one for each epoch.
    """
    chance = 1.0 / experiment.data.num_classes
    if len(history) < 2:
        return []
    before, now = (row["train_accuracy"] for row in history[-2:])
    if before < 1.5 * chance or now - chance > 0.25 * (before - chance):
        return []
    net = experiment.net
    x = experiment.encoded_test(
        seed, range(min(100, samples_at_once(experiment.data), len(experiment.data.test_y)))
    )
    with FiringCheck(net) as check, functional.evaluating(net), functional.fresh_state(net):
        net(x)
    return check.advice()


def summed(fabric: Fabric, values: list[Any]) -> list[float]:
    """Each value summed over all processes."""
    total = torch.stack([torch.as_tensor(value, dtype=torch.float64, device="cpu") for value in values])
    if fabric.world_size > 1:
        total = fabric.all_reduce(total.to(fabric.device), reduce_op="sum")
    return total.tolist()  # type: ignore[union-attr]


def _share_buffers(fabric: Fabric, net: nn.Module) -> None:
    """Give all processes the first one's buffers, such as running statistics of batches that only it saw."""
    for buffer in net.buffers() if fabric.world_size > 1 else ():
        if buffer.is_floating_point():
            torch.distributed.broadcast(buffer, 0)
