"""Population coding: neurons with overlapping receptive fields share the coding of each value."""

import torch
from torch import Tensor

from spikeloom.checks import checked_count, checked_inside, checked_range, shown
from spikeloom.encoding.poisson import PoissonEncoder
from spikeloom.encoding.random import UniformSource
from spikeloom.encoding.values import check_range, in_floating_point
from spikeloom.errors import ShapeError


class PopulationEncoder(PoissonEncoder):
    r"""Each value drives a population of neurons with Gaussian tuning curves, which spike at random.

    .. math:: \mu_i = x_{min} + \frac{2i - 3}{2} \cdot \frac{x_{max} - x_{min}}{m - 2},\quad
              \sigma = \frac{1}{\beta} \cdot \frac{x_{max} - x_{min}}{m - 2},\quad
              p_i = e^{-(x - \mu_i)^2 / (2 \sigma^2)},\quad i = 1 \ldots m

    A neuron spikes with probability :math:`p_i` in each time step. The outermost centres lie half a step
    outside the range; values beyond them drive few neurons, or none.

    Args:
        num_neurons: ``m``, the neurons per value, at least 3.
        x_min, x_max: the range of the values; numbers, or tensors ``[k]`` for one range per feature.
        beta: how narrow the curves are, greater than 0.
        step_mode, generator: as for :class:`PoissonEncoder`.
    Shape:
        input ``[N, k]`` (single-step) or ``[T, N, k]`` (multi-step); output the same with a last
        dimension of ``m`` more, values in {0, 1}. A :class:`SampleGenerator` has one row per sample.
    Raises:
        ValueError: ``num_neurons`` is less than 3, ``beta`` is not positive, ``x_min`` is not finite and less
            than ``x_max``, or they have different shapes; a value of the input is NaN.
    Source: Bohte, La Poutré & Kok, IEEE Trans. Neural Netw. 13(2), 2002, for the curves.
    Example:
        >>> encoder = PopulationEncoder(num_neurons=4)
        >>> encoder.activity(torch.tensor([[0.25]]))
        tensor([[[0.3247, 1.0000, 0.3247, 0.0111]]])
        >>> encoder.encode(torch.rand(2, 3), T=5).shape
        torch.Size([5, 2, 3, 4])
    """

    x_min: Tensor
    x_max: Tensor

    def __init__(
        self,
        num_neurons: int,
        x_min: float | Tensor = 0.0,
        x_max: float | Tensor = 1.0,
        beta: float = 1.5,
        step_mode: str = "s",
        generator: torch.Generator | UniformSource | None = None,
    ):
        super().__init__(step_mode, generator)
        self.num_neurons = checked_count("num_neurons", num_neurons, least=3)
        self.beta = checked_inside("beta", beta, 0)
        for name, value in {"x_min": x_min, "x_max": x_max}.items():
            value = torch.as_tensor(value, dtype=torch.float64).detach()
            self.register_buffer(name, checked_range(name, value), persistent=False)
        if self.x_min.dim() and self.x_max.dim() and self.x_min.shape != self.x_max.shape:
            raise ValueError(
                f"`x_min` and `x_max` must have one range for each feature, got {list(self.x_min.shape)} and "
                f"{list(self.x_max.shape)}."
            )
        if not bool((self.x_min < self.x_max).all()):
            raise ValueError(
                f"`x_min` must be less than `x_max`, got {self.x_min.tolist()} and {self.x_max.tolist()}. "
                "Leave out features that are constant."
            )

    def activity(self, x: Tensor) -> Tensor:
        """How strongly ``x`` ``[*]`` drives each neuron: ``[*, m]``, in [0, 1].

        Raises:
            ShapeError: there are ranges for each feature, and ``x`` has others.
        """
        x = in_floating_point(x)
        for name in ("x_min", "x_max"):
            given = getattr(self, name)
            if given.dim() and x.shape[-1:] != given.shape:
                raise ShapeError(
                    f"`x` must be [N, {len(given)}], a value for each range of `{name}`, got {list(x.shape)}."
                )
        low, high = self.x_min.to(x)[..., None], self.x_max.to(x)[..., None]  # [k, 1] or [1]
        step = (high - low) / (self.num_neurons - 2)
        # (2i - 3) / 2 for i = 1...m
        place = torch.arange(self.num_neurons, device=x.device, dtype=x.dtype) - 0.5
        z = (x[..., None] - (low + place * step)) * (self.beta / step)  # [*, m]
        return (-0.5 * z * z).exp()

    def probability(self, x: Tensor) -> Tensor:
        """The probability of a spike: :meth:`activity`."""
        activity = self.activity(x)
        check_range(activity, 1.0, "")  # in range by construction, unless x is NaN
        return activity

    def extra_repr(self) -> str:
        ranges = [f"{name}={shown(getattr(self, name))}" for name in ("x_min", "x_max")]
        return ", ".join(
            [f"num_neurons={self.num_neurons}", *ranges, f"beta={self.beta}", super().extra_repr()]
        )
