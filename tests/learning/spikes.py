"""Spikes to learn from, and plasticity by its definition: a loop over pairs of spikes, in plain Python."""

import torch
from torch import Tensor, nn

from spikeloom import layer

WEIGHT = torch.tensor([[0.2, -0.4, 0.6], [0.5, 0.1, -0.3]])
PRE = torch.tensor(
    [
        [[1.0, 0, 0], [0, 1, 1]],
        [[0, 1, 0], [1, 1, 0]],
        [[1, 1, 0], [0, 0, 1]],
        [[0, 0, 1], [1, 0, 1]],
    ]
)
POST = torch.tensor([[[0.0, 1], [1, 0]], [[1, 0], [0, 0]], [[1, 1], [0, 1]], [[0, 1], [1, 1]]])


def pair_sums(pre: Tensor, post: Tensor, d_pre: float, d_post: float, nearest: bool) -> tuple[Tensor, Tensor]:
    """What strengthens and what weakens each weight ``[out, in]``, from spikes ``[T, N, in]``, ``[T, N,
    out]``."""
    stronger = torch.zeros(post.shape[2], pre.shape[2], dtype=torch.float64)
    weaker = torch.zeros_like(stronger)
    for n in range(pre.shape[1]):
        for i in range(post.shape[2]):
            for j in range(pre.shape[2]):
                before = pre[:, n, j].nonzero().flatten().tolist()
                behind = post[:, n, i].nonzero().flatten().tolist()
                stronger[i, j] += sum(_seen(t, before, d_pre, nearest) for t in behind)
                weaker[i, j] += sum(_seen(t, behind, d_post, nearest) for t in before)
    return stronger, weaker


def _seen(now: int, times: list[int], decay: float, nearest: bool) -> float:
    """What a spike at ``now`` sees of the spikes on the other side, up to now."""
    ages = [now - t for t in times if t <= now]
    return sum(decay**age for age in (ages[-1:] if nearest else ages))


def random_spikes(*shape: int, rate: float = 0.3, seed: int = 0) -> Tensor:
    """Random spikes of type float64."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).double()


def parts(step_mode="s", weight=WEIGHT):
    """A synapse, and neurons that fire what they are given."""
    fc = layer.Linear(weight.shape[1], weight.shape[0], bias=False, step_mode=step_mode).to(weight)
    fc.weight.data.copy_(weight)
    return fc, nn.Identity()


def show(fc, sn, pre, post):
    """Let spikes pass before and behind a synapse, as its step mode says."""
    if fc.step_mode == "m":
        fc(pre), sn(post)
    else:
        for before, behind in zip(pre, post, strict=True):
            fc(before), sn(behind)
