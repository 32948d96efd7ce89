"""Layers of leaky neurons in continuous time: those that fire, and those whose highest potential is read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_part, checked_range
from spikeloom.timing.spike_response.base import ContinuousLayer, FiringLayer
from spikeloom.timing.spike_response.function import highest_potentials
from spikeloom.timing.spike_response.response import SpikeResponse


class _Normal(ContinuousLayer):
    """Weights that are normal at first."""

    def reset_parameters(self, active: float = 1.0, drive: float = 2.0, spread: float = 1.0) -> None:
        r"""Draw the weights so that potentials rise at first: normal, with a mean above 0.

        Args:
            active: the part of the inputs that spike, over 0 and up to 1.
            drive: how high these inputs would raise a potential on average if they came all at once, in
                thresholds. Below 1 few neurons fire, and one that never fires has no gradient.
            spread: standard deviation of the weights, as a part of their mean; at least 0.
        Raises:
            ValueError: one of them is out of range.
        """
        checked_part("active", active)
        checked_range("drive", drive, 0)
        checked_range("spread", spread, 0)
        mean = drive * self.response.v_threshold / (active * self.in_features * self.response.peak)
        nn.init.normal_(self.weight, mean, spread * mean)


class EventProp(_Normal, FiringLayer):
    r"""A layer of leaky integrate-and-fire neurons in continuous time, which exchange spike times.

    .. math:: \tau \dot V = -V + I,\quad \tau_s \dot I = -I

    An input spike adds its weight to the current :math:`I`. When the potential :math:`V` reaches the
    threshold the neuron fires, and the threshold is taken off :math:`V`. There are no time steps: between two
    events both have a closed form, so spike times are exact, and so are their gradients. These follow the
    adjoint system backwards in time, from event to event, see ``gradients`` in ``function.py``; a spike at
    :math:`t_k`, where the current is :math:`I_k`, makes of the adjoint potential

    .. math:: \lambda_V \leftarrow \frac{I_k \lambda_V + \partial L / \partial t_k}{I_k - V_{th}}

    All times are in the same unit, such as milliseconds.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        tau: time constant of the membrane.
        tau_s: time constant of the synaptic current; it may equal ``tau``.
        v_threshold: potential at which a neuron fires.
        T: end of the window; no spike comes later.
        num_spikes: that a neuron may fire; after the last it is silent.
        extrapolate: whether a neuron that does not fire gets a time after the window,
            :math:`T (2 - V_{max} / V_{th})`, and so a gradient, from its highest potential; for the output
            neurons, with one spike.
        min_slope: where the potential crosses the threshold more slowly, gradients take this slope instead,
            in units of the potential per unit of time: one that just touches it would make them explode.
        wake: strength :math:`\lambda` of a pull on neurons that fire for no sample of a batch, and so have no
            gradient: in training, one of :math:`-\lambda / V_{th}` on the weight of each input, times the
            number of its spikes in a sample, on average. At least 0.
        backend: ``'numba'``, compiled, for tensors on the CPU; ``'torch'``; or ``'auto'``, the first where it
            can be.
    Shape:
        input: spike times ``[N, in_features]`` from 0 to ``T``, negative for no spike; or ``[N, in_features,
        S]`` of neurons with several spikes. Output ``[N, out_features, num_spikes]``, without the last
        dimension if ``num_spikes`` is 1; -1, without gradient, for no spike, unless ``extrapolate``.
        ``weight``: ``[out_features, in_features]``.
    Raises:
        ValueError: a setting is out of range; a time is NaN or later than ``T``.
        ShapeError: the input has another shape.
    Source: Wunderlich & Pehle, Sci. Rep. 11:12829, 2021. With ``num_spikes=1`` and a ``tau`` that is one or
        two times ``tau_s``, the neuron of Göltz, Kriener et al., Nat. Mach. Intell. 3, 2021.
    Example:
        >>> layer = EventProp(in_features=2, out_features=1, num_spikes=3)
        >>> _ = nn.init.constant_(layer.weight, 6.0)
        >>> layer(torch.tensor([[0.0, 2.0], [0.0, -1.0]]))
        tensor([[[ 3.3175,  7.7611, -1.0000]],
        <BLANKLINE>
                [[-1.0000, -1.0000, -1.0000]]], grad_fn=...)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        tau: float = 20.0,
        tau_s: float = 5.0,
        v_threshold: float = 1.0,
        T: float = 60.0,
        *,
        num_spikes: int = 1,
        extrapolate: bool = False,
        min_slope: float = 1e-3,
        wake: float = 0.0,
        backend: str = "auto",
    ):
        response = SpikeResponse(tau, tau_s, v_threshold, T, v_threshold, num_spikes)
        super().__init__(in_features, out_features, response, backend, min_slope=min_slope, wake=wake)
        self.extrapolate = extrapolate
        if extrapolate and num_spikes > 1:
            raise ValueError(
                f"`extrapolate` must be False with several spikes per neuron, got `num_spikes` {num_spikes}."
            )

    def forward(self, times: Tensor) -> Tensor:
        if not self.extrapolate:
            return super().forward(times)
        arrivals, weight = self.terminals(times)
        overridden = type(self).fire is not EventProp.fire
        out = (self.fire(times) if overridden else self._fired(arrivals, weight, times)).time
        v_max = highest_potentials(arrivals, weight, self.response, self.backend)
        late = self.T * (2 - v_max / self.response.v_threshold)
        return torch.where(out < 0, late.to(out.dtype), out)


class PeakPotential(_Normal):
    r"""A layer of leaky neurons that never fire, and whose highest potential is what they say.

    .. math:: \tau \dot V = -V + I,\quad \tau_s \dot I = -I,\quad y = \max_{0 \le t \le T} V(t)

    It reads a network of :class:`EventProp` layers: the highest potential has a gradient even where an output
    neuron would not fire, and names the class.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        tau: time constant of the membrane.
        tau_s: time constant of the synaptic current; it may equal ``tau``.
        T: end of the window.
        backend: as for :class:`EventProp`.
    Shape:
        input: spike times as for :class:`EventProp`. Output ``[N, out_features]``; 0, without gradient, where
        a potential never rises above 0. ``weight``: ``[out_features, in_features]``.
    Raises:
        ValueError: a setting is out of range; a time is NaN or later than ``T``.
        ShapeError: the input has another shape.
    Source: Wunderlich & Pehle, Sci. Rep. 11:12829, 2021.
    Example:
        >>> layer = PeakPotential(in_features=2, out_features=1)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> layer(torch.tensor([[0.0, 0.0], [0.0, -1.0]]))
        tensor([[0.3150],
                [0.1575]], grad_fn=...)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        tau: float = 20.0,
        tau_s: float = 5.0,
        T: float = 60.0,
        *,
        backend: str = "auto",
    ):
        response = SpikeResponse(tau, tau_s, 1.0, T, 1.0)
        super().__init__(in_features, out_features, response, backend)

    def forward(self, times: Tensor) -> Tensor:
        arrivals, weight = self.terminals(times)
        v_max = highest_potentials(arrivals, weight, self.response, self.backend)
        return self._typed(v_max, times)
