"""Delays of signals, in time steps: fixed, or learned for each channel."""

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_range
from spikeloom.errors import ShapeError, describe
from spikeloom.layer.bounded import bounded
from spikeloom.layer.shapes import Shapes
from spikeloom.memory import MemoryModule


class Delay(MemoryModule):
    """Delays its input by a whole number of time steps; zeros come out before the first input does.

    Args:
        delay_steps: the delay, in time steps; not negative.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input and output ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step).
    Raises:
        ValueError: ``delay_steps`` is negative.
    Example:
        >>> Delay(2, step_mode="m")(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        tensor([0., 0., 1., 2.])
    """

    computes_in_float32 = False
    queue: Tensor | None

    def __init__(self, delay_steps: int, step_mode: str = "s"):
        super().__init__(step_mode)
        self.delay_steps = checked_count("delay_steps", delay_steps, least=0)
        self.register_memory("queue", None)  # the last inputs, [delay_steps, N, *], oldest first

    def single_step_forward(self, x: Tensor) -> Tensor:
        return self.multi_step_forward(x.unsqueeze(0))[0]

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if self.delay_steps == 0:
            return x_seq.clone()
        stream = _stream(self.queue, x_seq, self.delay_steps)
        self.queue = stream[len(x_seq) :].clone()  # not a view, which would keep it all
        return stream[: len(x_seq)]

    def extra_repr(self) -> str:
        return f"delay_steps={self.delay_steps}, step_mode={self.step_mode}"


class LearnableDelay(MemoryModule):
    r"""Delays each channel by a learned time, interpolating linearly between time steps.

    .. math:: y_t = (1 - f)\,x_{t-n} + f\,x_{t-n-1}, \quad d = n + f, \; n = \lfloor d \rfloor

    A delay acts as one from 0 to ``max_delay``, however far an optimiser moves it. To deploy with whole
    steps: ``with torch.no_grad(): module.delay.clamp_(0, module.max_delay).round_()``.

    Args:
        num_channels: number of channels, the dimension after the batch.
        max_delay: longest delay, in time steps; at least 1.
        initial_delay: a number or ``[num_channels]``, in time steps; ``None`` draws from 0 to ``max_delay``.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
    Shape:
        input and output ``[N, C, *]`` (single-step) or ``[T, N, C, *]`` (multi-step).
    Raises:
        ShapeError: the input does not have ``num_channels`` channels.
        ValueError: ``max_delay`` is less than 1, or ``initial_delay`` is out of range.
    Source: Hammouamri et al., Learning delays in spiking neural networks using dilated convolutions with
        learnable spacings, ICLR 2024; there one delay for each synapse, and a Gaussian for the interpolation.
    Example:
        >>> delay = LearnableDelay(1, max_delay=4, initial_delay=1.25, step_mode="m")
        >>> delay(torch.tensor([0.0, 1.0, 0.0, 0.0]).view(4, 1, 1)).flatten().tolist()
        [0.0, 0.0, 0.75, 0.25]
    """

    _shapes = Shapes("N C *")
    queue: Tensor | None

    def __init__(
        self,
        num_channels: int,
        max_delay: int,
        initial_delay: float | Tensor | None = None,
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        self.num_channels = checked_count("num_channels", num_channels)
        self.max_delay = checked_count("max_delay", max_delay)
        if initial_delay is None:
            initial_delay = torch.rand(num_channels) * max_delay
        initial = torch.as_tensor(initial_delay)
        if initial.shape not in ((), (1,), (num_channels,)):
            raise ValueError(
                f"`initial_delay` must be a number or one for each of {num_channels} channels, got shape "
                f"{list(initial.shape)}."
            )
        initial = checked_range("initial_delay", initial.detach().float(), 0.0, max_delay)
        self.delay = nn.Parameter(initial.expand(num_channels).clone())
        self.register_memory("queue", None)  # the last inputs, [max_delay, N, C, *], oldest first

    def forward(self, x: Tensor) -> Tensor:
        self._shapes.check(self, x)
        if x.shape[2 if self.step_mode == "m" else 1] != self.num_channels:
            raise ShapeError(
                f"{describe(self)} expects C = {self.num_channels} in {self._shapes.shown(self.step_mode)}, "
                f"got {list(x.shape)}. Build it with the size of its input."
            )
        return super().forward(x)

    def single_step_forward(self, x: Tensor) -> Tensor:
        return self.multi_step_forward(x.unsqueeze(0))[0]

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        num_steps, shape = len(x_seq), (1, 1, -1, *[1] * (x_seq.dim() - 3))
        stream = _stream(self.queue, x_seq, self.max_delay)
        self.queue = stream[num_steps:].clone()
        delay = bounded(self.delay, 0.0, float(self.max_delay)).view(shape)
        whole = delay.detach().floor().clamp(max=self.max_delay - 1)
        fraction = (delay - whole).to(x_seq.dtype)
        steps = torch.arange(num_steps, device=x_seq.device).view(-1, *[1] * (x_seq.dim() - 1))
        index = (steps + self.max_delay - whole.long()).expand_as(x_seq)  # in `stream`, of x_{t-n}
        return (1 - fraction) * stream.gather(0, index) + fraction * stream.gather(0, index - 1)

    def extra_repr(self) -> str:
        return f"num_channels={self.num_channels}, max_delay={self.max_delay}, step_mode={self.step_mode}"


def _stream(queue: Tensor | None, x_seq: Tensor, num_kept: int) -> Tensor:
    """The ``num_kept`` inputs before ``x_seq``, zeros at the start, followed by ``x_seq``."""
    if queue is None:
        queue = x_seq.new_zeros(num_kept, *x_seq.shape[1:])
    return torch.cat([queue.to(x_seq.dtype), x_seq])
