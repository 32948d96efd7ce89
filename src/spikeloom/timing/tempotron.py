"""The tempotron: a neuron that learns to fire, or not to, from the times of its input spikes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_inside
from spikeloom.errors import suggest
from spikeloom.timing.checks import check_weights
from spikeloom.timing.losses import one_hot
from spikeloom.timing.psp import DoubleExponential
from spikeloom.timing.spike_response.function import firing_times
from spikeloom.timing.spike_response.response import Settings, SpikeResponse
from spikeloom.timing.spikes import Spikes, check_patterns, list_spikes

RETURNS = ("v", "v_max", "spikes", "crossing")
WEIGHT, OTHER_WEIGHTS = "fc.weight", ("summation_layer.weight", "weight")  # names in checkpoints of others


def _mse_loss(v_max: Tensor, v_threshold: float, label: Tensor, num_classes: int) -> Tensor:
    """The squared distance to the threshold of each neuron that is on its wrong side.

    Neurons on the right side do not learn, however close they are; :func:`margin_loss` asks for more.
    Of a module, ``neuron.mse_loss(v_max, label)`` is enough.

    Args:
        v_max: largest potentials ``[N, num_classes]``.
        v_threshold: firing threshold.
        label: classes, int64 ``[N]``; only the neuron of its class should fire.
        num_classes: number of classes.
    Returns:
        a scalar, the mean over the samples
    Raises:
        ShapeError, ValueError: shapes or labels do not fit ``num_classes``.
    """
    if v_max.shape[-1] != num_classes:
        raise ValueError(
            f"`num_classes` must be that of `v_max`, {v_max.shape[-1]}, got {num_classes}. Make as many "
            "output neurons as there are classes."
        )
    wrong = (v_max >= v_threshold) != one_hot(v_max, label).bool()
    return ((v_max - v_threshold) * wrong).square().sum() / max(1, len(label))


class _StaticLoss:
    """A static method of four arguments, of which a module knows two, and takes the others alone."""

    def __init__(self, function: Callable[..., Tensor]):
        self.function, self.__doc__ = function, function.__doc__

    def __get__(self, module: "Tempotron | None", _kind: type) -> Callable[..., Tensor]:
        return self.function if module is None else partial(_loss_of, module)


def _loss_of(module: "Tempotron", v_max: Tensor, *others: Any, **named: Any) -> Tensor:
    if len(others) + len(named) == 1 and named.keys() <= {"label"}:
        label = named["label"] if named else others[0]
        return _mse_loss(v_max, module.v_threshold, label, module.out_features)
    return _mse_loss(v_max, *others, **named)


class Tempotron(nn.Module):
    r"""A layer of leaky integrate-and-fire neurons that decide by firing, or not, within a window of time.

    .. math:: V(t) = \sum_i w_i \sum_{t_i \le t} K(t - t_i),\quad
              K(t) = V_0 \left( e^{-t/\tau} - e^{-t/\tau_s} \right),\quad \max_t K(t) = V_{th}

    Each spike adds its weights to its time step, and the sum is filtered; so time and memory grow with the
    number of spikes, and not with inputs times ``T``. Spikes may come between time steps, and count exactly.
    Weights have gradients, and so have spike times between time steps.

    Args:
        in_features: number of inputs, each with one spike or none.
        out_features: number of neurons.
        T: time steps of the window; potentials are those at 0, 1, ..., T - 1.
        tau: decay time constant of the membrane, in time steps.
        tau_s: decay time constant of the synapse, in time steps; less than ``tau``.
        v_threshold: potential at which a neuron fires; greater than 0.
        shunt: whether a neuron takes no more input after the first time step at which it reaches the
            threshold, so that its potential decays; else every input counts.
    Shape:
        input ``[N, in_features]``: spike times from 0 to below ``T``, negative for no spike.
        Output by ``ret_type``: ``'v'`` potentials ``[N, out_features, T]``; ``'v_max'`` their maxima
        ``[N, out_features]``; ``'spikes'`` the time steps of the maxima, negative if the threshold is not
        reached; ``'crossing'`` the times at which the threshold is first reached, also between time steps
        and up to T - 1, or -1, without gradient.
    Raises:
        ValueError: a setting is out of range; a time is NaN or not before ``T``, or a pattern has no spike.
        ShapeError: the input has another shape.
    Differs from: SpikingJelly's up to 0.0.0.0.14, which returns NaN for spikes later than 332, drops
        dimensions of size 1, needs memory for ``N * in_features * T`` numbers, and has no ``'crossing'``.
    Source: Gütig & Sompolinsky, Nature Neuroscience 9, 2006.
    Example:
        >>> neuron = Tempotron(in_features=3, out_features=1, T=50)
        >>> _ = nn.init.constant_(neuron.fc.weight, 0.6)
        >>> pattern = torch.tensor([[0.0, 2.0, -1.0]])
        >>> [neuron(pattern, ret_type).item() for ret_type in ("v_max", "spikes")]
        [1.189..., 8.0]
        >>> neuron(pattern, "crossing")
        tensor([[4.6367]])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        T: int,
        tau: float = 15.0,
        tau_s: float = 15.0 / 4,
        v_threshold: float = 1.0,
        *,
        shunt: bool = False,
    ):
        super().__init__()
        self.in_features = checked_count("in_features", in_features)
        self.out_features = checked_count("out_features", out_features)
        self.T, self.shunt = checked_count("T", T), shunt
        self.v_threshold = float(checked_inside("v_threshold", v_threshold, 0))
        self.kernel = DoubleExponential(tau, tau_s, self.v_threshold)
        self.fc = nn.Linear(in_features, out_features, bias=False)
        self.register_load_state_dict_pre_hook(_take_other_names)

    def forward(self, in_spikes: Tensor, ret_type: str = "v_max") -> Tensor:
        if ret_type not in RETURNS:
            raise ValueError(
                f"`ret_type` must be one of {RETURNS}, got {ret_type!r}. {suggest(str(ret_type), RETURNS)}"
            )
        check_patterns(in_spikes, self.in_features, self.T)
        check_weights("weight", self.fc.weight)
        times = in_spikes.to(self.fc.weight.dtype)
        if ret_type == "crossing":
            return self._crossing(times)
        with torch.autocast(times.device.type, enabled=False):  # halves are too coarse for sums over time
            v = self._potential(times)
        if ret_type == "v":
            return v
        return v.max(-1).values if ret_type == "v_max" else self._peak_times(v)

    def _potential(self, times: Tensor) -> Tensor:
        """The potentials ``[N, out, T]``."""
        slow, fast = self._arriving(list_spikes(times), len(times))
        v = self.kernel.filter(slow, fast)
        if not self.shunt:
            return v
        fired = (v.detach() >= self.v_threshold).cumsum(-1)
        taken = fired.cumsum(-1) <= 1  # up to the step at which the threshold is reached
        return self.kernel.filter(slow * taken, fast * taken)

    def _arriving(self, spikes: Spikes, num_samples: int) -> tuple[Tensor, Tensor]:
        """The weights that arrive at each time step ``[N, out, T]``, for the slow and the fast decay.

        A spike between two steps arrives at the next one, where either decay has reduced it already.
        """
        by_input = self.fc.weight.t().contiguous()  # [in, out]: a spike reads one row
        weights = by_input.index_select(0, spikes.source)  # [spikes, out]
        step = spikes.time.detach().ceil()
        late = step - spikes.time
        if not late.requires_grad and not bool(late.any()):
            both = self._binned(spikes.sample, step, weights, num_samples)
            return both, both
        slow = weights * (-late / self.kernel.tau).exp()[:, None]
        fast = weights * (-late / self.kernel.tau_s).exp()[:, None]
        bins = self._binned(spikes.sample, step, torch.cat([slow, fast], 1), num_samples)
        return bins[:, : self.out_features], bins[:, self.out_features :]

    def _binned(self, sample: Tensor, step: Tensor, weights: Tensor, num_samples: int) -> Tensor:
        """Weights ``[spikes, out]`` summed by sample and time step: ``[N, out, T]``."""
        width = self.T + 1  # a spike between T - 1 and T arrives after the window
        bins = weights.new_zeros(num_samples * width, weights.shape[1])
        bins = bins.index_add(0, sample * width + step.long(), weights)
        return bins.view(num_samples, width, weights.shape[1])[:, : self.T].transpose(1, 2)

    def _peak_times(self, v: Tensor) -> Tensor:
        """Time steps of the maxima ``[N, out]``, negative below the threshold; the gradient is that of a
        softmax over time."""
        v_max, peak = v.max(-1)
        steps = torch.arange(self.T, device=v.device, dtype=v.dtype)
        soft = ((v * self.T).softmax(-1) * steps).sum(-1)
        silent = v_max < self.v_threshold
        time = peak.to(v.dtype) + (soft - soft.detach())
        return torch.where(silent, torch.where(peak == 0, -1.0, -time), time)  # -0 would be a spike

    @torch.no_grad()
    def _crossing(self, times: Tensor) -> Tensor:
        tau, tau_s = self.kernel.tau, self.kernel.tau_s
        response = SpikeResponse(tau, tau_s, self.v_threshold, self.T, self.v_threshold)
        weight = self.fc.weight.t().double() * (self.kernel.scale * (tau / tau_s - 1))  # [in, out]
        arrivals = torch.where(times < 0, torch.inf, times.double())
        found = firing_times(arrivals, weight, response, Settings("Tempotron", 1.0, 0.0, "auto")).time[..., 0]
        return torch.where(found > self.T - 1, -1.0, found).to(times.dtype)

    @staticmethod
    def psp_kernel(t: Tensor, tau: float, tau_s: float) -> Tensor:
        """``exp(-t / tau) - exp(-t / tau_s)``, not scaled; 0 before the spike, at ``t < 0``."""
        t = t.clamp(min=0)
        return (-t / tau).exp() - (-t / tau_s).exp()

    mse_loss = _StaticLoss(_mse_loss)

    def extra_repr(self) -> str:
        kernel = self.kernel
        shunt = ", shunt=True" if self.shunt else ""
        return f"T={self.T}, tau={kernel.tau}, tau_s={kernel.tau_s}, v_threshold={self.v_threshold}{shunt}"


def _take_other_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load checkpoints that name the weight otherwise."""
    for name in OTHER_WEIGHTS:
        if prefix + name in state and prefix + WEIGHT not in state:
            state[prefix + WEIGHT] = state.pop(prefix + name)
