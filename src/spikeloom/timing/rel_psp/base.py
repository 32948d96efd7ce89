"""What layers of ReL-PSP neurons share: settings, initial weights, the check of their input."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

from spikeloom.checks import checked_inside, checked_part, checked_range
from spikeloom.errors import BackendError, ShapeError
from spikeloom.loom import checked_backend
from spikeloom.timing.checks import check_weights, check_window
from spikeloom.timing.rel_psp.function import Settings, firing_times
from spikeloom.timing.rel_psp.geometry import Geometry
from spikeloom.timing.spike_response.response import Fired


class ReLPSP(nn.Module):
    """The base of :class:`ReLPSPLinear` and :class:`ReLPSPConv2d`; see there."""

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        T: float,
        v_threshold: float,
        bias: bool,
        extrapolate: bool,
        wake: float,
        wake_rate: float,
        min_slope: float | None,
        backend: str,
    ):
        super().__init__()
        self.T = float(checked_inside("T", T, 0))
        self.v_threshold = float(checked_inside("v_threshold", v_threshold, 0))
        least = self.v_threshold / self.T if min_slope is None else min_slope
        self.min_slope = float(checked_inside("min_slope", least, 0))
        self.extrapolate, self.backend = extrapolate, checked_backend(backend)
        self.wake = float(checked_range("wake", wake, 0))
        self.wake_rate = float(checked_range("wake_rate", wake_rate, 0, 1))
        self._shape = weight_shape
        self.weight = nn.Parameter(torch.empty(weight_shape))
        self.bias = nn.Parameter(torch.empty(weight_shape[0])) if bias else None
        self.reset_parameters()

    def reset_parameters(self, active: float = 1.0, spread: float = 0.1, delay: float | None = None) -> None:
        r"""Draw the weights so that neurons fire at first.

        .. math:: w \sim \mathcal{N}\left( \mu, \sigma^2 \right),\quad \mu = \frac{\theta}{d\, a n},\quad
                  \sigma = s \frac{\theta}{d \sqrt{a n}}

        With mean 0, half of the potentials would fall: such a neuron never fires, and so never learns. With
        this mean, a neuron fires a time :math:`d` after :math:`a n` of its :math:`n` inputs have come.
        The smaller :math:`s`, the more alike are the times of a layer's neurons, so deep networks want more
        than the default; the larger, the more neurons never fire.

        Args:
            active: the part of the inputs that spike, over 0 and up to 1.
            spread: standard deviation of the slope with all these inputs, against its mean; at least 0.
            delay: the time :math:`d`; a quarter of the window by default.
        Raises:
            ValueError: one of them is out of range.
        """
        delay = self.T / 4 if delay is None else delay
        checked_part("active", active)
        checked_range("spread", spread, 0)
        checked_inside("delay", delay, 0)
        inputs, slope = active * self.weight[0].numel(), self.v_threshold / delay
        nn.init.normal_(self.weight, slope / inputs, spread * slope / math.sqrt(inputs))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, times: Tensor) -> Tensor:
        out = self.fire(times).time
        if not self.extrapolate:
            return out
        with torch.autocast(times.device.type, enabled=False):
            late = self.T * (2 - self._end_potential(times.to(out.dtype)) / self.v_threshold)
            return torch.where(out < 0, late, out)

    def fire(self, times: Tensor) -> Fired:
        """The times that ``forward`` gives without ``extrapolate``, and the slopes of the potentials then,
        without gradient; 0 for no spike."""
        self._check(times)
        wake = self.wake if self.training else 0.0
        settings = Settings(self.v_threshold, self.T, self.min_slope, wake, self.wake_rate)
        with torch.autocast(times.device.type, enabled=False):  # halves are too coarse for times
            times, weight = times.to(self.weight.dtype), self.weight.flatten(1).t()
            bias = None if self.bias is None else self.bias.to(weight.dtype)
            flat, geometry = self._flatten(times)
            fired = firing_times(flat, weight, bias, geometry, settings, self.backend)
            return Fired(*(self._arrange(one, times, geometry) for one in fired))

    def _end_potential(self, times: Tensor) -> Tensor:
        """The potentials at the end of the window, as if no neuron had fired."""
        lasting = torch.where(times < 0, 0.0, self.T - times)
        return self._sum(lasting, None if self.bias is None else self.bias.to(times.dtype) * self.T)

    def _check(self, times: Tensor) -> None:
        """Refuse a wrong shape, times that are none, and weights that the loops cannot run with."""
        self._check_shape(times)
        weights = [("weight", self.weight, self._shape)]
        if self.bias is not None:
            weights.append(("bias", self.bias, self._shape[:1]))
        for name, one, shape in weights:
            if one.shape != shape:
                raise ShapeError(
                    f"`{name}` must be {list(shape)}, got {list(one.shape)}. Make a layer of another size."
                )
        if torch.compiler.is_compiling():
            return
        if any(map(is_functorch_wrapped_tensor, (times, *self.parameters()))):
            raise BackendError(
                "A ReL-PSP layer cannot run within a transformation of torch.func (vmap, grad). Give samples "
                "as a batch, and take torch.autograd.grad."
            )
        check_window(times, self.T)
        for name, one, _shape in weights:
            check_weights(name, one)

    @abstractmethod
    def _check_shape(self, times: Tensor) -> None: ...

    @abstractmethod
    def _flatten(self, times: Tensor) -> tuple[Tensor, Geometry]:
        """The times as ``[N, inputs]``, and which input reaches which neuron."""

    @abstractmethod
    def _arrange(self, fired: Tensor, times: Tensor, geometry: Geometry) -> Tensor:
        """What was found for each neuron, ``[N, positions, out]``, in the shape of the output."""

    @abstractmethod
    def _sum(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """What an ordinary layer with these weights computes."""

    def _settings(self) -> str:
        return f"T={self.T:g}, v_threshold={self.v_threshold:g}, bias={self.bias is not None}"
