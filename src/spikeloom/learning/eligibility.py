"""Reward-modulated plasticity with a memory of what a reward may still be for."""

import torch
from torch import Tensor, nn

from spikeloom.errors import ShapeError
from spikeloom.learning.correlation import Synapse, correlate
from spikeloom.learning.learner import Modulation, identity
from spikeloom.learning.reward import RewardLearner, takes_batch_size
from spikeloom.learning.traces import exponential_decay


class MSTDPETLearner(RewardLearner):
    r"""Reward-modulated STDP with an eligibility trace: a reward may come some steps late.

    With :math:`e_t` of :class:`MSTDPLearner`, summed over the batch,

    .. math:: z_t = e^{-1/\tau_{trace}} z_{t-1} + e_{t-1} / \tau_{trace},\quad \Delta w = R_t\, z_t

    Args:
        step_mode, synapse, sn, tau_pre, tau_post, f_pre, f_post: as for :class:`MSTDPLearner`.
        tau_trace: time constant of the eligibility trace, in time steps.
    Attributes:
        eligibility: :math:`e_t`, shaped as the weight.
        trace_e: :math:`z_t`.
    Shape:
        input of the synapse ``[N, *]`` or, of one sample, ``[*]``; reward ``[]``.
    Raises:
        SpikeloomError, ShapeError, ValueError: as for :class:`MSTDPLearner`.
    Source: Florian, Reinforcement learning through modulation of spike-timing-dependent synaptic plasticity,
        Neural Computation 2007.
    Example:
        >>> from spikeloom import layer, neuron
        >>> net = nn.Sequential(layer.Linear(1, 1, bias=False), neuron.IFNode())
        >>> _ = net[0].weight.data.fill_(0.5)
        >>> learner = MSTDPETLearner("s", *net, tau_pre=2.0, tau_post=2.0, tau_trace=10.0)
        >>> for reward in (0.0, 0.0, 1.0):
        ...     _ = net(torch.ones(1))
        ...     change = learner.step(reward, on_grad=False)
        >>> change
        tensor([[0.0303]])
    """

    REMEMBERED = ("eligibility", "trace_e")
    eligibility: Tensor | None
    trace_e: Tensor | None

    @takes_batch_size
    def __init__(
        self,
        step_mode: str,
        synapse: Synapse,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        tau_trace: float,
        f_pre: Modulation = identity,
        f_post: Modulation = identity,
    ):
        self._decay = exponential_decay("tau_trace", tau_trace)
        super().__init__(step_mode, synapse, sn, tau_pre, tau_post, f_pre, f_post)
        self.tau_trace = tau_trace

    def _rewarded(self, reward: Tensor, post: Tensor) -> Tensor:
        if reward.numel() != 1:
            raise ShapeError(
                f"`reward` of {type(self).__name__} must be one number, since its trace is the sum over the "
                f"batch, got {list(reward.shape)}. Give it one sample at a time, or use MSTDPLearner."
            )
        nothing = torch.zeros_like(self._weight)
        before = nothing if self.trace_e is None else self.trace_e
        new = nothing if self.eligibility is None else self.eligibility
        self.trace_e = before * self._decay + new / self.tau_trace
        return reward.reshape(()) * self.trace_e

    def _remember(self, pre: Tensor, post: Tensor, trace_pre: Tensor, trace_post: Tensor) -> None:
        weight = self._weight
        stronger = self.f_post(weight) * correlate(self.synapse, trace_pre, post)
        self.eligibility = stronger - self.f_pre(weight) * correlate(self.synapse, pre, trace_post)
