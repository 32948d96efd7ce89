"""The constants of Diehl & Cook's network, in ms and mV; conductances in units of the leak conductance."""

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

NEVER = -(1 << 20)
"""Time step of the last spike of a neuron that has not fired yet."""
LONGEST = 255
"""Time steps of the longest delay that a synapse can have."""
_FORGOTTEN = 10  # time constants after which a trace, then 5e-5, counts as 0
_POSITIVE = ("dt", "shown", "intensity", "presentations")


class Population(NamedTuple):
    """A population's constants."""

    rest: float
    reset: float
    threshold: float
    """Without the adaptive part."""
    reversal: float
    """Of the inhibitory conductance; that of the excitatory one is 0 mV."""
    tau: float
    refractory: float


EXCITATORY = Population(-65.0, -65.0, threshold=-72.0, reversal=-100.0, tau=100.0, refractory=5.0)
INHIBITORY = Population(-60.0, -45.0, threshold=-40.0, reversal=-85.0, tau=10.0, refractory=2.0)


@dataclass(frozen=True, kw_only=True)
class DiehlCookConstants:
    """What can be changed, as the paper and its published code have it.

    Raises:
        ValueError: a number is negative, or 0 where it must not be; a count is no whole number; delays are
            too long; or a trace would be longer than the loop remembers spikes.
    Source: Diehl & Cook 2015, as for :class:`DiehlCook`.
    Example:
        >>> DiehlCookConstants(theta_plus=0.0).lateral  # without adaptive thresholds
        17.0
    """

    dt: float = 0.5
    """Time step."""
    relay: float = 10.4
    """Weight from an excitatory neuron to its inhibitory partner."""
    lateral: float = 17.0
    """Weight from an inhibitory neuron to every excitatory neuron but its partner."""
    theta_start: float = 20.0
    """Adaptive threshold of a new neuron, which makes the threshold -52 mV."""
    theta_plus: float = 0.05
    """Rise of the adaptive threshold at a spike."""
    tau_theta: float = 1e7
    """Time constant of its decay."""
    tau_pre: float = 20.0
    """Time constant of the trace of an input's spikes."""
    tau_post: float = 20.0
    """Time constant of the trace of a neuron's spikes that lowers weights."""
    tau_slow: float = 40.0
    """Time constant of the trace of a neuron's spikes that lets its next spike raise weights."""
    nu_pre: float = 1e-4
    """Learning rate at an input's spike."""
    nu_post: float = 1e-2
    """Learning rate at a neuron's spike."""
    w_max: float = 1.0
    """Largest weight."""
    total: float = 78.0
    """Sum of a neuron's weights at the start of each presentation."""
    max_delay: float = 10.0
    """Longest delay of a synapse; what would arrive after the pause is lost."""
    shown: float = 350.0
    """Time that a sample is shown."""
    pause: float = 150.0
    """Time without input after it."""
    tau_excitation: float = 1.0
    """Time constant of the excitatory conductances."""
    tau_inhibition: float = 2.0
    """Time constant of the inhibitory conductance."""
    intensity: int = 2
    """Factor of the inputs' rates in the first presentation of a sample; 1 more in each of the next."""
    min_spikes: int = 5
    """Spikes of all neurons together that end the presentations of a sample."""
    presentations: int = 20
    """Presentations of a sample at most."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            positive = field.name in _POSITIVE or field.name.startswith("tau")
            if not math.isfinite(value) or value < 0 or (positive and value == 0):
                rule = "greater than 0" if positive else "at least 0"
                raise ValueError(f"`{field.name}` must be a number {rule}, got {value}.")
            if isinstance(field.default, int) and value != int(value):
                raise ValueError(f"`{field.name}` must be a whole number, got {value}.")
        if self.steps(self.shown) < 1:
            raise ValueError(f"`shown` must be at least one time step, {self.dt} ms, got {self.shown}.")
        if self.steps(self.max_delay) > LONGEST:
            longest = f"{LONGEST * self.dt} ms, {LONGEST} time steps"
            raise ValueError(f"`max_delay` must be at most {longest}, got {self.max_delay}.")
        for name in ("tau_pre", "tau_post", "tau_slow"):
            if self.steps(_FORGOTTEN * getattr(self, name)) >= -NEVER:
                longest = -NEVER * self.dt / _FORGOTTEN
                raise ValueError(f"`{name}` must be less than {longest} ms, got {getattr(self, name)}.")

    def steps(self, time: float) -> int:
        """A time in time steps."""
        return round(time / self.dt)

    def keep(self, tau: float) -> float:
        """What remains after a time step of something that decays with time constant ``tau``."""
        return math.exp(-self.dt / tau)

    def mean(self, tau: float) -> float:
        """The mean over a time step of something that begins at 1 and decays with time constant ``tau``."""
        return tau / self.dt * -math.expm1(-self.dt / tau)

    def trace(self, tau: float) -> Tensor:
        """A trace by the time steps since the spike that set it to 1; the last value, 0, is for all later
        steps."""
        steps = torch.arange(self.steps(_FORGOTTEN * tau) + 1, dtype=torch.float64)
        values = torch.exp(-self.dt / tau * steps)
        values[-1] = 0
        return values.float()
