"""The postsynaptic potential: how one spike moves the potential of the neuron that receives it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeloom.checks import checked_inside

CHUNK = 128  # time steps that one matrix product filters


@dataclass(frozen=True)
class DoubleExponential:
    r"""A postsynaptic potential that rises with ``tau_s``, decays with ``tau``, and peaks at ``peak``.

    .. math:: K(t) = V_0 \left( e^{-t/\tau} - e^{-t/\tau_s} \right),\; t \ge 0;\qquad
              t_{peak} = \frac{\tau \tau_s}{\tau - \tau_s} \ln \frac{\tau}{\tau_s}

    It is the difference of two leaky sums, so a train of spikes is filtered in time that does not depend on
    the number of spikes, and exactly: a spike between two time steps counts at the next one with what has
    decayed since.

    Args:
        tau: decay time constant of the membrane, in time steps.
        tau_s: decay time constant of the synapse, in time steps; less than ``tau``.
        peak: largest value.
    Raises:
        ValueError: a value is not positive, or ``tau_s`` is not less than ``tau``.
    Source: Gütig & Sompolinsky, Nature Neuroscience 9, 2006.
    Example:
        >>> kernel = DoubleExponential(tau=15.0, tau_s=3.75)
        >>> round(kernel.peak_time, 4), round(kernel.scale, 4)
        (6.9315, 2.1165)
        >>> kernel(torch.tensor([-1.0, 0.0, kernel.peak_time, 30.0]))
        tensor([0.0000, 0.0000, 1.0000, 0.2857])
    """

    tau: float = 15.0
    tau_s: float = 15.0 / 4
    peak: float = 1.0

    def __post_init__(self) -> None:
        for name in ("tau", "tau_s", "peak"):
            object.__setattr__(self, name, float(checked_inside(name, getattr(self, name), 0)))
        if self.tau_s >= self.tau:
            raise ValueError(f"`tau_s` must be less than `tau`, got {self.tau_s} and {self.tau}.")
        if self.tau - self.tau_s < 1e-3 * self.tau:
            raise ValueError(
                f"`tau_s` must differ from `tau` by a thousandth or more, got {self.tau_s} and {self.tau}: "
                "the difference of two exponentials that are nearly alike is inaccurate."
            )

    @property
    def peak_time(self) -> float:
        """When the largest value is reached, in time steps after the spike."""
        return self.tau * self.tau_s / (self.tau - self.tau_s) * math.log(self.tau / self.tau_s)

    @property
    def scale(self) -> float:
        """``V_0``, which makes the largest value ``peak``."""
        return self.peak / (math.exp(-self.peak_time / self.tau) - math.exp(-self.peak_time / self.tau_s))

    def __call__(self, t: Tensor) -> Tensor:
        """The potential ``t`` time steps after a spike; 0 before it."""
        t = t.clamp(min=0)  # before the spike the exponentials would overflow
        return self.scale * ((-t / self.tau).exp() - (-t / self.tau_s).exp())

    def filter(self, slow: Tensor, fast: Tensor) -> Tensor:
        """The potential at each time step, from what arrives at each.

        Args:
            slow, fast: arriving weights ``[*, T]``, for the decay with ``tau`` and with ``tau_s``.
        Returns:
            ``[*, T]``
        """
        return self.scale * (leaky_sum(slow, self.tau) - leaky_sum(fast, self.tau_s))


def leaky_sum(x: Tensor, tau: float) -> Tensor:
    r"""``y[t] = exp(-1/tau) y[t-1] + x[t]`` over the last dimension, as matrix products over chunks of time.

    Example:
        >>> leaky_sum(torch.tensor([1.0, 0.0, 0.0, 1.0]), tau=1.0)
        tensor([1.0000, 0.3679, 0.1353, 1.0498])
    """
    steps = torch.arange(min(CHUNK, x.shape[-1]) + 1, device=x.device)
    decay = (-steps.double() / tau).exp().to(x.dtype)  # [chunk + 1]
    lag = steps[None, :-1] - steps[:-1, None]
    matrix = decay[lag.clamp(min=0)].triu()  # [chunk, chunk]
    carry, parts = torch.zeros_like(x[..., :1]), []
    for part in x.split(CHUNK, -1):
        length = part.shape[-1]
        part = part @ matrix[:length, :length] + carry * decay[1 : length + 1]
        carry = part[..., -1:]
        parts.append(part)
    return torch.cat(parts, -1)
