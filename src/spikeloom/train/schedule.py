"""Learning rates over a training, stepped once per step of the optimiser."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer: Optimizer, num_steps: int, num_warmup: int) -> LambdaLR:
    """The optimiser's learning rate is reached linearly, and then falls to 0 along half a cosine.

    Args:
        optimizer: its learning rate is the highest one.
        num_steps: of the whole training.
        num_warmup: steps until the highest rate, of these.
    Raises:
        ValueError: there are fewer steps than those of the warm-up, or none.
    """
    if not 0 <= num_warmup < num_steps:
        raise ValueError(
            f"`num_warmup` must be from 0 to `num_steps` - 1, got {num_warmup} of {num_steps} steps."
        )

    def factor(step: int) -> float:
        if step < num_warmup:
            return (step + 1) / (num_warmup + 1)
        return (1 + math.cos(math.pi * min(1.0, (step - num_warmup) / (num_steps - num_warmup)))) / 2

    return LambdaLR(optimizer, factor)
