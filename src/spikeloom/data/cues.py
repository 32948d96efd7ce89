"""Evidence accumulation: cues on either side, a long pause, and the question which side had more of them."""

import numpy as np
import torch
from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.data.catalogue import DATASETS
from spikeloom.data.dataset import Dataset
from spikeloom.data.split import random_uniform
from spikeloom.encoding import SampleGenerator
from spikeloom.errors import ShapeError

NUM_CUES = 7
LIKELY = 0.7
"""Probability that a cue is on the side that the sample prefers."""
GAP, CUE, DELAY, RECALL = 50, 100, 1050, 150
"""Time steps of 1 ms: before a cue, and of one; after the last; in which the answer is asked for."""
GROUP = 10
"""Neurons of each of four groups: of cues on the left and on the right, of the question, and of noise."""
ACTIVE, NOISE = 0.04, 0.01
"""Probabilities of a spike in a time step: 40 Hz and 10 Hz."""


def evidence(num_train: int = 6400, num_test: int = 1000, seed: int = 0) -> Dataset:
    """Sequences of seven cues, each on the left or on the right; the class is the side with more of them.

    A sample prefers one side, on which each of its cues is with a probability of 0.7. There are only 128
    sequences, so the test samples are none that training has not seen; what is new are the spikes, see
    :func:`evidence_spikes`.

    Args:
        num_train: number of training samples.
        num_test: number of test samples; they do not depend on ``num_train``.
        seed: another seed, other samples.
    Shape:
        samples ``float32 [N, 7]``: 0 for a cue on the left, 1 for one on the right.
    Raises:
        ValueError: a count is negative.
    Source: Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons,
        Nature Communications 2020, after Morcos & Harvey, Nature Neuroscience 2016.
    Example:
        >>> evidence()
        Dataset('evidence', 6400 training and 1000 test samples of shape (7,), 2 classes)
    """
    parts = []
    for part, (name, count) in enumerate((("num_train", num_train), ("num_test", num_test))):
        checked_count(name, count, least=0)
        uniform = random_uniform((1 + NUM_CUES) * count, seed, part).reshape(count, 1 + NUM_CUES)
        prefers_right = uniform[:, :1] < 0.5
        right = (uniform[:, 1:] < LIKELY) == prefers_right
        samples = torch.from_numpy(right.astype(np.float32))
        parts += [samples, (samples.sum(1) > NUM_CUES / 2).long()]
    return Dataset("evidence", ("left", "right"), *parts)


def evidence_spikes(x: Tensor, random: SampleGenerator) -> Tensor:
    """The spikes that tell a network of the cues of :func:`evidence`, at 1 ms a time step.

    Ten neurons fire for each cue on the left, and ten for each on the right, at 40 Hz for 100 ms; there are
    50 ms before each. After a pause of 1,050 ms ten neurons ask for the answer for 150 ms, at 40 Hz. The last
    ten fire at 10 Hz all the time.

    Args:
        x: cues ``[N, 7]``, 0 or 1.
        random: decides when they fire.
    Returns:
        ``[2250, N, 40]``, in the type of ``x``
    Raises:
        ShapeError, TypeError, ValueError: ``x`` has another shape, type, or other values.
    Example:
        >>> spikes = evidence_spikes(torch.tensor([[1.0, 0, 1, 1, 0, 1, 1]]), SampleGenerator(0, [0]))
        >>> [int(group.sum()) for group in spikes.split(GROUP, dim=2)]  # left, right, question, noise
        [98, 196, 45, 220]
    """
    if x.dim() != 2 or x.shape[1] != NUM_CUES:
        raise ShapeError(f"`x` must be cues [N, {NUM_CUES}], got {list(x.shape)}.")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"`x` must have the type float32 or float64, got {x.dtype}. Use x.float().")
    if not bool(((x == 0) | (x == 1)).all()):
        raise ValueError("`x` must be 0 for each cue on the left, and 1 for each on the right.")
    num_steps = NUM_CUES * (GAP + CUE) + DELAY + RECALL
    probability = x.new_zeros(num_steps, len(x), 4 * GROUP)
    for place, right in enumerate(x.t()[..., None]):  # [N, 1]
        during = probability[place * (GAP + CUE) + GAP : (place + 1) * (GAP + CUE)]
        during[..., :GROUP] = ACTIVE * (1 - right)
        during[..., GROUP : 2 * GROUP] = ACTIVE * right
    probability[-RECALL:, :, 2 * GROUP : 3 * GROUP] = ACTIVE
    probability[..., 3 * GROUP :] = NOISE
    drawn = random.rand_sequence(num_steps, [len(x), 4 * GROUP], x.device, x.dtype)
    return (drawn < probability).to(x)


DATASETS.register("evidence")(lambda data_dir, seed: evidence(seed=seed))
