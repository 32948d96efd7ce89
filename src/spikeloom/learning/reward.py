"""Spike-timing-dependent plasticity that a reward turns into learning."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeloom.errors import ShapeError
from spikeloom.learning.correlation import Synapse, correlate
from spikeloom.learning.learner import Modulation, SynapseLearner, identity
from spikeloom.learning.traces import exponential_decay, trace_sequence


def takes_batch_size(init: Callable[..., None]) -> Callable[..., None]:
    """Let ``batch_size`` stand behind ``step_mode``, as in older scripts; it is not needed."""

    @functools.wraps(init)
    def with_batch_size(self: Any, step_mode: str, *arguments: Any, **settings: Any) -> None:
        settings.pop("batch_size", None)
        has_size = arguments and isinstance(arguments[0], int)
        init(self, step_mode, *(arguments[1:] if has_size else arguments), **settings)

    return with_batch_size


class RewardLearner(SynapseLearner):
    """What learners with a reward share: the two traces, and that a reward is for the step before.

    Args:
        step_mode, synapse, sn, tau_pre, tau_post, f_pre, f_post: as for :class:`MSTDPLearner`.
    """

    _step_modes = ("s",)
    REMEMBERED: ClassVar[tuple[str, ...]]
    """Memories beside the traces: what a reward is for."""
    trace_pre: Tensor | None
    trace_post: Tensor | None

    @takes_batch_size
    def __init__(
        self,
        step_mode: str,
        synapse: Synapse,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        f_pre: Modulation = identity,
        f_post: Modulation = identity,
    ):
        super().__init__(step_mode, synapse, sn, f_pre, f_post)
        self.tau_pre, self.tau_post = tau_pre, tau_post
        self._decays = exponential_decay("tau_pre", tau_pre), exponential_decay("tau_post", tau_post)
        for name in ("trace_pre", "trace_post", *self.REMEMBERED):
            self.register_memory(name, None)

    @torch.no_grad()
    def step(self, reward: float | Tensor, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """Learn from the spikes since the last step; of several time steps, each gets the same reward.

        Args:
            reward: for what happened before the last step.
            on_grad: whether the weight change goes, negated, into the gradient of the weight; else it is
                returned, and the weight stays.
            scale: factor of the change.
        Returns:
            the change, as the weight, with ``on_grad=False``; nothing while the learner is disabled
        """
        spikes = self._take_spikes(scale)
        if spikes is None:
            return None
        weight = self._weight
        reward = torch.as_tensor(reward, dtype=weight.dtype, device=weight.device)
        change = torch.zeros_like(weight)
        for pre, post in zip(*spikes, strict=True):
            starts = self._started("trace_pre", pre), self._started("trace_post", post)
            change += self._rewarded(reward, post)
            self.trace_pre, self.trace_post = (
                trace_sequence(step[None], start, decay)[0]
                for step, start, decay in zip((pre, post), starts, self._decays, strict=True)
            )
            self._remember(pre, post, self.trace_pre, self.trace_post)
        return self._give(change * scale, on_grad)

    def _rewarded(self, reward: Tensor, post: Tensor) -> Tensor:
        """The weight change by what was remembered."""
        raise NotImplementedError

    def _remember(self, pre: Tensor, post: Tensor, trace_pre: Tensor, trace_post: Tensor) -> None:
        """Keep what the next step's reward is for."""
        raise NotImplementedError


class MSTDPLearner(RewardLearner):
    r"""Reward-modulated STDP: what pair STDP would do in a step waits for the reward of the next one.

    .. math:: r_t = e^{-1/\tau_{pre}} r_{t-1} + s^{pre}_t,\quad o_t = e^{-1/\tau_{post}} o_{t-1} +
              s^{post}_t,\\
              e_t = f_{post}(w)\, s^{post}_t\, r_t - f_{pre}(w)\, o_t\, s^{pre}_t,\quad
              \Delta w = \sum_n R_{t,n}\, e_{t-1,n}

    The first step after :meth:`reset` changes nothing. :math:`e` is kept as its four factors, so it takes
    no memory of the size of batch times weight.

    Args:
        step_mode: ``'s'``: a reward belongs to a time step.
        synapse, sn: as for :class:`SynapseLearner`.
        tau_pre, tau_post: time constants of the traces before and behind the synapse, in time steps.
        f_pre, f_post: factors of the weakening and the strengthening, as for :class:`STDPLearner`.
    Shape:
        input of the synapse ``[N, *]`` or, of one sample, ``[*]``; reward ``[]`` or ``[N]``.
    Raises:
        SpikeloomError: :meth:`step` is called, but the network has not run.
        ShapeError: the spikes before and behind, or the rewards, do not belong together.
        ValueError: ``step_mode`` is not ``'s'``.
    Source: Florian, Reinforcement learning through modulation of spike-timing-dependent synaptic plasticity,
        Neural Computation 2007.
    Example:
        >>> from spikeloom import layer, neuron
        >>> net = nn.Sequential(layer.Linear(1, 1, bias=False), neuron.IFNode())
        >>> _ = net[0].weight.data.fill_(0.5)
        >>> learner = MSTDPLearner("s", *net, tau_pre=2.0, tau_post=2.0)
        >>> for reward in (0.0, 0.0, 1.0):
        ...     _ = net(torch.ones(1, 1))
        ...     change = learner.step(reward, on_grad=False)
        >>> change  # the second input made the neuron fire
        tensor([[0.3033]])
    """

    REMEMBERED = ("last",)
    last: tuple[Tensor, ...] | None

    def _rewarded(self, reward: Tensor, post: Tensor) -> Tensor:
        if reward.dim() and (reward.shape != post.shape[:1] or post.dim() < self.synapse.weight.dim()):
            raise ShapeError(
                f"`reward` must be a number or [N], one for each sample of spikes {list(post.shape)}, got "
                f"{list(reward.shape)}."
            )
        if self.last is None:
            return torch.zeros_like(self._weight)
        pre, post, trace_pre, trace_post, f_pre, f_post = self.last
        reward = reward.view(-1, *[1] * (post.dim() - 1)) if reward.dim() else reward
        stronger = correlate(self.synapse, trace_pre, reward * post)
        return f_post * stronger - f_pre * correlate(self.synapse, pre, reward * trace_post)

    def _remember(self, pre: Tensor, post: Tensor, trace_pre: Tensor, trace_post: Tensor) -> None:
        weight = self._weight.clone()
        self.last = pre, post, trace_pre, trace_post, self.f_pre(weight), self.f_post(weight)
