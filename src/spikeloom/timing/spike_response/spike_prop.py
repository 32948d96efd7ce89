"""SpikeProp: layers of neurons that fire at a time which has a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_part, checked_range
from spikeloom.timing.spike_response.base import FiringLayer
from spikeloom.timing.spike_response.response import SpikeResponse


class SpikeProp(FiringLayer):
    r"""A layer of spiking neurons that exchange spike times, with exact gradients of the times.

    .. math:: x_j(t) = \sum_{i,k} w_{jik}\, \varepsilon(t - t_i - d_k),\quad
              \varepsilon(s) = \frac{s}{\tau} e^{1 - s/\tau},\; s > 0

    Neuron :math:`j` fires at :math:`t_j`, when :math:`x_j` first reaches the threshold. By the implicit rule

    .. math:: \frac{\partial t_j}{\partial w_{jik}} =
              -\frac{\varepsilon(t_j - t_i - d_k)}{\dot x_j(t_j)},\quad
              \frac{\partial t_j}{\partial t_i} =
              \frac{\sum_k w_{jik}\, \dot\varepsilon(t_j - t_i - d_k)}{\dot x_j(t_j)}

    and each connection has one terminal per delay :math:`d_k`, with a weight of its own. Times are exact:
    between two arrivals the maximum of :math:`x` is known in closed form. All times are in the same unit,
    such as milliseconds.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        delays: of the terminals of each connection; ``n`` means ``1, 2, ..., n``, and 0 one without delay.
        tau: time constant; a response has its peak, which is 1, after this time.
        v_threshold: potential at which a neuron fires.
        T: end of the window; a neuron that has not fired by then is silent.
        min_slope: where :math:`\dot x_j(t_j)` is less, gradients take this instead: a potential that just
            touches the threshold would make them explode.
        wake: strength :math:`\lambda` of a pull on neurons that fire for no sample of a batch, and so have no
            gradient: in training, one of :math:`-\lambda / \theta` on the weights of each terminal, times the
            spikes of a sample, on average, that arrive there before ``T``. At least 0.
        num_spikes: that a neuron may fire. After the first, a refractory kernel matters.
        refractory: each spike of a neuron adds :math:`-R\, e^{-(t - t_j)/\tau}` to its own potential; this is
            ``R``. Default: the threshold, so that the potential falls to 0.
        backend: ``'numba'``, compiled, for tensors on the CPU; ``'torch'``; or ``'auto'``, the first where it
            can be.
    Shape:
        input: spike times ``[N, in_features]`` from 0 to ``T``, negative for no spike; or ``[N, in_features,
        S]`` for neurons with several spikes. Output ``[N, out_features]``, or with ``num_spikes > 1``
        ``[N, out_features, num_spikes]``; -1, without gradient, for no spike. ``weight``: ``[out_features,
        in_features, len(delays)]``, positive at first.
    Raises:
        ValueError: a setting is out of range; a time is NaN or later than ``T``.
        ShapeError: the input has another shape.
    Source: Bohte, Kok & La Poutré, Neurocomputing 48, 2002.
    Example:
        >>> layer = SpikeProp(in_features=2, out_features=1, delays=0, tau=5.0)
        >>> _ = nn.init.constant_(layer.weight, 0.8)
        >>> times = torch.tensor([[0.0, 1.0], [0.0, -1.0]], requires_grad=True)
        >>> layer(times)
        tensor([[ 2.1368],
                [-1.0000]], grad_fn=...)
        >>> layer(times)[0].backward(); times.grad[0]
        tensor([0.3776, 0.6224])
    """

    unit = math.e  # so that a response has the peak 1
    delays: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        delays: int | Sequence[float] = 16,
        tau: float = 7.0,
        v_threshold: float = 1.0,
        T: float = 40.0,
        *,
        min_slope: float = 0.1,
        wake: float = 0.0,
        num_spikes: int = 1,
        refractory: float | None = None,
        backend: str = "auto",
    ):
        refractory = v_threshold if refractory is None else refractory
        response = SpikeResponse(tau, tau, v_threshold, T, refractory, num_spikes)
        checked = _checked_delays(delays)
        super().__init__(
            in_features, out_features, response, backend, len(checked), min_slope=min_slope, wake=wake
        )
        self.register_buffer("delays", checked)

    def reset_parameters(self, active: float = 1.0, drive: float = 4.0) -> None:
        """Draw the weights so that neurons fire at first: uniform, from 0 on.

        Args:
            active: the part of the inputs that spike, over 0 and up to 1.
            drive: what the weights of these inputs add up to on average, in thresholds; the less, the later
                neurons fire, and below 1 they never do.
        Raises:
            ValueError: one of them is out of range.
        """
        checked_part("active", active)
        checked_range("drive", drive, 1)
        mean = drive * self.response.v_threshold / (active * self.weight[0].numel())
        nn.init.uniform_(self.weight, 0, 2 * mean)

    def _arrivals(self, times: Tensor) -> Tensor:
        times = times if times.dim() == 3 else times[..., None]  # [N, in, S]
        return (times[:, :, None] + self.delays[:, None]).flatten(1)  # of [N, in, K, S]

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, v_threshold={self.response.v_threshold:g}, terminals={len(self.delays)}"
        )


def _checked_delays(delays: int | Sequence[float]) -> Tensor:
    """The delays as a tensor; a count, or a sequence."""
    values = delays if not isinstance(delays, int) else list(range(1, delays + 1)) if delays else [0]
    found = torch.as_tensor(values, dtype=torch.get_default_dtype())
    if found.dim() != 1 or not len(found) or not bool(((found >= 0) & found.isfinite()).all()):
        raise ValueError(
            f"`delays` must be a count of at least 0, or a sequence of numbers of at least 0, got {delays}."
        )
    return found
