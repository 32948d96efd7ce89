"""Spike-timing-dependent plasticity of pairs of spikes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.learning.correlation import Synapse, correlate
from spikeloom.learning.learner import Modulation, SynapseLearner, identity, in_full
from spikeloom.learning.traces import euler_decay, trace_sequence


class STDPLearner(SynapseLearner):
    r"""Pair STDP: a spike of the neuron behind a synapse strengthens it by how recently the neuron before it
    has fired, and the reverse weakens it.

    .. math:: r_t = r_{t-1} - r_{t-1}/\tau_{pre} + s^{pre}_t,\quad o_t = o_{t-1} - o_{t-1}/\tau_{post} +
              s^{post}_t,\\
              \Delta w_{ij} = f_{post}(w_{ij}) \sum_{t,n} r_{t,j} s^{post}_{t,i}
              - f_{pre}(w_{ij}) \sum_{t,n} o_{t,i} s^{pre}_{t,j}

    The traces take this step's spikes before the weight changes, so two spikes in the same step strengthen
    and weaken. The change is a sum over the batch, not a mean. ``f_pre`` and ``f_post`` are those of the
    weight at the time of :meth:`step`; as they are by default, a weight of 0 stays 0, and a negative one has
    both effects turned round. :func:`additive` and :func:`soft_bounds` make others.

    Run the network, then call :meth:`step`, then the optimiser: plain ``SGD``, without momentum, makes the
    weight change by the learning rate times :math:`\Delta w`. All steps that were run since the last
    :meth:`step` count.

    Args:
        step_mode, synapse, sn: as for :class:`SynapseLearner`.
        tau_pre: time constant of the trace before the synapse, in time steps; 1 or more.
        tau_post: of the trace behind it.
        f_pre: factor of the weakening: of the weight, the same shape or a number.
        f_post: factor of the strengthening.
        nearest: whether a spike sees only the last spike on the other side, not the sum over all.
    Attributes:
        trace_pre, trace_post: the traces after the last step; ``None`` after :meth:`reset`.
    Shape:
        input of the synapse ``[N, *]`` (``'s'``) or ``[T, N, *]`` (``'m'``); of one sample ``[*]`` too
        (``'s'``).
    Raises:
        SpikeloomError: :meth:`step` is called, but the network has not run.
        ShapeError: the spikes before and behind do not belong together, or do not fit the traces.
    Differs from: SpikingJelly's, whose ``trace_pre`` of a convolution includes the padding, and whose
        ``step`` does nothing if the network has not run.
    Source: Morrison, Diesmann & Gerstner, Phenomenological models of synaptic plasticity based on spike
        timing, Biological Cybernetics 2008.
    Example:
        >>> from spikeloom import layer, neuron
        >>> net = nn.Sequential(layer.Linear(2, 1, bias=False), neuron.IFNode())
        >>> _ = net[0].weight.data.fill_(1.0)
        >>> learner = STDPLearner("s", net[0], net[1], tau_pre=2.0, tau_post=2.0)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> _ = net(torch.tensor([[1.0, 0.0]]))  # the first input fires, and the neuron with it
        >>> _ = net(torch.tensor([[0.0, 1.0]]))  # then the second, and the neuron again
        >>> learner.step(); optimizer.step()
        >>> net[0].weight.detach()  # the first came before the second output spike as well
        tensor([[1.0500, 0.9500]])
    """

    trace_pre: Tensor | None
    trace_post: Tensor | None

    def __init__(
        self,
        step_mode: str,
        synapse: Synapse,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        f_pre: Modulation = identity,
        f_post: Modulation = identity,
        *,
        nearest: bool = False,
    ):
        euler_decay("tau_pre", tau_pre)
        euler_decay("tau_post", tau_post)
        super().__init__(step_mode, synapse, sn, f_pre, f_post)
        self.tau_pre, self.tau_post = tau_pre, tau_post
        self.nearest = nearest
        self.register_memory("trace_pre", None)
        self.register_memory("trace_post", None)

    @torch.no_grad()
    def step(self, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """Learn from the spikes since the last step.

        Args:
            on_grad: whether the weight change goes, negated, into the gradient of the weight; else it is
                returned, and the weight stays.
            scale: factor of the change.
        Returns:
            the change, as the weight, with ``on_grad=False``; nothing while the learner is disabled
        """
        spikes = self._take_spikes(scale)
        if spikes is None:
            return None
        self.trace_pre, self.trace_post, change = stdp_multi_step(
            self.synapse,
            *spikes,
            self._started("trace_pre", spikes[0][0]),
            self._started("trace_post", spikes[1][0]),
            self.tau_pre,
            self.tau_post,
            self.f_pre,
            self.f_post,
            nearest=self.nearest,
        )
        return self._give(change * scale, on_grad)


@torch.no_grad()
def stdp_multi_step(
    layer: Synapse,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Any,
    trace_post: Any,
    tau_pre: float,
    tau_post: float,
    f_pre: Callable[[Tensor], Any] = identity,
    f_post: Callable[[Tensor], Any] = identity,
    *,
    nearest: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The weight change of :class:`STDPLearner` for a whole sequence: two filtered sequences, and one matrix
    product, or convolution, each.

    Args:
        layer: the synapse; only its weight and its geometry are used.
        in_spike, out_spike: spikes before and behind it, time first.
        trace_pre, trace_post: traces before the first step; ``None`` is 0.
        tau_pre, tau_post, f_pre, f_post, nearest: as for :class:`STDPLearner`.
    Shape:
        spikes ``[T, N, *]``, traces ``[N, *]``.
    Returns:
        the traces before and behind after the last step, and the change, as the weight
    """
    weight = in_full(layer.weight)
    traces = [
        trace_sequence(spikes, _as_trace(start, spikes[0]), euler_decay(name, tau), nearest)
        for name, tau, spikes, start in (
            ("tau_pre", tau_pre, in_spike.to(weight), trace_pre),
            ("tau_post", tau_post, out_spike.to(weight), trace_post),
        )
    ]
    stronger = correlate(layer, traces[0], out_spike.to(weight))
    weaker = correlate(layer, in_spike.to(weight), traces[1])
    change = f_post(weight) * stronger - f_pre(weight) * weaker
    return traces[0][-1].clone(), traces[1][-1].clone(), change.to(layer.weight.dtype)


def stdp_single_step(
    layer: Synapse, in_spike: Tensor, out_spike: Tensor, *arguments: Any, **settings: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`stdp_multi_step` of one time step: spikes ``[N, *]``, and the other arguments as there."""
    return stdp_multi_step(layer, in_spike[None], out_spike[None], *arguments, **settings)


def stdp_linear_single_step(
    fc: Synapse, in_spike: Tensor, out_spike: Tensor, *arguments: Any, **settings: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`stdp_single_step` with the argument's name of older scripts."""
    return stdp_single_step(fc, in_spike, out_spike, *arguments, **settings)


def stdp_conv2d_single_step(
    conv: Synapse, in_spike: Tensor, out_spike: Tensor, *arguments: Any, **settings: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`stdp_single_step` with the argument's name of older scripts."""
    return stdp_single_step(conv, in_spike, out_spike, *arguments, **settings)


stdp_conv1d_single_step = stdp_conv2d_single_step


def _as_trace(start: Any, step: Tensor) -> Tensor | None:
    """A trace as a tensor; functions take 0.0 too."""
    return None if start is None else torch.as_tensor(start).to(step).expand_as(step)
