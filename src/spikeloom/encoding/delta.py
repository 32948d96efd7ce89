"""Delta modulation: a spike says that a signal has changed."""

from typing import Any, Literal

import torch
from torch import Tensor

from spikeloom.checks import check_tensor, checked_inside, checked_number, checked_range, shown
from spikeloom.encoding.values import check_finite, in_floating_point, output_type
from spikeloom.errors import ShapeError, describe
from spikeloom.loom.select import broadcasts
from spikeloom.memory import MemoryModule


class DeltaEncoder(MemoryModule):
    r"""A signal becomes spikes where it has changed by a threshold: 1 where it rose, -1 where it fell.

    .. math:: s_t = [x_t - r_t \ge \theta] - [x_t - r_t \le -\theta],\quad
              r_{t+1} = r_t + \theta s_t \;\text{(spikes)},\quad r_{t+1} = x_t \;\text{(step)}

    With ``reference='spikes'`` slow changes add up, and :meth:`decode` gives the signal back, good to the
    threshold, as long as it changes by no more than that in a step. With ``'step'`` only changes from one
    time step to the next count. Spikes carry no gradient.

    Memories: ``value``, what the next value is compared with, and ``lost``, what its sum has rounded off.

    Args:
        threshold: the change that is worth a spike, in the signal's unit: a number, or a tensor that
            broadcasts against a time step (kept as a buffer), such as one for each feature.
        signed: whether falls spike too, as -1; without it only rises do.
        reference: what a value is compared with: what the spikes so far say, or the last time step's value.
        start: the first reference; ``None`` is the first value, so that the first time step has no spikes.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step), a signal that changes over time;
        output the same, values in {-1, 0, 1}, in the input's type (integers: the default type).
    Raises:
        ValueError: a value is not finite, ``threshold`` is not positive and finite, or another setting is
            wrong.
        ShapeError: ``threshold`` does not broadcast against a time step.
    Source: Petro, Kasabov & Kiss, IEEE Trans. Neural Netw. Learn. Syst. 31(2), 2020, which compares such
        codes: ``'spikes'`` is their step-forward encoding.
    Example:
        >>> signal = torch.tensor([1.0, 1.5, 2.0, 2.0, 1.0, 0.0])
        >>> encoder = DeltaEncoder(threshold=1.0, step_mode="m")
        >>> spikes = encoder(signal)
        >>> spikes
        tensor([ 0.,  0.,  1.,  0., -1., -1.])
        >>> encoder.decode(spikes, start=1.0)
        tensor([1., 1., 2., 2., 1., 0.])
        >>> DeltaEncoder(threshold=1.0, reference="step", step_mode="m")(signal)
        tensor([ 0.,  0.,  0.,  0., -1., -1.])
    """

    threshold: Tensor | float
    value: Tensor | float | None
    lost: Tensor | float

    def __init__(
        self,
        threshold: float | Tensor = 0.1,
        signed: bool = True,
        reference: Literal["spikes", "step"] = "spikes",
        start: float | None = None,
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        threshold = checked_inside("threshold", threshold, 0)
        if isinstance(threshold, Tensor):
            self.register_buffer("threshold", threshold.detach(), persistent=False)
        else:
            self.threshold = threshold
        if reference not in ("spikes", "step"):
            raise ValueError(f"`reference` must be 'spikes' or 'step', got {reference!r}.")
        self.signed, self.reference = bool(signed), reference
        first = None if start is None else checked_range("start", checked_number("start", start))
        self.register_memory("value", first)
        self.register_memory("lost", 0.0)

    def decode(self, spikes: Tensor, start: float | Tensor | None = None) -> Tensor:
        """The signal that spikes ``[T, N, *]`` tell of, if a spike says one threshold; in their type.

        Args:
            spikes: as the encoder gave them.
            start: the first reference, a number or ``[N, *]``; default: that of the encoder, or else 0.
        Raises:
            ShapeError: ``start`` does not broadcast against a time step of ``spikes``.
        """
        check_tensor("spikes", spikes)
        if start is None:
            start = self.get_reset_value("value") or 0.0
        if isinstance(start, Tensor) and not broadcasts(start.shape, spikes.shape[1:]):
            raise ShapeError(
                f"`start` must be a number or like one time step of `spikes`, {list(spikes.shape[1:])}, got "
                f"{list(start.shape)}. Of a signal [T, N, *] take the first step, signal[0]."
            )
        count = in_floating_point(spikes).cumsum(0)
        return (start + self._threshold_for(count) * count).to(output_type(spikes))

    @torch.no_grad()
    def single_step_forward(self, x: Tensor) -> Tensor:
        check_finite(x)
        threshold = self._threshold_for(x)
        reference = x if self.value is None else self.value
        change = x - reference
        spike = (change >= threshold).to(x.dtype)
        if self.signed:
            spike -= (change <= -threshold).to(x.dtype)
        if self.reference == "step":
            self.value = x.clone()
        else:  # Kahan's summation: without what was rounded off, the references of long signals drift away
            step = threshold * spike - self.lost
            self.value = value = reference + step
            self.lost = (value - reference) - step
        return spike

    def _threshold_for(self, x: Tensor) -> Any:
        """The threshold, on the device and in the type of ``x``."""
        if not isinstance(self.threshold, Tensor):
            return self.threshold
        if not broadcasts(self.threshold.shape, x.shape):
            raise ShapeError(
                f"{describe(self)} has a `threshold` of shape {list(self.threshold.shape)}, which does not "
                f"broadcast against values of shape {list(x.shape)}."
            )
        return self.threshold.to(x)

    def extra_repr(self) -> str:
        return (
            f"threshold={shown(self.threshold)}, signed={self.signed}, reference={self.reference!r}, "
            f"start={self.get_reset_value('value')}, step_mode={self.step_mode!r}"
        )
