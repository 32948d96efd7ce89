"""Layers of ReL-PSP neurons: spike times in, spike times out, with exact gradients."""

import torch.nn.functional as F
from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError
from spikeloom.timing.checks import pair
from spikeloom.timing.rel_psp.base import ReLPSP
from spikeloom.timing.rel_psp.geometry import Geometry


class ReLPSPLinear(ReLPSP):
    r"""A fully connected layer of neurons that fire once at most; potentials rise for ever after a spike.

    .. math:: V_j(t) = \sum_i w_{ji} \max(t - t_i, 0),\quad
              t_j = \frac{\theta + \sum_{i \in C} w_{ji} t_i}{\sum_{i \in C} w_{ji}},\quad
              C = \{ i : t_i < t_j \}

    :math:`t_j` is the first time at which :math:`V_j` reaches the threshold. It is found exactly, by going
    through the spikes in order, and so are its gradients:

    .. math:: \frac{\partial t_j}{\partial t_i} = \frac{w_{ji}}{\sum_C w},\quad
              \frac{\partial t_j}{\partial w_{ji}} = \frac{t_i - t_j}{\sum_C w},\quad i \in C

    :math:`\sum_C w` is the slope with which the potential reaches the threshold. Where it is less than
    ``min_slope``, gradients are divided by ``min_slope``, so that they stay small.

    A neuron that does not fire has no gradient. Two settings are a cure:

    - ``extrapolate``, for an output layer, where the loss may want the neuron to fire. It gets the time
      :math:`T (2 - V_j(T) / \theta)`, which is after the window, joins the firing times without a jump, and
      has its true gradient. No layer on spike times can follow, as the times are later than ``T``.
    - ``wake``, for hidden layers. It pulls on neurons that fire nowhere in a batch: in training,
      :math:`\lambda (1 - V_j(T) / \theta)` of each, mean over the samples, is added to the loss as far as the
      gradients of ``weight`` and ``bias`` go. The pull does not grow with the loss; a loss that is scaled
      up, as for 16-bit training, hides it. As only spikes have gradients, and what they lead to is often
      that there are fewer, a long training can leave neurons that fire, but hardly ever: ``wake_rate``
      :math:`r` extends the pull, :math:`1 - \rho_j / r` times as strong, to those that fire in a part
      :math:`\rho_j < r` of the samples.

    Args:
        in_features: number of inputs, each with one spike or none.
        out_features: number of neurons.
        T: end of the window; a neuron that has not reached the threshold then does not fire.
        v_threshold: firing threshold.
        bias: whether a spike at time 0, with a weight of its own for each neuron, comes with each sample.
        extrapolate: whether neurons that do not fire get a time after ``T`` instead of -1.
        wake: strength :math:`\lambda` of the pull on silent neurons; at least 0.
        wake_rate: the part :math:`r` of the samples in which a neuron should fire; from 0, any, to 1.
        min_slope: the least slope that gradients are divided by. Default: ``v_threshold / T``, that of a
            potential that takes the whole window.
        backend: ``'numba'`` (compiled loops), ``'torch'`` (reference), or ``'auto'``.
    Shape:
        input ``[*, in_features]``: spike times from 0 to ``T``, negative for no spike; output ``[*,
        out_features]``: the same, -1 for no spike.
    Raises:
        ValueError: a setting is out of range; a time is NaN or after ``T``; a weight is not finite.
        ShapeError: the input has another number of features.
        BackendError: a backend was asked for by name, and cannot run this; gradients of gradients, or
            transformations of ``torch.func``, are asked for.
    Source: Zhang et al., IEEE Trans. Neural Netw. Learn. Syst. 33(5), 2022.
    Example:
        >>> import torch
        >>> layer = ReLPSPLinear(2, 1, T=10)
        >>> _ = torch.nn.init.constant_(layer.weight, 0.5)
        >>> layer(torch.tensor([[0.0, 1.0], [0.0, -1.0], [9.0, -1.0]]))
        tensor([[ 1.5000],
                [ 2.0000],
                [-1.0000]], ...)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        T: float,
        v_threshold: float = 1.0,
        bias: bool = False,
        *,
        extrapolate: bool = False,
        wake: float = 0.0,
        wake_rate: float = 0.0,
        min_slope: float | None = None,
        backend: str = "auto",
    ):
        checked_count("in_features", in_features)
        checked_count("out_features", out_features)
        self.in_features, self.out_features = in_features, out_features
        super().__init__(
            (out_features, in_features),
            T,
            v_threshold,
            bias,
            extrapolate,
            wake,
            wake_rate,
            min_slope,
            backend,
        )

    def _check_shape(self, times: Tensor) -> None:
        if times.dim() == 0 or times.shape[-1] != self.in_features:
            raise ShapeError(
                f"`times` must be [*, {self.in_features}], got {list(times.shape)}. Flatten images first."
            )

    def _flatten(self, times: Tensor) -> tuple[Tensor, Geometry]:
        return times.reshape(-1, self.in_features), Geometry(self.in_features)

    def _arrange(self, fired: Tensor, times: Tensor, geometry: Geometry) -> Tensor:
        return fired.view(*times.shape[:-1], self.out_features)

    def _sum(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, self.weight, bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, {self._settings()}"


class ReLPSPConv2d(ReLPSP):
    """A convolution of neurons as in :class:`ReLPSPLinear`: the same equations, within windows of an image.

    Args:
        in_channels: channels of the input.
        out_channels: neurons per window.
        kernel_size: height and width of the windows; one number for both.
        T, v_threshold, bias, extrapolate, wake, wake_rate, min_slope, backend: as for :class:`ReLPSPLinear`;
            a part of the samples is one of samples and windows.
        stride: pixels from one window to the next.
        padding: silent pixels on each side.
    Shape:
        input ``[N, in_channels, H, W]``: spike times from 0 to ``T``, negative for no spike; output ``[N,
        out_channels, H_out, W_out]``, as of ``nn.Conv2d``: the same, -1 for no spike.
    Raises:
        ValueError, ShapeError, BackendError: as for :class:`ReLPSPLinear`.
    Source: Zhang et al., IEEE Trans. Neural Netw. Learn. Syst. 33(5), 2022.
    Example:
        >>> import torch
        >>> layer = ReLPSPConv2d(1, 16, kernel_size=5, T=4)
        >>> layer(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 16, 24, 24])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        T: float,
        v_threshold: float = 1.0,
        bias: bool = False,
        *,
        stride: int = 1,
        padding: int = 0,
        extrapolate: bool = False,
        wake: float = 0.0,
        wake_rate: float = 0.0,
        min_slope: float | None = None,
        backend: str = "auto",
    ):
        checked_count("in_channels", in_channels)
        checked_count("out_channels", out_channels)
        checked_count("stride", stride)
        checked_count("padding", padding, least=0)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair("kernel_size", kernel_size)
        self.stride, self.padding = stride, padding
        shape = out_channels, in_channels, *self.kernel_size
        super().__init__(shape, T, v_threshold, bias, extrapolate, wake, wake_rate, min_slope, backend)

    def _check_shape(self, times: Tensor) -> None:
        least = [max(1, size - 2 * self.padding) for size in self.kernel_size]
        if (
            times.dim() != 4
            or times.shape[1] != self.in_channels
            or times.shape[2] < least[0]
            or times.shape[3] < least[1]
        ):
            raise ShapeError(
                f"`times` must be [N, {self.in_channels}, H, W], with the padding at least as large as the "
                f"kernel {self.kernel_size}, got {list(times.shape)}. Add the dimensions that are missing, "
                "or take a smaller kernel."
            )

    def _flatten(self, times: Tensor) -> tuple[Tensor, Geometry]:
        channels, height, width = times.shape[1:]
        geometry = Geometry(channels, height, width, *self.kernel_size, self.stride, self.padding)
        return times.flatten(1), geometry

    def _arrange(self, fired: Tensor, times: Tensor, geometry: Geometry) -> Tensor:
        return fired.view(-1, geometry.down, geometry.across, self.out_channels).permute(0, 3, 1, 2)

    def _sum(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, self.weight, bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, {self._settings()}"
        )
