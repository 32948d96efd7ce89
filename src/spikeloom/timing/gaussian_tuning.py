"""Features to spike times: overlapping Gaussian tuning curves, one early spike for a curve that fits well."""

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_inside
from spikeloom.encoding import PopulationEncoder
from spikeloom.errors import ShapeError


class GaussianTuning(nn.Module):
    r"""Each feature drives ``m`` neurons with Gaussian tuning curves; the stronger, the earlier they spike.

    .. math:: \mu_i = x_{min} + \frac{2i - 3}{2} \cdot \frac{x_{max} - x_{min}}{m - 2},\quad
              \sigma = \frac{1}{1.5} \cdot \frac{x_{max} - x_{min}}{m - 2},\quad
              t_i = \operatorname{round}\left( t_{max} (1 - e^{-(x - \mu_i)^2 / (2 \sigma^2)}) \right)

    A neuron whose time would be :math:`t_{max}` does not spike: its time is -1.

    Args:
        n: number of features.
        m: neurons per feature, at least 3.
        x_min, x_max: range of the features in the training data; numbers, or tensors ``[n]``.
    Raises:
        ValueError: ``n`` or ``m`` is too small, or ``x_min`` is not less than ``x_max``, as with a feature
            that is constant.
        ShapeError: ``x_min`` or ``x_max`` does not have ``n`` values.
    Source: Bohte, La Poutré & Kok, IEEE Trans. Neural Netw. 13(2), 2002.
    Example:
        >>> tuning = GaussianTuning(n=1, m=4, x_min=0.0, x_max=1.0)
        >>> tuning.encode(torch.tensor([[0.25]]), max_spike_time=10)
        tensor([[[ 7.,  0.,  7., -1.]]])
    """

    def __init__(self, n: int, m: int, x_min: float | Tensor, x_max: float | Tensor):
        super().__init__()
        self.n, self.m = checked_count("n", n), checked_count("m", m, least=3)
        ranges = {name: torch.as_tensor(value) for name, value in (("x_min", x_min), ("x_max", x_max))}
        for name, value in ranges.items():
            if value.numel() not in (1, n) or value.dim() > 1:
                raise ShapeError(
                    f"`{name}` must be a number or a tensor [{n}], one value for each of the `n` features, "
                    f"got {list(value.shape)}."
                )
            if not bool(value.isfinite().all()):
                raise ValueError(f"`{name}` must be finite, got {value.tolist()}. Look for missing data.")
        self.curves = PopulationEncoder(m, ranges["x_min"], ranges["x_max"])

    def encode(self, x: Tensor, max_spike_time: float = 50) -> Tensor:
        """Spike times of features.

        Args:
            x: features ``[N, n, k]``, ``k`` values of each, or ``[N, n]``.
            max_spike_time: end of the code, which no spike reaches; in time steps, greater than 0.
        Returns:
            ``[N, n, k, m]`` or ``[N, n, m]``: whole numbers from 0 to below ``max_spike_time``, or -1
        Raises:
            ShapeError: ``x`` does not have ``n`` features.
            ValueError: ``x`` is not finite, or ``max_spike_time`` is not positive.
        """
        if x.dim() not in (2, 3) or x.shape[1] != self.n:
            raise ShapeError(
                f"`x` must be [N, {self.n}, k] or [N, {self.n}], with {self.n} features (`n`) in its second "
                f"dimension, got {list(x.shape)}. Reshape it, or make the encoder with another `n`."
            )
        checked_inside("max_spike_time", max_spike_time, 0)
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        if not torch.compiler.is_compiling() and not bool(x.isfinite().all()):
            raise ValueError(
                "`x` must be finite, got NaN or infinity. Fill in missing data first, for instance with the "
                "feature's median."
            )
        active = self.curves.activity(x.movedim(1, -1)).movedim(-2, 1)  # [N, n, k, m]
        times = (1 - active).mul_(max_spike_time).round_()
        return times.masked_fill_(times >= max_spike_time, -1)

    def forward(self, x: Tensor, max_spike_time: float = 50) -> Tensor:
        """The same as :meth:`encode`."""
        return self.encode(x, max_spike_time)

    def extra_repr(self) -> str:
        return f"n={self.n}, m={self.m}"
