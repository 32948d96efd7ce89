"""What layers of leaky neurons in continuous time share, and those that fire."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_inside, checked_range
from spikeloom.loom import checked_backend
from spikeloom.loom.backends import ON_CPU
from spikeloom.timing.checks import check_times, check_weights
from spikeloom.timing.spike_response.function import by_arrival, firing_times
from spikeloom.timing.spike_response.response import Fired, Settings, SpikeResponse


class ContinuousLayer(nn.Module):
    """Neurons with a response to spikes, and ``terminals`` for each connection."""

    own_backends = ON_CPU
    unit = 1.0  # what a weight of 1 adds to the current

    def __init__(
        self, in_features: int, out_features: int, response: SpikeResponse, backend: str, *terminals: int
    ):
        super().__init__()
        self.in_features = checked_count("in_features", in_features)
        self.out_features = checked_count("out_features", out_features)
        self.response, self.backend = response, checked_backend(backend)
        self.weight = nn.Parameter(torch.empty(out_features, in_features, *terminals))
        self.reset_parameters()

    @property
    def T(self) -> float:
        """The end of the window."""
        return self.response.T

    @abstractmethod
    def reset_parameters(self) -> None: ...

    def terminals(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """When input spikes arrive ``[N, terminals * S]``, infinite for none, and the weights ``[terminals,
        out_features]``; in float64."""
        check_times(times, self.in_features, self.T)
        check_weights("weight", self.weight)
        weight = self.unit * self.weight.double().flatten(1).t()
        return self._arrivals(torch.where(times < 0, torch.inf, times.double())), weight.contiguous()

    def _arrivals(self, times: Tensor) -> Tensor:
        return times.flatten(1)

    def _typed(self, found: Tensor, times: Tensor) -> Tensor:
        return found.to(times.dtype if times.is_floating_point() else self.weight.dtype)

    @torch.no_grad()
    def potential(self, times: Tensor, at: Tensor) -> Tensor:
        """The potentials ``[N, out_features, len(at)]`` at the times ``at``, for figures."""
        arrivals, weight = self.terminals(times)
        fired = self._own_spikes(arrivals, weight)
        found = self.response.potential(arrivals, by_arrival(arrivals, weight), fired, at)
        return found.to(self.weight.dtype)

    def _own_spikes(self, arrivals: Tensor, _weight: Tensor) -> Tensor:
        return arrivals.new_zeros(len(arrivals), self.out_features, 0)

    def extra_repr(self) -> str:
        response = self.response
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, tau={response.tau:g}, "
            f"tau_s={response.tau_s:g}, T={response.T:g}"
        )


class FiringLayer(ContinuousLayer):
    """Neurons that fire."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        response: SpikeResponse,
        backend: str,
        *terminals: int,
        min_slope: float,
        wake: float,
    ):
        super().__init__(in_features, out_features, response, backend, *terminals)
        self.min_slope = float(checked_inside("min_slope", min_slope, 0))
        self.wake = float(checked_range("wake", wake, 0))

    def forward(self, times: Tensor) -> Tensor:
        return self.fire(times).time

    def fire(self, times: Tensor) -> Fired:
        """When neurons fire, ``extrapolate`` aside, and the slopes of the potentials then, without gradient;
        0 for no spike."""
        return self._fired(*self.terminals(times), times)

    def _fired(self, arrivals: Tensor, weight: Tensor, times: Tensor) -> Fired:
        """:meth:`fire` for ``times`` whose :meth:`terminals` are known."""
        fired = firing_times(arrivals, weight, self.response, self._settings())
        return Fired(*(self._typed(one.squeeze(2) if one.shape[2] == 1 else one, times) for one in fired))

    def _own_spikes(self, arrivals: Tensor, weight: Tensor) -> Tensor:
        return firing_times(arrivals, weight, self.response, self._settings()).time

    def _settings(self) -> Settings:
        wake = self.wake / self.unit if self.training else 0.0
        return Settings(type(self).__name__, self.min_slope, wake, self.backend)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, num_spikes={self.response.num_spikes}"
