"""Delta modulation: a spike says that a signal has changed."""

from typing import Literal

import torch
from torch import Tensor

from spikeloom.checks import checked_inside, checked_number
from spikeloom.encoding.values import check_finite
from spikeloom.memory import MemoryModule


class DeltaEncoder(MemoryModule):
    r"""A signal becomes spikes where it has changed by a threshold: 1 where it rose, -1 where it fell.

    .. math:: s_t = [x_t - r_t \ge \theta] - [x_t - r_t \le -\theta],\quad
              r_{t+1} = r_t + \theta s_t \;\text{(spikes)},\quad r_{t+1} = x_t \;\text{(step)}

    With ``reference='spikes'`` slow changes add up, and :meth:`decode` gives the signal back, good to the
    threshold, as long as it changes by no more than that in a step. With ``'step'`` only changes from one
    time step to the next count. Spikes carry no gradient.

    Args:
        threshold: the change that is worth a spike, in the signal's unit.
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

    value: Tensor | float | None

    def __init__(
        self,
        threshold: float = 0.1,
        signed: bool = True,
        reference: Literal["spikes", "step"] = "spikes",
        start: float | None = None,
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        self.threshold = checked_inside("threshold", threshold, 0)
        if reference not in ("spikes", "step"):
            raise ValueError(f"`reference` must be 'spikes' or 'step', got {reference!r}.")
        self.signed, self.reference = bool(signed), reference
        self.register_memory("value", None if start is None else checked_number("start", start))

    def decode(self, spikes: Tensor, start: float | Tensor = 0.0) -> Tensor:
        """The signal that spikes ``[T, N, *]`` tell of, if a spike says one threshold.

        Args:
            spikes: as the encoder gave them.
            start: the first reference, a number or ``[N, *]``.
        """
        return start + self.threshold * spikes.cumsum(0)

    @torch.no_grad()
    def single_step_forward(self, x: Tensor) -> Tensor:
        check_finite(x)
        reference = x if self.value is None else self.value
        change = x - reference
        spike = (change >= self.threshold).to(x.dtype)
        if self.signed:
            spike -= (change <= -self.threshold).to(x.dtype)
        self.value = x.clone() if self.reference == "step" else reference + self.threshold * spike
        return spike

    def extra_repr(self) -> str:
        return (
            f"threshold={self.threshold:g}, signed={self.signed}, reference={self.reference!r}, "
            f"start={self.get_reset_value('value')}, step_mode={self.step_mode!r}"
        )
