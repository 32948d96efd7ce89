"""The STDP window: what a pair of spikes does to a weight, against the time between them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count
from spikeloom.learning.correlation import Synapse


def stdp_window(
    make: Callable[[str, Synapse, nn.Module], Any], reach: int = 50, weight: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Measure the window of a learner, by giving it one pair of spikes for each delay.

    Args:
        make: makes the learner, from step mode, synapse and neurons; it is given one synapse per delay.
        reach: the longest delay, in time steps.
        weight: of the synapses.
    Returns:
        the delays, from ``-reach`` (the neuron behind fires first) to ``reach``, int64; and the change of the
        weight for each, float64
    Raises:
        ValueError: ``reach`` is less than 1.
    Example:
        >>> from spikeloom.learning import STDPLearner, additive
        >>> factors = additive(a_plus=1.0, a_minus=0.5)
        >>> stdp_window(lambda *parts: STDPLearner(*parts, 2.0, 2.0, *factors), reach=2)
        (tensor([-2, -1,  0,  1,  2]), tensor([-0.1250, -0.2500,  0.5000,  0.5000,  0.2500], ...))
    """
    checked_count("reach", reach)
    num_steps = 2 * reach + 1
    synapse = nn.Linear(1, num_steps, bias=False, dtype=torch.float64)
    nn.init.constant_(synapse.weight, weight)
    neurons = nn.Identity()
    learner = make("m", synapse, neurons)
    before = torch.zeros(num_steps, 1, 1, dtype=torch.float64)  # [T, N, in]: fires in the middle
    before[reach] = 1
    synapse(before)
    neurons(torch.eye(num_steps, dtype=torch.float64)[:, None])  # [T, N, out]: neuron t fires at step t
    change = learner.step(on_grad=False)
    return torch.arange(-reach, reach + 1), change[:, 0]
