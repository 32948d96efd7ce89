"""One time step of reward-modulated STDP as a function, under the name and arguments that scripts know."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.learning.learner import identity
from spikeloom.learning.traces import exponential_decay


@torch.no_grad()
def mstdp_linear_single_step(
    fc: nn.Linear,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | float | None,
    trace_post: Tensor | float | None,
    tau_pre: float,
    tau_post: float,
    f_pre: Callable[[Tensor], Any] = identity,
    f_post: Callable[[Tensor], Any] = identity,
) -> tuple[Tensor, Tensor, Tensor]:
    """What :class:`MSTDPLearner` rewards: :math:`e_t` of each sample.

    Args:
        fc: the layer; only its weight is used.
        in_spike, out_spike: spikes before and behind it.
        trace_pre, trace_post: traces before the step; ``None`` is 0.
        tau_pre, tau_post, f_pre, f_post: as for :class:`MSTDPLearner`.
    Shape:
        spikes and traces ``[N, in]`` and ``[N, out]``, or of one sample ``[in]`` and ``[out]``.
    Returns:
        the traces before and behind after the step, and the eligibility ``[N, out, in]`` or ``[out, in]``
    """
    weight = fc.weight.detach()
    before = in_spike + exponential_decay("tau_pre", tau_pre) * (0.0 if trace_pre is None else trace_pre)
    behind = out_spike + exponential_decay("tau_post", tau_post) * (0.0 if trace_post is None else trace_post)
    stronger = f_post(weight) * (before.unsqueeze(-2) * out_spike.unsqueeze(-1))
    weaker = f_pre(weight) * (behind.unsqueeze(-1) * in_spike.unsqueeze(-2))
    return before, behind, stronger - weaker


def mstdpet_linear_single_step(
    fc: nn.Linear,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Tensor | float | None,
    trace_post: Tensor | float | None,
    tau_pre: float,
    tau_post: float,
    tau_trace: float,
    f_pre: Callable[[Tensor], Any] = identity,
    f_post: Callable[[Tensor], Any] = identity,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`mstdp_linear_single_step` of one sample. ``tau_trace`` is not used: it belongs to the
    eligibility trace of :class:`MSTDPETLearner`."""
    return mstdp_linear_single_step(
        fc, in_spike, out_spike, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post
    )
